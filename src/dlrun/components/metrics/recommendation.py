"""Metrics of rankings: are the items that a user likes among the first that a model would show.

Shapes: R runs, N ratings, U users, T items of a ranking.
"""

import torch
from torch import Tensor


def recall_at_10(ranking: Tensor, target: Tensor, *, liked: Tensor) -> Tensor:
    """Share of the items that a user likes that are among the first ten: [R, U, T] -> [R], the mean over users.

    A user likes an item with a rating at or above the threshold of the data, in the rows that are measured. Ranked are all items
    that the user has not rated in training rows. Users who like none of them are left out, and so are users without a ranking.

    Args:
        ranking: numbers of the items, the best first; int64 [R, U, T], T = 10. 0 where there are no more, -1 in all places of a
            run whose predictions are not finite.
        target: not used.
        liked: of each rating the number of the user, from 1, and that of the item, 0 if it is below the threshold: int64
            [R, N, 2], or [1, N, 2] for all runs.

    Returns:
        [R], float64; NaN where no user likes an item, and for runs whose predictions are not finite.
    """
    runs, users, _ = ranking.shape
    user, item = liked.expand(runs, -1, -1).unbind(2)
    user = user - 1
    likes = (item > 0) & ranking.any(2).gather(1, user)
    first = ranking.gather(1, user.unsqueeze(2).expand(-1, -1, ranking.shape[2]))
    hit = likes & (first == item.unsqueeze(2)).any(2)
    zeros = torch.zeros(runs, users, dtype=torch.float64, device=ranking.device)
    hits, wanted = (zeros.scatter_add(1, user, each.double()) for each in (hit, likes))
    found = torch.where(wanted > 0, hits / wanted, torch.nan).nanmean(1)
    return found.masked_fill((ranking < 0).flatten(1).any(1), torch.nan)
