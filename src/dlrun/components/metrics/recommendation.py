"""Metrics of rankings: are the items that a user likes among the first that a model would show.

Shapes: R runs, N ratings, U users, T items of a ranking.
"""

import numpy as np

from dlrun.components.arrays import Array, nanmean, quiet, rows


@quiet
def recall_at_10(ranking: Array, target: Array, *, liked: Array) -> Array:
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
    user, item = np.moveaxis(np.broadcast_to(liked, (runs, *liked.shape[1:])), 2, 0)
    run, user = np.arange(runs)[:, None], user - 1
    likes = (item > 0) & np.any(ranking, axis=2)[run, user]
    hit = likes & (ranking[run, user] == item[..., None]).any(2)
    place = (run * users + user).ravel()
    hits, wanted = (np.bincount(place, each.ravel(), runs * users).reshape(runs, users) for each in (hit, likes))
    return np.where((rows(ranking) < 0).any(1), np.nan, nanmean(hits / wanted))
