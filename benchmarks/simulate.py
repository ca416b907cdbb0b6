"""How often verdicts are wrong, intervals miss and differences are found, by simulation: the table of docs/statistics.md.

    make simulate                  2,000 simulations a cell, about a quarter of an hour on one core
    make simulate ARGS="--rounds 100 --only settle"

Every cell goes through what dlrun itself calls: ``comparison`` for the verdicts of a table, ``settle`` for those of dlrun settle.
"""

import argparse
import math
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import ttest_rel

from dlrun.comparison.groups import Compared, comparison
from dlrun.comparison.sequential import settle
from dlrun.comparison.statistics import holm
from dlrun.comparison.table import Row

Draw = Callable[[np.random.Generator, tuple[int, ...]], NDArray[np.float64]]
"""(generator, shape) -> values of a metric."""

GROUPS = 5
SEEDS = (5, 10, 20)
ALPHA = 0.05


def _accuracy(rows: int) -> Draw:
    def draw(rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float64]:
        """The share of test rows that are right: 90% on average, and somewhat more or less by the seed's luck."""
        chance = np.clip(0.9 + 0.03 * rng.standard_normal(shape), 0, 1)
        return rng.binomial(rows, chance) / rows

    return draw


SHAPES: dict[str, Draw] = {
    "normal": lambda rng, shape: rng.standard_normal(shape),
    "lognormal": lambda rng, shape: np.exp(rng.standard_normal(shape)),
    "accuracy, 40 rows": _accuracy(40),
    "accuracy, 400 rows": _accuracy(400),
    "heavy tails (t, 3 df)": lambda rng, shape: rng.standard_t(3, shape) / math.sqrt(3),
}
ROWS = {"accuracy, 40 rows": 40, "accuracy, 400 rows": 400}
MEAN = {"lognormal": math.exp(0.5), "accuracy, 40 rows": 0.9 - 3e-6, "accuracy, 400 rows": 0.9 - 3e-6}  # 0 of the others
SPREAD = {"lognormal": math.sqrt((math.e - 1) * math.e), "accuracy, 40 rows": 0.0559, "accuracy, 400 rows": 0.0335}  # sd, else 1


def table(values: NDArray[np.float64], shape: str = "normal", **options: Any) -> list[Compared]:
    """The comparison of values [groups, seeds], or [groups, seeds, folds]."""
    metric = "test/accuracy" if shape in ROWS else "test/score"
    sizes = {"test/rows": float(ROWS[shape])} if shape in ROWS else {}
    rows = [
        Row(
            f"{place}",
            "done",
            place[1],
            place[2] if len(place) > 2 else None,
            {"group": f"g{place[0]}"},
            {metric: float(value), **sizes},
        )
        for place, value in np.ndenumerate(values)
    ]
    return comparison(rows, metric, higher_is_better=True, alpha=ALPHA, **options)


def called(compared: Sequence[Compared]) -> list[Compared]:
    """Those that are called better or worse."""
    return [item for item in compared if item.verdict is not None and item.verdict.word in ("better", "worse")]


def false_verdicts(shape: str, n: int, rounds: int, groups: int = GROUPS, seed: int = 0) -> float:
    """A/A: the fraction of tables of groups that are equal in law in which any is called better or worse."""
    rng = np.random.default_rng([seed, n])
    return float(np.mean([bool(called(table(SHAPES[shape](rng, (groups, n)), shape))) for _ in range(rounds)]))


def coverage(shape: str, n: int, rounds: int, seed: int = 1) -> tuple[float, float]:
    """The fraction of 95% intervals that hold the true mean of a group, and the true difference of two."""
    rng = np.random.default_rng([seed, n])
    truth = MEAN.get(shape, 0.0)
    means, differences = [], []
    for _ in range(rounds):
        for item in table(SHAPES[shape](rng, (2, n)), shape, reference="g0"):
            (summary,) = item.group.summaries.values()
            if item.group.factors["group"] == "g0":
                means.append(summary.low <= truth <= summary.high)
            elif item.difference is not None:
                differences.append(item.difference.low <= 0 <= item.difference.high)
    return float(np.mean(means)), float(np.mean(differences))


