"""Cross-validation: every fold a run of its own.

dataset.folds=5                    all five folds, as rows of one cohort
dataset.folds=5 dataset.fold=2     the third fold alone
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from dlrun.config.composing.composed import Composed
from dlrun.config.composing.grammar import LIMIT
from dlrun.data.preparation import unsaid_folds
from dlrun.errors import InputError


def every_fold(jobs: Sequence[Composed]) -> list[Composed]:
    """The jobs, those that ask for folds without saying which once for each fold.

    Raises:
        InputError: more runs than a sweep may have.
    """
    counts = [unsaid_folds(job.config.get("dataset") or {}) for job in jobs]
    if sum(counts) > LIMIT:
        raise InputError(
            f"dataset.folds={max(counts)}: gives {sum(counts):,} runs, and at most {LIMIT:,} are allowed; take fewer folds"
        )
    shared: dict[tuple[int, int], dict[str, Any]] = {}  # jobs share what is equal, so that it is written down once
    expanded = []
    for job, count in zip(jobs, counts, strict=True):
        dataset = job.config.get("dataset")
        for fold in range(count):
            section = shared.setdefault((id(dataset), fold), {**(dataset or {}), "fold": fold})
            words = (*job.overrides, f"dataset.fold={fold}")
            expanded.append(replace(job, config=job.config | {"dataset": section}, overrides=words))
        if not count:
            expanded.append(job)
    return expanded
