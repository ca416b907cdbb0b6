"""Scaling and imputation, fitted on training rows alone and kept as plain numbers.

The raw data is held once, and a split adds nothing but a fill, a shift and a factor for each feature:

    x -> (x - shift) * factor, missing values filled first        y -> (y - y_shift) * y_factor   (regression)

Shapes: N rows, D features, K outputs, C channels, M members of a pair or triplet, S splits. The numbers are [D] for tables and
for pairs and triplets (all members share them), [C, 1, 1] for images and [C, 1] for signals (all places of a channel share
them). Numbers of words are not scaled: theirs are [1], and have no effect; but where a split knows the words of its training rows
alone, its fill is [V + 1], the number there of each of the V words of the data. Users and items without training rows become 0.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from dlrun.components.tasks import TASKS
from dlrun.data.dataset import Data
from dlrun.data.modality import PADDING
from dlrun.data.sequences import UNKNOWN
from dlrun.data.splits import Splits
from dlrun.errors import DataError

Floats = NDArray[np.float64]

_TOGETHER = 1 << 19  # numbers looked at together: 4 MB, and as much for their middle, unless a column has more rows


@dataclass(frozen=True, eq=False)
class Preprocessing:
    """What was fitted: float64 arrays, broadcastable against one row of x and one row of y.

    Attributes:
        fill: stands in for a missing value: the median of the training rows. Of sequences see above.
        shift: the mean of the training rows after filling.
        factor: 1 / standard deviation (of the population); 0 for a feature that is constant or all missing in training,
            so that a value never seen in training has no effect.
        y_shift, y_factor: [K], the same for regression targets; 0 and 1 otherwise, and y_factor is 1 for a constant target.
    """

    fill: Floats
    shift: Floats
    factor: Floats
    y_shift: Floats
    y_factor: Floats

    @np.errstate(over="ignore", invalid="ignore")
    def inputs(self, x: NDArray[Any]) -> NDArray[Any]:
        """``(where(isnan(x), fill, x) - shift) * factor``, in the dtype of x: [..., *shape] to the same.

        Numbers of words become those of the split, or stay as they are.
        """
        if x.dtype.kind != "f":
            return renumbered(x, self.fill)
        filled: NDArray[Any] = np.where(np.isnan(x), self.fill.astype(x.dtype), x)
        filled -= self.shift.astype(x.dtype)
        filled *= self.factor.astype(x.dtype)
        return filled

    @np.errstate(over="ignore", invalid="ignore")
    def targets(self, y: NDArray[Any]) -> NDArray[Any]:
        """``(y - y_shift) * y_factor``: [..., K] to the same; class numbers stay as they are."""
        if y.dtype.kind != "f":
            return y
        scaled: NDArray[Any] = (y - self.y_shift.astype(y.dtype)) * self.y_factor.astype(y.dtype)
        return scaled

    @np.errstate(over="ignore", invalid="ignore")
    def original(self, prediction: NDArray[Any]) -> NDArray[Any]:
        """The inverse of ``targets``: predictions of a regression [..., K] in the units of the data."""
        found: NDArray[Any] = prediction / self.y_factor.astype(prediction.dtype) + self.y_shift.astype(prediction.dtype)
        return found

    def to_json(self) -> dict[str, Any]:
        """Nested lists of numbers that ``from_json`` reads back without loss."""
        return {field.name: getattr(self, field.name).tolist() for field in fields(self)}

    @staticmethod
    def from_json(content: Mapping[str, Any]) -> "Preprocessing":
        """What ``to_json`` wrote.

        Raises:
            DataError: when a key is missing or does not hold finite numbers.
        """
        numbers = {field.name: _numbers(content, field.name) for field in fields(Preprocessing)}
        return Preprocessing(**numbers)


@dataclass(frozen=True, eq=False)
class Scalings(Sequence[Preprocessing]):
    """What was fitted on S splits: the attributes of ``Preprocessing``, each [S, ...]."""

    fill: Floats
    shift: Floats
    factor: Floats
    y_shift: Floats
    y_factor: Floats

    @staticmethod
    def of(several: Sequence[Preprocessing]) -> "Scalings":
        """The same numbers, held together."""
        if isinstance(several, Scalings):
            return several
        return Scalings(*(np.stack([getattr(one, name) for one in several]) for name in _NUMBERS))

    @staticmethod
    def joined(several: Sequence["Scalings"]) -> "Scalings":
        """All of them, one after the other."""
        return (
            several[0]
            if len(several) == 1
            else Scalings(*(np.concatenate([getattr(each, name) for each in several]) for name in _NUMBERS))
        )

    def __len__(self) -> int:
        return len(self.fill)

    @overload
    def __getitem__(self, place: int) -> Preprocessing: ...
    @overload
    def __getitem__(self, place: slice) -> "Scalings": ...
    def __getitem__(self, place: int | slice) -> "Preprocessing | Scalings":
        numbers = self.fill[place], self.shift[place], self.factor[place], self.y_shift[place], self.y_factor[place]
        return Scalings(*numbers) if isinstance(place, slice) else Preprocessing(*numbers)

    def select(self, places: Sequence[int]) -> "Scalings":
        """Those at some places."""
        chosen = np.asarray(places, dtype=np.int64)
        return Scalings(*(getattr(self, name)[chosen] for name in _NUMBERS))

    def to_json(self) -> list[dict[str, Any]]:
        """What ``to_json`` of each gives."""
        numbers = [getattr(self, name).tolist() for name in _NUMBERS]
        return [dict(zip(_NUMBERS, mine, strict=True)) for mine in zip(*numbers, strict=True)]

    def together(self, x_axes: int, y_axes: int) -> Preprocessing:
        """One that broadcasts against x [S, N, ...] and y [S, N, ...], which have so many axes without the first."""

        def wide(numbers: Floats, axes: int) -> Floats:
            return numbers.reshape(len(numbers), *[1] * (axes + 1 - numbers.ndim), *numbers.shape[1:])

        inputs, targets = (self.fill, self.shift, self.factor), (self.y_shift, self.y_factor)
        return Preprocessing(*(wide(numbers, x_axes) for numbers in inputs), *(wide(numbers, y_axes) for numbers in targets))


_NUMBERS = tuple(item.name for item in fields(Preprocessing))


def fit(data: Data, train: NDArray[np.int64], *, standardize: bool = True, standardize_target: bool = True) -> Preprocessing:
    """Fit on the training rows; no other row is looked at.

    Args:
        data: N rows; regression targets are ``data.train_y`` where there is one, since they are what training sees.
        train: training rows, int64 [n].
        standardize: centre and scale features; without it shift is 0 and factor 1 (0 for a feature that is all missing).
            Indicators of a user's table (categories, truth values) stay 0 and 1: a rare one would lie far out when scaled.
            One that is constant in training has factor 0.
        standardize_target: centre and scale regression targets.

    Returns:
        The fitted numbers.
    """
    return Scalings(*_fitted(data, train[None], standardize, standardize_target))[0]


def fit_each(data: Data, splits: Splits, *, standardize: bool = True, standardize_target: bool = True) -> Scalings:
    """What ``fit`` gives for each of S splits, which have equally many training rows: the same bits, in less time."""
    size = (math.prod(data.x.shape[1:]) + math.prod(data.y.shape[1:])) * splits[0].sizes[0]
    together = max(1, _TOGETHER // size)
    found = [
        _fitted(data, splits[start : start + together].rows("train"), standardize, standardize_target)
        for start in range(0, len(splits), together)
    ]
    return Scalings(*map(np.concatenate, zip(*found, strict=True)))


@np.errstate(all="ignore")
def _fitted(data: Data, rows_Sn: NDArray[np.int64], standardize: bool, standardize_target: bool) -> tuple[Floats, ...]:
    return *_fitted_inputs(data, rows_Sn, standardize), *_fitted_targets(data, rows_Sn, standardize_target)


def _fitted_targets(data: Data, rows_Sn: NDArray[np.int64], standardize: bool) -> tuple[Floats, Floats]:
    """Shift and factor of the targets: [S, K] each."""
    splits = len(rows_Sn)
    y_shift, y_factor = np.zeros((splits, 1)), np.ones((splits, 1))
    if not TASKS[data.task].scaled:
        return y_shift, y_factor
    targets = data.y if data.train_y is None else data.train_y
    y = targets[rows_Sn].astype(np.float64)
    if not standardize:
        return np.zeros_like(y[:, 0]), np.ones_like(y[:, 0])
    mean, deviation = _mean_and_deviation(np.moveaxis(y, 1, -1))
    return mean, np.where(deviation > 0, _inverse(deviation), 1.0)


def _fitted_inputs(data: Data, rows_Sn: NDArray[np.int64], standardize: bool) -> tuple[Floats, Floats, Floats]:
    """Fill, shift and factor of the features, as they broadcast against a sample, for each of S splits."""
    splits = len(rows_Sn)
    if data.modality.integral:
        nothing = np.zeros((splits, 1))
        if data.modality.pairs:
            return np.stack([_known_pairs(data, rows) for rows in rows_Sn]), nothing, np.ones_like(nothing)
        known = np.stack([_known_words(data, rows) for rows in rows_Sn]) if data.most_words else nothing
        return known, nothing, np.ones_like(nothing)
    features = np.moveaxis(data.x, -len(data.sample), 0)  # the axis of features or channels
    parts = [_statistics(part) for part in _chunks(features, rows_Sn)]
    fill, mean, deviation, missing = (
        np.concatenate([part.reshape(-1, splits) for part in each]).T for each in zip(*parts, strict=True)
    )
    shift, factor = (mean, _inverse(deviation)) if standardize else (np.zeros_like(mean), np.ones_like(mean))
    if data.encoding is not None:
        shift = np.where(data.encoding.indicators, 0.0, shift)
        factor = np.where(data.encoding.indicators, (deviation > 0).astype(np.float64), factor)
    factor = np.where(missing, 0.0, factor)
    shape = (splits, *data.modality.scale_shape(data.sample))
    return fill.reshape(shape), shift.reshape(shape), factor.reshape(shape)


def _known_words(data: Data, rows: NDArray[np.int64]) -> Floats:
    """The number of each word of the data among those that a split knows, by how often its rows have it: float64 [V + 1].

    The most frequent word is 2; of equally frequent ones the first of the vocabulary comes first. All others are UNKNOWN.
    """
    counts = np.bincount(data.x[rows].ravel(), minlength=len(data.vocabulary) + 1)
    counts[: UNKNOWN + 1] = 0
    order = np.argsort(-counts, kind="stable")[: data.most_words - 1]
    order = order[counts[order] > 0]
    numbers = np.full(len(counts), UNKNOWN, dtype=np.float64)
    numbers[order] = np.arange(len(order)) + UNKNOWN + 1
    numbers[PADDING] = PADDING
    return numbers


def _known_pairs(data: Data, rows: NDArray[np.int64]) -> Floats:
    """The number of each user and item, 0 for those that no row has: float64 [V + 1]."""
    numbers = np.zeros(len(data.vocabulary) + 1)
    present = data.x[rows]
    numbers[present] = present
    return numbers


def renumbered(x: NDArray[Any], numbers: Floats) -> NDArray[Any]:
    """Words [..., T] by the number that each has [..., V + 1]; as they are where there are no such numbers."""
    if numbers.shape[-1] == 1:
        return x
    table = np.broadcast_to(numbers.astype(x.dtype), (*x.shape[:-1], numbers.shape[-1]))
    return np.take_along_axis(table, x, -1)


def _chunks(features: NDArray[Any], rows_Sn: NDArray[np.int64]) -> Iterator[Floats]:
    """The training values of a few features at a time, so that x is never copied whole: float64 [d * S, values] each."""
    splits, rows = len(rows_Sn), rows_Sn.ravel()
    width = max(1, _TOGETHER // (len(rows) * features[0, 0].size))
    for start in range(0, len(features), width):
        values = features[start : start + width].take(rows, 1).astype(np.float64, copy=False)
        yield values.reshape(len(values) * splits, -1)


def _statistics(values: Floats) -> tuple[Floats, Floats, Floats, NDArray[np.bool_]]:
    """Median, mean, standard deviation and "all missing" of each row of [d, n]; mean and deviation with the median filled in."""
    count, n = values.shape
    if np.isfinite(values.sum()):  # none is missing
        middle = np.partition(values, [(n - 1) // 2, n // 2], axis=1)
        low, high = middle[:, (n - 1) // 2], middle[:, n // 2]
        median, filled, missing = low + (high - low) / 2, values, np.zeros(count, dtype=np.bool_)
    else:
        absent = np.isnan(values)
        present = n - absent.sum(1)
        places = np.stack((np.maximum(present - 1, 0) // 2, np.minimum(present // 2, n - 1)), 1)
        # NaN sorts last, so that the count of a row finds its middle
        low, high = np.take_along_axis(np.sort(values, axis=1), places, 1).T
        missing = present == 0
        median = np.where(missing, 0.0, low + (high - low) / 2)
        filled = np.where(absent, median[:, None], values)
    mean, deviation = _mean_and_deviation(filled)
    return median, mean, deviation, missing


def _mean_and_deviation(values: Floats) -> tuple[Floats, Floats]:
    """Mean and standard deviation (of the population) over the last axis, float64."""
    count = values.shape[-1]
    mean = total(values) / count
    deviation = np.sqrt(total(np.square(values - mean[..., None])) / count)
    # The deviation of equal numbers need not round to 0, hence the comparison of the ends.
    return mean, np.where(values.max(-1) > values.min(-1), deviation, 0.0)


def total(values: Floats) -> Floats:
    """The sum over the last axis, with the same bits on every machine: [..., n] to [...].

    The second half is added to the first until one number is left. That is an order of its own, where a library takes that which
    fits the vectors of the processor, and as exact as a pairwise sum (Higham 1993).
    """
    count = values.shape[-1]
    half = (count + 1) // 2
    left = values[..., :half].copy()
    while count > 1:
        left[..., : count - half] += values[..., half:count]
        values, count, half = left, half, (half + 1) // 2
        left = left[..., :half]
    return left[..., 0]


def _inverse(deviation: Floats) -> Floats:
    """1 / deviation, and 0 where that is not a finite number."""
    inverse = 1.0 / deviation
    return np.where(np.isfinite(inverse), inverse, 0.0)


def _numbers(content: Mapping[str, Any], name: str) -> Floats:
    try:
        numbers = np.array(content[name], dtype=np.float64)
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"preprocessing.{name}: must be a list of numbers; the file is damaged or of another kind") from error
    if numbers.size == 0 or not np.isfinite(numbers).all():
        raise DataError(f"preprocessing.{name}: must be finite numbers; the file is damaged or of another kind")
    return numbers
