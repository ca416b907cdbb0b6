"""Modalities: what a sample is made of, and all that follows from it.

    table       float [D]           features; NaN is a missing value
    signals     float [C, L]        C channels of L values, one after the other
    images      float [C, H, W]     C channels of H x W pixels
    sequences   int64 [T]           numbers of words, 1 to V; behind the last word of a short sequence stands 0, the padding
    pairs       int64 [2]           the numbers of a user and an item, each 0 if it is not known (see interactions.py)

A modality is one object: which layers, augmentations and baselines fit is asked of it, so a new one is an entry here.

Shapes: N rows, D features, C channels, T places of a sequence, V words.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

PADDING = 0  # the number that fills a short sequence up


@dataclass(frozen=True, kw_only=True)
class Modality:
    """What a sample is made of.

    Args:
        name: in messages.
        axes: how many axes a sample has.
        model: an option of the group model that is made for it.
        augmentations: the kinds of ``regularizer=[augmentation]`` that fit.
        integral: whether samples are numbers of words (int64), which are embedded and never scaled.
        pairs: whether they are numbers of a user and an item.
    """

    name: str
    axes: int
    model: str
    augmentations: tuple[str, ...]
    integral: bool = False
    pairs: bool = False

    def scale_shape(self, shape: Sequence[int]) -> tuple[int, ...]:
        """How the numbers of a scaling lie against a sample of this shape: one for each feature or channel; one for words."""
        return (1,) if self.integral else (shape[0], *[1] * (self.axes - 1))

    def described(self, shape: Sequence[int]) -> str:
        """What samples of this shape are, in words."""
        if self.pairs:
            return "pairs of a user and an item"
        if self.axes == 1:
            return f"sequences of up to {shape[0]} words" if self.integral else f"{shape[0]} features"
        return f"{self.name} of shape {list(shape)}"

    def flat_width(self, shape: Sequence[int], vocabulary: int) -> int:
        """How many numbers a sample has for a model that takes a list of them; see ``flat``."""
        return vocabulary if self.integral and not self.pairs else math.prod(shape)

    def flat(self, x: NDArray[Any], vocabulary: int) -> NDArray[Any]:
        """Samples [..., *shape] as lists of numbers [..., n]: how often a sequence has each word; the values of others."""
        if not self.integral or self.pairs:
            return x.reshape(*x.shape[: -self.axes], -1)
        rows = x.reshape(-1, x.shape[-1])
        place = np.arange(len(rows))[:, None] * (vocabulary + 1) + rows
        counts = np.bincount(place.ravel(), minlength=len(rows) * (vocabulary + 1)).astype(np.float64)
        return counts.reshape(*x.shape[:-1], -1)[..., 1:]


_ANY = ("noise", "mask", "mixup")
TABLE = Modality(name="a table", axes=1, model="mlp", augmentations=_ANY)
SIGNALS = Modality(name="signals", axes=2, model="cnn1d", augmentations=_ANY)
IMAGES = Modality(name="images", axes=3, model="cnn", augmentations=(*_ANY, "shift", "flip", "rotate", "crop"))
SEQUENCES = Modality(name="sequences", axes=1, model="bag_of_words", augmentations=(), integral=True)
PAIRS = Modality(name="pairs", axes=1, model="factorization", augmentations=(), integral=True, pairs=True)
MODALITIES = (TABLE, SIGNALS, IMAGES, SEQUENCES, PAIRS)


def modality_of(sample: Sequence[int], *, integral: bool, pairs: bool = False) -> Modality | None:
    """The modality of samples of this shape; None where there is none."""
    wanted = (len(sample), integral, pairs)
    return next((each for each in MODALITIES if (each.axes, each.integral, each.pairs) == wanted), None)
