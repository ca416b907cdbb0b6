"""A dataset as arrays: raw features, targets, the task, and a fingerprint of all of it.

What y is follows from the task (components/tasks.py), what a row of x is from its modality (modality.py): a table [N, D],
signals [N, C, L], images [N, C, H, W], sequences int64 [N, T]. Segmentation wants images; of a pair or triplet x is [N, M, D].

Shapes: N rows, D features, K outputs or classes, C channels, H x W pixels, T places of a sequence, M members of a pair (2) or
triplet (3).
"""

import hashlib
import json
import math
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray

from dlrun.components.hyperparameters import Interval
from dlrun.components.tasks import TASKS, Task
from dlrun.data.modality import IMAGES, SEQUENCES, SIGNALS, TABLE, Modality, modality_of
from dlrun.data.sequences import problem as sequence_problem
from dlrun.data.table.encoding import Encoding
from dlrun.errors import DataError, raise_all
from dlrun.lazy import Tensor

Array = NDArray[Any]

# Hyperparameters of data are always plain numbers: runs that differ in one of them hold different data.
Amount = Annotated[float, Interval(0)]
Size = Annotated[float, Interval(0, open_low=True)]
Fraction = Annotated[float, Interval(0, 1, open_high=True)]
InnerFraction = Annotated[float, Interval(0, 1, open_low=True, open_high=True)]
Several = Annotated[int, Interval(2)]
Seed = Annotated[int, Interval(0, (1 << 63) - 1)]

TRAIN, VALIDATION, TEST = 0, 1, 2  # of ``Data.subset``
_TOGETHER = 1 << 20  # numbers looked at together: checking a large table must not take a second one's memory


