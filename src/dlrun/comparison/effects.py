"""How much each factor of a sweep matters for a metric.

A balanced grid (every combination of the values with the same seeds, each measured) is decomposed as an analysis of variance with
the seeds as blocks. An effect A, a factor or a pair of factors, has the sum of squares

    SS_A = sum over runs of (mean of its cell - what its parts say)^2,    df_A = product of (values - 1)

and its share of the variance is omega squared (Hays 1963, Statistics for Psychologists), from which what chance alone would give
is taken off, so that a factor without effect has hardly any:

    omega^2_A = max(0, SS_A - df_A MS_rest) / (SS_total + MS_rest)

Elsewhere nothing can be decomposed; see experiments/importance for a forest's answer.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from dlrun.comparison.factors import distinct
from dlrun.comparison.pairing import Key
from dlrun.comparison.table import Group

SEEDS = "seeds"


@dataclass(frozen=True)
class Effect:
    """How much of a metric's variance a factor, a pair of factors, the seeds, or all the rest explain.

    Args:
        factors: the factors; ``("seeds",)``; none for the rest.
        share: omega squared, or of a forest the share of the importance of all factors.
        p: of the F test that it has none; None of a forest, and where nothing is left to test against.
    """

    factors: tuple[str, ...]
    share: float
    p: float | None = None

    @property
    def name(self) -> str:
        """``optimizer x activation``."""
        return " x ".join(self.factors) or "rest"


@dataclass(frozen=True)
class Effects:
    """All effects, the largest first.

    Args:
        balanced: whether they are a decomposition of the variance; else a forest's importances.
    """

    effects: tuple[Effect, ...]
    balanced: bool


def effects(groups: Sequence[Group], metric: str) -> Effects | None:
    """How much the factors that vary among groups of runs matter; baselines are left out.

    Returns:
        None where fewer than two factors vary, the metric does not, or the runs are no balanced grid.
    """
    runs, names = varying(groups)
    grid = _grid(runs, names, metric) if len(names) > 1 else None
    return None if grid is None else _decomposed(names, grid)


def varying(groups: Sequence[Group]) -> tuple[list[Group], list[str]]:
    """The groups of runs, and the factors that differ among them."""
    runs = [group for group in groups if not group.is_baseline]
    names = list(runs[0].factors) if runs else []
    return runs, [name for name in names if len({distinct(group.factors[name]) for group in runs}) > 1]


def _grid(runs: Sequence[Group], names: Sequence[str], metric: str) -> NDArray[np.float64] | None:
    """The values of a balanced grid, [values of each factor ..., seeds]; None where it is none."""
    levels = [list(dict.fromkeys(distinct(group.factors[name]) for group in runs)) for name in names]
    keys: Sequence[Key] = sorted(runs[0].keys, key=str)
    if math.prod(map(len, levels)) != len(runs) or len(keys) < 2 or any(group.keys != runs[0].keys for group in runs):
        return None
    table = np.full((*map(len, levels), len(keys)), math.nan)
    for group in runs:
        place = tuple(known.index(distinct(group.factors[name])) for known, name in zip(levels, names, strict=True))
        values = group.values(metric)
        table[place] = [values[key] for key in keys]
    return table if bool(np.isfinite(table).all()) else None


def _decomposed(names: Sequence[str], table: NDArray[np.float64]) -> Effects | None:
    axes = range(table.ndim - 1)
    total = float(((table - table.mean()) ** 2).sum())
    if total == 0:
        return None
    wanted = [(axis,) for axis in axes] + list(combinations(axes, 2)) + [(table.ndim - 1,)]
    found = {subset: (_squares(table, subset), math.prod(table.shape[axis] - 1 for axis in subset)) for subset in wanted}
    rest = max(0.0, total - sum(squares for squares, _ in found.values()))
    freedom = table.size - 1 - sum(df for _, df in found.values())
    mean = rest / freedom if freedom > 0 else 0.0
    effects = [
        Effect(
            tuple(SEEDS if axis == table.ndim - 1 else names[axis] for axis in subset),
            max(0.0, squares - df * mean) / (total + mean),
            _f_upper(squares / df / mean, df, freedom) if mean > 0 else None,
        )
        for subset, (squares, df) in found.items()
    ]
    effects.sort(key=lambda effect: -effect.share)
    return Effects((*effects, Effect((), max(0.0, 1 - sum(effect.share for effect in effects)))), balanced=True)


def _squares(table: NDArray[np.float64], subset: tuple[int, ...]) -> float:
    """The sum of squares of an effect: of the means of its cells, less what its parts explain."""

    def of(axes: tuple[int, ...]) -> float:
        means = np.asarray(table.mean(axis=tuple(axis for axis in range(table.ndim) if axis not in axes)))
        return float(((means - table.mean()) ** 2).sum()) * table.size / means.size

    return of(subset) - (sum(of((axis,)) for axis in subset) if len(subset) > 1 else 0.0)


def _f_upper(value: float, df: int, freedom: int) -> float:
    """The share of Fisher's F above ``value``."""
    from scipy.special import fdtrc

    return float(fdtrc(df, freedom, value))


def described(found: Effects, most: int = 8) -> list[str]:
    """The effects in a line; none where all are nearly nothing."""
    parts = [f"{effect.name} {effect.share:.0%}" for effect in found.effects[:most] if effect.share >= 0.005]
    what = (
        "share of the variance (omega squared)"
        if found.balanced
        else "importance in a random forest, since this is no balanced grid"
    )
    return [f"{what}: {', '.join(parts)}"] if parts else []


def as_rows(found: Effects) -> list[dict[str, object]]:
    """The effects in JSON's types."""
    return [{"factors": list(effect.factors), "share": effect.share, "p": effect.p} for effect in found.effects]
