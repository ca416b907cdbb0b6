"""Tasks: what is to be learnt, and all that follows from it.

A task is one object. Nothing else in dlrun compares names of tasks: code asks the object for the property that it depends on, so
a new task is an entry here and its metrics.

    task              target y                        outputs   a logit becomes      default loss
    regression        float [N, K]                    K         a value              mse
    binary            float [N, 1], 0 or 1            1         a sigmoid            bce_with_logits
    multiclass        int64 [N]                       K         a softmax            cross_entropy
    multilabel        float [N, K], 0 or 1            K         a sigmoid            bce_with_logits
    segmentation      int64 [N, H, W]                 K         a softmax per pixel  cross_entropy
    similarity        float [N, 1], +1 or -1          E         an embedding         cosine_embedding
    metric_learning   int64 [N]                       E         an embedding         triplet_margin
    clustering        float [N, D], the inputs        D         a value              mse
    recommendation    float [N, 1], a rating          1         a value              mse

Shapes: N rows, K outputs or classes, H x W pixels, M members of a pair (2) or triplet (3), E coordinates of an embedding.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray

from dlrun.components.hyperparameters import OneOf
from dlrun.components.metrics import METRICS, Form, Metric

Link = Literal["identity", "sigmoid", "softmax"]
_LOG_FORMS: dict[Link, Form] = {"identity": "output", "sigmoid": "log_odds", "softmax": "log_probability"}

_VALUES = ("mean", "naive", "seasonal", "linear", "ridge", "lasso", "polynomial", "tree", "boosting")
_CLASSES = ("mean", "logistic", "tfidf", "polynomial", "tree", "boosting")


@dataclass(frozen=True, kw_only=True)
class Task:
    """What is to be learnt.

    Args:
        name: what users type and records keep.
        loss: the option that is taken when no loss is chosen.
        metrics: how predictions are judged, by name; the first is the task's main metric.
        integral: whether targets are int64; otherwise they are floating-point.
        target_axes: how many axes y has.
        values: the two values that a target may have; None for any.
        outputs: how many outputs a model has; None for as many as the data or the model says.
        link: what makes a prediction of a logit. sigmoid: each output is the probability of a class of its own; softmax: the
            outputs are probabilities of classes that exclude each other; identity: there are no classes.
        like: a task whose losses serve this one too.
        clusters: whether k-means of the codes of a model, fitted to training rows, puts rows into clusters.
        scaled: whether targets are standardized for training, so that predictions are put back into the units of the data.
        pixels: whether every pixel of a sample has a target.
        members: how many members a row has, each of which is embedded: 2 for pairs, 3 for triplets; 0 where it has none.
        single: whether a sample with one output has one prediction, so that predictions for n samples are [n] and not [n, 1].
        strata: the class of every row of y, int64 [N], that a split keeps the proportions of; None where there is none.
        baselines: the estimators that serve the task.
        quick: those of them that ``baseline=auto`` takes.
        tabular: whether a column or columns of a user's table can be the target.
        diagnostics: what is measured of predicted probabilities on test rows.
    """

    name: str
    loss: str
    metrics: Mapping[str, Metric]
    integral: bool = False
    target_axes: int = 2
    values: tuple[int, int] | None = None
    outputs: int | None = None
    link: Link = "identity"
    like: str = ""
    clusters: bool = False
    scaled: bool = False
    pixels: bool = False
    members: int = 0
    single: bool = False
    strata: Callable[[NDArray[Any]], NDArray[np.int64]] | None = None
    baselines: tuple[str, ...] = ()
    quick: tuple[str, ...] = ()
    tabular: bool = False
    diagnostics: tuple[str, ...] = ()

    @property
    def log_form(self) -> Form:
        """The form of a prediction that loses nothing: logarithms, where there are classes (see ``Run.predict``)."""
        return _LOG_FORMS[self.link]

    @property
    def classes(self) -> bool:
        """Whether predictions are probabilities of classes."""
        return self.link != "identity"

    @property
    def exclusive(self) -> bool:
        """Whether classes exclude each other, so that targets are class numbers in [0, K)."""
        return self.link == "softmax"

    @property
    def two_classes(self) -> bool:
        """Whether there are two classes, of which the second is called positive."""
        return self.classes and self.outputs == 1

    @property
    def main_metric(self) -> str:
        """The metric that selects and sorts by default."""
        return next(iter(self.metrics))

    def served_by(self, tasks: Sequence[str]) -> bool:
        """Whether a loss that is made for these tasks serves this one."""
        return self.name in tasks or self.like in tasks

    def exclusive_classes(self, outputs: int) -> int:
        """How many classes exclude each other in data with that many outputs; 1 where none do."""
        return outputs if self.exclusive else 1

    def sample(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """What a model sees at a time of a row of this shape: the row, or one of its members."""
        return shape[1:] if self.members else shape

    def pixels_of(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The pixels of a row that have a target each: (H, W), or none."""
        return shape[1:] if self.pixels else ()

    def output_shape(self, outputs: int, pixels: tuple[int, ...] = ()) -> tuple[int, ...]:
        """The outputs of a row: (K,), (K, H, W), or (M, E) of members."""
        return (*((self.members,) if self.members else ()), outputs, *pixels)

    def target_shape(self, outputs: int, pixels: tuple[int, ...] = ()) -> tuple[int, ...]:
        """The target of a row: (K,), or no axis or those of the pixels for a class number."""
        return pixels if self.integral else (self.outputs or outputs,)

    def target(self, rows: int, outputs: int, pixels: tuple[int, ...] = ()) -> NDArray[Any]:
        """Targets of that many rows, all alike, which mean nothing."""
        value = self.values[1] if self.values else 0
        return np.full((rows, *self.target_shape(outputs, pixels)), value, dtype=np.int64 if self.integral else np.float32)


