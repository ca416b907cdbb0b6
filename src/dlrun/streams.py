"""Random numbers as a function of where they are used: streams, not state.

Every draw is a hash of (seed, stream, epoch, step, index), so a run draws the same numbers alone or in any cohort, on any
device, and nothing has to be saved to resume. The generator is SplitMix64 (Steele, Lea & Flood 2014) read at random access:
the i-th number of a stream is ``mix(key + (i + 1) * GAMMA)``, where ``key`` is itself a hash of (seed, stream, epoch, step).

Keys are an array, and so is what is drawn from them; of keys that are a tensor it is a tensor on their device, of the same bits
(those of ``normal`` but for the last one, as the logarithm and the cosine are the library's).

Shapes: R runs, n numbers a run. All arithmetic is int64 with wrap-around, which numpy has, and torch on every device.
"""

import math
from collections.abc import Sequence
from typing import Any, Literal, TypeVar, get_args

import numpy as np
from numpy.typing import NDArray

from dlrun.lazy import Tensor, torch

Stream = Literal["split", "init", "order", "dropout", "augment", "data", "cluster"]
STREAMS: tuple[str, ...] = get_args(Stream)

Words = TypeVar("Words", NDArray[Any], Tensor)

_WORD = 1 << 64


def _signed(value: int) -> int:
    value %= _WORD
    return value - _WORD if value >= _WORD // 2 else value


_GAMMA = 0x9E3779B97F4A7C15  # the golden ratio in 64 bits, odd: consecutive counters land far apart
_MULTIPLIERS = (0xBF58476D1CE4E5B9, 0x94D049BB133111EB)
_SHIFTS = (30, 27, 31)


def _mix(words: Words) -> Words:
    """SplitMix64's finalizer, in place on int64 words (the shifts are logical, hence the masks)."""
    for shift, multiplier in zip(_SHIFTS, _MULTIPLIERS, strict=False):
        words ^= (words >> shift) & ((1 << (64 - shift)) - 1)
        words *= _signed(multiplier)
    words ^= (words >> _SHIFTS[2]) & ((1 << (64 - _SHIFTS[2])) - 1)
    return words


def seeded(seeds: Sequence[int], stream: Stream) -> NDArray[np.int64]:
    """The key of one stream of every run: int64 [R]. Everything that the stream draws is derived from it."""
    number = STREAMS.index(stream) + 1
    words = np.array([seed % _WORD for seed in seeds], dtype=np.uint64).view(np.int64)
    return _mix(_mix(words + _signed(_GAMMA)) + _signed(number * _GAMMA))


def derive(keys_R: Words, number: int) -> Words:
    """The keys of part ``number`` of what ``keys_R`` stands for, such as one epoch, or one step of it: int64 [R]."""
    return _mix(keys_R + _signed((number + 1) * _GAMMA))


def keys(seeds: Sequence[int], stream: Stream, *, epoch: int = 0, step: int = 0, part: int = 0) -> NDArray[np.int64]:
    """The keys of one place in a stream, for every run: int64 [R]. ``part`` tells apart several users of the stream."""
    return derive(derive(derive(seeded(seeds, stream), epoch), step), part)


def bits(keys_R: Words, n: int) -> Words:
    """64 random bits for each run and index: int64 [R, n]."""
    return _mix(keys_R[:, None] + (_counted(keys_R, n) + 1) * _signed(_GAMMA))


def uniform(keys_R: Words, n: int, dtype: Any = None) -> Words:
    """Uniform numbers in [0, 1): [R, n]. 53 bits each, rounded towards zero in ``dtype`` so that 1.0 never appears.

    Args:
        dtype: of the library of the keys; float32 when not given.
    """
    of = _library(keys_R)
    kept = 53 if dtype == of.float64 else 24
    whole = (bits(keys_R, n) >> (64 - kept)) & ((1 << kept) - 1)
    drawn: Words = _as(whole, dtype or of.float32) * 2.0**-kept
    return drawn


def normal(keys_R: Words, n: int, dtype: Any = None) -> Words:
    """Standard normal numbers: [R, n], by Box and Muller 1958 in float64; ``dtype`` as of ``uniform``."""
    of, half = _library(keys_R), (n + 1) // 2
    flat = uniform(keys_R, 2 * half, of.float64)
    radius = of.sqrt(-2.0 * of.log(1.0 - flat[:, :half]))  # log1p(-u) has another last bit on another processor more often
    angle = flat[:, half:] * (2.0 * math.pi)
    drawn: Words = of.concatenate((radius * of.cos(angle), radius * of.sin(angle)), 1)[:, :n]
    return _as(drawn, dtype or of.float32)


def bernoulli(keys_R: Words, n: int, probability: float | Words) -> Words:
    """True with the given probability: bool [R, n]. ``probability`` is one number, or one for each run [R].

    Each number uses 16 of a word's 64 bits, so that a mask costs a quarter of the hashes: the probability is exact to 2^-16.
    """
    of = _library(keys_R)
    words: Words = bits(keys_R, (n + 3) // 4).view(of.int16)[:, :n]
    if isinstance(probability, float | int):
        drawn: Words = _as(words, of.int32) < round(probability * 65536.0) - 32768
    else:
        drawn = _as(words, of.float32) < _as((probability * 65536.0).round() - 32768.0, of.float32)[:, None]
    return drawn


def permutations(keys_R: Words, n: int) -> Words:
    """A random order of 0 .. n-1 for each run: int64 [R, n].

    Random words carry their index in the low bits, and sorting the words sorts the indices with them: one sort of values (on a
    CPU numpy's vectorized one) instead of an argsort. No two words are equal, so every device finds the same order.
    """
    low = max(1, (n - 1).bit_length())
    words = (bits(keys_R, n) & ~((1 << low) - 1)) | _counted(keys_R, n)
    order: Words = _ordered(words) & ((1 << low) - 1)
    return order


def _library(words: NDArray[Any] | Tensor) -> Any:
    """The library that has them: numpy, or torch."""
    return np if isinstance(words, np.ndarray) else torch


def _counted(like: Words, n: int) -> Words:
    """0 to n - 1 where the keys are: int64 [n]."""
    if isinstance(like, np.ndarray):
        return np.arange(n, dtype=np.int64)
    return torch.arange(n, dtype=torch.int64, device=like.device)


def _as(values: Words, dtype: Any) -> Words:
    return values.astype(dtype, copy=False) if isinstance(values, np.ndarray) else values.to(dtype)


def _ordered(words: Words) -> Words:
    """The words of each row, the least first."""
    if isinstance(words, np.ndarray):
        return np.sort(words, axis=1)
    return torch.from_numpy(np.sort(words.numpy(), axis=1)) if words.device.type == "cpu" else words.sort(dim=1).values
