"""Forms of a prediction that take more than the output of a model: a fit to training rows, made when a metric first asks for it.

    cluster     the cluster of each row: k-means of the codes of training rows, and the nearest centre      int64 [R, n]
    ranking     the first items for each user, of those that training rows do not have of the user          int64 [R, U, 10]

Models and baselines come here alike: what they differ in is the functions that make a code or a score of a row.

Shapes: R runs, n rows, E numbers of a code, K clusters, U users, I items.
"""

import math
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from dlrun import streams
from dlrun.components.arrays import Array
from dlrun.components.metrics import DERIVED, Metric
from dlrun.data.dataset import Data
from dlrun.data.kmeans import centres, nearest
from dlrun.engine.batches import Batches, Here

TOP = 10  # items of a ranking
PAIRS = 1 << 25  # of users and items that are scored for one run; of more users some are drawn
_TOGETHER = 1 << 22  # inputs looked at together


class Derived:
    """Makes such forms for runs with the parameters that they have now.

    Args:
        table: the rows of the runs.
        data: whose rows they are.
        seeds: of the runs.
        codes: makes codes [R, n, E] of rows by their places.
        scores: makes one number of each of other inputs [n, ...]: [R, n, 1], which is larger for what a user likes more.
    """

    def __init__(
        self,
        table: Batches,
        data: Data,
        seeds: Sequence[int],
        *,
        codes: Callable[[Here], Array],
        scores: Callable[[Array], Array],
    ) -> None:
        self._table, self._data, self._seeds, self._codes, self._scores = table, data, seeds, codes, scores
        self._centres: Array | None = None
        self._first: Array | None = None

    def forms(self, metrics: Iterable[Metric], here: Here) -> dict[str, Array]:
        """Those that the metrics read, for the rows ``here``."""
        wanted = {form for metric in metrics for form in metric.reads if form in DERIVED}
        make = {"cluster": self._clusters, "ranking": self._ranking}
        return {form: make[form](here) for form in wanted}

    def _clusters(self, here: Here) -> Array:
        if self._centres is None:
            train = slice(0, self._table.sizes["train"])
            self._centres = centres(self._codes_of(train), self._data.clusters, self._seeds)
        return nearest(self._codes_of(here), self._centres)

    def _ranking(self, here: Here) -> Array:
        """The same for all rows: a ranking is of a user."""
        if self._first is None:
            users, items = self._data.users, len(self._data.vocabulary) - self._data.users
            ranked = np.sort(streams.permutations(streams.keys([0], "data"), users)[0][: max(1, PAIRS // items)])
            train = self._table.inputs(slice(0, self._table.sizes["train"]))
            self._first = np.zeros((len(self._seeds), users, TOP), dtype=np.int64)
            together = max(1, _TOGETHER // (len(self._seeds) * items))
            for start in range(0, len(ranked), together):
                some = ranked[start : start + together]
                self._first[:, some] = self._best(some, items, train)
            self._first[(self._first < 0).any((1, 2))] = -1
        return self._first

    def _best(self, some: Array, items: int, train: Array) -> Array:
        """The first items of some users, int64 [R, u, 10]. Among equal scores chance decides, the same for all runs."""
        order = streams.permutations(streams.keys([0], "data", part=1), items)[0]
        item = order + self._data.users + 1
        pairs = np.stack([np.repeat(some + 1, items), np.tile(item, len(some))], 1)
        scores = self._scores(pairs).astype(np.float64, copy=False).reshape(-1, len(some), items)
        place = np.full(self._data.users + 1, len(some))  # users of no interest fill a row that is cut off
        place[some + 1] = np.arange(len(some))
        column = np.empty(items, dtype=np.int64)
        column[order] = np.arange(items)
        seen = np.zeros((len(scores), len(some) + 1, items), dtype=bool)
        seen[np.arange(len(train))[:, None], place[train[..., 0]], column[train[..., 1] - self._data.users - 1]] = True
        falling = np.where(seen[:, :-1], np.inf, -scores)
        best = np.argpartition(falling, min(TOP, items) - 1, axis=2)[..., :TOP]
        best = np.take_along_axis(best, np.take_along_axis(falling, best, 2).argsort(2, kind="stable"), 2)
        found = np.where(np.take_along_axis(falling, best, 2) == np.inf, 0, item[best])
        found = np.where(np.isnan(falling).any(2, keepdims=True), -1, found)
        return np.pad(found, ((0, 0), (0, 0), (0, TOP - found.shape[2])))

    def _codes_of(self, here: Here) -> Array:
        together = max(1, _TOGETHER // (len(self._seeds) * math.prod(self._table.row_shape)))
        codes = [self._codes(chunk) for chunk in chunks(here, together)]
        return np.concatenate(codes, 1, dtype=np.float64)


def chunks(here: Here, together: int) -> Sequence[Here]:
    """The same places, that many at a time."""
    if isinstance(here, slice):
        return [slice(start, min(start + together, here.stop)) for start in range(here.start, here.stop, together)]
    return [here[start : start + together] for start in range(0, len(here), together)]
