"""Settings that are no component: how long and where a run trains, its seed and its name."""

from __future__ import annotations

import ctypes
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Literal

from dlrun.components.hyperparameters import Count, Interval
from dlrun.data.dataset import InnerFraction
from dlrun.errors import nearest
from dlrun.lazy import torch

Number = Annotated[float, Interval(0, open_low=True)]
Seed = Annotated[int, Interval(0, (1 << 63) - 1)]


@dataclass(frozen=True, kw_only=True)
class Trainer:
    """``trainer.*``: how long and how a run trains. See conf/trainer/default.yaml."""

    epochs: Count = 100
    batch_size: Count = 16
    device: str = "auto"
    dtype: Literal["float32", "float64"] = "float32"
    engine: Literal["auto", "torch"] = "auto"
    clip_norm: Number | None = None
    clip_value: Number | None = None
    evaluate_every: Count = 1
    max_steps: Count | None = None
    until: Count | None = None
    checkpoint_s: Annotated[float, Interval(0)] = 30.0


def root_keys(
    *,
    seed: Seed = 0,
    name: str | None = None,
    allow_mismatch: bool = False,
    margin: Number | None = None,
    threshold: InnerFraction | Literal["f1", "youden"] = 0.5,
    tune_over: list[str] | str | None = None,
    zip: list[str] | list[list[str]] | None = None,
    predictions: bool = True,
    folders: bool = False,
    reuse: bool = True,
    retry_failed: bool = False,
    strict: bool = False,
    timeout_s: Number | None = None,
) -> None:
    """The signature of the keys that stand alone."""


@cache
def device_problem(name: str) -> str:
    """What is wrong with a device's name, with what to type; an empty string when it can be used."""
    if name in ("auto", "cpu"):
        return ""
    if name == "gpu":
        return "trainer.device=gpu: is no name of a device; type trainer.device=cuda, or auto for a GPU where there is one"
    if not re.fullmatch(r"cuda(:\d+)?", name):
        why = "has no float64, which training needs" if name.startswith("mps") else "is no device that dlrun trains on"
        known = ("auto", "cpu", "cuda", "cuda:1")
        return f"trainer.device={name}: {why}; type trainer.device=cpu, cuda, cuda:N or auto{nearest(name, known)}"
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError):
        present = ["auto", "cpu", *(f"cuda:{number}" for number in range(torch.cuda.device_count()))]
        return f"trainer.device={name}: is not there; on this machine there is {', '.join(present)}{nearest(name, present)}"
    return ""


def device(name: str) -> str:
    """The device that a name stands for; auto is the GPU if there is one."""
    return ("cuda" if _has_gpu() else "cpu") if name == "auto" else name


@cache
def _has_gpu() -> bool:
    """Whether torch computes on a GPU here. Where no driver of one is there, torch need not be asked, nor imported."""
    driver = any(map(_loads, ("libcuda.so.1", "nvcuda.dll"))) or Path("/dev/kfd").exists()  # the last is that of AMD's
    return driver and torch.cuda.is_available()


def _loads(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True
