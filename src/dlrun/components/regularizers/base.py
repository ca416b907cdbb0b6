"""What a regularizer may do, each at exactly one place of the trainer.

    Penalty.add_gradient(theta, grad)                                 the gradient of a term of the loss, Penalty.value(theta)
    Kink.choose(theta, grad, state, t) -> signs                       the same for a term with a kink at 0, before the optimizer
    Kink.project(theta, signs)                                        and behind it: weights that would change sign become 0
    AfterStep.after_step(theta, lr)                                   a change of the parameters behind every optimizer step
    BatchTransform.batch(x, y, keys) -> x, y                          another view of the training batch
    AroundActivation.layer(...)                                       a layer before or behind every activation (in the engine)
    Stop.stop(history) -> rows                                        the runs that have trained enough

A regularizer is one or several of these. Hooks transform and return; none sees the trainer. Hyperparameters are floats where all
runs agree, else columns [R, 1].

Shapes: R runs, B batch rows, P parameters, E epochs so far.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, Literal

from dlrun.components.optimizers.base import State
from dlrun.lazy import Tensor, torch


@dataclass(frozen=True)
class Weights:
    """Where the weights lie in theta: a mask [1, P] (0 for biases, norms), and each weight as (start, stop, shape in a run)."""

    mask: Tensor
    places: tuple[tuple[int, int, tuple[int, ...]], ...]


class Regularizer(ABC):  # noqa: B024 - its hooks are the classes below
    """The common root. A subclass implements one or more of the hooks below."""


class Penalty(Regularizer):
    """A term added to every run's loss. Training needs its gradient alone, and the losses that are reported are without it."""

    @abstractmethod
    def value(self, theta: Tensor) -> Tensor:
        """The term of each run: [R]."""

    def add_gradient(self, theta: Tensor, grad: Tensor) -> None:
        """Add the derivative of ``value`` to ``grad`` [R, P], in place: by autograd, where a subclass has no formula for it.

        A penalty that acts by a step behind the optimizer's (see ``AfterStep``) adds nothing here.
        """
        with torch.enable_grad():
            leaf = theta.detach().requires_grad_()
            (slope,) = torch.autograd.grad(self.value(leaf).sum(), leaf)
        grad += slope


class Kink(Penalty):
    """A penalty with a kink at 0, such as |w|, whose minimum lies exactly in the kink for some weights.

    It acts on the gradient before the optimizer's step and on theta behind it, and so means the same objective under every
    optimizer: no assumption is made about how far a step goes.
    """

    @abstractmethod
    def state(self, theta: Tensor) -> State:
        """What is kept from step to step, for theta [R, P]: tensors [R, P]; nothing where the penalty does not act this way."""

    @abstractmethod
    def choose(self, theta: Tensor, grad: Tensor, state: State, t: int) -> Tensor:
        """Turn the gradient of the loss into that of loss and penalty on the side of 0 on which each weight is to stay.

        Args:
            theta: [R, P].
            grad: [R, P], the gradient of the loss and of the other penalties; changed in place.
            state: what ``state`` returned, changed in place.
            t: the number of this step, from 1.

        Returns:
            The side of each weight [R, P]: 1, -1, or 0 for one that stays at 0.
        """

    @abstractmethod
    def project(self, theta: Tensor, signs: Tensor) -> None:
        """Set the weights of ``theta`` [R, P] that are not on their side to 0, in place. The values of ``signs`` are lost."""


class AfterStep(Regularizer):
    """A change of theta behind each optimizer step."""

    @abstractmethod
    def after_step(self, theta: Tensor, lr: float | Tensor) -> None:
        """Change ``theta`` [R, P] in place.

        ``lr`` is the learning rate of this step, a float or a column [R, 1]. How far the optimizer goes is another number: with
        momentum 0.9 a steady gradient moves a weight by 10 lr, with adam by lr whatever its size.
        """


class BatchTransform(Regularizer):
    """Another view of the training batch: augmentation, mixed rows, softened targets."""

    soft_targets: bool = False  # whether class targets become probabilities

    @abstractmethod
    def batch(self, x: Tensor, y: Tensor, keys: Tensor) -> tuple[Tensor, Tensor]:
        """The batch to train on. x [R, B, ...], y [R, B, ...]; ``keys`` [R] of this step in the augment stream."""


class AroundActivation(Regularizer):
    """A layer at every activation. The engine builds it, since layers are the engine's; this says which, where and with what."""

    kind: Literal["dropout", "batch_norm"]
    place: Literal["before", "after"]

    @property
    @abstractmethod
    def values(self) -> dict[str, float | Tensor]:
        """The hyperparameters of the layer."""


class Stop(Regularizer):
    """Ends runs early and gives them back the weights of their best epoch."""

    metric: str | None = None

    @abstractmethod
    def stop(self, history: Any) -> Any:
        """Which runs have trained enough: bool [R]. ``history`` [E, R] is the watched metric, smaller is better.

        Both are tensors on the CPU; dlrun's own takes arrays and returns one.
        """


def each_run(value: float | Tensor, like: Tensor) -> float | Tensor:
    """``value`` as it broadcasts against ``like`` [R, ...]: unchanged, or a column [R, 1, ..., 1]."""
    return value.view(-1, *[1] * (like.dim() - 1)) if isinstance(value, Tensor) else value
