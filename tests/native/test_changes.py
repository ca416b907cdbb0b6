"""What changes batches in the kernel beside the regularizers in Python: eight runs with keys and strengths of their own."""

import ctypes
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from dlrun import streams
from dlrun.components.hyperparameters import hyperparameters
from dlrun.components.regularizers import Augmentation, LabelSmoothing
from dlrun.engine.components import Component
from dlrun.engine.lanes.changes import Changes, changes
from dlrun.engine.lanes.columns import Columns, UnfitError
from vectors import V, aligned, lanes, pointer

CLASSES = 3
TABLE, IMAGE = (7,), (2, 6, 5)
STRENGTHS = torch.tensor([0.3, 0.0, 0.1, 1.0, 0.05, 0.5, 0.9, 0.2]).unsqueeze(1)
MOVES = ("shift", "flip", "rotate", "crop")


class Batch(ctypes.Structure):
    """The structure of changes.h."""

    _fields_ = [
        *((name, ctypes.c_void_p) for name in ("input", "target", "soft", "spare", "shares")),
        *((name, ctypes.c_long) for name in ("rows", "width", "targets", "classes")),
        ("integral", ctypes.c_int),
        ("softened", ctypes.c_int),
    ]


def keys(number: int = 0) -> Tensor:
    return torch.from_numpy(streams.keys(range(V), "augment", step=number))


def batch(shape: tuple[int, ...], targets: str, rows: int = 9) -> tuple[Tensor, Tensor]:
    """Inputs [V, rows, *shape] and targets: values, classes, or masks."""
    generator = torch.Generator().manual_seed(len(shape))
    x = torch.randn(V, rows, *shape, generator=generator)
    if targets == "values":
        return x, torch.randn(V, rows, 2, generator=generator)
    places = shape[1:] if targets == "masks" else ()
    return x, torch.randint(0, CLASSES, (V, rows, *places), generator=generator)


def component(transform: Any, lane: int) -> Component:
    """The change that one lane has of these of all."""
    values = {name: getattr(transform, name) for name in hyperparameters(type(transform))}
    mine = {name: float(value[lane, 0]) if isinstance(value, Tensor) else value for name, value in values.items()}
    return Component(type(transform).__name__, "", type(transform), mine)


def planned(transforms: list[Any], x: Tensor, y: Tensor, columns: Columns, members: int = 0, exclusive: bool = True) -> Changes:
    """What the kernel is told of some changes."""
    task = SimpleNamespace(exclusive=exclusive, members=members)
    runs = [SimpleNamespace(regularizers=[component(transform, lane) for transform in transforms]) for lane in range(V)]
    step = SimpleNamespace(runs=runs, data=SimpleNamespace(y=y[0].numpy(), sample=tuple(x.shape[2:])), task=task)
    return changes(step, columns)  # type: ignore[arg-type]


def flat(values: Tensor) -> np.ndarray:
    """[V, rows, ...] as vectors [rows, n, V]."""
    bits = values if values.is_floating_point() else values.int().view(torch.float32)
    return lanes(bits.reshape(V, values.shape[1], -1).permute(1, 2, 0).numpy())


def by_kernel(kernel: ctypes.CDLL, transforms: list[Any], x: Tensor, y: Tensor, key: Tensor) -> tuple[Tensor, Tensor]:
    """The changed batch, in the shapes of the one that is given."""
    columns = Columns(V)
    found = planned(transforms, x, y, columns)
    numbers, rows = columns.matrix(), x.shape[1]
    inputs, targets = flat(x), flat(y)
    shares = CLASSES * targets.shape[1]
    soft, spare = aligned(rows, shares), aligned(rows * (max(inputs.shape[1], shares) + 3))
    made = Batch(
        *(array.ctypes.data for array in (inputs, targets, soft, spare)),
        found.shares.ctypes.data,
        rows,
        inputs.shape[1],
        targets.shape[1],
        1 if y.is_floating_point() else CLASSES,
        not y.is_floating_point(),
    )
    for part, change in enumerate(found.each):
        mine = lanes(streams.derive(key, part).numpy(), np.int64)
        number = lanes(numbers[:, change.numbers])
        kernel.dlrun_change(ctypes.byref(change), ctypes.byref(made), pointer(mine), pointer(number))
    assert bool(made.softened) == found.soft
    changed_x = torch.from_numpy(inputs.copy()).permute(2, 0, 1).reshape(x.shape)
    if found.soft:
        return changed_x, torch.from_numpy(soft.copy()).permute(2, 0, 1).reshape(V, rows, CLASSES, *y.shape[2:])
    moved = torch.from_numpy(targets.copy()).permute(2, 0, 1).reshape(y.shape)
    return changed_x, moved if y.is_floating_point() else moved.contiguous().view(torch.int32).long()


