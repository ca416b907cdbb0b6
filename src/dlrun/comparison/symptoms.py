"""What went wrong inside a network while it trained, in a sentence: from the diagnostics that every run has.

    dead        in some hidden layer most units give the same output for every row
    vanished    at the start the gradient of the first layer is less than 1/10,000 of the largest
    saturated   in some hidden layer nearly all derivatives of the activation are below 0.01
    constant    on training rows it is as good as a prediction that is the same for every row

The limits are far from what networks have that learn: relu leaves up to four tenths of a layer without use on digits.
"""

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from dlrun.comparison.figures import short
from dlrun.errors import plural

DEAD = 0.5  # of the units of a layer
VANISHED = 1e-4  # of the largest norm
SATURATED = 0.9  # of the derivatives of a layer
CHANCE = 2.0  # standard errors above the balanced accuracy of one class for all
FIT = 0.02  # an r2 that is hardly above that of the mean
RANKED = 0.1  # from an auroc of 0.5
MOST_GROUPS = 3  # that are named in one line


class Trained(Protocol):
    """What is looked at of a run."""

    @property
    def metrics(self) -> Mapping[str, float | None]: ...  # noqa: D102
    @property
    def diagnostics(self) -> Mapping[str, Any]: ...  # noqa: D102
    @property
    def data(self) -> Mapping[str, Any]: ...  # noqa: D102


@dataclass(frozen=True)
class Symptom:
    """One of the above.

    Attributes:
        kind: which one.
        text: of one run, with its figures and what to try.
    """

    kind: str
    text: str


SAID = {
    "dead": "units died",
    "vanished": "gradients vanished",
    "saturated": "units are saturated",
    "constant": "nothing was learned",
}
"""What a table says of several runs."""

CLAIMS: Mapping[str, str] = {"dead": "dying_relu", "vanished": "vanishing_gradients"}
"""The claim (``dlrun claims NAME``) that shows what lies behind a symptom."""


def symptoms(run: Trained) -> list[Symptom]:
    """Those of one run, the cause before what follows from it; none of a run that was not measured."""
    return [Symptom(kind, _with_claim(kind, text)) for kind, text in _found(run)]


def told(runs: Sequence[tuple[str, Trained]]) -> list[str]:
    """A line for each kind that occurs among the runs of a table, given with the label of their groups."""
    counts: dict[str, Counter[str]] = {}
    groups = Counter(label for label, _ in runs)
    for label, run in runs:
        for kind, _ in _found(run):
            counts.setdefault(kind, Counter())[label] += 1
    return [_with_claim(kind, f"{SAID[kind]}: {_counted(counts[kind], groups)}") for kind in SAID if kind in counts]


def _counted(found: Counter[str], groups: Counter[str]) -> str:
    named = [f"{number} of {groups[label]} in {label or 'this row'}" for label, number in found.most_common(MOST_GROUPS)]
    rest = found.total() - sum(number for _, number in found.most_common(MOST_GROUPS))
    return f"{plural(found.total(), 'run')} ({', '.join([*named, *([f'{rest} in other rows'] if rest else [])])})"


def _with_claim(kind: str, text: str) -> str:
    claim = CLAIMS.get(kind)
    return f"{text}; dlrun claims {claim} shows why" if claim else text


def _found(run: Trained) -> Iterator[tuple[str, str]]:
    dead, saturation = _layers(run, "dead_units"), _layers(run, "saturation")
    gone = any(fraction >= DEAD for fraction in dead)
    if gone:
        yield (
            "dead",
            f"units died: {_above(dead, DEAD)} give the same output for every row; a smaller optimizer.lr or "
            "activation=leaky_relu may help",
        )
    norms = _layers(run, "gradient_norm_at_start")
    if len(norms) > 1 and norms[0] < VANISHED * max(norms):
        yield (
            "vanished",
            f"gradients vanished: at the start their norm was {short(norms[-1])} in layer {len(norms)}, and in the layers before "
            f"{', '.join(map(short, norms[-2::-1]))}; fewer layers, activation=relu, model.init=kaiming or batch_norm may help",
        )
    full = [0.0 if lost >= DEAD else fraction for fraction, lost in zip(saturation, dead, strict=False)]
    if any(fraction >= SATURATED for fraction in full):
        yield (
            "saturated",
            f"units are saturated: {_above(full, SATURATED)} have a derivative below 0.01; a smaller optimizer.lr, or inputs and "
            "weights nearer to 0, may help",
        )
    constant = _constant(run)
    if constant:
        yield "constant", f"nothing was learned: on training rows {constant}"


def _constant(run: Trained) -> str:
    """By which figure a run is as good as one prediction for all rows; empty where it is better."""
    fit, accuracy = run.metrics.get("train/r2"), run.metrics.get("train/balanced_accuracy")
    if fit is not None:
        return f"r2 is {fit:.3f}, and that of the mean is 0" if fit <= FIT else ""
    classes, rows = run.data.get("classes"), run.data.get("sizes", {}).get("train")
    if accuracy is None or not classes or not rows:
        return ""
    guessed = 1 / classes
    if accuracy > guessed + CHANCE * math.sqrt(guessed * (1 - guessed) / rows):
        return ""
    ranks = run.metrics.get("train/auroc")  # of two classes a threshold may hide what was learned
    if ranks is not None and abs(ranks - 0.5) > RANKED:
        return ""
    return f"balanced accuracy is {accuracy:.3f}, and that of one class for all rows {guessed:.3f}"


def _layers(run: Trained, name: str) -> list[float]:
    value = run.diagnostics.get(name)
    several = value if isinstance(value, list | tuple) else [value]
    return [0.0 if each is None else float(each) for each in several] if value is not None else []


def _above(fractions: Sequence[float], limit: float) -> str:
    """The fractions of units that reach a limit, layer by layer."""
    layers = [
        f"{fraction:.0%} of those of hidden layer {place}" for place, fraction in enumerate(fractions, 1) if fraction >= limit
    ]
    return ", ".join(layers)
