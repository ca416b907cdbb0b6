"""Metrics of embeddings: do vectors of the same class lie together.

Shapes: R runs, N rows, E coordinates. Pairs are [R, N, 2, E], triplets [R, N, 3, E]; every metric gives [R].
"""

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity

from dlrun.components.metrics import ranking
from dlrun.components.metrics.confidence import nan_for_nan

_BLOCK = 1 << 24  # distances held at a time


@nan_for_nan
def pair_auroc(embedding: Tensor, target: Tensor) -> Tensor:
    """Area under the ROC curve of the cosine as a score for pairs that are alike: [R, N, 2, E], +1 or -1 [R, N, 1] -> [R]."""
    return ranking.auroc(*_pairs(embedding, target))


@nan_for_nan
def pair_average_precision(embedding: Tensor, target: Tensor) -> Tensor:
    """Average precision of the cosine as a score for pairs that are alike: [R, N, 2, E], +1 or -1 [R, N, 1] -> [R]."""
    return ranking.average_precision(*_pairs(embedding, target))


@nan_for_nan
def triplet_accuracy(embedding: Tensor, target: Tensor) -> Tensor:
    """Share of triplets whose anchor lies nearer to the positive than to the negative: [R, N, 3, E] -> [R].

    ``target`` is not used: the order within a triplet says all.
    """
    difference = (embedding[:, :, :1] - embedding[:, :, 1:]).double()
    distance = difference.square_().sum(3)
    return (distance[:, :, 0] < distance[:, :, 1]).double().mean(1)


@nan_for_nan
def recall_at_1(embedding: Tensor, target: Tensor) -> Tensor:
    """Share of rows whose nearest other row (Euclidean) has the same class. Rows that are alone in their class are left out.

    Args:
        embedding: [R, N, E], or triplets [R, N, 3, E], of which the anchors are taken.
        target: classes, int64 [R, N].

    Returns:
        [R], float64; NaN when no class has two rows.
    """
    vectors = embedding[:, :, 0] if embedding.dim() == 4 else embedding
    vectors = vectors.double()  # in float32 the distances below would tie where clusters are small beside what lies between
    vectors = vectors - vectors.mean(1, keepdim=True)
    return _recall(vectors, vectors.square().sum(2), target)


@nan_for_nan
def pair_recall_at_1(embedding: Tensor, target: Tensor, *, members: Tensor) -> Tensor:
    """Share of members of pairs whose nearest other one, by the highest cosine, has the same class.

    All members of all pairs are candidates, a query's own partner too. Those that are alone in their class are left out. The
    cosine of a vector of zeros is 0.

    Args:
        embedding: pairs [R, N, 2, E].
        target: not used: a pair may be different for another reason than its classes.
        members: the class of each member, int64 [R, N, 2], or [1, N, 2] for all runs.

    Returns:
        [R], float64; NaN when no class has two members.
    """
    vectors = embedding.flatten(1, 2).double()
    units = vectors / vectors.norm(dim=2, keepdim=True).clamp_min(torch.finfo(vectors.dtype).tiny)
    return _recall(units, units.new_zeros(units.shape[:2]), members.flatten(1))


def _recall(vectors: Tensor, offset: Tensor, target: Tensor) -> Tensor:
    """Share of rows whose nearest other one has the same class, of rows that are not alone in it; see ``_nearest``."""
    runs, rows = vectors.shape[:2]
    if rows == 0:
        return vectors.new_full((runs,), torch.nan)
    classes = target.expand(runs, rows).contiguous()
    together = max(1, _BLOCK // rows**2)
    parts = zip(torch.split(vectors, together), torch.split(offset, together), strict=True)
    hit = classes.gather(1, torch.cat([_nearest(*part) for part in parts])) == classes
    ordered = classes.sort(1).values
    counted = torch.searchsorted(ordered, classes, right=True) - torch.searchsorted(ordered, classes) > 1
    return (hit & counted).sum(1).double() / counted.sum(1)


def _nearest(vectors: Tensor, offset: Tensor) -> Tensor:
    """The other row b for which offset_b - 2 a.b is least, for each row a: [R, N, E], [R, N] -> int64 [R, N].

    With ||b||^2 for offset that is the nearest one, since ||a - b||^2 differs from it by ||a||^2; with 0 the one of the largest
    product.
    """
    rows = vectors.shape[1]
    found = []
    for start in range(0, rows, max(1, _BLOCK // rows)):
        query = vectors[:, start : start + max(1, _BLOCK // rows)]
        distance = torch.baddbmm(offset[:, None, :], query, vectors.transpose(1, 2), alpha=-2.0)
        own = torch.arange(start, start + query.shape[1], device=vectors.device)
        distance[:, own - start, own] = torch.inf
        found.append(distance.min(2).indices)
    return torch.cat(found, dim=1)


def _pairs(embedding: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """The cosine of each pair, and whether they are alike: [R, N] and bool [R, N]."""
    cosine = cosine_similarity(embedding[:, :, 0].double(), embedding[:, :, 1].double(), dim=2)
    return cosine, (target.flatten(1) > 0).expand_as(cosine)
