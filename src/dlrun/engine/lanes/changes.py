"""What changes a batch before a step, as the kernel takes it: augmentation, mixup, label smoothing (see native/changes.h).

Shapes: R runs.
"""

from typing import Any, NamedTuple

from dlrun.components.regularizers import Augmentation, BatchTransform, LabelSmoothing
from dlrun.components.regularizers.batches import beta_quantiles
from dlrun.engine.components import Component
from dlrun.engine.lanes.columns import Columns, UnfitError
from dlrun.engine.lanes.library import Change, kinds
from dlrun.engine.step import TrainStep
from dlrun.lazy import Tensor, torch

MOVES = ("shift", "flip", "rotate", "crop")


class Changes(NamedTuple):
    """The changes of a cohort's batches.

    Args:
        each: in the order in which they are made.
        shares: tables that mixup draws from [alphas, quantiles]; one number where there is none.
        soft: whether numbers of classes become shares of them.
    """

    each: list[Change]
    shares: Tensor
    soft: bool


def softens(part: Component) -> bool:
    """Whether a regularizer makes shares of classes of their numbers."""
    function: Any = part.function
    return function is LabelSmoothing or (function is Augmentation and part.values.get("kind") == "mixup")


def changes(train_step: TrainStep, columns: Columns) -> Changes:
    """What is done to batches; the numbers of the runs go to ``columns``. Raises UnfitError for what the kernel has not."""
    integral = train_step.data.y.dtype.kind != "f"
    each, shares, soft = [], torch.zeros(1), False
    for transform in train_step.transforms:
        made, tables = _change(transform, train_step, columns)
        each.append(made)
        shares = shares if tables is None else tables
        soft |= integral and (tables is not None or isinstance(transform, LabelSmoothing))
    if soft and not train_step.task.exclusive:
        raise UnfitError("shares of what are not classes")
    return Changes(each, shares, soft)


def _change(transform: BatchTransform, train_step: TrainStep, columns: Columns) -> tuple[Change, Tensor | None]:
    """One change, and the tables that it draws from."""
    if type(transform) is LabelSmoothing:
        return Change(kind=kinds("changes")["label_smoothing"], numbers=columns.add(transform.smoothing)), None
    if type(transform) is not Augmentation:
        raise UnfitError("a change of batches of the user's own")
    strength, tables = transform.strength, None
    made = Change(kind=kinds("changes")[transform.kind])
    if transform.kind == "mask":
        exact = strength if isinstance(strength, Tensor) else torch.tensor(strength, dtype=torch.float64)
        made.numbers = columns.add(exact.mul(65536.0).round().int() - 32768)
    elif transform.kind == "mixup":
        alphas, which = torch.unique(torch.as_tensor(strength).double().flatten(), return_inverse=True)
        tables = torch.stack([beta_quantiles(alpha) for alpha in alphas.tolist()]).float()
        made.numbers = columns.add(which.int())
    else:
        made.numbers = columns.add(strength)
    if transform.kind in MOVES:
        made.channels, made.height, made.width = _image(train_step)
        made.masks = train_step.data.y.ndim > 2
    return made, tables


def _image(train_step: TrainStep) -> tuple[int, ...]:
    """The channels, height and width of a sample that can be moved, and its mask with it."""
    sample, y = train_step.data.sample, train_step.data.y
    if len(sample) != 3 or train_step.task.members or (y.ndim > 2 and (y.dtype.kind == "f" or y.shape[1:] != sample[1:])):
        raise UnfitError("moving what is no image")
    return tuple(sample)
