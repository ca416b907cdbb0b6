"""What the trainer is given: a cohort of runs that share an architecture, a batch size and the shape of their data.

Shapes: R runs, S splits.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

from dlrun.components.initializers import Initializer
from dlrun.data.dataset import Data
from dlrun.data.preprocessing import Preprocessing
from dlrun.data.splits import Split
from dlrun.engine.components import Component, signature
from dlrun.engine.models.model import LayerSpec
from dlrun.lazy import torch

VECTOR = 32  # numbers that torch's elementwise loops take at once; what is left at a tensor's end goes through other instructions
MOST_PADDING = 0.25  # of the runs; in small models, where more rows hardly take more time, twice as many

Threshold = float | str  # of the probability of a class: a number, or f1 or youden, by which one is chosen
DEFAULT_THRESHOLD = 0.5
Head = str  # value, logit, embedding (nothing behind the last layer), probability (sigmoid), softmax, log_probability


@dataclass(frozen=True)
class CohortRun:
    """One row of the cohort. ``split`` is the place of its split in the cohort's list."""

    seed: int
    split: int
    activation: Component
    loss: Component
    head: Head
    prediction: str
    optimizer: Component
    scheduler: Component
    regularizers: tuple[Component, ...]
    initializer: Initializer
    learnable: bool = False
    clip_norm: float | None = None
    clip_value: float | None = None
    until: int | None = None  # epochs after which it ends, where others go on
    threshold: Threshold = DEFAULT_THRESHOLD


@dataclass(frozen=True)
class Settings:
    """What all rows of a cohort have in common."""

    layers: tuple[LayerSpec, ...]
    outputs: int
    epochs: int
    batch_size: int
    max_steps: int | None = None
    evaluate_every: int = 1
    metric: str = "loss"
    floats: Literal["float32", "float64"] = "float32"
    place: str = "cpu"  # the name of a device
    engine: Literal["auto", "torch"] = "auto"
    module: Component | None = None  # a user's own model instead of the layers
    predictions: bool = False  # whether to keep what is predicted for validation and test rows

    @cached_property
    def dtype(self) -> torch.dtype:
        """The type of numbers as torch has it."""
        found: torch.dtype = getattr(torch, self.floats)
        return found

    @property
    def itemsize(self) -> int:
        """Bytes of a number."""
        return 8 if self.floats == "float64" else 4

    @cached_property
    def device(self) -> torch.device:
        """The device as torch has it."""
        return torch.device(self.place)


@dataclass(frozen=True)
class Cohort:
    """Runs to be trained at once, on the splits of one dataset."""

    data: Data
    splits: Sequence[Split]
    preprocessing: Sequence[Preprocessing]
    runs: Sequence[CohortRun]
    settings: Settings


def kind(run: CohortRun) -> tuple[str, str, str]:
    """What rows must share to be computed together in every part of a step. Rows of one kind are neighbours in theta."""
    optimizer, activation, loss = (repr(signature(part)) for part in (run.optimizer, run.activation, run.loss))
    return optimizer, activation, loss


def kinds(runs: Sequence[CohortRun]) -> list[tuple[str, str, str]]:
    """The kind of each run. Runs that differ in their seeds alone have the same objects, which are looked at once."""
    known: dict[tuple[int, int, int], tuple[str, str, str]] = {}
    found = []
    for run in runs:
        key = (id(run.optimizer), id(run.activation), id(run.loss))
        if key not in known:
            known[key] = kind(run)
        found.append(known[key])
    return found


def filled(cohort: Cohort, numbers: tuple[int, int, int], small: bool) -> Cohort:
    """The cohort with copies of runs at its end, so that what a run computes does not depend on how many others there are.

    The last numbers of a tensor, those that do not fill a vector register, are rounded differently. In ``small`` models, where
    the vectors lie across the runs and more of them hardly take more time, rows of a kind are filled up to a multiple of VECTOR.
    In others the last numbers of every group of rows are made those of copies. Nothing is done where that would be many rows,
    nor on a GPU, whose threads round the last numbers like all others.

    Args:
        numbers: how many a row has at least where its optimizer, its activation and its loss work.
        small: whether the runs may lie innermost in memory.
    """
    if cohort.settings.place != "cpu":
        return cohort
    runs = cohort.runs
    every = kinds(runs)
    counts, last = Counter(every), {mine: row for row, mine in enumerate(every)}
    whole = [last[mine] for mine, count in counts.items() for _ in range(-count % VECTOR)]
    if not whole or (small and len(whole) <= 2 * MOST_PADDING * len(runs)):
        return _extended(cohort, whole)
    copies = dict.fromkeys(counts, 0)
    for place, each in enumerate(numbers):
        for name in {mine[place] for mine in counts}:
            end = max(mine for mine in counts if mine[place] == name)
            copies[end] = max(copies[end], math.ceil(VECTOR / each))
    spare = [last[mine] for mine, count in copies.items() for _ in range(count)]
    return _extended(cohort, spare) if len(spare) <= MOST_PADDING * len(runs) else cohort


def _extended(cohort: Cohort, rows: Sequence[int]) -> Cohort:
    return replace(cohort, runs=[*cohort.runs, *(cohort.runs[row] for row in rows)]) if rows else cohort
