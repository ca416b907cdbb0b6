"""Multilabel metrics; a label is predicted where its margin is above 0, that is its probability above the threshold.

Shapes: R runs, N rows, K labels. Margin (log odds minus those of the threshold) and target (0 or 1) are [R, N, K]; every metric
gives [R].
"""

from torch import Tensor

from dlrun.components.metrics.confidence import nan_for_nan


@nan_for_nan
def micro_f1(margin: Tensor, target: Tensor) -> Tensor:
    """2 TP / (2 TP + FP + FN) with the counts of all labels together. NaN without positives, true or predicted."""
    hits, chosen, actual = _counts(margin, target)
    return 2 * hits.sum(1) / (chosen + actual).sum(1)


@nan_for_nan
def macro_f1(margin: Tensor, target: Tensor) -> Tensor:
    """Mean over labels of 2 TP / (2 TP + FP + FN); labels that are neither there nor predicted are left out."""
    hits, chosen, actual = _counts(margin, target)
    return (2 * hits / (chosen + actual)).nanmean(1)


@nan_for_nan
def hamming(margin: Tensor, target: Tensor) -> Tensor:
    """Hamming loss: share of labels that are wrong."""
    return ((margin > 0) != (target > 0.5)).flatten(1).double().mean(1)


def _counts(margin: Tensor, target: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Rows of each label that are predicted rightly, predicted, and there: three of float64 [R, K]."""
    chosen, actual = margin > 0, (target > 0.5).expand_as(margin)
    return (chosen & actual).sum(1).double(), chosen.sum(1).double(), actual.sum(1).double()
