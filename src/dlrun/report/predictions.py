"""What predictions show: confusion, reliability, ROC, the rows that are hardest. Numbers in, numbers out.

Shapes: n rows, K classes, B bins, G points of a grid, R runs.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dlrun.report.evidence import Floats, Predicted

BINS = 10
GRID = 101  # points of a mean ROC curve


def confusion(several: Sequence[Predicted]) -> NDArray[np.int64]:
    """How many rows (or pixels) of each class were given each class, summed over runs: [K true, K predicted]."""
    classes = several[0].value.shape[1]
    counts = np.zeros((classes, classes), np.int64)
    for each in several:
        np.add.at(counts, (each.true.ravel(), each.value.argmax(1).ravel()), 1)
    return counts


@dataclass(frozen=True)
class Bin:
    """Predictions of similar confidence: what was predicted on average, what came true, and Wilson's 95% interval of that."""

    predicted: float
    observed: float
    low: float
    high: float
    count: int


def reliability(several: Sequence[Predicted]) -> list[Bin]:
    """Predicted probabilities in ten bins against how often they came true.

    Of two classes the probability of the second, of labels that of each, of several classes that of the predicted one. Wilson's
    interval takes rows for independent; the same row of several runs is not, so it is narrow for pooled runs.
    """
    probabilities, hits = [], []
    for each in several:
        if each.task.two_classes:
            probability, hit = each.value[:, 1], each.true == 1
        elif each.task.exclusive:
            probability, hit = each.value.max(1), each.value.argmax(1) == each.true
        else:
            probability, hit = each.value, each.true > 0
        probabilities.append(probability.ravel())
        hits.append(hit.ravel())
    p, came = np.concatenate(probabilities), np.concatenate(hits).astype(np.float64)
    place = np.minimum((p * BINS).astype(int), BINS - 1)
    found = []
    for number in range(BINS):
        inside = place == number
        if count := int(inside.sum()):
            share = float(came[inside].mean())
            found.append(Bin(float(p[inside].mean()), share, *_wilson(share, count), count))
    return found


def _wilson(share: float, n: int, z: float = 1.959964) -> tuple[float, float]:
    """Wilson's score interval of a share (Wilson 1927)."""
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * np.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return float(max(0.0, middle - half)), float(min(1.0, middle + half))


def roc(score: Floats, positive: NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """False and true positive rates at every threshold, from (0, 0) to (1, 1); rows of equal score are one step.

    Raises:
        ValueError: there are no rows of one of the two kinds.
    """
    hits = int(positive.sum())
    if not 0 < hits < len(positive):
        raise ValueError("ROC needs rows of both kinds")
    order = np.argsort(-score, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(score[order])), len(score) - 1)
    true = np.cumsum(positive[order])[ends]
    false = ends + 1 - true
    return np.append(0.0, false / (len(score) - hits)), np.append(0.0, true / hits)


def mean_roc(several: Sequence[Predicted]) -> dict[str, tuple[Floats, list[Floats]]]:
    """Class -> a grid of false positive rates, and the true positive rates of each run there (one against the rest).

    Of two classes the second alone. Classes without rows of both kinds in any run are left out.
    """
    first = several[0]
    places = [1] if first.task.two_classes else range(first.value.shape[1])
    grid = np.linspace(0, 1, GRID)
    found = {}
    for place in places:
        curves = []
        for each in several:
            positive = each.true == place if each.true.ndim == 1 else each.true[:, place] > 0
            try:
                false, true = roc(each.value[:, place], positive)
            except ValueError:
                continue
            curves.append(_at(grid, false, true))
        if curves:
            found[first.names[place]] = grid, curves
    return found


def _at(grid: Floats, x: Floats, y: Floats) -> Floats:
    """A curve of ascending steps on a grid, the upper end of a vertical step at its place."""
    last = np.append(np.flatnonzero(np.diff(x)), len(x) - 1)
    return np.concatenate([[0.0], np.interp(grid[1:], x[last], y[last])])


@dataclass(frozen=True)
class HardRow:
    """A row of the data on which runs are wrong: in how many it was predicted, its mean error, what is true and what was said."""

    row: int
    runs: int
    error: float
    true: str
    predicted: str


def hardest(several: Sequence[Predicted], most: int = 15) -> list[HardRow]:
    """The rows with the largest mean error over the runs that predicted them, worst first."""
    errors: dict[int, list[float]] = {}
    said: dict[int, list[tuple[str, str]]] = {}
    for each in several:
        texts = _texts(each)
        for row, error, text in zip(each.rows.tolist(), each.errors().tolist(), texts, strict=True):
            errors.setdefault(row, []).append(error)
            said.setdefault(row, []).append(text)
    means = {row: sum(values) / len(values) for row, values in errors.items()}
    worst = sorted(means, key=lambda row: (-means[row], row))[:most]
    return [
        HardRow(row, len(errors[row]), means[row], said[row][0][0], _counted([text for _, text in said[row]])) for row in worst
    ]


def _texts(each: Predicted) -> list[tuple[str, str]]:
    """What is true of each row, and what was predicted, in words."""
    if each.task.pixels:
        wrong = (each.value.argmax(1) != each.true).reshape(len(each.true), -1).mean(1)
        return [("", f"{share:.1%} of pixels wrong") for share in wrong]
    if each.task.exclusive or each.task.two_classes:
        return [(each.names[true], each.names[said]) for true, said in zip(each.true, each.value.argmax(1), strict=True)]
    if each.task.classes:

        def labels(row: NDArray[np.bool_]) -> str:
            return ", ".join(name for name, has in zip(each.names, row, strict=True) if has) or "none"

        return [(labels(true > 0), labels(p > 0.5)) for true, p in zip(each.true, each.value, strict=True)]
    return [
        (", ".join(f"{v:.4g}" for v in true), ", ".join(f"{v:.4g}" for v in value))
        for true, value in zip(each.true, each.value, strict=True)
    ]


def _counted(texts: Sequence[str]) -> str:
    """What was predicted, most often first: ``a (3), b (1)``; of values the range."""
    counts: dict[str, int] = {}
    for text in texts:
        counts[text] = counts.get(text, 0) + 1
    if len(counts) == 1:
        return texts[0]
    try:
        numbers = [float(text) for text in texts]
    except ValueError:
        several = sorted(counts.items(), key=lambda item: -item[1])
        more = f", and {len(several) - 3} more" if len(several) > 3 else ""
        return ", ".join(f"{text} ({count})" for text, count in several[:3]) + more
    return f"{min(numbers):.4g} to {max(numbers):.4g}"
