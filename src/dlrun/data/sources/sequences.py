"""Synthetic sequences: sentences of words, and signals of numbers.

Shapes: N rows, T places of a sentence, L values of a signal. ``seed`` draws the data and is no run's seed.
"""

from typing import Annotated

import numpy as np

from dlrun.components.hyperparameters import Interval
from dlrun.data.dataset import Amount, Data, Seed, Several
from dlrun.data.sequences import padded
from dlrun.data.sources.draws import normal, settled, uniform

Share = Annotated[float, Interval(0, 1)]
Length = Annotated[int, Interval(8)]

NOUNS = ("film", "play", "song", "story", "meal", "trip", "game", "speech")
GOOD = ("good", "great", "funny", "clever", "lovely", "fine", "bright", "fresh")
BAD = ("bad", "dull", "slow", "awful", "stale", "weak", "boring", "poor")
DEGREES = ("very", "really", "quite")
NEGATIONS = ("not", "never")
WORDS = ("the", "was", "and", "but", *NEGATIONS, *DEGREES, *NOUNS, *GOOD, *BAD)
LONGEST = 13  # two clauses of six words, and the word between them

_NUMBER = {word: number for number, word in enumerate(WORDS, 1)}
_DRAWS = 6  # of a clause


def sentences(*, rows: Several = 1000, negation: Share = 0.3, compound: Share = 0.4, seed: Seed = 0) -> Data:
    """Sentences of a small grammar, which praise (class 1) or not (class 0).

    Formula: sentence = clause | clause "and" clause | clause "but" clause; clause = "the" noun "was" [negation] [degree]
    adjective. A negation turns the adjective round. Clauses around "and" agree; those around "but" do not, and the second counts.
    x is int64 [N, 13], the numbers of the words and 0 behind the last; classes have equal numbers of rows.

    Args:
        negation: probability of "not" or "never" in a clause.
        compound: probability of a second clause; "and" and "but" are equally likely.
    """
    label = np.arange(rows) % 2
    first, second = (uniform(seed, part, rows, _DRAWS).tolist() for part in (0, 1))
    joined = uniform(seed, 2, rows, 2).tolist()
    numbers = []
    for row, praises in enumerate(label.tolist()):
        words = _clause(bool(praises), negation, first[row])
        if joined[row][0] < compound:
            agrees = joined[row][1] < 0.5
            words = [*_clause(bool(praises) == agrees, negation, second[row]), "and" if agrees else "but", *words]
        numbers.append([_NUMBER[word] for word in words])
    y = label[:, None].astype(np.float64)
    return Data(
        "sentences", padded(numbers, LONGEST), y, "binary", 1, ("words",), ("praise",), ("no praise", "praise"), vocabulary=WORDS
    )


def _clause(praises: bool, negation: float, draw: list[float]) -> list[str]:
    """A clause that praises or does not, from six uniform numbers."""
    negated = draw[0] < negation
    words = ["the", _pick(NOUNS, draw[1]), "was"]
    words += [_pick(NEGATIONS, draw[2])] if negated else []
    words += [_pick(DEGREES, draw[4])] if draw[3] < 0.5 else []
    return [*words, _pick(GOOD if praises != negated else BAD, draw[5])]


def _pick(words: tuple[str, ...], draw: float) -> str:
    return words[int(draw * len(words))]


SHAPES = ("sine", "square", "sawtooth")


def signals(*, rows: Several = 600, length: Length = 64, noise: Amount = 0.5, seed: Seed = 0) -> Data:
    """Waves of three shapes at any pitch and phase, under noise; the class is the shape.

    Formula: x_t = wave(2 pi (f t / L + phase)) + noise * N(0, 1), f uniform in [2, 5] periods, phase uniform in [0, 1]; wave is
    the sine, its sign, or a line that rises from -1 to 1. x is [N, 1, L]; classes have equal numbers of rows, or differ by one.

    Args:
        length: L, at least 8.
        noise: standard deviation on each value.
    """
    kind = np.arange(rows) % len(SHAPES)
    periods, phase = 2 + 3 * uniform(seed, 0, rows, 1), uniform(seed, 1, rows, 1)
    turns = periods * np.arange(length) / length + phase
    sine = np.sin(2 * np.pi * turns)
    waves = np.stack((sine, np.where(turns % 1 < 0.5, 1.0, -1.0), 2 * (turns % 1) - 1))
    x = waves[kind, np.arange(rows)] + noise * normal(seed, 2, rows, length)
    return Data("signals", settled(x)[:, None], kind, "multiclass", len(SHAPES), ("value",), ("shape",), SHAPES)
