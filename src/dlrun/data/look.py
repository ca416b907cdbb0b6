"""What a look at a split shows that a user should know: rows that are in it twice, and a column that alone decides the target.

    copies    test rows that equal a training row, in all features and the target, and in their features alone
    leak      a column that tells the target nearly without error where no other column comes near

The second is a sign of a leak: a column that was written down after the target, or from it. It is measured with the nearest
neighbour in that column alone, from training rows to validation rows (for classes also the other way round, as few rows may all
be right by chance); test rows are not looked at. The error is that of the neighbour's class over that of the commonest class, or
for numbers 1 - r2 of the line between the two neighbours. A column that alone separates the classes of easy data is not reported
while another one does so nearly as well: that tells a leak from data such as flowers, where many measurements know the kind.

Shapes: N rows, n training rows, v validation rows, D features.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from dlrun.components.tasks import TASKS
from dlrun.data.dataset import Data
from dlrun.data.modality import TABLE
from dlrun.data.splits import Split
from dlrun.data.table.advice import naming
from dlrun.data.table.values.cells import shown
from dlrun.errors import plural

DECIDES = 0.01  # of the error without the column: no more is left by one that decides the target
NEAR = 0.05  # no less is left by every other one
FEWEST = 30  # validation rows of which something can be said
_MOST = 10_000  # rows of each subset that are looked at
_TOGETHER = 1 << 20  # numbers that are hashed at a time
_WIDEST = 2_000  # columns: of more, one may decide by chance

Numbers = NDArray[np.float64]
Column = tuple[str, Numbers]  # its name, and a number for each row, a category's for texts


def notes(data: Data, split: Split) -> list[str]:
    """What there is to say of a table on a split, a line each."""
    if data.encoding is None or data.modality is not TABLE:
        return []
    where = f"dataset {data.name}:"
    whole, features = copies(data, split)
    found = []
    if features:
        more = f", {whole:,} of them with the same target" if 0 < whole < features else ", and so is the target" * bool(whole)
        rows = plural(len(split.test), "test row")
        verb = "is" if features == 1 else "are"
        found.append(
            f"{where} {features:,} of {rows} {verb} in all features a copy of a training row{more} (in the first split); if "
            "copies belong together, name what they share with dataset.group=COLUMN"
        )
    if name := leak(data, split):
        found.append(
            f"{where} {shown(name)} alone decides the target, and no other column comes near; if it is known only with the "
            f"target, type {naming('drop', name, several=True)}"
        )
    return found


def copies(data: Data, split: Split) -> tuple[int, int]:
    """How many test rows equal a training row in features and target, and how many in their features."""
    train, test = split.train, split.test
    of_x = _hashed(data.x.reshape(len(data), -1))
    of_both = of_x * _ODD + _hashed(data.y.reshape(len(data), -1))
    return int(np.isin(of_both[test], of_both[train]).sum()), int(np.isin(of_x[test], of_x[train]).sum())


_ODD = np.uint64(0x9E3779B97F4A7C15)


def _hashed(values: NDArray[np.generic]) -> NDArray[np.uint64]:
    """64 bits for each row, the same for equal rows; different ones have the same with a probability of 1 in 2^64."""
    factors = np.random.default_rng(0).integers(1, 1 << 63, values.shape[1], dtype=np.uint64) | np.uint64(1)
    found = np.empty(len(values), dtype=np.uint64)
    together = max(1, _TOGETHER // values.shape[1])
    for start in range(0, len(values), together):
        bits = (np.asarray(values[start : start + together], dtype=np.float64) + 0.0).view(np.uint64)  # -0.0 is 0.0
        bits = (bits ^ (bits >> np.uint64(29))) * _ODD
        found[start : start + together] = ((bits ^ (bits >> np.uint64(32))) * factors).sum(1, dtype=np.uint64)
    return found


def leak(data: Data, split: Split) -> str:
    """The one column that decides the target; an empty text where there is none."""
    task = TASKS[data.task]
    if not task.tabular or len(data.targets) != 1 or data.modality is not TABLE:
        return ""
    train, held = (_some(rows) for rows in (split.train, split.validation))
    columns = _columns(data, np.concatenate([train, held]))
    if len(held) < FEWEST or not 2 <= len(columns) <= _WIDEST:
        return ""
    y = data.y.reshape(len(data))[np.concatenate([train, held])]
    n = len(train)
    left = sorted((_left(values[:n], y[:n], values[n:], y[n:], task.scaled), name) for name, values in columns)
    (least, name), (other, _) = left[:2]
    return name if least <= DECIDES and other >= NEAR else ""


def _some(rows: NDArray[np.int64]) -> NDArray[np.int64]:
    return rows if len(rows) <= _MOST else rows[np.linspace(0, len(rows) - 1, _MOST).astype(np.int64)]


def _columns(data: Data, rows: NDArray[np.int64]) -> Sequence[Column]:
    """The columns of a table; of other data each feature is one."""
    x = data.x[rows].astype(np.float64)
    x = np.where(np.isnan(x), -1e300, x)
    if data.encoding is None:
        return [(name, x[:, place]) for place, name in enumerate(data.features)]
    found, start = [], 0
    for code in data.encoding.columns:
        here = x[:, start : start + len(code.features)]
        if code.kind == "categorical":
            found.append((code.name, np.where(here.any(1), here.argmax(1), -1).astype(np.float64)))
        else:
            found += [(code.name, here[:, place]) for place in range(here.shape[1])]
        start += len(code.features)
    return found


def _left(x: Numbers, y: NDArray[np.generic], other_x: Numbers, other_y: NDArray[np.generic], scaled: bool) -> float:
    """The share of the error that is left when the target is told by one column."""
    if scaled:
        places, which, counts = np.unique(x, return_inverse=True, return_counts=True)
        values, wanted = y.astype(np.float64), other_y.astype(np.float64)
        means = np.bincount(which, values) / counts
        missed = ((np.interp(other_x, places, means) - wanted) ** 2).sum()
        return float(missed / max(((values.mean() - wanted) ** 2).sum(), np.finfo(np.float64).tiny))
    one, other = _wrong(x, y, other_x, other_y), _wrong(other_x, other_y, x, y)
    commonest = np.bincount(y.astype(np.int64)).argmax()
    usual = (y != commonest).sum() + (other_y != commonest).sum()
    return float((one + other) / max(usual, 1))


def _wrong(x: Numbers, y: NDArray[np.generic], other_x: Numbers, other_y: NDArray[np.generic]) -> int:
    """How many of the others have another class than the commonest one of the nearest value has."""
    places, which = np.unique(x, return_inverse=True)
    classes = y.astype(np.int64)
    count = int(max(classes.max(), other_y.max())) + 1
    told = np.bincount(which * count + classes, minlength=len(places) * count).reshape(-1, count).argmax(1)
    edges = (places[:-1] + places[1:]) / 2
    return int((told[np.searchsorted(edges, other_x)] != other_y).sum())
