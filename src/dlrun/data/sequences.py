"""Sequences of words as integers: int64 [N, T], words numbered from 1, and 0 behind the last word of a short sequence.

Shapes: N rows, T places, V words.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dlrun.data.modality import PADDING
from dlrun.errors import DataError, nearest
from dlrun.lazy import Tensor

_WORD = re.compile(r"\w+(?:['’]\w+)*")
UNKNOWN, UNKNOWN_WORD = 1, "<unknown>"  # the number, and the name, of all words that are not known, where a vocabulary has it


def padded(sequences: Sequence[Sequence[int]], length: int) -> NDArray[np.int64]:
    """Sequences of numbers of words as one array: int64 [N, length]. None may be longer."""
    out = np.full((len(sequences), length), PADDING, dtype=np.int64)
    for row, numbers in enumerate(sequences):
        out[row, : len(numbers)] = numbers
    return out


def problem(x: NDArray[np.int64], vocabulary: int) -> str:
    """What is wrong with sequences [N, T] of ``vocabulary`` words; an empty string when nothing is."""
    words = x != PADDING
    if bool(((x < 0) | (x > vocabulary)).any()):
        return f"has numbers outside 0 to {vocabulary}; words are numbered from 1, and 0 is the padding behind them"
    if not bool(words[:, 0].all()):
        return "has rows that begin with 0, the padding, which stands behind words alone"
    if bool((words[:, 1:] & ~words[:, :-1]).any()):
        return "has 0, the padding, between words; number words from 1"
    return ""


def read(rows: Any, vocabulary: Sequence[str], length: int) -> NDArray[np.int64]:
    """New rows as sequences: int64 [N, length].

    Args:
        rows: texts, whose words are separated by blanks; lists of words; or numbers of words, as lists or an array.
        vocabulary: the words that are known, in the order of their numbers.
        length: the most words that a row may have.

    Raises:
        DataError: a row is no sequence, has no words or too many, or a word that is not known. With the unknown word in the
            vocabulary, texts may have any words, and are cut to ``length``.
    """
    if vocabulary[0] == UNKNOWN_WORD and not isinstance(rows, str) and all(isinstance(row, str) for row in rows):
        return numbered([words_of(row) for row in rows], vocabulary, length)
    numbers = {word: number for number, word in enumerate(vocabulary, 1)}
    if isinstance(rows, str):
        raise DataError("predict: takes several rows; put a single text into a list")
    if isinstance(rows, Tensor):
        rows = rows.tolist()
    if not isinstance(rows, Sequence | np.ndarray):
        raise DataError(f"predict: takes a list of texts or of numbers of words, not a {type(rows).__name__}")
    made = [_numbers(row, number, numbers) for number, row in enumerate(rows)]
    long = next((row for row, words in enumerate(made) if len(words) > length), None)
    if long is not None:
        raise DataError(f"predict: row {long} has {len(made[long])} words; training had at most {length}")
    empty = next((row for row, words in enumerate(made) if not words), None)
    if empty is not None:
        raise DataError(f"predict: row {empty} has no words")
    x = padded(made, length)
    if wrong := problem(x, len(vocabulary)):
        raise DataError(f"predict: {wrong}")
    return x


def words_of(text: str) -> list[str]:
    """The words of a text in small letters, without what stands between them; of one without any the unknown word."""
    return _WORD.findall(text.lower()) or [UNKNOWN_WORD]


def numbered(texts: Sequence[Sequence[str]], vocabulary: Sequence[str], length: int) -> NDArray[np.int64]:
    """The first words of texts by their numbers: int64 [N, length]. Other words than those of the vocabulary are UNKNOWN."""
    known = {word: number for number, word in enumerate(vocabulary, 1)}
    return padded([[known.get(word, UNKNOWN) for word in words[:length]] for words in texts], length)


def _numbers(row: Any, place: int, known: Mapping[str, int]) -> list[int]:
    """One row as numbers of words, without the padding behind them."""
    words = row.split() if isinstance(row, str) else list(row) if isinstance(row, Sequence | np.ndarray) else None
    if words is None:
        raise DataError(f"predict: row {place} is a {type(row).__name__}; a row is a text or a list of words or of their numbers")
    if all(isinstance(word, str) for word in words):
        unknown = next((word for word in words if word not in known), None)
        if unknown is not None:
            raise DataError(f"predict: row {place} has the word '{unknown}', which training had not{nearest(unknown, known)}")
        return [known[word] for word in words]
    values = np.asarray(words)
    if values.dtype.kind not in "iuf" or not bool((values == np.floor(values)).all()):
        raise DataError(f"predict: row {place} holds other things than words or their numbers")
    found: list[int] = np.trim_zeros(values.astype(np.int64), "b").tolist()
    return found
