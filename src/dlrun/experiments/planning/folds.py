"""Cross-validation: every fold a run of its own.

dataset.folds=5                    all five folds, as rows of one cohort
dataset.folds=5 dataset.fold=2     the third fold alone
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from dlrun.config.composing.composed import Composed
from dlrun.config.composing.grammar import LIMIT
from dlrun.data.preparation import unsaid_folds
from dlrun.errors import InputError
from dlrun.results.seeded import Seeded, base_of


def every_fold(jobs: Sequence[Composed]) -> list[Composed]:
    """The jobs, those that ask for folds without saying which once for each fold.

    Raises:
        InputError: more runs than a sweep may have.
    """
    sections = {id(config): config.get("dataset") or {} for config in (base_of(job.config) for job in jobs)}
    every = {place: unsaid_folds(section) for place, section in sections.items()}
    counts = [every[id(base_of(job.config))] for job in jobs]
    if sum(counts) > LIMIT:
        raise InputError(
            f"dataset.folds={max(counts)}: gives {sum(counts):,} runs, and at most {LIMIT:,} are allowed; take fewer folds"
        )
    if not any(counts):
        return [*jobs]
    known: dict[tuple[int, int], Mapping[str, Any]] = {}  # jobs share what is equal, so that it is written down once
    expanded = []
    for job, count in zip(jobs, counts, strict=True):
        base = base_of(job.config)
        dataset = base.get("dataset")
        for fold in range(count):
            if (id(dataset), fold) not in known:
                known[id(dataset), fold] = {**(dataset or {}), "fold": fold}
            if (id(base), fold) not in known:
                known[id(base), fold] = {**base, "dataset": known[id(dataset), fold]}
            config = known[id(base), fold]
            if isinstance(job.config, Seeded):
                config = Seeded(config, job.config.seed)
            expanded.append(replace(job, config=config, overrides=(*job.overrides, f"dataset.fold={fold}")))
        if not count:
            expanded.append(job)
    return expanded