def _first_column(y: NDArray[Any]) -> NDArray[np.int64]:
    return (y[:, 0] > 0).astype(np.int64)


def _numbers(y: NDArray[Any]) -> NDArray[np.int64]:
    return y


REGRESSION = Task(
    name="regression",
    loss="mse",
    metrics=METRICS["regression"],
    scaled=True,
    single=True,
    baselines=_VALUES,
    quick=("mean", "naive", "seasonal", "linear"),
    tabular=True,
)
BINARY = Task(
    name="binary",
    loss="bce_with_logits",
    metrics=METRICS["binary"],
    values=(0, 1),
    outputs=1,
    link="sigmoid",
    single=True,
    strata=_first_column,
    baselines=_CLASSES,
    quick=("mean", "logistic", "tfidf"),
    tabular=True,
    diagnostics=("mean_top_probability",),
)
MULTICLASS = Task(
    name="multiclass",
    loss="cross_entropy",
    metrics=METRICS["multiclass"],
    integral=True,
    target_axes=1,
    link="softmax",
    strata=_numbers,
    baselines=_CLASSES,
    quick=("mean", "logistic", "tfidf"),
    tabular=True,
    diagnostics=("mean_top_probability", "zero_probabilities"),
)
MULTILABEL = Task(
    name="multilabel",
    loss="bce_with_logits",
    metrics=METRICS["multilabel"],
    values=(0, 1),
    link="sigmoid",
    baselines=_CLASSES,
    quick=("mean", "logistic", "tfidf"),
    tabular=True,
)
SEGMENTATION = Task(
    name="segmentation",
    loss="cross_entropy",
    metrics=METRICS["segmentation"],
    integral=True,
    target_axes=3,
    link="softmax",
    pixels=True,
)
SIMILARITY = Task(
    name="similarity",
    loss="cosine_embedding",
    metrics=METRICS["similarity"],
    values=(-1, 1),
    outputs=1,
    members=2,
    strata=_first_column,
    baselines=("raw",),
    quick=("raw",),
)
METRIC_LEARNING = Task(
    name="metric_learning",
    loss="triplet_margin",
    metrics=METRICS["metric_learning"],
    integral=True,
    target_axes=1,
    outputs=1,
    members=3,
    strata=_numbers,
    baselines=("raw",),
    quick=("raw",),
)
CLUSTERING = Task(
    name="clustering",
    loss="mse",
    metrics=METRICS["clustering"],
    like="regression",
    clusters=True,
    scaled=True,
    baselines=("raw", "pca"),
    quick=("raw", "pca"),
)
RECOMMENDATION = Task(
    name="recommendation",
    loss="mse",
    metrics=METRICS["recommendation"],
    like="regression",
    outputs=1,
    scaled=True,
    single=True,
    baselines=("mean", "user_mean", "item_mean", "biases", "svd"),
    quick=("mean", "user_mean", "item_mean", "biases", "svd"),
)

TASKS: dict[str, Task] = {
    task.name: task
    for task in (
        REGRESSION,
        BINARY,
        MULTICLASS,
        MULTILABEL,
        SEGMENTATION,
        SIMILARITY,
        METRIC_LEARNING,
        CLUSTERING,
        RECOMMENDATION,
    )
}
"""By the name that a dataset gives it."""

TaskName = Annotated[str, OneOf(tuple(TASKS))]
TableTask = Annotated[str, OneOf(tuple(name for name, task in TASKS.items() if task.tabular))]
