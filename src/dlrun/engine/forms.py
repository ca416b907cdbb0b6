"""The forms of a prediction that metrics read, made of what a model puts out.

    output            as it is: values in the units of the data, or embeddings
    score             rises with the probability of its class, and does not saturate: for ranks, and for the likeliest class
    log_odds          log(p / (1 - p)) of each column, for binary and multilabel data
    margin            log odds minus those of the threshold
    log_probability   log p of classes that exclude each other
    probability       p, float64
    cluster           the number of the cluster that a row is in (see derived.py)
    ranking           the items that each user is shown first

A sigmoid in float32 is exactly 1 for logits above 17, which makes ties of rows that the model tells apart, and bounds a
logarithm. So whatever has a sigmoid or a softmax at its end, as the head of the model or as the link of its loss, is read from
before it, in float64.

Shapes: R runs, n rows, K outputs; pixels may follow.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from dlrun.components.losses import sparsemax
from dlrun.components.metrics import Form
from dlrun.components.metrics.confidence import bounded
from dlrun.engine.cohort import CohortRun
from dlrun.engine.components import Rows

Kind = tuple[str, str]  # head, link


def _odds(log_probability: Tensor) -> Tensor:
    """log(p / (1 - p)) from log p; infinite where p is 0 or 1."""
    log_p = log_probability.clamp(max=0)
    return log_p - torch.log(-torch.expm1(log_p))


@dataclass(frozen=True)
class Link:
    """What makes a probability p of a number z, and the logarithms of p straight from z."""

    probability: Callable[[Tensor], Tensor]
    log_probability: Callable[[Tensor], Tensor]
    log_odds: Callable[[Tensor], Tensor]


def _link(probability: Callable[[Tensor], Tensor], log_probability: Callable[[Tensor], Tensor]) -> Link:
    return Link(probability, log_probability, lambda z: _odds(log_probability(z)))


LINKS: dict[str, Link] = {
    "identity": Link(lambda z: z, lambda z: bounded(z).log(), lambda z: bounded(z).logit()),
    "sigmoid": Link(torch.sigmoid, logsigmoid, lambda z: z),
    "softmax": _link(partial(torch.softmax, dim=2), partial(torch.log_softmax, dim=2)),
    "exp": _link(torch.exp, lambda z: z),
    "sparsemax": _link(partial(sparsemax, dim=2), lambda z: sparsemax(z, 2).log()),
}
"""By the name that a run's loss gives it."""

_BEHIND_A_HEAD: dict[Kind, str] = {
    ("probability", "identity"): "sigmoid",
    ("softmax", "identity"): "softmax",
    ("log_probability", "exp"): "softmax",
}
"""A head and a link that are together a link of what stands before the head."""


def kind_of(run: CohortRun) -> Kind:
    """What tells how an output of this run becomes a probability."""
    return run.head, run.prediction


@dataclass(frozen=True)
class Forms:
    """A prediction, in the forms that are asked for; each is made once.

    Args:
        kinds: the head and link of each run.
        output: of the model, [R, n, K, ...]; of a regression in the units of the data.
        before: what stands before the head; the output where there is no head.
        cut: log odds of the thresholds, [R, 1, K]; None for 0.
    """

    kinds: Sequence[Kind]
    output: Tensor
    before: Tensor
    cut: Tensor | None = None
    _made: dict[str, Tensor] = field(default_factory=dict)

    def __getitem__(self, form: Form) -> Tensor:
        if form == "output":
            return self.output
        if form == "margin":
            return self["log_odds"] if self.cut is None else self["log_odds"] - self.cut
        if form not in self._made:
            self._made[form] = self._joined(form)
        return self._made[form]

    def of_rows(self, rows: slice, derived: Mapping[str, Tensor]) -> "Forms":
        """The same for some of the rows, with what was ``derived`` for them."""
        if rows == slice(None) and not derived:
            return self
        return Forms(self.kinds, self.output[:, rows], self.before[:, rows], self.cut, dict(derived))

    def _joined(self, form: Form) -> Tensor:
        """The form of all runs: at once where their kinds agree."""
        kinds = list(dict.fromkeys(self.kinds))
        if len(kinds) == 1 or (form == "score" and self.before is self.output):
            return self._of_kind(form, kinds[0], self.output, self.before)
        out: Tensor | None = None
        for kind in kinds:
            rows = Rows([row for row, other in enumerate(self.kinds) if other == kind], len(self.kinds), self.output.device)
            found = self._of_kind(form, kind, rows.take(self.output), rows.take(self.before))
            out = found.new_empty(self.output.shape) if out is None else out
            rows.put(out, found)
        assert out is not None
        return out

    @staticmethod
    def _of_kind(form: Form, kind: Kind, output: Tensor, before: Tensor) -> Tensor:
        if form == "score":  # a softmax of one column is 1 and ranks nothing, but a sigmoid rises with what it is given
            return before if kind[0] == "probability" else output
        z = before if kind in _BEHIND_A_HEAD else output
        function: Callable[[Tensor], Tensor] = getattr(LINKS[_BEHIND_A_HEAD.get(kind, kind[1])], form)
        return function(z.double())
