"""From the values of a loss to one number a row, and one a run.

A loss gives a value for each entry of the output, as torch's losses do with ``reduction="none"``: [R, B, ...], where the axes
behind the batch are outputs, classes or pixels. A loss in which rows count more or less, such as one with class weights, gives
``Weighted`` values. A loss of the user's own may also give one number a run, [R], which is taken as it is.

    per_row    the mean over the entries of a row            [R, B]
    per_run    the mean, weighted mean or sum over the rows   [R]

Shapes: R runs, B batch rows.
"""

from typing import Literal, NamedTuple

from dlrun.lazy import Tensor

Reduction = Literal["mean", "sum"]


class Weighted(NamedTuple):
    """Values that count more or less often than once.

    Attributes:
        values: [R, B, ...], each multiplied by how often it counts.
        counts: [R, B, ...], how often each counts.
    """

    values: Tensor
    counts: Tensor


class Mixed(NamedTuple):
    """Several losses of which a run's loss is the sum.

    Attributes:
        fractions: what each is multiplied by: a number, or one for each run [R].
        parts: the values of each.
    """

    fractions: tuple[float | Tensor, ...]
    parts: "tuple[Values, ...]"


Values = Tensor | Weighted | Mixed


def per_run(values: Values, weight: Tensor | None = None, reduction: Reduction = "mean") -> Tensor:
    """One number a run, as torch reduces a loss: [R].

    Args:
        values: of the loss.
        weight: how often each row counts, [R, B] or [B], such as 0 for rows that only fill up; None for once.
        reduction: mean divides by how often rows and entries count; sum adds up the rows' means over their entries, weighted.
    """
    if isinstance(values, Mixed):
        first, *rest = (fraction * per_run(part, weight, reduction) for fraction, part in zip(*values, strict=True))
        return sum(rest, first)
    if isinstance(values, Tensor) and values.dim() == 1:
        return values
    if weight is None and reduction == "mean":
        if isinstance(values, Tensor):
            return values.flatten(1).mean(1)
        return values.values.flatten(1).sum(1) / values.counts.flatten(1).sum(1)
    rows = _rows(values)
    weights = 1.0 if weight is None else weight
    total = (rows.values * weights).sum(1)
    return total if reduction == "sum" else total / (rows.counts * weights).sum(1)


def per_row(values: Values) -> Tensor | None:
    """The loss of each row, the mean over its entries: [R, B]; 0 for a row that does not count. None where a loss has none."""
    if isinstance(values, Mixed):
        total = None
        for fraction, part in zip(*values, strict=True):
            found = per_row(part)
            if found is None:
                return None
            mine = (fraction.view(-1, 1) if isinstance(fraction, Tensor) else fraction) * found
            total = mine if total is None else total + mine
        return total
    if isinstance(values, Tensor) and values.dim() == 1:
        return None
    rows = _rows(values)
    return rows.values / rows.counts.where(rows.counts != 0, 1.0)


def _rows(values: Tensor | Weighted) -> Weighted:
    """The same with one value a row: the mean over its entries."""
    if isinstance(values, Tensor):
        mean = values.flatten(2).mean(2) if values.dim() > 2 else values
        return Weighted(mean, mean.new_ones(mean.shape))
    return Weighted(*(each.flatten(2).mean(2) if each.dim() > 2 else each for each in values))
