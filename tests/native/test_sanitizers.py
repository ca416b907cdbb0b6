"""The kernel under AddressSanitizer and UndefinedBehaviorSanitizer: models, data and kinds drawn at random, all sizes small.

What a kernel computes of such models means nothing. They are to read and write what belongs to them, however odd their shapes.
"""

import ctypes
import math
import random
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import replay
from dlrun.engine.lanes.blocks import V
from dlrun.engine.lanes.library import Block, Change, Layer, Plan, Update, Weight, kernel, kinds
from dlrun.engine.lanes.plan import samples
from dlrun.engine.layers.convolution import convolved
from dlrun.native import build
from dlrun.native.load import first

pytestmark = pytest.mark.skipif(kernel() is None, reason="dlrun was built without its kernel")

SANITIZED = ["-DAPART", "-g1", "-O1", "-fno-omit-frame-pointer", "-fno-sanitize-recover=all"]
STEPS = 5
ROWWISE = ("class_hinge", "sparsemax", "class_focal")


def processors() -> list[str]:
    """Those that the kernel is compiled for and that this one can be, what can do more first."""
    return [processor for processor, place in build.libraries().items() if first([place])]


def names(function: str) -> list[str]:
    found: Any = kernel()
    listed = found[f"dlrun_{function}"]
    listed.restype = ctypes.c_char_p
    text: str = listed().decode()
    return text.split()


@dataclass
class Judge:
    """A loss, and the targets that it takes."""

    name: str
    members: int = 1
    integral: bool = False
    targets: int | None = None  # None for as many as outputs
    smoothed: bool = False
    pixels: bool = False


def judge(draw: random.Random, name: str) -> Judge:
    plain = name.removeprefix("soft_")
    if plain == "cosine_embedding":
        return Judge(name, members=2, targets=1)
    if plain == "triplet_margin":
        return Judge(name, members=3, targets=1, integral=True)
    if any(word in plain for word in ("dice", "cross_entropy", "nll", *ROWWISE)):
        pixels = "dice" in plain or ("cross_entropy" in plain and draw.random() < 0.5)
        return Judge(name, integral=True, targets=1, smoothed=plain != name, pixels=pixels)
    return Judge(name, targets=1 if plain == "quantiles" else None, smoothed=plain != "quantiles" and draw.random() < 0.3)


