"""What a check asks, what it is answered from, and the answer."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from dlrun.comparison.table import Group, Row, groups
from dlrun.errors import InputError, nearest

Word = Literal["supported", "refuted", "inconclusive", "incomplete"]


@dataclass(frozen=True)
class Finding:
    """The answer to a check.

    Args:
        what: the check in words.
        figure: the difference, correlation or mean that decides it; NaN where there is none.
        low, high: its 95% interval; NaN where there is none.
        n: pairs, or runs; 0 of a function.
        text: the reason in words.
    """

    word: Word
    what: str
    figure: float
    low: float
    high: float
    n: int
    text: str

    def content(self) -> dict[str, Any]:
        """All of it in JSON's types."""
        numbers = {"figure": self.figure, "low": self.low, "high": self.high}
        return {
            "check": self.what,
            "verdict": self.word,
            **{name: value if math.isfinite(value) else None for name, value in numbers.items()},
            "n": self.n,
            "reason": self.text,
        }


@dataclass(frozen=True)
class Evidence:
    """The runs of a claim.

    Args:
        rows: the name of a dataset -> its runs, with the quantities of all checks among their metrics.
        call: calls the function with a name on the runs: its figure, the bounds of that, and how many runs it looked at.
        weights: the weights of a run, by its id, in one vector.
    """

    rows: Mapping[str, Sequence[Row]]
    call: Callable[[str], tuple[float, float, float, int]]
    weights: Callable[[str], NDArray[np.float64]]

    def table(self, quantity: str, data: str) -> list[Group]:
        """The groups of runs of one dataset.

        Raises:
            InputError: there is no such dataset, or ``data`` has to say which of several is meant.
        """
        if data not in self.rows and (data or len(self.rows) != 1):
            raise InputError(f"data: {data or '(nothing)'}: takes one of {', '.join(self.rows)}{nearest(data, self.rows)}")
        rows = self.rows[data] if data else next(iter(self.rows.values()))
        return groups(rows, quantity, higher_is_better=True)


@dataclass(frozen=True, kw_only=True)
class Check(ABC):
    """One question, about the runs on a dataset; ``data`` names which, where there are several."""

    data: str = ""

    @property
    def quantity(self) -> str:
        """The quantity that has to be known of each run; empty when none has."""
        return ""

    @property
    def what(self) -> str:
        """The check in words."""
        return f"{self.data}: {self.asked}" if self.data else self.asked

    @property
    @abstractmethod
    def asked(self) -> str:
        """The same without the dataset."""

    @abstractmethod
    def finding(self, evidence: Evidence, alpha: float) -> Finding:
        """The answer, with an error of ``alpha``."""