def power(shape: str, n: int, rounds: int, lead: float = 1.2, seed: int = 2) -> tuple[float, float]:
    """One group of five leads by ``lead`` sd of a value: how often the table calls another worse than it, and how often pairwise
    t-tests with Holm's correction for all ten pairs do.
    """
    rng = np.random.default_rng([seed, n])
    found, plain = 0, 0
    for _ in range(rounds):
        values = SHAPES[shape](rng, (GROUPS, n))
        values[0] += lead * SPREAD.get(shape, 1.0)
        compared = table(values, shape)
        best = next(item for item in compared if item.reference is not None)
        found += best.group.factors["group"] == "g0" and bool(called(compared))
        first, second = np.triu_indices(GROUPS, 1)
        p = holm(ttest_rel(values[first], values[second], axis=1).pvalue.tolist())
        plain += any(p_ is not None and p_ < ALPHA for p_, leads in zip(p, first == 0, strict=True) if leads)
    return found / rounds, plain / rounds


def folds(shared: bool, repeats: int, rounds: int, seed: int = 3) -> float:
    """A/A over 5 folds, repeated: folds that share rows correlate by test / (test + training), fresh draws do not."""
    rng = np.random.default_rng([seed, repeats, shared])
    ratio = 0.25 if shared else 0.0
    correlation = ratio / (1 + ratio)
    wrong = 0
    for _ in range(rounds):
        own, common = rng.standard_normal((GROUPS, repeats, 5)), rng.standard_normal((GROUPS, 1, 1))
        wrong += bool(called(table(math.sqrt(1 - correlation) * own + math.sqrt(correlation) * common, ratio=ratio)))
    return wrong / rounds


def twins(n: int, folds_: int, rounds: int, *, fresh: bool = False, seed: int = 4) -> tuple[float, float]:
    """Two learners that are equal in law on samples of 150 rows: least squares on one of two features, y = a + b + noise.

    How often the verdict on these rows, and the one on new rows, calls them different: with ``n`` seeds that split the same rows
    into 120 and 30 (or so many repetitions of ``folds_`` folds), or rows of its own for every seed (``fresh``).
    """
    rng = np.random.default_rng([seed, n, folds_, fresh])
    wrong = np.zeros(2)
    for _ in range(rounds):
        values = np.stack([_twin_scores(rng, folds_, fresh, None) for _ in range(n)]) if fresh else _resplit(rng, n, folds_)
        values = np.moveaxis(values, -1, 0)  # [2, n] or [2, n, folds]
        ratio = 0.25 if folds_ > 1 else 0.0
        compared = table(values, ratio=ratio, new_rows=0.0 if fresh else 0.25)
        for item in compared:
            wrong[0] += item in called([item])
            beyond = item.on_new_rows
            wrong[1] += beyond is not None and beyond.verdict.word in ("better", "worse")
    return float(wrong[0] / rounds), float(wrong[1] / rounds)


def _sample(rng: np.random.Generator, rows: int = 150) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    x = rng.standard_normal((rows, 2))
    return x, x.sum(1) + rng.standard_normal(rows)


def _resplit(rng: np.random.Generator, n: int, folds_: int) -> NDArray[np.float64]:
    data = _sample(rng)
    return np.stack([_twin_scores(rng, folds_, False, data) for _ in range(n)])


def _twin_scores(rng: np.random.Generator, folds_: int, fresh: bool, data: Any) -> NDArray[np.float64]:
    """r2 on test rows of both learners, [2], or of every fold, [folds, 2]."""
    x, y = _sample(rng) if fresh else data
    order = rng.permutation(len(y))
    tests = np.array_split(order, 5)[: folds_ if folds_ > 1 else 1]
    scores = np.array([[_r2(x[:, feature], y, test) for feature in (0, 1)] for test in tests])
    return scores if folds_ > 1 else scores[0]


