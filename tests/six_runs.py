"""Six runs that stand-ins for clusters train: they have the figures of this process in the same cohorts."""

from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")
Call = Callable[..., tuple[int, str, str]]
Outputs = Callable[..., dict[str, dict[str, Any]]]

SWEEP = ("-m", "dataset=moons", "model.hidden=[3],[4]", "seed=0,1,2", "trainer=smoke", "baseline=[]")
ALONE = ("hydra.launcher.executor=serial", "hydra.launcher.processes=2")  # the same cohorts: torch rounds metrics by their size


def same_as_alone(
    call: Callable[..., tuple[int, str, str]],
    outputs: Callable[..., dict[str, dict[str, Any]]],
    ready: Callable[[], T],
    *words: str,
) -> T:
    """Train them here and, when the stand-in is ``ready``, with these words; returns the stand-in."""
    assert call(*SWEEP, *ALONE)[0] == 0
    there = {run: record["metrics"] for run, record in outputs().items()}
    made = ready()
    code, out, err = call(*SWEEP, *words, "reuse=false")
    assert (code, "6 runs: 6 done" in out) == (0, True), err
    assert {run: record["metrics"] for run, record in outputs().items()} == there
    return made
