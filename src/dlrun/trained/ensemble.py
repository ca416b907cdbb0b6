"""Several runs as one: the mean of what they predict, and how far they are apart.

    mean     m = sum p_i / R, of probabilities or of values (of each quantile)
    spread   sqrt(sum (p_i - m)^2 / (R - 1)), the standard deviation over the runs

Runs that differ in their seed alone differ in initial weights, batch order and split; their spread tells how much of a
prediction is owed to these (Lakshminarayanan, Pritzel & Blundell 2017, arXiv:1612.01474), and nothing of noise in the target.

Shapes: R runs, n rows, K outputs or classes.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from dlrun.errors import InputError
from dlrun.trained.run import Run


@dataclass(frozen=True)
class Ensemble:
    """Runs that learnt the same from the same columns.

    Args:
        runs: one or several.

    Raises:
        InputError: there is none, or they differ in task, classes or targets.
    """

    runs: tuple[Run, ...]

    def __post_init__(self) -> None:
        if not self.runs:
            raise InputError("ensemble: takes at least one run")
        first = self.runs[0]
        for run in self.runs[1:]:
            for what, mine, other in (
                ("task", first.task.name, run.task.name),
                ("classes", list(first.classes), list(run.classes)),
                ("targets", list(first.targets), list(run.targets)),
            ):
                if mine != other:
                    raise InputError(
                        f"ensemble: run {first.id} has {what} {mine}, and run {run.id} {other}; take runs that learnt the same"
                    )

    @property
    def first(self) -> Run:
        """The first run, for what they have in common."""
        return self.runs[0]

    @property
    def features(self) -> tuple[str, ...]:
        """The columns that ``predict`` wants in a table: those of all runs."""
        return tuple(dict.fromkeys(name for run in self.runs for name in run.features))

    def predict(self, X: "ArrayLike | pd.DataFrame") -> NDArray[Any]:
        """The mean of what the runs predict for new rows: as ``Run.predict``."""
        return self.mean_and_spread(X)[0]

    def spread(self, X: "ArrayLike | pd.DataFrame") -> NDArray[Any]:
        """The standard deviation of what the runs predict for new rows, of the shape of ``predict``; NaN for a single run."""
        found = self.mean_and_spread(X)[1]
        return np.full_like(self.predict(X), np.nan) if found is None else found

    def predict_table(self, X: "ArrayLike | pd.DataFrame") -> pd.DataFrame:
        """The means under their names, as ``Run.predict_table``, and of several runs a column ``sd NAME`` for each."""
        return pd.DataFrame(self.first.named(*self.mean_and_spread(X)))

    def mean_and_spread(
        self, X: Any, read: Callable[[Run, Any], NDArray[Any]] = Run.rows
    ) -> tuple[NDArray[Any], NDArray[Any] | None]:
        """Both at once; of a single run there is no spread. ``read`` makes rows of X as a run takes them."""
        several = [run.squeezed(run.predictor(x)) for run, x in zip(self.runs, self.rows(X, read), strict=True)]
        if len({each.shape for each in several}) > 1:
            raise InputError("ensemble: the runs give different numbers of values for a row; take runs that learnt the same")
        if len(several) == 1:
            return several[0], None
        together = np.stack(several)
        return together.mean(0), together.std(0, ddof=1)

    def rows(self, X: Any, read: Callable[[Run, Any], NDArray[Any]] = Run.rows) -> list[NDArray[Any]]:
        """The rows as each run takes them; read once for runs that read them alike."""
        known: dict[str, NDArray[Any]] = {}
        for run, key in zip(self.runs, self._forms, strict=True):
            if key not in known:
                known[key] = read(run, X)
        return [known[key] for key in self._forms]

    @cached_property
    def _forms(self) -> list[str]:
        """What rows each run reads, as text."""
        encodings = [None if run.encoding is None else run.encoding.to_json() for run in self.runs]
        return [
            json.dumps([encoding, run.features, run.shape, run.vocabulary])
            for run, encoding in zip(self.runs, encodings, strict=True)
        ]
