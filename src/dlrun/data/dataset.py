"""A dataset as tensors: raw features, targets, the task, and a fingerprint of all of it.

Shapes: N rows, D features, K outputs or classes, C channels, H x W pixels, M members of a pair (2) or triplet (3).

    task              x                            y                      outputs
    regression        [N, D] or [N, C, H, W]       float [N, K]           K
    binary            [N, D] or [N, C, H, W]       float [N, 1], 0 or 1   1
    multiclass        [N, D] or [N, C, H, W]       int64 [N]              K
    multilabel        [N, D] or [N, C, H, W]       float [N, K], 0 or 1   K
    segmentation      [N, C, H, W]                 int64 [N, H, W]        K
    similarity        [N, 2, D]                    float [N, 1], +1 or -1 1
    metric_learning   [N, 3, D]                    int64 [N]              1
"""

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Literal, get_args

import numpy as np
import torch
from torch import Tensor

from dlrun.components.hyperparameters import Interval
from dlrun.data.table.encoding import Encoding
from dlrun.errors import DataError, raise_all

Task = Literal["regression", "binary", "multiclass", "multilabel", "segmentation", "similarity", "metric_learning"]
TASKS: tuple[str, ...] = get_args(Task)

# Hyperparameters of data are always plain numbers: runs that differ in one of them hold different data.
Amount = Annotated[float, Interval(0)]
Size = Annotated[float, Interval(0, open_low=True)]
Fraction = Annotated[float, Interval(0, 1, open_high=True)]
InnerFraction = Annotated[float, Interval(0, 1, open_low=True, open_high=True)]
Several = Annotated[int, Interval(2)]
Seed = Annotated[int, Interval(0, (1 << 63) - 1)]

_TOGETHER = 1 << 20  # numbers looked at together: checking a large table must not take a second one's memory

_TARGET_DIMS = {"multiclass": 1, "metric_learning": 1, "segmentation": 3}
_TARGET_VALUES = {"binary": (0, 1), "multilabel": (0, 1), "similarity": (-1, 1)}
_FEATURE_DIMS = {"segmentation": (4,), "similarity": (3,), "metric_learning": (3,)}


