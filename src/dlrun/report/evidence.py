"""What a report needs of runs beside their records: how they went, and what they predicted.

Shapes: n rows, K classes, labels or values, H x W pixels, E evaluations, R runs.
"""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dlrun.errors import StoreError
from dlrun.report.tables import clean
from dlrun.results.formats import PREDICTIONS, TARGETS, read_history_bytes
from dlrun.results.record import MEASURED, RunRecord
from dlrun.results.runs import HISTORY_PART, UNREADABLE
from dlrun.results.store import Store

if TYPE_CHECKING:
    from dlrun.components.tasks import Task

Floats = NDArray[np.float64]
SUBSETS = ("test", "validation")


@dataclass(frozen=True)
class Predicted:
    """What a run predicted for the rows of one subset.

    Args:
        names: of the classes or labels, or of the values.
        levels: whether the values are quantiles, so that there are several for a target.
        rows: their places in the data, int [n].
        true: class numbers [n] or [n, H, W]; labels or values [n, K].
        value: probabilities [n, K] or [n, K, H, W], or values [n, K].
    """

    run: str
    subset: str
    task: "Task"
    names: tuple[str, ...]
    levels: bool
    rows: NDArray[np.int64]
    true: NDArray[Any]
    value: Floats

    def errors(self) -> Floats:
        """How wrong each row is: -log p of what is true, its mean over labels or pixels; the mean of |y - prediction|. [n]."""
        if not self.task.classes:
            return np.asarray(np.abs(self.value - self.true).mean(1))
        if self.task.exclusive or self.task.two_classes:
            hit = np.take_along_axis(self.value, np.expand_dims(self.true, 1), 1)[:, 0]
        else:
            hit = np.where(self.true > 0, self.value, 1 - self.value)
        return np.asarray(-np.log(np.maximum(hit, np.finfo(np.float64).eps)).reshape(len(hit), -1).mean(1))


class Evidence:
    """Runs, and the store that has them.

    Args:
        records: by id.
    """

    def __init__(self, store: Store, records: Iterable[RunRecord]) -> None:
        self.store, self.records = store, {record.id: record for record in records}

    def histories(self, runs: Iterable[str]) -> list[dict[str, Floats]]:
        """The histories of those runs that have been measured: columns, each [E]."""
        measured = [run for run in runs if run in self.records and self.records[run].status in MEASURED]
        found = []
        with self.store.reading() as rows:
            for run in measured if rows is not None else ():
                with suppress(StoreError, *UNREADABLE):
                    if rows is not None and (content := rows.part(run, HISTORY_PART)) is not None:
                        found.append(read_history_bytes(content))
        return found

    def predicted(self, runs: Iterable[str], most: int) -> list[Predicted]:
        """The test predictions (validation where there are none) of the first ``most`` runs that have some."""
        found: list[Predicted] = []
        for run in runs:
            if len(found) == most:
                break
            if run in self.records and (each := self._of(run)) is not None:
                found.append(each)
        return found

    def form(self, run: str) -> Mapping[str, Any]:
        """The names of classes, targets and features of a run, and the shape of its rows; empty where it has none."""
        try:
            form: Mapping[str, Any] = self.store.extra(run, "preprocessing.json")
        except StoreError:
            return {}
        return form

    def _of(self, run: str) -> Predicted | None:
        record = self.records[run]
        try:
            kept = self.store.arrays(run, PREDICTIONS), self.store.arrays(run, TARGETS), self.form(run)
        except StoreError:
            return None
        for subset in SUBSETS:
            if (found := read_predicted(record, subset, *kept)) is not None:
                return replace(found, names=tuple(map(clean, found.names)))
        return None


def read_predicted(
    record: RunRecord,
    subset: str,
    outputs: Mapping[str, NDArray[Any]],
    targets: Mapping[str, NDArray[Any]],
    form: Mapping[str, Any],
) -> Predicted | None:
    """What a run keeps of its predictions, as probabilities and values; None where it has none, or embeddings.

    Args:
        outputs, targets: ``predictions.safetensors`` and ``targets.safetensors``.
        form: ``preprocessing.json``, for the names.
    """
    from dlrun.components.tasks import TASKS

    task = TASKS.get(str(record.data.get("task")))
    if task is None or task.members or subset not in outputs or subset not in targets:
        return None
    names = tuple(map(str, form.get("classes" if task.classes else "targets", ())))
    value, true = outputs[subset].astype(np.float64), targets[subset]
    levels = not task.classes and value.shape[1] != len(names)
    if task.link == "softmax":
        value = np.exp(value)
    elif task.link == "sigmoid":
        value = _sigmoid(value)
    if task.two_classes:
        value, true = np.concatenate([1 - value, value], 1), true[:, 0]
    true = true.astype(np.int64) if task.classes else true.astype(np.float64)
    return Predicted(record.id, subset, task, names, levels, targets[f"{subset}_rows"].astype(np.int64), true, value)


def _sigmoid(x: Floats) -> Floats:
    small = np.exp(-np.abs(x))
    return np.asarray(np.where(x >= 0, 1 / (1 + small), small / (1 + small)))


def band(curves: Sequence[Floats]) -> tuple[Floats, Floats, Floats]:
    """The mean of curves, and its 95% interval by Student's t over those that are finite: [E] each.

    A curve that ends early keeps its last value.
    """
    from scipy.special import stdtrit

    length = max(map(len, curves))
    table = np.stack([np.pad(curve, (0, length - len(curve)), mode="edge") for curve in curves])
    known = np.isfinite(table)
    n = known.sum(0)
    table = np.where(known, table, 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = table.sum(0) / n
        sd = np.sqrt((np.where(known, table - mean, 0.0) ** 2).sum(0) / (n - 1))
        half = stdtrit(np.maximum(n - 1, 1), 0.975) * sd / np.sqrt(n)
    half = np.where(n > 1, half, 0.0)
    return mean, mean - half, mean + half
