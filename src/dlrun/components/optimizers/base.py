"""What an optimizer is here, and the row operations that all of them are made of.

An optimizer moves R rows of theta at once. Its hyperparameters are floats where all rows agree and columns [R, 1] where they
differ; every operation below takes both. A float becomes a scalar argument of one fused torch operation. A column costs at most
one operation more.

Columns live on theta's device, best in float64: bias corrections such as 1 - 0.999**t lose half of their digits in float32.
What comes out of them is cast to theta's type where it meets theta.

Shapes: R rows (runs) of the group, P parameters of a run.
"""

from abc import ABC, abstractmethod

from dlrun.components.hyperparameters import Row
from dlrun.lazy import Tensor, torch

State = dict[str, Tensor]


class Optimizer(ABC):
    """One update rule for a group of adjacent rows of theta, with the semantics of the torch.optim class of the same name.

    Hyperparameters are keyword-only arguments of the constructor, named as in torch: a float for all rows, or a column [R, 1].
    The object holds hyperparameters, and scratch memory at most. What changes over time is in the state, whose tensors all have R
    as their first size, so rows can be cut and states written to disk.
    """

    @abstractmethod
    def state(self, theta: Tensor) -> State:
        """The state before the first step, for theta [R, P]: tensors [R, P], or [R, 1] for one number a run."""

    @abstractmethod
    def step(self, theta: Tensor, grad: Tensor, state: State, t: int, factor: Row) -> None:
        """Make one update, in place on theta and state. Call it under ``torch.no_grad`` when theta requires gradients.

        Args:
            theta: [R, P], changed in place.
            grad: [R, P], the gradient of each row's loss. Its memory is used as scratch: the values are lost.
            state: what ``state`` returned, changed in place.
            t: the number of this step, from 1.
            factor: what the schedule multiplies the learning rate with: a float or a column [R, 1].
        """

    def evaluation(self, theta: Tensor, state: State) -> Tensor:
        """The weights to evaluate and to keep, [R, P]: theta, unless the optimizer averages its weights."""
        return theta


class Scratch:
    """A matrix for what a step computes on its way, kept from step to step.

    Memory of some megabytes goes back to the system when it is freed, and taking it anew costs more than the arithmetic.
    """

    def __init__(self) -> None:
        self._memory: Tensor | None = None

    def like(self, x: Tensor) -> Tensor:
        """A matrix of x's shape, type and device, whose values mean nothing."""
        memory = self._memory
        if memory is None or memory.shape != x.shape or memory.dtype != x.dtype or memory.device != x.device:
            self._memory = memory = torch.empty_like(x)
        return memory


def product(rate: Row, other: Row) -> Row:
    """``rate * other``, which stays the float 0 when the rate is: an absent weight decay costs nothing."""
    return rate * other if isinstance(rate, Tensor) or rate else 0.0


def cast(number: Row, x: Tensor) -> Row:
    """A column in the type of x; a float as it is."""
    return number.to(x.dtype) if isinstance(number, Tensor) else number


def add(x: Tensor, number: Row) -> Tensor:
    """``x += number`` for x [R, P]."""
    return x.add_(cast(number, x))


def scale(x: Tensor, number: Row) -> Tensor:
    """``x *= number`` for x [R, P]."""
    return x.mul_(cast(number, x))


def shrink(x: Tensor, rate: Row) -> None:
    """``x *= 1 - rate`` for x [R, P]: decoupled weight decay. Nothing at all when the rate is the float 0."""
    if isinstance(rate, Tensor):
        x.mul_((1 - rate).to(x.dtype))
    elif rate:
        x.mul_(1 - rate)


def add_scaled(x: Tensor, y: Tensor, number: Row) -> None:
    """``x += number * y`` for x, y [R, P]. Nothing at all when the number is the float 0."""
    if isinstance(number, Tensor):
        x.addcmul_(y, number.to(x.dtype))
    elif number:
        x.add_(y, alpha=number)


def add_ratio(x: Tensor, numerator: Tensor, denominator: Tensor, number: Row, scratch: Scratch | Tensor) -> None:
    """``x += number * numerator / denominator``, all [R, P]. The scratch may be the numerator.

    A column multiplies the numerator: that is the order in which torch applies a float, so both give the same bits.
    """
    if isinstance(number, Tensor):
        x.addcdiv_(torch.mul(numerator, number.to(x.dtype), out=_matrix(scratch, x)), denominator)
    else:
        x.addcdiv_(numerator, denominator, value=number)


def average(mean: Tensor, value: Tensor, rate: Row) -> None:
    """``mean += rate * (value - mean)``, a moving average [R, P] of the value."""
    mean.lerp_(value, cast(rate, mean))


def average_square(mean: Tensor, value: Tensor, decay: Row, scratch: Scratch) -> None:
    """``mean = decay * mean + (1 - decay) * value**2``, a moving average [R, P] of the value's square.

    In this form an overflowing square leaves the mean infinite, as torch does; interpolation would turn it into NaN.
    """
    if isinstance(decay, Tensor):
        weighted = torch.mul(value, (1 - decay).to(mean.dtype), out=scratch.like(value))
        mean.mul_(decay.to(mean.dtype)).addcmul_(weighted, value)
    else:
        mean.mul_(decay).addcmul_(value, value, value=1 - decay)


def _matrix(scratch: Scratch | Tensor, x: Tensor) -> Tensor:
    return scratch if isinstance(scratch, Tensor) else scratch.like(x)