@dataclass(frozen=True, eq=False)
class Data:
    """A dataset: x and y as the source gives them, before any split, scaling or imputation.

    Args:
        name: what the user calls it.
        x: features, float [N, ...] (see the table above); NaN is a missing value. float64 for the built-in sets.
        y: targets, float or int64 by task (see the table above).
        task: what is to be learnt.
        outputs: K, the number of outputs that a model must produce; 1 for binary.
        features: a name for each column of x (each channel of an image).
        targets: a name for each column of y (one name when y is a class or a mask).
        classes: label names, in the order of their numbers; empty for regression.
        train_y: replaces y on training rows, like y; for targets that are corrupted in training alone.
        anomalies: which rows are no ordinary ones, bool [N]; splits share them out evenly, and no model is told.
        members: the class of each member of a pair, int64 [N, M], where it is known; no model is told.
        encoding: how a user's table became x; None where x is the source itself.
        notes: what was found out about a user's file, a line each, to be told once.

    Raises:
        DataError: when the tensors do not fit the task or each other; every problem is told.
    """

    name: str
    x: Tensor
    y: Tensor
    task: Task
    outputs: int
    features: tuple[str, ...]
    targets: tuple[str, ...]
    classes: tuple[str, ...] = ()
    train_y: Tensor | None = None
    anomalies: Tensor | None = None
    members: Tensor | None = None
    encoding: Encoding | None = None
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        raise_all([f"dataset {self.name}: {said}" for said in self._problems()], DataError)

    def __len__(self) -> int:
        return len(self.x)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one row of x: (D,), (C, H, W) or (M, D)."""
        return tuple(self.x.shape[1:])

    @property
    def labels(self) -> Tensor | None:
        """The class of every row, int64 [N], for the data that a split can stratify; None for other data."""
        if self.anomalies is not None:
            return self.anomalies.to(torch.int64)
        if self.task == "binary":
            return self.y[:, 0].to(torch.int64)
        if self.task == "similarity":
            return (self.y[:, 0] > 0).to(torch.int64)
        return self.y if self.task in ("multiclass", "metric_learning") else None

    @property
    def facts(self) -> dict[str, Tensor]:
        """What is known of rows beside x and y, each [N, ...], by the names under which metrics take it."""
        known = {"anomalies": self.anomalies, "members": self.members}
        return {name: tensor for name, tensor in known.items() if tensor is not None}

    @cached_property
    def fingerprint(self) -> str:
        """16 hexadecimal digits that change with the task, any name, shape, dtype or value: SHA-256, shortened."""
        targets = [self.y] if self.train_y is None else [self.y, self.train_y]
        tensors = [self.x, *targets, *self.facts.values()]
        shapes = [[list(tensor.shape), str(tensor.dtype)] for tensor in tensors]
        head: list[object] = [self.task, self.outputs, self.features, self.targets, self.classes, shapes]
        if self.encoding is not None:
            head.append(self.encoding.to_json())
        digest = hashlib.sha256(json.dumps(head).encode())
        for tensor in tensors:
            digest.update(np.ascontiguousarray(tensor.detach().cpu().numpy()).data)
        return digest.hexdigest()[:16]

    def _problems(self) -> list[str]:
        if self.task not in TASKS:
            return [f"task={self.task}: must be one of {', '.join(TASKS)}"]
        given: dict[str, object] = {"x": self.x, "y": self.y, "train_y": self.train_y, **self.facts}
        found = [
            f"{what} is a {type(value).__name__}; make it a tensor, such as torch.as_tensor({what})"
            for what, value in given.items()
            if value is not None and not isinstance(value, Tensor)
        ]
        if found:
            return found
        dims = _FEATURE_DIMS.get(self.task, (2, 4))
        if self.x.numel() == 0:
            found.append(f"there is nothing in x, of shape {list(self.x.shape)}; give at least one row and one feature")
        if not self.x.is_floating_point() or self.x.dim() not in dims:
            found.append(f"x must be floating-point with {' or '.join(map(str, dims))} axes, not {_said(self.x)}")
        elif any(part.isinf().any() for part in torch.split(self.x.flatten(), _TOGETHER)):
            found.append("x has infinite values; replace them by numbers, or by NaN where they are missing")
        if self.x.dim() in (2, 4) and len(self.features) != self.x.shape[1]:
            found.append(f"{len(self.features)} names were given for {self.x.shape[1]} features; give a name to each")
        if self.members is not None and (self.members.dtype != torch.int64 or self.members.shape != self.x.shape[:2]):
            found.append(f"members must be int64 {list(self.x.shape[:2])}, a class for each member, not {_said(self.members)}")
        targets = [("y", self.y)] if self.train_y is None else [("y", self.y), ("train_y", self.train_y)]
        return found + [f"{what} {said}" for what, target in targets if (said := self._target_problem(target))]

    def _target_problem(self, target: Tensor) -> str:
        integral = self.task in _TARGET_DIMS
        dims = _TARGET_DIMS.get(self.task, 2)
        if target.dim() != dims or (target.dtype != torch.int64 if integral else not target.is_floating_point()):
            kind = "int64" if integral else "floating-point"
            return f"must be {kind} with {dims} axes for task {self.task}, not {_said(target)}"
        if len(target) != len(self.x):
            return f"has {len(target)} rows, and x has {len(self.x)}; give a target to every row"
        if not integral and not target.isfinite().all():
            return "has missing or infinite values; leave those rows out"
        if self.task in ("multiclass", "segmentation") and ((target < 0) | (target >= self.outputs)).any():
            return f"has class numbers outside 0 to {self.outputs - 1}; number the classes from 0"
        allowed = _TARGET_VALUES.get(self.task)
        if allowed and not ((target == allowed[0]) | (target == allowed[1])).all():
            return f"must be {allowed[0]} or {allowed[1]} for task {self.task}"
        return ""


def _said(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)}"