def _r2(x: NDArray[np.float64], y: NDArray[np.float64], test: NDArray[np.int64]) -> float:
    train = np.ones(len(y), dtype=bool)
    train[test] = False
    x_mean, y_mean = x[train].mean(), y[train].mean()
    slope = ((x[train] - x_mean) @ (y[train] - y_mean)) / ((x[train] - x_mean) ** 2).sum()
    left = y[test] - y_mean - slope * (x[test] - x_mean)
    return 1 - float((left**2).sum() / ((y[test] - y[test].mean()) ** 2).sum())


def repeated(rounds: int, groups: int, most: int = 50, seed: int = 5) -> tuple[float, float]:
    """A/A from 5 seeds: how often a table ends with a verdict when its advice is followed, and one seed at a time to ``most``."""
    rng = np.random.default_rng([seed, groups])
    advised, single = 0, 0
    for _ in range(rounds):
        values = rng.standard_normal((groups, most))
        n = 5
        while n <= most:
            compared = table(values[:, :n])
            if called(compared):
                advised += 1
                break
            more = [item.verdict.more for item in compared if item.verdict is not None and item.verdict.more]
            if not more:
                break
            n += min(more)
        single += any(called(table(values[:, :n])) for n in range(5, most + 1))
    return advised / rounds, single / rounds


# dlrun settle

DIFFERENCES: dict[str, tuple[Draw, float]] = {  # of mean 0, and the least step
    **{
        f"A/A {name}": (lambda rng, shape, draw=draw: draw(rng, shape) - draw(rng, shape), 1 / ROWS.get(name, math.inf))
        for name, draw in SHAPES.items()
    },
    "skewed: lognormal, sd of the log 0.5": (lambda rng, shape: np.exp(0.5 * rng.standard_normal(shape)) - math.exp(0.125), 0.0),
    "skewed: lognormal, sd of the log 1": (lambda rng, shape: np.exp(rng.standard_normal(shape)) - math.exp(0.5), 0.0),
    "one run of ten sticks, the other group is steady": (
        lambda rng, shape: np.where(rng.random(shape) < 0.1, -0.45, 0.05) + 0.01 * rng.standard_normal(shape),
        0.0,
    ),
}


def settled_falsely(shape: str, rounds: int, most: int = 1000, pairs: int = 1, seed: int = 6) -> float:
    """Differences of mean 0: how often dlrun settle calls any of ``pairs`` better or worse, looking after every seed."""
    draw, step = DIFFERENCES[shape]
    rng = np.random.default_rng([seed, pairs])
    wrong = 0
    for _ in range(rounds):
        wrong += any(
            settle(draw(rng, (most,)).tolist(), higher_is_better=True, alpha=ALPHA / pairs, step=step).word != "not settled"
            for _ in range(pairs)
        )
    return wrong / rounds


def equivalent_falsely(rounds: int, margin: float, most: int = 1000, seed: int = 7) -> float:
    """Differences whose mean is the margin itself, in sd: how often they are called equivalent."""
    rng = np.random.default_rng(seed)
    found = [
        settle((rng.standard_normal(most) + margin).tolist(), higher_is_better=True, alpha=ALPHA, margin=margin)
        for _ in range(rounds)
    ]
    return float(np.mean([one.word == "equivalent" for one in found]))


def seeds_needed(lead: float, rounds: int, pairs: int = 1, most: int = 1000, seed: int = 8) -> tuple[float, float]:
    """The median of the seeds after which a difference of ``lead`` sd is settled, and how often rightly within ``most``."""
    rng = np.random.default_rng([seed, pairs])
    found = [
        settle((rng.standard_normal(most) + lead).tolist(), higher_is_better=True, alpha=ALPHA / pairs) for _ in range(rounds)
    ]
    return float(np.median([one.n for one in found])), float(np.mean([one.word == "better" for one in found]))


# The printed table


def _aa(rounds: int) -> Iterator[Sequence[str]]:
    yield "metric", *(f"n = {n}" for n in SEEDS)
    for shape in SHAPES:
        yield shape, *(_percent(false_verdicts(shape, n, rounds)) for n in SEEDS)


def _coverage(rounds: int) -> Iterator[Sequence[str]]:
    yield "metric", *(f"{what}, n = {n}" for n in SEEDS for what in ("mean", "difference"))
    for shape in SHAPES:
        yield shape, *(_percent(value) for n in SEEDS for value in coverage(shape, n, rounds))


