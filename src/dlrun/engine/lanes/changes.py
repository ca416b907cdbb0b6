"""What changes a batch before a step, as the kernel takes it: augmentation, mixup, label smoothing (see native/changes.h).

Shapes: R runs.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dlrun.components.regularizers import Augmentation, BatchTransform, LabelSmoothing
from dlrun.components.regularizers.batches import beta_quantiles
from dlrun.engine.components import Component
from dlrun.engine.lanes.columns import Columns, UnfitError
from dlrun.engine.lanes.library import Change, kinds
from dlrun.engine.lanes.updates import with_defaults
from dlrun.engine.step import TrainStep

MOVES = ("shift", "flip", "rotate", "crop")


class Changes(NamedTuple):
    """The changes of a cohort's batches.

    Args:
        each: in the order in which they are made.
        shares: tables that mixup draws from [alphas, quantiles]; one number where there is none.
        soft: whether numbers of classes become shares of them.
    """

    each: list[Change]
    shares: NDArray[np.float32]
    soft: bool


def softens(part: Component) -> bool:
    """Whether a regularizer makes shares of classes of their numbers."""
    function: Any = part.function
    return function is LabelSmoothing or (function is Augmentation and part.values.get("kind") == "mixup")


def changes(train_step: TrainStep, columns: Columns) -> Changes:
    """What is done to batches; the numbers of the runs go to ``columns``. Raises UnfitError for what the kernel has not."""
    integral = train_step.data.y.dtype.kind != "f"
    each, shares, soft = [], np.zeros(1, np.float32), False
    for parts in zip(*(run.regularizers for run in train_step.runs), strict=True):
        kind: Any = parts[0].function
        if not issubclass(kind, BatchTransform):
            continue
        made, tables = _change(parts, train_step, columns)
        each.append(made)
        shares = shares if tables is None else tables
        soft |= integral and softens(parts[0])
    if soft and not train_step.task.exclusive:
        raise UnfitError("shares of what are not classes")
    return Changes(each, shares, soft)


def _change(parts: Sequence[Component], train_step: TrainStep, columns: Columns) -> tuple[Change, NDArray[np.float32] | None]:
    """One change, a regularizer of every run, and the tables that it draws from."""
    values = [with_defaults(part) for part in parts]
    if parts[0].function is LabelSmoothing:
        smoothing = np.array([each["smoothing"] for each in values], dtype=np.float64)
        return Change(kind=kinds("changes")["label_smoothing"], numbers=columns.add(smoothing)), None
    if parts[0].function is not Augmentation:
        raise UnfitError("a change of batches of the user's own")
    kind, strength, tables = values[0]["kind"], np.array([each["strength"] for each in values], dtype=np.float64), None
    made = Change(kind=kinds("changes")[kind])
    if kind == "mask":
        made.numbers = columns.add(np.rint(strength * 65536.0).astype(np.int32) - 32768)
    elif kind == "mixup":
        alphas, which = np.unique(strength.astype(np.float32).astype(np.float64), return_inverse=True)
        tables = np.stack([beta_quantiles(alpha) for alpha in alphas.tolist()]).astype(np.float32)
        made.numbers = columns.add(which.astype(np.int32))
    else:
        made.numbers = columns.add(strength)
    if kind in MOVES:
        made.channels, made.height, made.width = _image(train_step)
        made.masks = train_step.data.y.ndim > 2
    return made, tables


def _image(train_step: TrainStep) -> tuple[int, ...]:
    """The channels, height and width of a sample that can be moved, and its mask with it."""
    sample, y = train_step.data.sample, train_step.data.y
    if len(sample) != 3 or train_step.task.members or (y.ndim > 2 and (y.dtype.kind == "f" or y.shape[1:] != sample[1:])):
        raise UnfitError("moving what is no image")
    return tuple(sample)
