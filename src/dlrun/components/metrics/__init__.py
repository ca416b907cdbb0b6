"""Metrics: functions of (prediction, target) that judge all runs at once, [R, N, ...] -> [R].

    regression      r2, rmse, mae, mse; pinball and coverage for quantiles       values [R, N, K] in units of the target
    binary          accuracy, balanced_accuracy, f1, auroc, ...                  [R, N, 1]
    multiclass      accuracy, balanced_accuracy, macro_f1, log_loss, ...         [R, N, K], classes [R, N]
    multilabel      micro_f1, macro_f1, hamming                                  [R, N, K]
    segmentation    iou, dice, accuracy                                          [R, N, K, I, J], masks [R, N, I, J]
    similarity      auroc, average_precision, recall@1 of the cosine             pairs [R, N, 2, E], +1 or -1 [R, N, 1]
    metric_learning recall@1, triplet_accuracy                                   triplets [R, N, 3, E], the anchor's class [R, N]
    clustering      ari, nmi of clusters against known classes                   clusters [R, N], classes [R, N]
    recommendation  rmse, mae; recall@10 of the items that users like            values [R, N, 1]; rankings [R, U, 10]

``METRICS`` has one table a task; the first entry is the task's main metric. A metric of classes reads the form of a prediction in
which nothing that it needs was rounded away (``Metric.reads``). The target may be given once for all runs, with a leading 1.
Results are float64, summed in float64.

A figure that is not defined is NaN: auroc of rows of one class, r2 of equal targets, any figure of no rows. Classes and outputs
that the rows do not define are left out of means over classes and outputs. So is, as NaN, every figure of a run whose predictions
hold a NaN: no metric makes a diverged run look like one that predicts class 0.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from dlrun.components.arrays import Array

Form = Literal["output", "score", "log_odds", "margin", "log_probability", "probability", "cluster", "ranking"]
"""Of a prediction. Values and embeddings are an output; a score rises with the probability of its class without saturating. A
margin is how far log odds lie above those of the threshold: a class is predicted where it is above 0.
"""

DERIVED: tuple[Form, ...] = ("cluster", "ranking")
"""Forms that take a fit to training rows beside the output, so that they are made when training has ended."""


@dataclass(frozen=True)
class Metric:
    """A metric and how to read it. What it computes with is imported when it first computes.

    Args:
        source: the module of this package and the name of its function, such as ``regression.r2``.
        reads: the forms of a prediction that it takes.
        higher_is_better: None where neither is: coverage should meet its nominal level.
        default: False for those that tables show only when asked for.
        unit: what one unit of it means; empty for a plain number.
        takes_taus: True when it also takes ``taus``, the quantile levels of the prediction's columns.
        fact: what it also takes of the data, by this name (see ``Data.facts``); for data that says it.
        needs: of what rows it is defined; empty for a metric of any rows.
        held_out: whether it says nothing of training rows, and is not measured there.
    """

    source: str
    higher_is_better: bool | None
    reads: tuple[Form, ...] = ("output",)
    default: bool = True
    unit: str = ""
    takes_taus: bool = False
    fact: str = ""
    needs: str = ""
    held_out: bool = False

    @property
    def at_end(self) -> bool:
        """Whether it is measured when training has ended, and not after each epoch: what it reads takes a fit of its own."""
        return any(form in DERIVED for form in self.reads)

    @cached_property
    def function(self) -> "Callable[..., Array]":
        """(prediction, target) -> [R]; that of a metric that reads two forms takes both before the target."""
        module, _, name = self.source.partition(".")
        found: Any = getattr(import_module(f"{__name__}.{module}"), name)
        return found  # type: ignore[no-any-return]


_LOG_ODDS: tuple[Form, ...] = ("log_odds",)
_MARGIN: tuple[Form, ...] = ("margin",)
_SCORE: tuple[Form, ...] = ("score",)
_PROBABILITY: tuple[Form, ...] = ("probability",)

METRICS: dict[str, dict[str, Metric]] = {
    "regression": {
        "r2": Metric("regression.r2", True, unit="share of variance", needs="targets that differ"),
        "rmse": Metric("regression.rmse", False, unit="units of the target"),
        "mae": Metric("regression.mae", False, unit="units of the target"),
        "mse": Metric("regression.mse", False, default=False, unit="squared units of the target"),
        "pinball": Metric("regression.pinball", False, default=False, unit="units of the target", takes_taus=True),
        "coverage": Metric("regression.coverage", None, default=False, unit="share of rows", takes_taus=True),
        "anomaly_auroc": Metric(
            "regression.anomaly_auroc",
            True,
            default=False,
            unit="share of pairs",
            fact="anomalies",
            needs="anomalies and other rows, and targets that differ",
        ),
    },
    "binary": {
        "accuracy": Metric("binary.accuracy", True, _MARGIN, unit="share of rows"),
        "balanced_accuracy": Metric("binary.balanced_accuracy", True, _MARGIN, unit="mean share of each class"),
        "f1": Metric("binary.f1", True, _MARGIN, needs="a row of class 1"),
        "auroc": Metric("binary.auroc", True, _SCORE, unit="share of pairs", needs="rows of both classes"),
        "average_precision": Metric("binary.average_precision", True, _SCORE, needs="a row of class 1"),
        "log_loss": Metric("binary.log_loss", False, _LOG_ODDS, unit="nats"),
        "brier": Metric("binary.brier", False, _PROBABILITY),
        "ece": Metric("binary.ece", False, _PROBABILITY, unit="probability"),
    },
    "multiclass": {
        "accuracy": Metric("multiclass.accuracy", True, _SCORE, unit="share of rows"),
        "balanced_accuracy": Metric("multiclass.balanced_accuracy", True, _SCORE, unit="mean share of each class"),
        "macro_f1": Metric("multiclass.macro_f1", True, _SCORE),
        "log_loss": Metric("multiclass.log_loss", False, ("log_probability",), unit="nats"),
        "brier": Metric("multiclass.brier", False, _PROBABILITY, default=False),
        "ece": Metric("multiclass.ece", False, ("probability", "score"), unit="probability"),
    },
    "multilabel": {
        "micro_f1": Metric("multilabel.micro_f1", True, _MARGIN, needs="a row that has a label"),
        "macro_f1": Metric("multilabel.macro_f1", True, _MARGIN, needs="a row that has a label"),
        "hamming": Metric("multilabel.hamming", False, _MARGIN, unit="share of labels"),
    },
    "segmentation": {
        "iou": Metric("multiclass.iou", True, _SCORE),
        "dice": Metric("multiclass.macro_f1", True, _SCORE),
        "accuracy": Metric("multiclass.accuracy", True, _SCORE, default=False, unit="share of pixels"),
    },
    "similarity": {
        "auroc": Metric(
            "embedding.pair_auroc", True, unit="share of pairs of pairs", needs="pairs that are alike and pairs that are not"
        ),
        "average_precision": Metric("embedding.pair_average_precision", True, needs="a pair that is alike"),
        "recall@1": Metric(
            "embedding.pair_recall_at_1",
            True,
            default=False,
            unit="share of members",
            fact="members",
            needs="two members of one class",
        ),
    },
    "metric_learning": {
        "recall@1": Metric("embedding.recall_at_1", True, unit="share of rows", needs="two rows of one class"),
        "triplet_accuracy": Metric("embedding.triplet_accuracy", True, unit="share of triplets"),
    },
    "clustering": {
        "ari": Metric("clustering.ari", True, ("cluster",), fact="known"),
        "nmi": Metric("clustering.nmi", True, ("cluster",), fact="known"),
    },
    "recommendation": {
        "rmse": Metric("regression.rmse", False, unit="units of the rating"),
        "mae": Metric("regression.mae", False, unit="units of the rating"),
        "recall@10": Metric(
            "recommendation.recall_at_10",
            True,
            ("ranking",),
            unit="share of liked items",
            fact="liked",
            needs="a rating from which a user likes an item",
            held_out=True,
        ),
    },
}
