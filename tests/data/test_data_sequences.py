"""Sentences, signals, and new rows as sequences of numbers."""

from typing import Any

import numpy as np
import pytest
import torch

from dlrun.data.dataset import Data
from dlrun.data.sequences import read
from dlrun.data.sources.sequences import BAD, GOOD, LONGEST, NEGATIONS, SHAPES, WORDS, sentences, signals
from dlrun.errors import DataError


def texts(data: Data) -> list[list[str]]:
    return [[data.vocabulary[number - 1] for number in row if number] for row in data.x.tolist()]


def praises(words: list[str]) -> bool:
    """The meaning of a sentence, read from its end: the last adjective, turned by each negation in its clause."""
    start = max((place for place, word in enumerate(words) if word in ("and", "but")), default=-1)
    clause = words[start + 1 :]
    assert clause[-1] in (*GOOD, *BAD)
    return (clause[-1] in GOOD) != any(word in NEGATIONS for word in clause)


def test_the_label_is_the_meaning_of_the_sentence() -> None:
    data = sentences(rows=2000)
    found = texts(data)
    assert [praises(words) for words in found] == (data.y[:, 0] > 0).tolist()
    for words in found:
        for joint, agrees in (("and", True), ("but", False)):
            if joint in words:
                assert (praises(words[: words.index(joint)]) == praises(words)) == agrees
    assert max(map(len, found)) == LONGEST
    assert {word for words in found for word in words} == set(WORDS)
    negated = np.mean([any(word in NEGATIONS for word in words) for words in texts(sentences(rows=2000, compound=0.0))])
    assert negated == pytest.approx(0.3, abs=0.03)


def test_signals_without_noise_are_their_waves() -> None:
    data = signals(rows=300, noise=0.0)
    kinds = dict(zip(SHAPES, range(3), strict=True))
    assert set(data.x[data.y == kinds["square"]].ravel().tolist()) == {-1.0, 1.0}
    for kind in kinds.values():
        assert float(np.abs(data.x[data.y == kind]).max()) <= 1
    sawtooth = np.diff(data.x[data.y == kinds["sawtooth"]][:, 0], axis=1)
    assert ((sawtooth > 0).mean(1) > 0.9).all(), "it rises, and falls once a period"


WRONG: list[tuple[Any, str]] = [
    (["the film was nice"], "word 'nice', which training had not; did you mean 'fine'"),
    ("the film", "put a single text into a list"),
    ([[0, 1]], "begin with 0"),
    ([[1, 0, 2]], "between words"),
    ([[1] * 14], "row 0 has 14 words; training had at most 13"),
    ([[99]], "outside 0 to"),
    ([[1.5]], "other things than words"),
    ([["the", 3]], "other things than words"),
    ([[1], ""], "row 1 has no words"),
    ([3], "row 0 is a int"),
    (5, "not a int"),
]


@pytest.mark.parametrize(("rows", "said"), WRONG)
def test_rows_that_are_no_sequences_are_refused(rows: Any, said: str) -> None:
    with pytest.raises(DataError, match=said):
        read(rows, WORDS, LONGEST)


def test_rows_may_be_texts_words_or_numbers() -> None:
    data = sentences(rows=20)
    words = texts(data)
    numbers = [[number for number in row if number] for row in data.x.tolist()]
    for rows in (data.x, torch.from_numpy(data.x), numbers, words, [" ".join(row) for row in words]):
        assert np.array_equal(read(rows, data.vocabulary, LONGEST), data.x)


@pytest.mark.parametrize(
    ("x", "said"),
    [
        (torch.tensor([[0, 1]] * 20), "begin with 0"),
        (torch.tensor([[1, 0, 1]] * 20), "between words"),
        (torch.tensor([[4, 0]] * 20), "outside 0 to 3"),
        (torch.ones(20, 2), "must be int64 with 2 axes"),
    ],
)
def test_sequences_that_do_not_fit_their_vocabulary_are_refused(x: torch.Tensor, said: str) -> None:
    with pytest.raises(DataError, match=said):
        Data("mine", x, torch.zeros(20, 1), "binary", 1, ("words",), ("y",), vocabulary=("a", "b", "c"))


def test_the_fingerprint_changes_with_a_word() -> None:
    data = sentences(rows=20)
    renamed = Data(
        "sentences", data.x, data.y, "binary", 1, data.features, data.targets, data.classes, vocabulary=("a", *WORDS[1:])
    )
    assert renamed.fingerprint != data.fingerprint
