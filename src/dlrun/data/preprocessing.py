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
import torch
from numpy.typing import NDArray
from torch import Tensor

from dlrun.components.tasks import TASKS
from dlrun.data.dataset import Data
from dlrun.data.modality import PADDING
from dlrun.data.sequences import UNKNOWN
from dlrun.data.splits import Splits
from dlrun.errors import DataError

_TOGETHER = 1 << 19  # numbers looked at together: 4 MB, and as much for their middle, unless a column has more rows


@dataclass(frozen=True, eq=False)
class Preprocessing:
    """What was fitted: float64 tensors, broadcastable against one row of x and one row of y.

    Attributes:
        fill: stands in for a missing value: the median of the training rows. Of sequences see above.
        shift: the mean of the training rows after filling.
        factor: 1 / standard deviation (of the population); 0 for a feature that is constant or all missing in training,
            so that a value never seen in training has no effect.
        y_shift, y_factor: [K], the same for regression targets; 0 and 1 otherwise, and y_factor is 1 for a constant target.
    """

    fill: Tensor
    shift: Tensor
    factor: Tensor
    y_shift: Tensor
    y_factor: Tensor

    def __reduce__(self) -> tuple[Any, ...]:
        """As arrays, which are sent to a worker in a twentieth of the time that tensors take, and without those beside them."""
        return _of_arrays, tuple(getattr(self, name).numpy() for name in _NUMBERS)

    def inputs(self, x: Tensor) -> Tensor:
        """``(where(isnan(x), fill, x) - shift) * factor``, in the dtype and on the device of x: [..., *shape] to the same.

        Numbers of words become those of the split, or stay as they are.
        """
        if not x.is_floating_point():
            return renumbered(x, self.fill)
        filled = torch.where(x.isnan(), self.fill.to(x), x)
        return filled.sub_(self.shift.to(x)).mul_(self.factor.to(x))

    def targets(self, y: Tensor) -> Tensor:
        """``(y - y_shift) * y_factor``: [..., K] to the same; class numbers stay as they are."""
        return (y - self.y_shift.to(y)) * self.y_factor.to(y) if y.is_floating_point() else y

    def original(self, prediction: Tensor) -> Tensor:
        """The inverse of ``targets``: predictions of a regression [..., K] in the units of the data."""
        return prediction / self.y_factor.to(prediction) + self.y_shift.to(prediction)

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

    fill: Tensor
    shift: Tensor
    factor: Tensor
    y_shift: Tensor
    y_factor: Tensor

    @staticmethod
    def of(several: Sequence[Preprocessing]) -> "Scalings":
        """The same numbers, held together."""
        if isinstance(several, Scalings):
            return several
        return Scalings(*(torch.stack([getattr(one, name) for one in several]) for name in _NUMBERS))

    @staticmethod
    def joined(several: Sequence["Scalings"]) -> "Scalings":
        """All of them, one after the other."""
        return (
            several[0]
            if len(several) == 1
            else Scalings(*(torch.cat([getattr(each, name) for each in several]) for name in _NUMBERS))
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
        chosen = torch.tensor(places)
        return Scalings(*(getattr(self, name)[chosen] for name in _NUMBERS))

    def to_json(self) -> list[dict[str, Any]]:
        """What ``to_json`` of each gives."""
        numbers = [getattr(self, name).tolist() for name in _NUMBERS]
        return [dict(zip(_NUMBERS, mine, strict=True)) for mine in zip(*numbers, strict=True)]

    def together(self, x_axes: int, y_axes: int) -> Preprocessing:
        """One that broadcasts against x [S, N, ...] and y [S, N, ...], which have so many axes without the first."""

        def wide(numbers: Tensor, axes: int) -> Tensor:
            return numbers.view(len(numbers), *[1] * (axes + 1 - numbers.dim()), *numbers.shape[1:])

        inputs, targets = (self.fill, self.shift, self.factor), (self.y_shift, self.y_factor)
        return Preprocessing(*(wide(numbers, x_axes) for numbers in inputs), *(wide(numbers, y_axes) for numbers in targets))


def _of_arrays(*numbers: NDArray[np.float64]) -> Preprocessing:
    return Preprocessing(*map(torch.from_numpy, numbers))


_NUMBERS = tuple(item.name for item in fields(Preprocessing))


def fit(data: Data, train: Tensor, *, standardize: bool = True, standardize_target: bool = True) -> Preprocessing:
    """Fit on the training rows; no other row is looked at.

    Args:
        data: N rows on the CPU; regression targets are ``data.train_y`` where there is one, since they are what training sees.
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
    return Scalings(*map(torch.cat, zip(*found, strict=True)))


def _fitted(data: Data, rows_Sn: Tensor, standardize: bool, standardize_target: bool) -> tuple[Tensor, ...]:
    return *_fitted_inputs(data, rows_Sn, standardize), *_fitted_targets(data, rows_Sn, standardize_target)


def _fitted_targets(data: Data, rows_Sn: Tensor, standardize: bool) -> tuple[Tensor, Tensor]:
    """Shift and factor of the targets: [S, K] each."""
    splits = len(rows_Sn)
    y_shift, y_factor = torch.zeros(splits, 1, dtype=torch.float64), torch.ones(splits, 1, dtype=torch.float64)
    if not TASKS[data.task].scaled:
        return y_shift, y_factor
    targets = data.y if data.train_y is None else data.train_y
    y = targets.index_select(0, rows_Sn.flatten()).to(torch.float64).view(splits, -1, *targets.shape[1:])
    if not standardize:
        return torch.zeros_like(y[:, 0]), torch.ones_like(y[:, 0])
    mean, deviation = _mean_and_deviation(y.movedim(1, -1))
    return mean, torch.where(deviation > 0, _inverse(deviation), 1.0)


def _fitted_inputs(data: Data, rows_Sn: Tensor, standardize: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Fill, shift and factor of the features, as they broadcast against a sample, for each of S splits."""
    splits = len(rows_Sn)
    if data.modality.integral:
        nothing = torch.zeros(splits, 1, dtype=torch.float64)
        if data.modality.pairs:
            return torch.stack([_known_pairs(data, rows) for rows in rows_Sn]), nothing, torch.ones_like(nothing)
        known = torch.stack([_known_words(data, rows) for rows in rows_Sn]) if data.most_words else nothing
        return known, nothing, torch.ones_like(nothing)
    features = data.x.movedim(-len(data.sample), 0)  # the axis of features or channels
    parts = [_statistics(part) for part in _chunks(features, rows_Sn)]
    fill, mean, deviation, missing = (torch.cat([part.view(-1, splits) for part in each]).T for each in zip(*parts, strict=True))
    shift, factor = (mean, _inverse(deviation)) if standardize else (torch.zeros_like(mean), torch.ones_like(mean))
    if data.encoding is not None:
        shift = torch.where(data.encoding.indicators, 0.0, shift)
        factor = torch.where(data.encoding.indicators, (deviation > 0).to(torch.float64), factor)
    factor = torch.where(missing, 0.0, factor)
    shape = (splits, *data.modality.scale_shape(data.sample))
    return fill.reshape(shape), shift.reshape(shape), factor.reshape(shape)


def _known_words(data: Data, rows: Tensor) -> Tensor:
    """The number of each word of the data among those that a split knows, by how often its rows have it: float64 [V + 1].

    The most frequent word is 2; of equally frequent ones the first of the vocabulary comes first. All others are UNKNOWN.
    """
    counts = torch.bincount(data.x[rows].flatten(), minlength=len(data.vocabulary) + 1)
    counts[: UNKNOWN + 1] = 0
    order = counts.argsort(descending=True, stable=True)[: data.most_words - 1]
    order = order[counts[order] > 0]
    numbers = torch.full((len(counts),), UNKNOWN, dtype=torch.float64)
    numbers[order] = torch.arange(len(order), dtype=torch.float64) + UNKNOWN + 1
    numbers[PADDING] = PADDING
    return numbers


def _known_pairs(data: Data, rows: Tensor) -> Tensor:
    """The number of each user and item, 0 for those that no row has: float64 [V + 1]."""
    numbers = torch.zeros(len(data.vocabulary) + 1, dtype=torch.float64)
    present = data.x[rows].flatten()
    numbers[present] = present.double()
    return numbers


def renumbered(x: Tensor, numbers: Tensor) -> Tensor:
    """Words [..., T] by the number that each has [..., V + 1]; as they are where there are no such numbers."""
    if numbers.shape[-1] == 1:
        return x
    return numbers.to(x).expand(*x.shape[:-1], -1).gather(-1, x)


def _chunks(features: Tensor, rows_Sn: Tensor) -> Iterator[Tensor]:
    """The training values of a few features at a time, so that x is never copied whole: float64 [d * S, values] each."""
    splits, rows = len(rows_Sn), rows_Sn.flatten()
    width = max(1, _TOGETHER // (len(rows) * features[0, 0].numel()))
    for start in range(0, len(features), width):
        values = features[start : start + width].index_select(1, rows).to(torch.float64)
        yield values.reshape(len(values) * splits, -1)


def _statistics(values: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Median, mean, standard deviation and "all missing" of each row of [d, n]; mean and deviation with the median filled in."""
    count, n = values.shape
    if bool(values.sum().isfinite()):  # none is missing
        middle = np.partition(values.numpy(), [(n - 1) // 2, n // 2], axis=1)
        low, high = torch.from_numpy(middle[:, (n - 1) // 2]), torch.from_numpy(middle[:, n // 2])
        median, filled, missing = low + (high - low) / 2, values, torch.zeros(count, dtype=torch.bool)
    else:
        absent = values.isnan()
        present = n - absent.sum(1)
        places = torch.stack(((present - 1).clamp_min(0) // 2, (present // 2).clamp_max(n - 1)), dim=1)
        # NaN sorts last, so that the count of a row finds its middle
        low, high = values.sort(1).values.gather(1, places).unbind(1)
        missing = present == 0
        median = torch.where(missing, 0.0, low + (high - low) / 2)
        filled = torch.where(absent, median[:, None], values)
    mean, deviation = _mean_and_deviation(filled)
    return median, mean, deviation, missing


def _mean_and_deviation(values: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation (of the population) over the last axis, float64."""
    count = values.shape[-1]
    mean = total(values) / count
    deviation = (total((values - mean.unsqueeze(-1)).square_()) / count).sqrt()
    # The deviation of equal numbers need not round to 0, hence the comparison of the ends.
    return mean, torch.where(values.amax(-1) > values.amin(-1), deviation, 0.0)


def total(values: Tensor) -> Tensor:
    """The sum over the last axis, with the same bits on every machine: [..., n] to [...].

    The second half is added to the first until one number is left. That is an order of its own, where a library takes that which
    fits the vectors of the processor, and as exact as a pairwise sum (Higham 1993).
    """
    count = values.shape[-1]
    half = (count + 1) // 2
    left = values[..., :half].clone()
    while count > 1:
        left[..., : count - half] += values[..., half:count]
        values, count, half = left, half, (half + 1) // 2
        left = left[..., :half]
    return left[..., 0]


def _inverse(deviation: Tensor) -> Tensor:
    """1 / deviation, and 0 where that is not a finite number."""
    inverse = 1.0 / deviation
    return torch.where(inverse.isfinite(), inverse, 0.0)


def _numbers(content: Mapping[str, Any], name: str) -> Tensor:
    try:
        numbers = torch.tensor(content[name], dtype=torch.float64)
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"preprocessing.{name}: must be a list of numbers; the file is damaged or of another kind") from error
    if numbers.numel() == 0 or not numbers.isfinite().all():
        raise DataError(f"preprocessing.{name}: must be finite numbers; the file is damaged or of another kind")
    return numbers
