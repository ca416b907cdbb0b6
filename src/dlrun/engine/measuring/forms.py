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

import numpy as np

from dlrun.components import links
from dlrun.components.arrays import Array, quiet
from dlrun.components.metrics import Form
from dlrun.components.metrics.confidence import bounded
from dlrun.engine.cohort import CohortRun

Kind = tuple[str, str]  # head, link


def _odds(log_probability: Array) -> Array:
    """log(p / (1 - p)) from log p; infinite where p is 0 or 1."""
    log_p = np.minimum(log_probability, 0)
    found: Array = log_p - np.log(-np.expm1(log_p))
    return found


@dataclass(frozen=True)
class Link:
    """What makes a probability p of a number z, and the logarithms of p straight from z."""

    probability: Callable[[Array], Array]
    log_probability: Callable[[Array], Array]
    log_odds: Callable[[Array], Array]


def _link(probability: Callable[[Array], Array], log_probability: Callable[[Array], Array]) -> Link:
    return Link(probability, log_probability, lambda z: _odds(log_probability(z)))


LINKS: dict[str, Link] = {
    "identity": Link(lambda z: z, lambda z: np.log(bounded(z)), lambda z: links.logit(bounded(z))),
    "sigmoid": Link(links.sigmoid, links.log_sigmoid, lambda z: z),
    "softmax": _link(lambda z: links.softmax(z, 2), lambda z: links.log_softmax(z, 2)),
    "exp": _link(np.exp, lambda z: z),
    "sparsemax": _link(lambda z: links.sparsemax(z, 2), lambda z: np.log(links.sparsemax(z, 2))),
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
    output: Array
    before: Array
    cut: Array | None = None
    _made: dict[str, Array] = field(default_factory=dict)

    @quiet
    def __getitem__(self, form: Form) -> Array:
        if form == "output":
            return self.output
        if form == "margin":
            return self["log_odds"] if self.cut is None else self["log_odds"] - self.cut
        if form not in self._made:
            self._made[form] = self._joined(form)
        return self._made[form]

    def of_rows(self, rows: slice, derived: Mapping[str, Array]) -> "Forms":
        """The same for some of the rows, with what was ``derived`` for them."""
        if rows == slice(None) and not derived:
            return self
        return Forms(self.kinds, self.output[:, rows], self.before[:, rows], self.cut, dict(derived))

    def _joined(self, form: Form) -> Array:
        """The form of all runs: at once where their kinds agree."""
        kinds = list(dict.fromkeys(self.kinds))
        if len(kinds) == 1 or (form == "score" and self.before is self.output):
            return self._of_kind(form, kinds[0], self.output, self.before)
        out: Array | None = None
        for kind in kinds:
            rows = [row for row, other in enumerate(self.kinds) if other == kind]
            found = self._of_kind(form, kind, self.output[rows], self.before[rows])
            out = np.empty(self.output.shape, found.dtype) if out is None else out
            out[rows] = found
        assert out is not None
        return out

    @staticmethod
    def _of_kind(form: Form, kind: Kind, output: Array, before: Array) -> Array:
        if form == "score":  # a softmax of one column is 1 and ranks nothing, but a sigmoid rises with what it is given
            return before if kind[0] == "probability" else output
        z = before if kind in _BEHIND_A_HEAD else output
        function: Callable[[Array], Array] = getattr(LINKS[_BEHIND_A_HEAD.get(kind, kind[1])], form)
        return function(z.astype(np.float64, copy=False))
