"""Forms of a prediction that take more than the output of a model: a fit to training rows, made when a metric first asks for it.

    cluster     the cluster of each row: k-means of the codes of training rows, and the nearest centre      int64 [R, n]
    ranking     the first items for each user, of those that training rows do not have of the user          int64 [R, U, 10]

Models and baselines come here alike: what they differ in is the functions that make a code or a score of a row.

Shapes: R runs, n rows, E numbers of a code, K clusters, U users, I items.
"""

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor

from dlrun import streams
from dlrun.components.metrics import DERIVED, Metric
from dlrun.data.dataset import Data
from dlrun.data.kmeans import centres, nearest
from dlrun.engine.batches import Batches
from dlrun.engine.way import Here

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
        scores: makes one number of each of prepared inputs [R, n, ...]: [R, n, 1], which is larger for what a user likes more.
    """

    def __init__(
        self,
        table: Batches,
        data: Data,
        seeds: Sequence[int],
        *,
        codes: Callable[[Here], Tensor],
        scores: Callable[[Tensor], Tensor],
    ) -> None:
        self._table, self._data, self._seeds, self._codes, self._scores = table, data, seeds, codes, scores
        self._centres: Tensor | None = None
        self._first: Tensor | None = None

    def forms(self, metrics: Iterable[Metric], here: Here) -> dict[str, Tensor]:
        """Those that the metrics read, for the rows ``here``."""
        wanted = {form for metric in metrics for form in metric.reads if form in DERIVED}
        make = {"cluster": self._clusters, "ranking": self._ranking}
        return {form: make[form](here) for form in wanted}

    def _clusters(self, here: Here) -> Tensor:
        if self._centres is None:
            train = slice(0, self._table.sizes["train"])
            self._centres = centres(self._codes_of(train), self._data.clusters, self._seeds)
        return nearest(self._codes_of(here), self._centres)

    def _ranking(self, here: Here) -> Tensor:
        """The same for all rows: a ranking is of a user."""
        if self._first is None:
            users, items = self._data.users, len(self._data.vocabulary) - self._data.users
            ranked = streams.permutations(streams.keys([0], "data"), users)[0][: max(1, PAIRS // items)].sort().values
            train = self._table.at(slice(0, self._table.sizes["train"]))[0].cpu()
            self._first = torch.zeros(len(self._seeds), users, TOP, dtype=torch.int64)
            for some in torch.split(ranked, max(1, _TOGETHER // (len(self._seeds) * items))):
                self._first[:, some] = self._best(some, items, train)
            broken = (self._first < 0).flatten(1).any(1)
            self._first[broken] = -1
        return self._first.to(self._table.device)

    def _best(self, some: Tensor, items: int, train: Tensor) -> Tensor:
        """The first items of some users, int64 [R, u, 10]. Among equal scores chance decides, the same for all runs."""
        order = streams.permutations(streams.keys([0], "data", part=1), items)[0]
        item = order + self._data.users + 1
        pairs = torch.stack([(some + 1).repeat_interleave(items), item.repeat(len(some))], 1).to(self._table.device)
        scores = self._scores(self._table.prepare(pairs)).double().cpu().view(-1, len(some), items)
        place = torch.full((self._data.users + 1,), len(some))  # users of no interest fill a row that is cut off
        place[some + 1] = torch.arange(len(some))
        column = torch.empty(items, dtype=torch.int64)
        column[order] = torch.arange(items)
        seen = torch.zeros(len(scores), len(some) + 1, items, dtype=torch.bool)
        user, known = place[train[..., 0]], column[train[..., 1] - self._data.users - 1]
        seen.flatten(1).scatter_(1, user * items + known, True)
        scores = torch.where(seen[:, :-1], -torch.inf, scores)
        best = scores.topk(min(TOP, items), dim=2)
        found = torch.where(best.values == -torch.inf, 0, item[best.indices])
        found = found.masked_fill(scores.isnan().any(2, keepdim=True), -1)
        return torch.nn.functional.pad(found, (0, TOP - found.shape[2]))

    def _codes_of(self, here: Here) -> Tensor:
        together = max(1, _TOGETHER // (len(self._seeds) * torch.Size(self._table.row_shape).numel()))
        return torch.cat([self._codes(chunk).double() for chunk in chunks(here, together)], 1)


def chunks(here: Here, together: int) -> Sequence[Here]:
    """The same places, that many at a time."""
    if isinstance(here, slice):
        return [slice(start, min(start + together, here.stop)) for start in range(here.start, here.stop, together)]
    return torch.split(here, together)