@dataclass(frozen=True, eq=False)
class Data:
    """A dataset: x and y as the source gives them, before any split, scaling or imputation.

    A tensor is taken too, for any of the arrays, and becomes one.

    Args:
        name: what the user calls it.
        x: features, float [N, ...]; NaN is a missing value. float64 for the built-in sets. int64 for sequences of words.
        y: targets, float or int64 by task.
        task: the name of what is to be learnt.
        outputs: K, the number of outputs that a model must produce; 1 for binary.
        features: a name for each column of x (each channel of an image or a signal; one name for words).
        targets: a name for each column of y (one name when y is a class or a mask).
        classes: label names, in the order of their numbers; empty for regression.
        train_y: replaces y on training rows, like y; for targets that are corrupted in training alone.
        anomalies: which rows are no ordinary ones, bool [N]; splits share them out evenly, and no model is told.
        members: the class of each member of a pair, int64 [N, M], where it is known; no model is told.
        subset: which subset each row is in, int8 [N]: TRAIN, VALIDATION or TEST; None where a split is drawn. Without validation
            rows these are drawn from the training rows.
        groups: the group of each row, int64 [N]: no split has rows of a group on two sides.
        time: when each row was, float64 [N]: training rows lie before validation rows, and these before test rows.
        weights: how much each row counts in a loss, float64 [N], 0 or more; metrics count each row once.
        known: the class of each row, int64 [N], of data whose rows are put into clusters; splits share them out evenly, and no
            model is told.
        liked: of ratings the number of the user, and of the item if the rating is high enough to say that the user likes it, else
            0: int64 [N, 2]; no model is told.
        users: how many of the vocabulary are users; the others are items; 0 for other data.
        clusters: into how many clusters rows are put; 0 for other data.
        encoding: how a user's table became x; None where x is the source itself.
        notes: what was found out about a user's file, a line each, to be reported once.
        vocabulary: the words of sequences, in the order of their numbers, of which the first is 1; empty for other data.
        most_words: how many words a model of sequences knows: those that the training rows of a split have most often, and the
            unknown word in place of all others. 0 where it knows the vocabulary.

    Raises:
        DataError: when the arrays do not fit the task or each other; every problem is named.
    """

    name: str
    x: Array
    y: Array
    task: str
    outputs: int
    features: tuple[str, ...]
    targets: tuple[str, ...]
    classes: tuple[str, ...] = ()
    train_y: Array | None = None
    anomalies: Array | None = None
    members: Array | None = None
    subset: Array | None = None
    groups: Array | None = None
    time: Array | None = None
    weights: Array | None = None
    known: Array | None = None
    liked: Array | None = None
    users: int = 0
    clusters: int = 0
    encoding: Encoding | None = None
    notes: tuple[str, ...] = ()
    vocabulary: tuple[str, ...] = ()
    most_words: int = 0

    def __post_init__(self) -> None:
        for name in _ARRAYS:
            object.__setattr__(self, name, _array(getattr(self, name)))
        raise_all([f"dataset {self.name}: {message}" for message in self._problems()], DataError)

    def __len__(self) -> int:
        return len(self.x)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one row of x: (D,), (C, L), (C, H, W), (T,) or (M, D)."""
        return tuple(self.x.shape[1:])

    @property
    def sample(self) -> tuple[int, ...]:
        """The shape of what a model sees at a time: a row, or one of its members."""
        return TASKS[self.task].sample(self.shape)

    @property
    def modality(self) -> Modality:
        """What a sample is made of."""
        found = modality_of(self.sample, integral=not _is_float(self.x), pairs=self.users > 0)
        assert found is not None, "data is checked when it is made"
        return found

    @property
    def words(self) -> int:
        """How many words a model of sequences is given; 0 for other data."""
        return self.most_words or len(self.vocabulary)

    @property
    def labels(self) -> Array | None:
        """The class of every row, int64 [N], for the data that a split can stratify; None for other data."""
        if self.anomalies is not None:
            return self.anomalies.astype(np.int64)
        if self.known is not None:
            return self.known
        strata = TASKS[self.task].strata
        return None if strata is None else strata(self.y)

    @property
    def facts(self) -> dict[str, Array]:
        """What is known of rows beside x and y, each [N, ...], by the names under which metrics take it."""
        known = {"anomalies": self.anomalies, "members": self.members, "known": self.known, "liked": self.liked}
        return {name: array for name, array in known.items() if array is not None}

    @property
    def design(self) -> dict[str, Array]:
        """What says how rows are split and how much they count, each [N], by name."""
        known = {"subset": self.subset, "groups": self.groups, "time": self.time, "weights": self.weights}
        return {name: array for name, array in known.items() if array is not None}

    @cached_property
    def fingerprint(self) -> str:
        """16 hexadecimal digits that change with the task, any name, shape, dtype or value: SHA-256, shortened."""
        targets = [self.y] if self.train_y is None else [self.y, self.train_y]
        arrays = [self.x, *targets, *self.facts.values(), *self.design.values()]
        shapes = [[list(array.shape), f"torch.{array.dtype}"] for array in arrays]  # as when they were tensors
        head: list[object] = [self.task, self.outputs, self.features, self.targets, self.classes, shapes]
        if self.encoding is not None:
            head.append(self.encoding.to_json())
        if self.vocabulary:
            head.append(self.vocabulary)
        if self.design:
            head.append([*self.design])
        if self.most_words:
            head.append(self.most_words)
        if self.clusters or self.users:
            head.append([self.clusters, self.users])
        digest = hashlib.sha256(json.dumps(head).encode())
        for array in arrays:
            digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()[:16]

    def _problems(self) -> list[str]:
        task = TASKS.get(self.task)
        if task is None:
            return [f"task={self.task}: must be one of {', '.join(TASKS)}"]
        given: dict[str, object] = {"x": self.x, "y": self.y, "train_y": self.train_y, **self.facts, **self.design}
        found = [
            f"{what} {_no_array(what, value)}" for what, value in given.items() if type(value) not in (np.ndarray, type(None))
        ]
        if found:
            return found
        if self.x.size == 0:
            found.append(f"there is nothing in x, of shape {list(self.x.shape)}; give at least one row and one feature")
        found += [f"x {message}" for message in self._input_problems(task)]
        if self.members is not None and (self.members.dtype != np.int64 or self.members.shape != self.x.shape[:2]):
            found.append(
                f"members must be int64 {list(self.x.shape[:2])}, a class for each member, not {_described(self.members)}"
            )
        found += self._design_problems()
        if self.known is not None and (self.known.dtype != np.int64 or self.known.shape != self.x.shape[:1]):
            found.append(f"known must be int64 [{len(self.x)}], a class for each row, not {_described(self.known)}")
        targets = [("y", self.y)] if self.train_y is None else [("y", self.y), ("train_y", self.train_y)]
        return found + [f"{what} {message}" for what, target in targets if (message := self._target_problem(target))]

    def _design_problems(self) -> list[str]:
        found = []
        for name, array in self.design.items():
            dtype = {"subset": np.dtype(np.int8), "groups": np.dtype(np.int64)}.get(name, np.dtype(np.float64))
            if array.dtype != dtype or array.shape != (len(self.x),):
                found.append(f"{name} must be {dtype} [{len(self.x)}], not {_described(array)}")
            elif name == "subset" and not ((array >= TRAIN) & (array <= TEST)).all():
                found.append(f"subset must be {TRAIN} (training), {VALIDATION} (validation) or {TEST} (test) in each row")
            elif _is_float(array) and not np.isfinite(array).all():
                found.append(f"{name} has missing or infinite values; give each row a finite one")
            elif name == "weights" and ((array < 0).any() or not array.any()):
                found.append("weights must be 0 or more, and more than 0 in some row")
        if len(splitting := [name for name in self.design if name != "weights"]) > 1:
            found.append(
                f"{' and '.join(splitting)}: each says how rows are split, and a split follows one; leave the others out"
            )
        return found

    def _input_problems(self, task: Task) -> list[str]:
        modality = modality_of(task.sample(self.shape), integral=self.x.dtype == np.int64)
        if self.users:
            return [message] if (message := self._pairs_problem()) else []
        if self.vocabulary and not (task.members or task.pixels):
            if modality is not SEQUENCES:
                return [f"must be int64 with 2 axes, as there is a vocabulary, not {_described(self.x)}"]
            return [message] if (message := sequence_problem(self.x, len(self.vocabulary))) else []
        takes = (TABLE,) if task.members else (IMAGES,) if task.pixels else (TABLE, SIGNALS, IMAGES)
        if not _is_float(self.x) or modality not in takes:
            dims = [str(each.axes + 1 + bool(task.members)) for each in takes]
            return [f"must be floating-point with {' or '.join(dims)} axes, not {_described(self.x)}"]
        found = []
        together = max(1, _TOGETHER // max(1, math.prod(self.shape)))
        if any(np.isinf(self.x[start : start + together]).any() for start in range(0, len(self.x), together)):
            found.append("has infinite values; replace them by numbers, or by NaN where they are missing")
        if not task.members and len(self.features) != self.x.shape[1]:
            found.append(f"has {self.x.shape[1]} features, and {len(self.features)} names were given; give a name to each")
        return found

    def _pairs_problem(self) -> str:
        if self.x.dtype != np.int64 or self.shape != (2,):
            return f"must be int64 [{len(self.x)}, 2], the numbers of a user and an item, not {_described(self.x)}"
        user, item = self.x.T
        inside = (user >= 0) & (user <= self.users) & ((item == 0) | ((item > self.users) & (item <= len(self.vocabulary))))
        return "" if inside.all() else f"has numbers of users outside 1 to {self.users}, or of items that are not behind these"

    def _target_problem(self, target: Array) -> str:
        task = TASKS[self.task]
        integral, dims = task.integral, task.target_axes
        if target.ndim != dims or (target.dtype != np.int64 if integral else not _is_float(target)):
            kind = "int64" if integral else "floating-point"
            return f"must be {kind} with {dims} axes for task {self.task}, not {_described(target)}"
        if len(target) != len(self.x):
            return f"has {len(target)} rows, and x has {len(self.x)}; give a target to every row"
        if not integral and not np.isfinite(target).all():
            return "has missing or infinite values; leave those rows out"
        if task.exclusive and ((target < 0) | (target >= self.outputs)).any():
            return f"has class numbers outside 0 to {self.outputs - 1}; number the classes from 0"
        allowed = task.values
        if allowed and not ((target == allowed[0]) | (target == allowed[1])).all():
            return f"must be {allowed[0]} or {allowed[1]} for task {self.task}"
        return ""


_ARRAYS = ("x", "y", "train_y", "anomalies", "members", "subset", "groups", "time", "weights", "known", "liked")


def _array(value: Any) -> Any:
    """A tensor as an array, and an array in the byte order of the machine; anything else as it is."""
    if isinstance(value, Tensor):
        try:
            return value.numpy(force=True)
        except (TypeError, RuntimeError):  # numpy has no such type
            return value
    return value.astype(value.dtype.newbyteorder("="), copy=False) if type(value) is np.ndarray else value


def _no_array(what: str, value: Any) -> str:
    if isinstance(value, Tensor):
        return f"is a tensor of {value.dtype}, {value.layout}, of which no array can be made; give one of torch.float32"
    return f"is a {type(value).__name__}; make it an array, such as np.asarray({what})"


def _is_float(array: Array) -> bool:
    return array.dtype in (np.float64, np.float32, np.float16)


def _described(array: Array) -> str:
    return f"{array.dtype} {list(array.shape)}"
