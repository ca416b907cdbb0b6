"""What the trainer is given: a cohort of runs that share an architecture, a batch size and the shape of their data.

Shapes: R runs, S splits.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from dlrun.components.initializers import Draw
from dlrun.data.dataset import Data
from dlrun.data.preprocessing import Preprocessing
from dlrun.data.splits import Split
from dlrun.engine.model import LayerSpec
from dlrun.engine.parts import Part

Wish = bool | Literal["auto"]
Head = str  # value, logit, embedding (nothing behind the last layer), probability (sigmoid), softmax, log_probability


@dataclass(frozen=True)
class Run:
    """One row of the cohort. ``split`` is the place of its split in the cohort's list."""

    seed: int
    split: int
    activation: Part
    loss: Part
    head: Head
    prediction: str
    optimizer: Part
    scheduler: Part
    regularizers: tuple[Part, ...]
    initializer: Callable[[Draw], Tensor]
    learnable: bool = False
    clip_norm: float | None = None
    clip_value: float | None = None


@dataclass(frozen=True)
class Settings:
    """What all rows of a cohort have in common."""

    layers: tuple[LayerSpec, ...]
    outputs: int
    epochs: int
    batch_size: int
    max_steps: int | None = None
    evaluate_every: int = 1
    metric: str = "loss"
    dtype: torch.dtype = torch.float32
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    compile: Wish = False
    module: Part | None = None  # a user's own model instead of the layers


@dataclass(frozen=True)
class Cohort:
    """Runs to be trained at once, on the splits of one dataset."""

    data: Data
    splits: Sequence[Split]
    preprocessing: Sequence[Preprocessing]
    runs: Sequence[Run]
    settings: Settings
