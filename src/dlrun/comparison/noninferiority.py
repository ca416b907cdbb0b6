"""Whether a group is not worse than a reference by more than a margin: a one-sided paired test.

With c and r the values of both at a seed and fold, gain = c - r where more is better and r - c where less is, and

    d = gain + margin                 a margin in the metric's unit
    d = gain + margin * r * sign      a margin that is a fraction of the reference's mean; sign is that of the mean

the group is not inferior when a t-test rejects that the mean of d is 0 or less (Blackwelder 1982; over folds with the standard
error of Nadeau & Bengio). With a fraction, the mean of the reference is part of what is tested, not a number that is taken for
granted. A gate that says yes when every group is not inferior needs no correction for their number: it errs only where the test
of one that is inferior does (Berger 1982).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from dlrun.comparison.measures import resolution
from dlrun.comparison.pairing import defined
from dlrun.comparison.power import ALPHA, LEAST
from dlrun.comparison.statistics import summarize_differences
from dlrun.comparison.table import Group
from dlrun.errors import InputError


@dataclass(frozen=True)
class Margin:
    """How much worse is allowed: in the metric's unit, or as a fraction of the reference's mean."""

    size: float
    relative: bool = False

    @staticmethod
    def of(text: str) -> "Margin":
        """``2%`` or ``0.01``.

        Raises:
            InputError: it is neither, or not above 0.
        """
        number, percent = text.strip().removesuffix("%"), text.strip().endswith("%")
        try:
            size = float(number)
        except ValueError:
            size = math.nan
        if not 0 < size < math.inf:
            raise InputError(f"--margin {text}: takes a number above 0, in the metric's unit or in percent, such as 0.01 or 2%")
        return Margin(size / 100 if percent else size, percent)

    def __str__(self) -> str:
        return f"{100 * self.size:g}%" if self.relative else f"{self.size:g}"


@dataclass(frozen=True)
class Judged:
    """A group at the gate.

    Args:
        passed: whether it is shown to be not worse by more than the margin.
        n: pairs.
        difference: mean of group minus reference.
        allowed: the margin in the metric's unit.
        worst: how much worse the group may be, a one-sided bound; negative where it is better. NaN where it is not known.
        p: of the test; None where there is none.
        why: what speaks against it; empty when it passed.
    """

    group: Group
    passed: bool
    n: int
    difference: float
    allowed: float
    worst: float
    p: float | None
    why: str = ""


def judge(
    groups: Sequence[Group],
    reference: Group,
    metric: str,
    margin: Margin,
    *,
    higher_is_better: bool,
    alpha: float = ALPHA,
    ratio: float = 0.0,
) -> list[Judged]:
    """Test each group against the reference.

    Args:
        ratio: (test samples) / (training samples) for folds of a repeated cross-validation, 0 for independent seeds.
    """
    sign = 1.0 if higher_is_better else -1.0
    return [_judged(group, reference, metric, margin, sign, alpha, ratio) for group in groups]


def _judged(group: Group, reference: Group, metric: str, margin: Margin, sign: float, alpha: float, ratio: float) -> Judged:
    mine, its = group.values(metric), reference.values(metric)
    keys = [key for key in mine if key in its and math.isfinite(mine[key] - its[key])]
    n = len(keys)
    if not n:
        return Judged(group, False, 0, math.nan, math.nan, math.nan, None, f"no pair with a value of {metric}")
    gains = [sign * (mine[key] - its[key]) for key in keys]
    base = math.fsum(its[key] for key in keys) / n
    direction = math.copysign(1.0, base)
    allowances = [margin.size * direction * its[key] if margin.relative else margin.size for key in keys]
    allowed, difference = math.fsum(allowances) / n, sign * math.fsum(gains) / n
    shifted = [gain + allowance for gain, allowance in zip(gains, allowances, strict=True)]
    if step := resolution(metric, [row.metrics.get(f"{metric.partition('/')[0]}/rows") for row in group.rows]):
        shifted.append(allowed - step)  # a pair that is worse by one step: what was not seen in n pairs may be in the next
    scale = max(abs(value) for key in keys for value in (mine[key], its[key]))
    found = summarize_differences(shifted, confidence=1 - 2 * alpha, ratio=ratio, scale=scale)
    p = None if found.t_p is None else found.t_p / 2 if found.mean > 0 else 1 - found.t_p / 2
    worst = allowed - found.low
    losses = (group.lost(defined(its), metric), ""), (reference.lost(defined(mine), metric), "of the reference")
    why = ", ".join(lost.said(whose) for lost, whose in losses if lost is not None)
    if not why and n < LEAST:
        why = f"{n} {'pair' if n == 1 else 'pairs'}; run at least {LEAST} seeds"
    if not why and (p is None or p >= alpha):
        why = f"may be worse by {worst:.3g}" if math.isfinite(worst) else "too few pairs"
    return Judged(group, not why, n, difference, allowed, worst, p, why)
