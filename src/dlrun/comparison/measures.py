"""What is known of each metric without computing it: the values that it can have, and when it has none."""

import math
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from dlrun.components.metrics import METRICS
from dlrun.errors import InputError

_FRACTION, _ERROR = (0.0, 1.0), (0.0, math.inf)
_BOUNDS = {
    "r2": (-math.inf, 1.0),
    "ari": (-math.inf, 1.0),
    **dict.fromkeys(("rmse", "mae", "mse", "pinball", "log_loss", "brier"), _ERROR),
    **dict.fromkeys(("accuracy", "balanced_accuracy", "f1", "macro_f1", "micro_f1", "iou", "dice", "hamming"), _FRACTION),
    **dict.fromkeys(
        ("auroc", "average_precision", "anomaly_auroc", "coverage", "ece", "recall@1", "triplet_accuracy", "nmi", "recall@10"),
        _FRACTION,
    ),
}
_SPLITS = ("train/", "validation/", "test/")
# what every run has beside its metrics: its size and its time, and the diagnostics that are single numbers
_BESIDE = frozenset(
    {
        *("loss", "parameters", "epochs", "seconds"),
        *("gradient_norm", "gradient_norm_at_start", "mean_activation", "dead_units", "saturation", "zero_weights"),
        *("weight_norm", "loss_gap", "mean_top_probability", "zero_probabilities", "quantile_crossing"),
    }
)


_LOWER = frozenset(
    {
        *("loss", "seconds", "epochs", "parameters", "dead_units", "saturation", "loss_gap"),
        *("zero_probabilities", "quantile_crossing"),
    }
)  # of those, what there should be little of


@dataclass(frozen=True)
class Undefined:
    """When a metric has no value.

    Args:
        why: a sentence with ``{subset}``, the split that is measured.
        instead: metrics that have a value there, the most similar first.
    """

    why: str
    instead: tuple[str, ...]


_ONE_LABEL = Undefined("their {subset} samples are all of one class", ("log_loss", "accuracy", "loss"))
_NO_POSITIVES = Undefined("their {subset} samples have no positives, true or predicted", ("hamming", "log_loss", "loss"))
_UNDEFINED = {
    "r2": Undefined("all targets of their {subset} samples are equal", ("mae", "rmse", "loss")),
    "auroc": _ONE_LABEL,
    "average_precision": Undefined("none of their {subset} samples is of the positive class", ("log_loss", "accuracy", "loss")),
    "anomaly_auroc": Undefined(
        "all of their {subset} samples are anomalies, or none, or all targets are equal", ("mse", "mae", "loss")
    ),
    **dict.fromkeys(("f1", "micro_f1", "macro_f1"), _NO_POSITIVES),
    "recall@10": Undefined("no user likes an item of their {subset} samples", ("rmse", "mae", "loss")),
    "recall@1": Undefined("no class has two of their {subset} samples", ("triplet_accuracy", "average_precision", "loss")),
}
_ANY = Undefined("it has no value on their {subset} samples", ("loss",))


def is_measured(name: str) -> bool:
    """Whether a column of this name holds what was measured: a metric, with or without its split, or a diagnostic."""
    return name.startswith(_SPLITS) or name in _BOUNDS or name in _BESIDE


def bounds(metric: str) -> tuple[float, float]:
    """The least and the largest value that a metric can have."""
    return _BOUNDS.get(metric.rpartition("/")[2], (-math.inf, math.inf))


def resolution(metric: str, rows: Iterable[float | None], times: int = 1) -> float:
    """The least difference that a metric can show between two runs: 1 / (samples) where it is a share of them, else 0.

    Args:
        rows: how many samples each run was measured on; None where that is not known.
        times: how many runs of as many samples a value is a mean of.
    """
    known = [count for count in rows if count]
    return 1 / (min(known) * times) if known and all(map(math.isfinite, bounds(metric))) else 0.0


def lower_is_better(metric: str) -> bool:
    """Whether less of a metric is better.

    Raises:
        InputError: neither is, or that is not known.
    """
    name = metric.rpartition("/")[2].partition("[")[0]
    for known in METRICS.values():
        if name in known:
            better = known[name].higher_is_better
            if better is None:
                raise InputError(f"metric={metric}: is best at its nominal level, neither high nor low; type metric=pinball")
            return not better
    if name in _LOWER:
        return True
    raise InputError(
        f"metric={metric}: whether more of it is better is not known; type --higher or --lower, or say higher_is_better=True or "
        "False in Python"
    )


def best_so_far(values: Iterable[float | None], metric: str) -> list[float]:
    """The best of a metric's values up to each of them, b_t = max(v_1 ... v_t) or their min; NaN while there is none.

    Args:
        values: in the order in which they came; None where there is no value.

    Raises:
        InputError: neither more nor less of the metric is better, or that is not known.
    """
    better = min if lower_is_better(metric) else max
    found, best = [], math.nan
    for value in values:
        if value is not None:
            best = value if math.isnan(best) else better(best, value)
        found.append(best)
    return found


def explained(metric: str) -> bool:
    """Whether it is known when this metric has no value."""
    return metric.rpartition("/")[2] in _UNDEFINED


def not_defined(metric: str, count: int, runs: int, measured: Collection[str]) -> str:
    """``r2 is not defined in 12 of 30 runs: all targets of their test samples are equal; type metric=mae instead``.

    Args:
        metric: with its split.
        count, runs: how many of how many runs lack it.
        measured: metrics, with their splits, that those runs have; none of them is advised when it is empty.
    """
    subset, _, name = metric.rpartition("/")
    found = _UNDEFINED.get(name, _ANY)
    other = next((other for other in found.instead if f"{subset}/{other}" in measured), "")
    advice = f"; type metric={other} instead" if other else ""
    why = found.why.format(subset=subset or "test")
    return f"{name} is not defined in {count:,} of {runs:,} runs: {why}{advice}"
