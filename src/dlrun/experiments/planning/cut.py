"""How many runs to train at once: as many as memory holds, and a CPU's cache."""

import math

from dlrun import memory
from dlrun.experiments.planning.cohorts import Planned, in_pieces
from dlrun.experiments.planning.cost import Needs, needs
from dlrun.lazy import torch

__all__ = ["Needs", "cut", "free_bytes", "needs"]

CACHE_BYTES = 6 << 20  # theta, gradient and moments of a cohort should stay within reach of a CPU's core
MOST_ROWS = 1024  # more rows make a run no cheaper, and what is measured of them leaves every cache
FEWEST_ROWS = 32  # a cohort is not cut below this many rows for the cache's sake


def free_bytes(device: str = "cpu") -> int:
    """Memory that is free on this machine, or on a GPU, including what torch keeps there of earlier cohorts."""
    if device != "cpu":
        kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + kept
    return memory.free_bytes()


def cut(planned: Planned, budget: int) -> list[Planned]:
    """Cohorts of no more rows than fit into ``budget`` bytes, and on a CPU into the cache."""
    runs, settings = len(planned.specs), planned.cohort.settings
    needed = needs(planned.cohort)
    rows = max(1, min(runs, budget // max(1, needed.bytes // runs)))
    if settings.place == "cpu":
        rows = min(rows, MOST_ROWS, max(FEWEST_ROWS, CACHE_BYTES // (4 * needed.parameters * settings.itemsize)))
    return in_pieces(planned, math.ceil(runs / rows))
