"""The kernel as a library of this process, and its structures.

The fields of the structures are those of native/plan.h, penalties.h and changes.h, in the same order; all integers have 64 bits.
"""

import ctypes
from functools import cache
from typing import Literal

from dlrun.native.load import load

__all__ = ["Block", "Change", "Layer", "Plan", "Update", "Weight", "kernel", "kinds", "numbered"]

_Fields = list[tuple[str, type]]


def _integers(*names: str) -> _Fields:
    return [(name, ctypes.c_int64) for name in names]


def _pointers(*names: str) -> _Fields:
    return [(name, ctypes.c_void_p) for name in names]


class Layer(ctypes.Structure):
    """A layer of the model."""

    _fields_ = [
        *_integers("kind", "inputs", "outputs", "theta", "buffer", "numbers", "part", "channels", "height", "width"),
        *_integers("filters", "out_height", "out_width", "kernel_height", "kernel", "stride", "padding_height", "padding"),
        *_integers("padded"),
    ]


class Block(ctypes.Structure):
    """What the runs of a block share."""

    _fields_ = _integers("activation", "head", "loss", "update", "updates", "lanes")


class Update(ctypes.Structure):
    """The optimizer of some of the runs of a block."""

    _fields_ = _integers("optimizer", "flags")


class Weight(ctypes.Structure):
    """A matrix of weights."""

    _fields_ = _integers("start", "units", "inputs", "outermost")


class Change(ctypes.Structure):
    """What changes a batch before a step."""

    _fields_ = _integers("kind", "numbers", "channels", "height", "width", "masks")


class Plan(ctypes.Structure):
    """All that the kernel is told of a cohort."""

    _fields_ = [
        *_pointers(
            "layers", "blocks", "updates", "weights", "changes", "state", "numbers", "rates", "orders", "masks", "draws", "shares"
        ),
        *_pointers("splits", "samples", "drawn"),
        *_integers("depth", "blocks_count", "weights_count", "changes_count", "penalties"),
        *_integers("parameters", "buffers", "average", "slots", "stride", "numbers_each", "rates_each"),
        *_integers("rows", "train", "batch", "sample", "inputs", "outputs", "targets", "members", "width", "pixels", "integral"),
        *_integers("activation_numbers", "loss_numbers", "soft"),
    ]


@cache
def kernel() -> ctypes.CDLL | None:
    """The kernel, or None where the package was built without one, or for another processor."""
    found = load()
    if found is None:
        return None
    integer, pointer = ctypes.c_int64, ctypes.c_void_p
    plan = ctypes.POINTER(Plan)
    for name, takes in {
        "dlrun_orders": (plan, integer, integer, integer),
        "dlrun_steps": (plan, integer, integer, integer, integer, integer, integer, pointer),
        "dlrun_start": (plan,),
        "dlrun_slots": (ctypes.c_int, ctypes.c_int),
        "dlrun_evaluated": (plan, integer, pointer),
        "dlrun_evaluate": (plan, *[integer] * 2, *[pointer] * 2, *[integer] * 3, pointer, integer, *[pointer] * 2),
        "dlrun_inside": (plan, integer, integer, pointer, pointer, integer, integer, pointer, pointer),
    }.items():
        getattr(found, name).argtypes = takes  # an attribute, which is kept; an item is made anew each time
    return found


def numbered(kernel: ctypes.CDLL, function: str) -> dict[str, int]:
    """The names that a function of the kernel lists, with their places, which are their numbers."""
    names = getattr(kernel, function)
    names.restype = ctypes.c_char_p
    return {name: place for place, name in enumerate(names().decode().split())}


@cache
def kinds(of: Literal["layers", "changes"]) -> dict[str, int]:
    """The numbers of the kernel's layers, or of what changes batches, by name."""
    found = kernel()
    return {} if found is None else numbered(found, f"dlrun_{of}")
