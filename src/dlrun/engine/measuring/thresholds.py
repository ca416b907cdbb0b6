"""Above which probability a class is predicted: a number, or what is best on the validation rows of a run.

    0.3       p > 0.3
    f1        the threshold with the largest 2 TP / (2 TP + FP + FN) on validation rows, for each label
    youden    that with the largest TP / P - FP / N (Youden 1950)

A threshold is held as log odds, of which classes keep their order where probabilities round to 0 and 1. Chosen ones lie midway
between two neighbouring values; of several that are best the one nearest to p = 0.5 is taken.

Shapes: R runs, n validation rows, K labels (1 for two classes).
"""

import math
from collections.abc import Sequence

import numpy as np

from dlrun.components.arrays import Array
from dlrun.engine.batches import Batches
from dlrun.engine.cohort import DEFAULT_THRESHOLD, Threshold
from dlrun.engine.measuring.forms import Forms

_MOST = 500.0  # log odds that a threshold is held to


def is_chosen(rule: Threshold) -> bool:
    """Whether a threshold is chosen on validation rows."""
    return isinstance(rule, str)


def cuts(rules: Sequence[Threshold], table: Batches, forms: Forms | None, true: Array | None) -> Array | None:
    """The log odds above which each label is predicted, [R, 1, K]; None where all are 0, that is p = 0.5.

    Args:
        rules: of each run.
        table: knows which runs have fewer validation rows than others.
        forms, true: of the validation rows, [R, n, K]; not needed where no threshold is chosen.
    """
    if all(rule == DEFAULT_THRESHOLD for rule in rules):
        return None
    fixed = np.array([0.0 if isinstance(rule, str) else math.log(rule / (1 - rule)) for rule in rules])[:, None, None]
    if forms is None or true is None:
        return fixed
    odds = forms["log_odds"]
    found = np.repeat(fixed, odds.shape[2], axis=2)
    true = np.broadcast_to(true, odds.shape)
    (every, _), *others = table.spans("validation")
    for rows, some in ((every, list(range(len(rules)))), *others):
        for rule in {rules[run] for run in some if is_chosen(rules[run])}:
            runs = [run for run in some if rules[run] == rule]
            found[runs, 0] = best(str(rule), odds[runs][:, rows], true[runs][:, rows])
    return found


def best(rule: str, odds: Array, target: Array) -> Array:
    """The best threshold for each label, as log odds: log odds and targets [R, n, K] to [R, K].

    Between p = 0.5 and the nearest one that is best there is none better; without rows of both kinds that is near p = 0.5.
    """
    falling = -np.clip(odds.astype(np.float64, copy=False), -_MOST, _MOST)
    order = falling.argsort(1, kind="stable")
    z = -np.take_along_axis(falling, order, 1)
    y = np.take_along_axis(target > 0.5, order, 1).astype(np.float64)
    count = np.arange(z.shape[1] + 1)[:, None]
    hits = np.concatenate([np.zeros_like(y[:, :1]), y.cumsum(1)], 1)  # TP where so many rows are predicted: [R, n + 1, K]
    positives = hits[:, -1:]
    if rule == "f1":
        value = 2 * hits / np.maximum(count + positives, 1)
    else:
        value = hits / np.maximum(positives, 1) - (count - hits) / np.maximum(z.shape[1] - positives, 1)
    ends = np.concatenate([z[:, :1] + 1, z, z[:, -1:] - 1], 1)
    middle = (ends[:, :-1] + ends[:, 1:]) / 2
    middle[:, 0], middle[:, -1] = z[:, 0] + 1, z[:, -1] - 1
    value = np.where(ends[:, :-1] > ends[:, 1:], value, -np.inf)  # rows with one value are predicted together
    far = np.where(value >= value.max(1, keepdims=True) - 1e-12, np.abs(middle), np.inf)
    return np.take_along_axis(middle, far.argmin(1)[:, None], 1)[:, 0]
