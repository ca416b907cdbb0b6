"""K-means of the codes of runs: centres that are fitted to some rows, and the nearest one of others.

Shapes: R runs, n rows, E numbers of a code, K clusters.
"""

import warnings
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from dlrun import streams

Floats = NDArray[np.float64]
STARTS = 10  # of k-means, of which the best is kept


def centres(codes: Floats, clusters: int, seeds: Sequence[int]) -> Floats:
    """The centres that scikit-learn's k-means finds in the codes of each run, [R, n, E] to [R, K, E].

    It starts ``STARTS`` times, from numbers of each run's own stream. A run with codes that are not finite has NaN.
    """
    from sklearn.cluster import KMeans

    out = np.full((len(codes), clusters, codes.shape[2]), np.nan)
    known: dict[tuple[int, bytes], int] = {}  # runs that fill up a cohort are copies of others
    states = (streams.keys(seeds, "cluster") & 0xFFFFFFFF).tolist()
    for run, (mine, state) in enumerate(zip(codes, states, strict=True)):
        if not np.isfinite(mine).all():
            continue
        first = known.setdefault((state, mine[:8].tobytes()), run)
        if first != run and np.array_equal(codes[first], mine):
            out[run] = out[first]
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of fewer different codes than clusters: some are then empty
            out[run] = KMeans(clusters, n_init=STARTS, random_state=state).fit(mine).cluster_centers_
    return out


@np.errstate(all="ignore")
def nearest(codes: Floats, centres: Floats) -> NDArray[np.int64]:
    """The number of the nearest centre of each code, [R, n, E] and [R, K, E] to int64 [R, n]; -1 where one is not finite."""
    distance = np.stack([np.square(codes - centre[:, None]).sum(2) for centre in centres.transpose(1, 0, 2)], 2)
    known = np.all(np.isfinite(codes), axis=2) & np.all(np.isfinite(centres), axis=(1, 2))[:, None]
    return np.where(known, distance.argmin(2), -1)
