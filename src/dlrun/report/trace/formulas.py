"""The loss of one row with its numbers filled in.

Each function takes the target y and the output p (or scores z) of one row, flat arrays of the same length but for classes, and
returns a line that ends with the loss of the row.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from dlrun.report.trace.steps import Numbers

MOST_TERMS = 4  # of a row that are written out

Values = Mapping[str, Any]


def shown(value: float) -> str:
    """A number in four decimals; one that these do not show in four digits, and 0 as it is."""
    if not math.isfinite(value):
        return str(value)
    if value == 0:
        return "0"
    return f"{value:.4f}" if 1e-3 <= abs(value) < 1e5 else f"{value:.3e}"


def signed(value: float) -> str:
    """The same in brackets where it is negative, as a factor or a term."""
    return f"({shown(value)})" if value < 0 else shown(value)


def listed(values: Numbers) -> str:
    """Numbers in brackets, the first of many."""
    flat = values.ravel()
    more = f", ... ({flat.size} in all)" if flat.size > 2 * MOST_TERMS else ""
    return f"[{', '.join(shown(value) for value in flat[: 2 * MOST_TERMS].tolist())}{more}]"


def softmax(scores: Numbers) -> Numbers:
    """Probabilities of classes from their scores."""
    powers = np.exp(scores - scores.max())
    return np.asarray(powers / powers.sum())


def sigmoid(score: float) -> float:
    """1 / (1 + e^-z)."""
    return 1 / (1 + math.exp(-score)) if score >= 0 else math.exp(score) / (1 + math.exp(score))


def _each(term: Callable[[float, float], str]) -> Callable[[Numbers, Numbers, Values], str]:
    """The mean of a term for each entry."""

    def line(y: Numbers, p: Numbers, values: Values) -> str:
        terms = [term(a, b) for a, b in zip(y.ravel().tolist(), p.ravel().tolist(), strict=True)]
        if len(terms) == 1:
            return terms[0]
        more = ", ..." if len(terms) > MOST_TERMS else ""
        return f"mean of {', '.join(terms[:MOST_TERMS])}{more}"

    return line


def _huber(y: Numbers, p: Numbers, values: Values) -> str:
    delta = float(values["delta"])

    def term(a: float, b: float) -> str:
        r = a - b
        if abs(r) <= delta:
            return f"0.5 * {signed(r)}^2"
        return f"{shown(delta)} * (|{shown(r)}| - 0.5 * {shown(delta)})"

    return _each(term)(y, p, values)


def _quantile(y: Numbers, p: Numbers, values: Values) -> str:
    taus = values["tau"] if isinstance(values["tau"], list | tuple) else [values["tau"]] * p.size
    terms = []
    for a, b, tau in zip(np.broadcast_to(y.ravel(), p.size).tolist(), p.ravel().tolist(), taus, strict=True):
        r = a - b
        terms.append(f"{shown(tau)} * {signed(r)}" if r >= 0 else f"({shown(tau)} - 1) * {signed(r)}")
    return terms[0] if len(terms) == 1 else f"mean of {', '.join(terms)}"


def _bce(y: Numbers, p: Numbers, values: Values) -> str:
    def term(a: float, b: float) -> str:
        if a in (0.0, 1.0):
            return f"-log {shown(b)}" if a else f"-log(1 - {shown(b)})"
        return f"-{shown(a)} log {shown(b)} - (1 - {shown(a)}) log(1 - {shown(b)})"

    return _each(term)(y, p, values)


def _bce_with_logits(y: Numbers, z: Numbers, values: Values) -> str:
    p = np.vectorize(sigmoid)(z)
    return f"p = sigmoid({listed(z)}) = {listed(p)}; {_bce(y, p, values)}"


def _chosen(y: Numbers, of: Callable[[int], str], classes: int) -> str:
    """A term of the class, or of each by its share."""
    if y.size == 1:
        return of(int(y.ravel()[0]))
    shares = y.ravel().tolist()
    terms = [f"{shown(share)} * {of(place)}" for place, share in enumerate(shares) if share]
    return " + ".join(terms[:MOST_TERMS]) + (" + ..." if len(terms) > MOST_TERMS else "")


def _cross_entropy(y: Numbers, z: Numbers, values: Values) -> str:
    p = softmax(z.ravel())
    return f"softmax({listed(z)}) = {listed(p)}; {_chosen(y, lambda place: f'-log {shown(p[place])}', p.size)}"


def _nll(y: Numbers, z: Numbers, values: Values) -> str:
    return _chosen(y, lambda place: f"-{signed(z.ravel()[place])}", z.size)


def _hinge(y: Numbers, z: Numbers, values: Values) -> str:
    power = "^2" if values.get("squared") else ""
    if z.size == 1:
        t = 1 if y.ravel()[0] > 0.5 else -1
        return f"max(0, 1 - {'' if t > 0 else '(-1) * '}{signed(float(z.ravel()[0]))}){power}"
    own = int(y.ravel()[0])
    scores = z.ravel().tolist()
    terms = [f"max(0, 1 - {signed(scores[own])} + {signed(score)}){power}" for place, score in enumerate(scores) if place != own]
    more = " + ..." if len(terms) > MOST_TERMS else ""
    return f"({' + '.join(terms[:MOST_TERMS])}{more}) / {len(scores)}"


def _focal(y: Numbers, z: Numbers, values: Values) -> str:
    gamma = shown(float(values["gamma"]))
    if y.size == 1 and z.size > 1:
        p = softmax(z.ravel())
        true = [float(p[int(y.ravel()[0])])]
        head = f"p = softmax({listed(z)}) = {listed(p)}"
    else:
        both = zip(y.ravel().tolist(), z.ravel().tolist(), strict=True)
        true = [sigmoid(score) if label > 0.5 else sigmoid(-score) for label, score in both]
        head = f"p_t = {listed(np.array(true))}"
    weight = "alpha_t * " if values.get("alpha") is not None else ""
    terms = [f"-{weight}(1 - {shown(p)})^{gamma} log {shown(p)}" for p in true]
    return f"{head}; {terms[0] if len(terms) == 1 else 'mean of ' + ', '.join(terms[:MOST_TERMS])}"


def _cosine(y: Numbers, p: Numbers, values: Values) -> str:
    a, b = p.reshape(2, -1)
    cosine = float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))
    if y.ravel()[0] > 0:
        return f"1 - cos(a, b) = 1 - {signed(cosine)}"
    return f"max(0, cos(a, b) - margin) = max(0, {shown(cosine)} - {signed(float(values['margin']))})"


def _triplet(y: Numbers, p: Numbers, values: Values) -> str:
    a, b, c = p.reshape(3, -1)
    norm = float(values.get("p", 2.0))
    near, far = (float(np.linalg.norm(a - other, norm)) for other in (b, c))
    return f"max(0, ||a - b|| - ||a - c|| + margin) = max(0, {shown(near)} - {shown(far)} + {shown(float(values['margin']))})"


_FILLED: dict[str, Callable[[Numbers, Numbers, Values], str]] = {
    "mse": _each(lambda y, p: f"({shown(y)} - {signed(p)})^2"),
    "mae": _each(lambda y, p: f"|{shown(y)} - {signed(p)}|"),
    "l1_loss": _each(lambda y, p: f"|{shown(y)} - {signed(p)}|"),
    "log_cosh": _each(lambda y, p: f"log cosh({shown(p)} - {signed(y)})"),
    "huber": _huber,
    "quantile": _quantile,
    "pinball": _quantile,
    "bce": _bce,
    "log_loss": _bce,
    "bce_with_logits": _bce_with_logits,
    "cross_entropy": _cross_entropy,
    "nll": _nll,
    "hinge": _hinge,
    "focal": _focal,
    "cosine_embedding": _cosine,
    "triplet_margin": _triplet,
}
_WEIGHTS: Sequence[str] = ("class_weight", "pos_weight")  # of rows: a row's loss is no formula of the row alone


def filled(loss: str, values: Values, y: Numbers, output: Numbers, result: float) -> str:
    """The loss of one row with its numbers filled in.

    Args:
        loss: its name in the catalogue.
        values: its hyperparameters.
        y, output: of the row.
        result: the loss of the row; NaN where there is none, as in a loss of whole masks.
    """
    if not math.isfinite(result):
        return ""
    make = _FILLED.get(loss)
    if make is None or any(values.get(name) is not None for name in _WEIGHTS) or output.ndim > 2:
        return f"{shown(result)}"
    return f"{make(y, output, values)} = {shown(result)}"
