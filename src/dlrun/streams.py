"""Random numbers as a function of where they are used: streams, not state.

Every draw is a hash of (seed, stream, epoch, step, index), so a run draws the same numbers alone or in any cohort, on any
device, and nothing has to be saved to resume. The generator is SplitMix64 (Steele, Lea & Flood 2014) read at random access:
the i-th number of a stream is ``mix(key + (i + 1) * GAMMA)``, where ``key`` is itself a hash of (seed, stream, epoch, step).

Shapes: R runs, n numbers a run. All arithmetic is int64 with wrap-around, which torch has on every device.
"""

import math
from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor

Stream = Literal["split", "init", "order", "dropout", "augment", "data", "cluster"]
STREAMS: tuple[str, ...] = get_args(Stream)

_WORD = 1 << 64


def _signed(value: int) -> int:
    value %= _WORD
    return value - _WORD if value >= _WORD // 2 else value


_GAMMA = 0x9E3779B97F4A7C15  # the golden ratio in 64 bits, odd: consecutive counters land far apart
_MULTIPLIERS = (0xBF58476D1CE4E5B9, 0x94D049BB133111EB)
_SHIFTS = (30, 27, 31)


def _mix(words: Tensor) -> Tensor:
    """SplitMix64's finalizer, in place on int64 words (the shifts are logical, hence the masks)."""
    for shift, multiplier in zip(_SHIFTS, _MULTIPLIERS, strict=False):
        words ^= (words >> shift) & ((1 << (64 - shift)) - 1)
        words *= _signed(multiplier)
    words ^= (words >> _SHIFTS[2]) & ((1 << (64 - _SHIFTS[2])) - 1)
    return words


def seeded(seeds: Sequence[int], stream: Stream, *, device: torch.device | None = None) -> Tensor:
    """The key of one stream of every run: int64 [R]. Everything that the stream draws is derived from it."""
    number = STREAMS.index(stream) + 1
    words = torch.from_numpy(np.array([seed % _WORD for seed in seeds], dtype=np.uint64).view(np.int64))
    return _mix(_mix(words + _signed(_GAMMA)) + _signed(number * _GAMMA)).to(device)


def derive(keys_R: Tensor, number: int) -> Tensor:
    """The keys of part ``number`` of what ``keys_R`` stands for, such as one epoch, or one step of it: int64 [R]."""
    return _mix(keys_R + _signed((number + 1) * _GAMMA))


def keys(
    seeds: Sequence[int],
    stream: Stream,
    *,
    epoch: int = 0,
    step: int = 0,
    part: int = 0,
    device: torch.device | None = None,
) -> Tensor:
    """The keys of one place in a stream, for every run: int64 [R]. ``part`` tells apart several users of the stream."""
    return derive(derive(derive(seeded(seeds, stream, device=device), epoch), step), part)


def bits(keys_R: Tensor, n: int) -> Tensor:
    """64 random bits for each run and index: int64 [R, n]."""
    counter = torch.arange(1, n + 1, dtype=torch.int64, device=keys_R.device) * _signed(_GAMMA)
    return _mix(keys_R[:, None] + counter)


def uniform(keys_R: Tensor, n: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Uniform numbers in [0, 1): [R, n]. 53 bits each, rounded towards zero in ``dtype`` so that 1.0 never appears."""
    if dtype == torch.float64:
        return ((bits(keys_R, n) >> 11) & ((1 << 53) - 1)).to(dtype) * 2.0**-53
    return ((bits(keys_R, n) >> 40) & ((1 << 24) - 1)).to(dtype) * 2.0**-24


def normal(keys_R: Tensor, n: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Standard normal numbers: [R, n], by Box and Muller 1958 in float64."""
    half = (n + 1) // 2
    flat = uniform(keys_R, 2 * half, torch.float64)
    radius = (-2.0 * torch.log1p(-flat[:, :half])).sqrt_()
    angle = flat[:, half:] * (2.0 * math.pi)
    return torch.cat((radius * angle.cos(), radius * angle.sin()), dim=1)[:, :n].to(dtype)


def bernoulli(keys_R: Tensor, n: int, probability: float | Tensor) -> Tensor:
    """True with the given probability: bool [R, n]. ``probability`` is one number, or one for each run [R].

    Each number uses 16 of a word's 64 bits, so that a mask costs a quarter of the hashes: the probability is exact to 2^-16.
    """
    words = bits(keys_R, (n + 3) // 4).view(torch.int16)[:, :n]
    if isinstance(probability, Tensor):
        threshold = (probability * 65536.0).round().sub(32768.0)[:, None].to(torch.float32)
        return words.to(torch.float32) < threshold
    return words.to(torch.int32) < round(probability * 65536.0) - 32768


def permutations(keys_R: Tensor, n: int) -> Tensor:
    """A random order of 0 .. n-1 for each run: int64 [R, n].

    Random words carry their index in the low bits, and sorting the words sorts the indices with them: one sort of values (on a
    CPU numpy's vectorized one) instead of an argsort. No two words are equal, so every device finds the same order.
    """
    low = max(1, (n - 1).bit_length())
    index = torch.arange(n, dtype=torch.int64, device=keys_R.device)
    words = (bits(keys_R, n) & ~((1 << low) - 1)) | index
    ordered = torch.from_numpy(np.sort(words.numpy(), axis=1)) if words.device.type == "cpu" else words.sort(dim=1).values
    return ordered & ((1 << low) - 1)
