"""Where arrays become tensors, and tensors arrays."""

from __future__ import annotations

from typing import Any

import numpy as np

from dlrun.components.arrays import Array
from dlrun.lazy import Tensor, torch


def tensor(values: Array, device: Any = None) -> Tensor:
    """The same numbers as a tensor: on the CPU the same memory, where it may be written to."""
    made = torch.from_numpy(values if values.flags.writeable else np.array(values))
    return made if device is None else made.to(device)


def array(values: Tensor) -> Array:
    """The same numbers as an array: the same memory, where the tensor is on the CPU."""
    found: Array = values.detach().cpu().numpy()
    return found