class Model:
    """Layers drawn at random, with places for their parameters, buffers and numbers."""

    def __init__(self, draw: random.Random, pixels: bool) -> None:
        self.draw, self.layers = draw, list[Layer]()
        self.weights = list[Weight]()
        self.parameters = self.buffers = self.numbers = self.words = 0
        image = pixels or draw.random() < 0.5
        side = (lambda: draw.randint(1, 9)) if image else (lambda: 1)
        self.shape = self.sample = (draw.randint(1, 9 if not image else 4), 1 if draw.random() < 0.3 else side(), side())
        self.flat = not image
        if self.flat and draw.random() < 0.3:
            self._sequence()
        for _ in range(draw.randint(0, 5)):
            self._image() if not self.flat and draw.random() < 0.6 else self._any()
        if pixels:
            self._convolution(1, draw.randint(1, 9), draw.randint(1, 3), draw.randint(0, 2))
        else:
            if draw.random() < 0.3 and not self.flat:
                self._add("mean", (self.shape[0], 1, 1))
            self.shape, self.flat = (math.prod(self.shape), 1, 1), True
            for _ in range(draw.randint(0, 2)):
                self._linear(draw.randint(1, 17))
                self._any()
            self._linear(draw.randint(1, 9))
        self.headed = draw.random() < 0.5
        if self.headed:
            self._add("head", self.shape)

    def _add(self, kind: str, shape: tuple[int, int, int], parameters: int = 0, fork: int = 0, **fields: int) -> None:
        channels, height, width = self.shape
        made = Layer(kind=kinds("layers")[kind], theta=self.parameters, buffer=self.buffers, numbers=self.numbers, **fields)
        made.channels, made.height, made.width = self.shape
        made.inputs, made.outputs = channels * height * width, math.prod(shape)
        made.part = len(self.layers) if kind == "dropout" else fork
        self.parameters += parameters
        self.layers.append(made)
        self.shape = shape

    def _linear(self, outputs: int) -> None:
        inputs = self.shape[0]
        self.weights.append(Weight(self.parameters, outputs, inputs, 0))
        self._add("linear", (outputs, 1, 1), (inputs + 1) * outputs)

    def _any(self) -> None:
        kind = self.draw.choice(["activation", "dropout", "batch_norm", "linear" if self.flat else "activation", "residual"])
        if kind == "linear":
            self._linear(self.draw.randint(1, 17))
        elif kind == "residual":
            fork = len(self.layers)
            self._add("fork", self.shape)
            width = self.shape[0]
            for _ in range(self.draw.randint(0, 2)):
                self._any()
            if self.shape[0] != width:
                self._linear(width)
            self._add("add", self.shape, fork=fork)
        elif kind == "activation":
            self._add(kind, self.shape, kernel=self.shape[0] if self.flat else self.shape[2])
        else:
            channels = self.shape[0]
            self._add(kind, self.shape, 2 * channels if kind == "batch_norm" else 0)
            self.numbers += 2
            self.buffers += 2 * channels if kind == "batch_norm" else 0

    def _sequence(self) -> None:
        self.words, places, size = self.draw.randint(1, 9), self.shape[0], self.draw.randint(1, 5)
        self.weights.append(Weight(self.parameters, size, self.words, 0))
        self._add("embedding", (size, 1, places), self.words * size, filters=size, kernel=self.words)
        self.flat = False
        for _ in range(self.draw.randint(0, 2)):
            self._any()
            kernel = self.draw.choice([1, 3, 5])
            self._convolution(kernel, self.draw.randint(1, 9), 1, kernel // 2, padded=1)
        self._add("mean", (self.shape[0], 1, 1), padded=1)
        self.flat = True

    def _image(self) -> None:
        channels, height, width = self.shape
        kind = self.draw.choice(["convolution", "convolution", "max_pool", "upsample"])
        if kind == "convolution":
            self._convolution(self.draw.randint(1, 5), self.draw.randint(1, 9), self.draw.randint(1, 3), self.draw.randint(0, 2))
        elif kind == "max_pool":
            high, wide = self.draw.randint(1, min(3, height)), self.draw.randint(1, min(3, width))
            self._add(kind, (channels, height // high, width // wide), kernel_height=high, kernel=wide)
        elif height * width < 50:
            scale = self.draw.randint(1, 3)
            self._add(kind, (channels, height * scale, width * scale), stride=scale)

    def _convolution(self, kernel: int, filters: int, stride: int, padding: int, padded: int = 0) -> None:
        channels, height, width = self.shape
        kernel = min(kernel, width + 2 * padding)
        signal = padded or (height == 1 and self.draw.random() < 0.5)
        tall, above = (1, 0) if signal else (min(kernel, height + 2 * padding), padding)
        sizes = (
            convolved(height, kernel=tall, stride=stride, padding=above),
            convolved(width, kernel=kernel, stride=stride, padding=padding),
        )
        self.weights.append(Weight(self.parameters, filters, channels * tall * kernel, 1))
        window = {"kernel_height": tall, "kernel": kernel, "padding_height": above, "padding": padding, "stride": stride}
        window["padded"] = padded
        size = filters * (channels * tall * kernel + 1)
        self._add("convolution", (filters, *sizes), size, filters=filters, out_height=sizes[0], out_width=sizes[1], **window)


def numbers_of(draw: random.Random, generator: np.random.Generator, *shape: int) -> NDArray[np.float32]:
    """Numbers of all sizes; seldom, infinite and NaN."""
    found = generator.standard_normal(shape, np.float32) * np.float32(draw.choice([0.1, 1.0, 100.0]))
    if draw.random() < 0.1:
        found.reshape(-1)[draw.randrange(found.size)] = draw.choice([math.inf, -math.inf, math.nan, 1e38, 1e-38])
    return found


MOVES = ["shift", "flip", "rotate", "crop"]


def changes(draw: random.Random, model: Model, loss: Judge) -> list[str]:
    """What is done to batches of such a model and such targets."""
    found = draw.sample(["noise", "mask"], draw.randint(0, 2)) if not model.words else []
    moved = loss.members == 1 and (not loss.pixels or model.shape[1:] == model.sample[1:])
    if moved and not model.words and draw.random() < 0.5:
        found.append(draw.choice(MOVES))
    softening = ["label_smoothing"] if model.words else ["label_smoothing", "mixup"]
    if loss.smoothed:
        found += draw.sample(softening, draw.randint(1, len(softening)))
    draw.shuffle(found)
    return found


def optimizers(draw: random.Random, lanes: int) -> list[Update]:
    """Those of a block, of so many lanes each; some lanes may have none."""
    kinds_of, flags = len(names("optimizers")), 1 << len(names("optimizer_flags"))
    return [Update(draw.randrange(kinds_of), draw.randrange(flags)) for _ in range(draw.randint(1, V // lanes))]


def cohort(path: Path, seed: int) -> None:
    """Write a cohort that a seed stands for."""
    draw, generator = random.Random(seed), np.random.default_rng(seed)
    losses = names("losses")
    loss = judge(draw, losses[seed % len(losses)])
    model = Model(draw, loss.pixels)
    layers = model.layers
    blocks = draw.randint(1, 2)
    heads = names("activations")
    block = (Block * blocks)()
    updates: list[Update] = []
    for each in block:
        each.activation, each.loss = draw.randrange(len(heads)), losses.index(loss.name)
        each.head = draw.randrange(len(heads)) if not loss.pixels else 0
        each.lanes = draw.choice([1, 2, 4, V])
        mine = optimizers(draw, each.lanes)
        each.update, each.updates = len(updates), len(mine)
        updates += mine
    pixels = model.shape[1] * model.shape[2] if loss.pixels else 1
    outputs = math.prod(model.shape)
    width = outputs // pixels
    targets = outputs if loss.targets is None else pixels
    train = draw.randint(1, 19)
    rows, splits = train + draw.randint(0, 20), draw.randint(1, 2)
    parameters, buffers = model.parameters, model.buffers
    changed = changes(draw, model, loss)
    first = model.numbers + 1 + 2 + 2 * width  # behind the numbers of the layers, the activation and the loss
    each = first + len(changed)
    channels, height, wide = model.sample
    change = (Change * len(changed))(
        *(
            Change(kinds("changes")[name], first + place, channels, height, wide, loss.pixels)
            for place, name in enumerate(changed)
        )
    )
    numbers = generator.random((blocks, each, V), np.float32)
    for place, name in enumerate(changed, first):
        if name in ("mask", "mixup"):
            most = 2 if name == "mixup" else 1 << 15
            numbers[:, place] = generator.integers(0, most, (blocks, V), np.int32).view(np.float32)
    rates = len(names("optimizer_numbers")) + len(names("penalty_numbers"))
    penalties = draw.randrange(1 << len(names("penalty_flags")))
    average = parameters + buffers
    slots = average + parameters
    stride = slots + parameters * max(kernel().dlrun_slots(u.optimizer, u.flags) for u in updates)  # type: ignore[union-attr]
    state = np.zeros((blocks, stride, V), np.float32)
    state[:, :average] = numbers_of(draw, generator, blocks, average, V)
    limits = np.array([draw.choice([0.3, math.inf]) for _ in range(5)])
    rate = generator.random((blocks, rates, V)) * 0.9 + 0.05
    rate[:, -2:] *= limits[:2, None]
    keys = [generator.integers(-(1 << 62), 1 << 62, blocks * V) for _ in range(3)]
    inputs = math.prod(model.sample)
    shape = (splits, rows, loss.members * inputs)
    x = generator.integers(0, model.words + 1, shape) if model.words else numbers_of(draw, generator, *shape)
    y = generator.integers(0, max(2, width) if loss.integral else 2, (splits, rows, targets), np.int32)
    if loss.integral:
        y %= width
    target = y if loss.integral else y.astype(np.float32)
    arrays: list[Any] = [(Layer * len(layers))(*layers), block, (Update * len(updates))(*updates)]
    arrays += [(Weight * len(model.weights))(*model.weights), change, state]
    arrays += [numbers, rate, *keys, generator.random((2, 4096), np.float32)]
    data = samples(x, target)
    arrays += [generator.integers(0, splits, blocks * V), data]
    arrays.append(np.empty(blocks * train * V, np.int32))
    plan = Plan(
        *map(replay.address, arrays),
        depth=len(layers),
        blocks_count=blocks,
        weights_count=len(model.weights),
        changes_count=len(changed),
        penalties=penalties,
        parameters=parameters,
        buffers=buffers,
        average=average,
        slots=slots,
        stride=stride,
        numbers_each=each,
        rates_each=rates,
        rows=rows,
        train=train,
        batch=draw.randint(1, 9),
        sample=data.shape[2],
        inputs=inputs,
        outputs=outputs,
        targets=targets,
        members=loss.members,
        width=width,
        pixels=pixels,
        integral=loss.integral,
        activation_numbers=model.numbers,
        loss_numbers=model.numbers + 1,
        soft=loss.integral and loss.smoothed,
    )
    factors = generator.random((STEPS, blocks * V)) if draw.random() < 0.5 else None
    replay.write(path, plan, arrays, STEPS, factors)


def cohorts(folder: Path, count: int) -> list[Path]:
    files = [folder / f"{seed}" for seed in range(count)]
    for seed, path in enumerate(files):
        cohort(path, seed)
    return files


def sanitized(folder: Path, compiler: str, processor: str, checks: Sequence[str], count: int) -> None:
    program = replay.program(folder, compiler, *SANITIZED, f"-march={processor}", *checks)
    files = cohorts(folder, count)
    assert len(replay.run([program], files)) == count


UNDEFINED = "bounds,integer-divide-by-zero,signed-integer-overflow,shift,vla-bound"
SHORT = {  # checks that call functions, or only trap, are compiled in half the time
    "clang": (
        f"-fsanitize=address,{UNDEFINED}",
        f"-fsanitize-trap={UNDEFINED}",
        "-mllvm",
        "-asan-instrumentation-with-call-threshold=0",
    ),
    "gcc": ("-fsanitize=address,undefined", "--param", "asan-instrumentation-with-call-threshold=0"),
}


@pytest.mark.parametrize("processor", processors()[:1])
def test_a_short_dose(processor: str, tmp_path: Path) -> None:
    """Of every loss a cohort, with the compiler that is there."""
    compiler = next(filter(shutil.which, SHORT), "gcc")
    sanitized(tmp_path, compiler, processor, SHORT[compiler], len(names("losses")))


@pytest.mark.slow
@pytest.mark.parametrize("processor", processors())
@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_a_long_dose(compiler: str, processor: str, tmp_path: Path) -> None:
    sanitized(tmp_path, compiler, processor, ["-fsanitize=address,undefined"], 3000)


@pytest.mark.slow
def test_what_is_not_initialized_is_not_used(tmp_path: Path) -> None:
    """Under valgrind."""
    if shutil.which("valgrind") is None:
        pytest.skip("valgrind is not installed")
    program = replay.program(tmp_path, "gcc", "-DAPART", "-g1", "-O1", "-march=x86-64-v3")
    command = ["valgrind", "--quiet", "--error-exitcode=9", "--leak-check=full"]
    assert len(replay.run([*command, program], cohorts(tmp_path, 150))) == 150
