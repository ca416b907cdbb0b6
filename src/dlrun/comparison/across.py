"""The same groups on several datasets: average ranks, Friedman's test, and the difference of ranks that can be told apart.

Metrics of different datasets have no common scale; ranks have one. With k groups on N datasets, R_j the average rank of group j
(1 is best, ties share their mean rank), the statistic of Friedman (1937) in the form of Iman & Davenport (1980) is

    chi2 = 12 N / (k (k + 1)) (sum R_j^2 - k (k + 1)^2 / 4),    F = (N - 1) chi2 / (N (k - 1) - chi2)

with k - 1 and (k - 1)(N - 1) degrees of freedom, and two groups differ at the 5% level where their average ranks are apart by
more than Nemenyi's critical difference, CD = q / sqrt(2) sqrt(k (k + 1) / (6 N)), q the studentized range's 95th percentile
(Demsar 2006, Statistical comparisons of classifiers over multiple data sets).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

LEAST = 3  # datasets
ALPHA = 0.05


@dataclass(frozen=True)
class Across:
    """Groups over datasets, the best average rank first.

    Args:
        ranks: label of the group -> its average rank.
        datasets: how many.
        p: of the test that all groups rank alike; 0 where they rank alike on every dataset.
        critical: the critical difference of average ranks.
        left_out: labels of groups that some dataset has no mean of.
    """

    ranks: Mapping[str, float]
    datasets: int
    p: float
    critical: float
    left_out: tuple[str, ...] = ()

    def joined(self) -> list[tuple[str, ...]]:
        """The largest sets of groups of which no two are told apart, as the bars of a critical-difference diagram join them."""
        labels, values = [*self.ranks], [*self.ranks.values()]
        found: list[tuple[str, ...]] = []
        reached = 1
        for first, value in enumerate(values):
            end = sum(other - value <= self.critical for other in values)
            if end - first > 1 and end > reached:
                found.append(tuple(labels[first:end]))
            reached = max(reached, end)
        return found


def across(means: Sequence[Mapping[str, float]], higher_is_better: Sequence[bool]) -> Across | None:
    """Rank groups over datasets.

    Args:
        means: for each dataset, label of a group -> its mean.
        higher_is_better: of the metric of each dataset.

    Returns:
        None with fewer than three datasets, or two groups that all of them have.
    """
    shared = [label for label in (means[0] if means else ()) if all(label in table for table in means)]
    count, k = len(means), len(shared)
    if count < LEAST or k < 2:
        return None
    totals = dict.fromkeys(shared, 0.0)
    for table, higher in zip(means, higher_is_better, strict=True):
        for label, rank in _ranks({label: -table[label] if higher else table[label] for label in shared}).items():
            totals[label] += rank
    ranks = {label: totals[label] / count for label in sorted(shared, key=lambda label: totals[label])}
    chi2 = 12 * count / (k * (k + 1)) * (sum(rank**2 for rank in ranks.values()) - k * (k + 1) ** 2 / 4)
    rest = count * (k - 1) - chi2
    from scipy.special import fdtrc

    p = 0.0 if rest <= 1e-12 else float(fdtrc(k - 1, (k - 1) * (count - 1), (count - 1) * chi2 / rest))
    every = dict.fromkeys(label for table in means for label in table)
    return Across(ranks, count, p, _critical(k, count), tuple(label for label in every if label not in ranks))


def _ranks(values: Mapping[str, float]) -> dict[str, float]:
    """The rank of each, 1 for the least; equal ones share their mean rank."""
    every = sorted(values.values())
    first = {value: every.index(value) for value in every}
    return {label: first[value] + (every.count(value) + 1) / 2 for label, value in values.items()}


def _critical(k: int, count: int) -> float:
    from scipy.stats import studentized_range

    return float(studentized_range.ppf(1 - ALPHA, k, math.inf)) / math.sqrt(2) * math.sqrt(k * (k + 1) / (6 * count))


def described(found: Across) -> list[str]:
    """The ranks in lines."""
    ranks = ", ".join(f"{label} {rank:.2f}" for label, rank in found.ranks.items())
    told = "the groups differ" if found.p < ALPHA else "not enough evidence that the groups differ"
    left_out = [f"not ranked, since some dataset has no mean of it: {', '.join(found.left_out)}"] if found.left_out else []
    return [
        f"average ranks over {found.datasets} datasets, 1 is best: {ranks}",
        *left_out,
        f"{told} over datasets (Friedman's test, p {found.p:.2g}); two groups are told apart where their average ranks differ by "
        f"more than {found.critical:.2f} (Nemenyi, 5% level)",
    ]