def by_python(transforms: list[Any], x: Tensor, y: Tensor, key: Tensor) -> tuple[Tensor, Tensor]:
    for part, transform in enumerate(transforms):
        x, y = transform.batch(x, y, streams.derive(key, part))
    return x, y


@pytest.mark.parametrize("targets", ["values", "classes"])
@pytest.mark.parametrize("shape", [TABLE, IMAGE], ids=str)
@pytest.mark.parametrize("strength", [STRENGTHS, 0.25], ids=["each", "all"])
@pytest.mark.parametrize("kind", ["noise", "mask", "mixup"])
def test_random_numbers_and_what_is_made_of_them_are_the_same(
    kind: Any, strength: Any, shape: tuple[int, ...], targets: str, kernel: ctypes.CDLL
) -> None:
    change = [Augmentation(CLASSES, kind=kind, strength=strength)]
    for number, rows in enumerate((1, 9, 32, 33)):
        given = (*batch(shape, targets, rows), keys(number))
        for mine, theirs in zip(by_kernel(kernel, change, *given), by_python(change, *given), strict=True):
            assert torch.equal(mine, theirs)


def test_normal_numbers_are_those_of_the_streams(kernel: ctypes.CDLL) -> None:
    x, y = torch.zeros(V, 1000, 64), torch.zeros(V, 1000, 1)
    change = [Augmentation(1, kind="noise", strength=1.0)]
    found = by_kernel(kernel, change, x, y, keys())[0].flatten(1)
    assert torch.equal(found, streams.normal(streams.derive(keys(), 0), found.shape[1]))


@pytest.mark.parametrize("targets", ["values", "classes", "masks"])
@pytest.mark.parametrize("strength", [STRENGTHS, 0.25], ids=["each", "all"])
@pytest.mark.parametrize("kind", MOVES)
def test_images_are_moved_alike(kind: Any, strength: Any, targets: str, kernel: ctypes.CDLL) -> None:
    given = (*batch(IMAGE, targets, 20), keys())
    change = [Augmentation(CLASSES, kind=kind, strength=strength)]
    (x, y), (wanted_x, wanted_y) = by_kernel(kernel, change, *given), by_python(change, *given)
    torch.testing.assert_close(x, wanted_x, rtol=1e-5, atol=2e-5)
    assert torch.equal(y, wanted_y)
    assert not torch.equal(x, given[0])
    assert torch.equal(y, given[1]) == (targets != "masks")


@pytest.mark.parametrize("targets", ["values", "classes", "masks"])
def test_changes_one_after_the_other(targets: str, kernel: ctypes.CDLL) -> None:
    """In whatever order: each finds what the ones before it have made, and draws from a part of the stream that is its own."""
    parts: list[Any] = [Augmentation(CLASSES, kind=kind, strength=STRENGTHS) for kind in ("mask", "noise", "crop", "mixup")]
    parts.append(LabelSmoothing(1 if targets == "values" else CLASSES, smoothing=STRENGTHS))
    given = (*batch(IMAGE, targets), keys())
    for turned in range(len(parts)):
        order = parts[turned:] + parts[:turned]
        for mine, theirs in zip(by_kernel(kernel, order, *given), by_python(order, *given), strict=True):
            torch.testing.assert_close(mine, theirs, rtol=1e-5, atol=2e-5)


@pytest.mark.parametrize("kind", ["noise", "mask", "mixup", *MOVES])
def test_the_bits_of_a_run_do_not_depend_on_its_neighbours(kind: Any, kernel: ctypes.CDLL) -> None:
    x, y = batch(IMAGE, "masks")
    together = by_kernel(kernel, [Augmentation(CLASSES, kind=kind, strength=STRENGTHS)], x, y, keys())
    for lane in (0, 3, 6):
        places = [lane] * V
        change = [Augmentation(CLASSES, kind=kind, strength=STRENGTHS[places])]
        for mine, all_of_them in zip(by_kernel(kernel, change, x[places], y[places], keys()[places]), together, strict=True):
            assert torch.equal(mine[5], all_of_them[lane])


class Own(LabelSmoothing):
    """Another change."""


@pytest.mark.parametrize(
    ("transform", "targets", "given"),
    [
        (Own(CLASSES), "classes", {}),
        (LabelSmoothing(1), "classes", {"exclusive": False}),
        (Augmentation(CLASSES, kind="flip"), "classes", {"members": 2}),
    ],
)
def test_what_it_has_not_is_refused(transform: Any, targets: str, given: dict[str, Any]) -> None:
    with pytest.raises(UnfitError):
        planned([transform], *batch(IMAGE, targets), Columns(V), **given)