def _power(rounds: int) -> Iterator[Sequence[str]]:
    yield "metric", *(f"{what}, n = {n}" for n in SEEDS for what in ("dlrun", "t and Holm"))
    for shape in SHAPES:
        yield shape, *(_percent(value) for n in SEEDS for value in power(shape, n, rounds))


def _folds(rounds: int) -> Iterator[Sequence[str]]:
    yield "5 groups", *(f"5 folds x {repeats}" for repeats in (1, 4))
    for name, shared in (("folds share rows", True), ("fresh draws", False)):
        yield name, *(_percent(folds(shared, repeats, rounds)) for repeats in (1, 4))


def _twins(rounds: int) -> Iterator[Sequence[str]]:
    yield "150 rows", "verdict on these rows", "verdict on new rows"
    for n in (5, 10, 20, 50):
        yield f"{n} seeds", *map(_percent, twins(n, 1, rounds))
    yield "5 folds x 4", *map(_percent, twins(4, 5, rounds))
    for n in (5, 20):
        yield f"{n} seeds, rows of its own for each", *map(_percent, twins(n, 1, rounds, fresh=True))


def _repeated(rounds: int) -> Iterator[Sequence[str]]:
    yield f"equal groups, from 5 seeds ({rounds // 8} simulations)", "following the advice", "one seed at a time to 50"
    for groups in (2, 5):
        yield f"{groups} groups", *map(_percent, repeated(max(1, rounds // 8), groups))


def _settle(rounds: int) -> Iterator[Sequence[str]]:
    rounds *= 3  # the rates are small, and cheap to simulate
    yield "a look after every seed to 1,000", f"false in {rounds:,} simulations"
    for shape in DIFFERENCES:
        yield shape, _percent(settled_falsely(shape, rounds))
    yield "A/A normal, 10 pairs of 5 groups", _percent(settled_falsely("A/A normal", rounds // 3, pairs=10))
    for margin in (0.2, 0.5):
        yield f"called equivalent within {margin} sd, which is the true difference", _percent(equivalent_falsely(rounds, margin))


def _needed(rounds: int) -> Iterator[Sequence[str]]:
    yield "true difference", "seeds, 1 pair", "settled rightly", "seeds, 10 pairs", "settled rightly"
    for lead in (2.0, 1.0, 0.5, 0.3, 0.2):
        one, ten = seeds_needed(lead, rounds), seeds_needed(lead, rounds, pairs=10)
        yield f"{lead} sd of the difference", *(text for n, rightly in (one, ten) for text in (f"{n:.0f}", _percent(rightly)))


TABLES: dict[str, tuple[str, Callable[[int], Iterator[Sequence[str]]]]] = {
    "aa": ("False verdicts among 5 equal groups (5% at most)", _aa),
    "coverage": ("95% intervals that hold the truth", _coverage),
    "power": ("A lead of 1.2 sd of one group among 5: found", _power),
    "folds": ("False verdicts over folds", _folds),
    "twins": ("Two learners that are equal in law, called different", _twins),
    "repeated": ("Testing again after more seeds: a verdict in the end", _repeated),
    "settle": ("dlrun settle: false verdicts", _settle),
    "needed": ("dlrun settle: the median of the seeds that it takes", _needed),
}


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.1f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=2000, help="simulations a cell")
    parser.add_argument("--only", nargs="*", choices=TABLES, default=[*TABLES], help="some of the tables")
    asked = parser.parse_args()
    began = time.perf_counter()
    for name in asked.only:
        title, rows = TABLES[name]
        print(f"**{title}**\n")
        for number, cells in enumerate(rows(asked.rounds)):
            print(f"| {' | '.join(cells)} |", flush=True)
            if not number:
                print(f"|{'---|' * len(cells)}")
        print(flush=True)
    error = 100 * math.sqrt(0.05 * 0.95 / asked.rounds)
    print(f"In percent; {asked.rounds:,} simulations a cell, so 5% has a standard error of {error:.1f}%.")
    print(f"{time.perf_counter() - began:.0f} s", file=sys.stderr)


if __name__ == "__main__":
    main()
