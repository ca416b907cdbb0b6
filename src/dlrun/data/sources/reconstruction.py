"""Data whose targets are its inputs, for autoencoders: to describe rows by fewer numbers, and to find those that are odd.

Shapes: N rows, D features. ``seed`` draws the anomalies and is no run's seed.
"""

from typing import Literal

import numpy as np

from dlrun.data.dataset import Data, Fraction, Seed
from dlrun.data.sources import real
from dlrun.data.sources.draws import permutation, uniform

Source = Literal["digits", "breast_cancer", "wine", "iris"]

INK = 0.1  # a pixel of the digits is kept if it is dark in more than this share of the images


def reconstruction(*, of: Source = "digits", share: Fraction = 0.05, seed: Seed = 0) -> Data:
    """The rows of a known dataset as inputs and as targets, some of them replaced by anomalies.

    An anomaly takes each feature from a row of its own: every value is usual, their combination is not. So it is found by what
    features have to do with each other, and by nothing else. Pixels of the digits that hardly ever have ink are left out.

    Args:
        of: whose rows; their own targets are not used.
        share: share of the rows that are anomalies, in [0, 1), in training as well: nobody tells a model which they are.
    """
    source = {"digits": real.digits, "breast_cancer": real.breast_cancer, "wine": real.wine, "iris": real.iris}[of]()
    x, names = source.x.reshape(len(source), -1), source.features
    if of == "digits":
        inked = (x > 0).mean(0) > INK
        x = x[:, inked]
        names = tuple(f"pixel {place // 8},{place % 8}" for place in np.flatnonzero(inked).tolist())
    rows, width = x.shape
    odd = permutation(seed, 0, rows) < round(share * rows)
    donors = (uniform(seed, 1, rows, width) * rows).astype(np.int64)
    x = np.where(odd[:, None], np.take_along_axis(x, donors, 0), x)
    return Data("reconstruction", x, x.copy(), "regression", width, names, names, anomalies=odd if share else None)
