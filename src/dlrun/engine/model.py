"""From a list of layers in YAML to a stacked model.

    layers: [flatten, {hidden: [64, 64]}, output]

A layer is a word, or a word with its size and options:

    linear: 64                      conv2d: 16  (kernel: 3, stride: 1, padding: 1)
    max_pool2d: 2                   upsample: 2
    flatten                         activation      the selected activation, with what regularizers put around it
    hidden: [64, 32]                a linear layer and the activation for each size; (depth: 10, width: 32) instead of a list
    repeat: 3  (layers: [...])      output          a linear map to as many outputs as the task wants (on images: of each pixel)

Sizes follow from the data. Regularizers add layers before the activation (batch_norm) or behind it (dropout).
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from dlrun.engine.layers import BatchNorm, Conv2d, Dropout, Flatten, Layer, Linear, MaxPool2d, Pass, Pointwise, Upsample
from dlrun.engine.layout import Layout
from dlrun.errors import InputError, nearest


@dataclass(frozen=True)
class LayerSpec:
    """One layer of an expanded model: what it is, its size, its options."""

    kind: str
    size: Any = None
    options: tuple[tuple[str, Any], ...] = ()


_OPTIONS: dict[str, dict[str, Any]] = {
    "linear": {},
    "conv2d": {"kernel": 3, "stride": 1, "padding": 1},
    "max_pool2d": {},
    "upsample": {},
    "flatten": {},
    "activation": {},
    "hidden": {"depth": None, "width": None},
    "repeat": {"layers": None},
    "output": {},
}

LAYERS = 20_000  # layers of a model; more are a mistake more often than a wish


def expand(layers: Sequence[Any]) -> tuple[LayerSpec, ...]:
    """The flat list of layers that ``layers`` stands for, with ``hidden`` and ``repeat`` written out.

    Raises:
        InputError: with every problem found.
    """
    problems: list[str] = []
    flat = _expand(layers, problems)
    if not problems:
        _few(len(flat), "model.layers", problems)
    if [layer.kind for layer in flat].count("output") != 1 and not problems:
        problems.append("model.layers: needs exactly one 'output' layer; add output as the last one")
    if problems:
        raise InputError(*problems)
    return tuple(flat)


def _expand(layers: Sequence[Any], problems: list[str]) -> list[LayerSpec]:
    flat: list[LayerSpec] = []
    for entry in layers:
        kind, size, options = _parse(entry, problems)
        if kind == "hidden":
            for width in _widths(size, options, problems):
                flat += [LayerSpec("linear", width), LayerSpec("activation")]
        elif kind == "repeat":
            if _whole(size, "model.layers: repeat", problems, minimum=0):
                repeated = _expand(options["layers"] or [], problems)
                if _few(size * len(repeated), f"model.layers: repeat={size}", problems):
                    flat += repeated * size
        elif kind:
            if kind not in ("flatten", "activation", "output"):
                _whole(size, f"model.layers: {kind}", problems)
            elif size is not None:
                problems.append(f"model.layers: {kind} takes no size, and was given {size}; write {kind} alone")
                size = None
            flat.append(LayerSpec(kind, size, tuple(sorted(options.items()))))
    return flat


def _parse(entry: Any, problems: list[str]) -> tuple[str, Any, dict[str, Any]]:
    words = {entry: None} if isinstance(entry, str) else dict(entry) if isinstance(entry, Mapping) else {}
    kind = next((word for word in words if word in _OPTIONS), None)
    if kind is None:
        word = next(iter(words), str(entry))
        problems.append(
            f"model.layers: no layer is called '{word}'; layers are {', '.join(_OPTIONS)}{nearest(str(word), _OPTIONS)}"
        )
        return "", None, {}
    size = words.pop(kind)
    if size is None and kind in ("max_pool2d", "upsample"):
        size = 2
    unknown = [word for word in words if word not in _OPTIONS[kind]]
    if unknown:
        takes = ", ".join(_OPTIONS[kind]) or "no options"
        problems.append(
            f"model.layers: {kind} has no option '{unknown[0]}'; it takes {takes}{nearest(unknown[0], _OPTIONS[kind])}"
        )
        return "", None, {}
    for name, value in words.items():
        if name in ("kernel", "stride"):
            _whole(value, f"model.layers: {kind}.{name}", problems)
        elif name == "padding":
            _whole(value, f"model.layers: {kind}.{name}", problems, minimum=0)
    return kind, size, _OPTIONS[kind] | words


def _widths(size: Any, options: Mapping[str, Any], problems: list[str]) -> list[int]:
    if size is None and options["depth"] is not None:
        depth, width = options["depth"], options["width"]
        fine = _whole(depth, "model.depth", problems, minimum=0) & _whole(width, "model.width", problems)
        return [width] * depth if fine and _few(2 * depth, f"model.depth={depth}", problems) else []
    sizes = [size] if isinstance(size, int) else size
    if not isinstance(sizes, list | tuple):
        problems.append(f"model.hidden={size}: must be a list of whole numbers; for example model.hidden=[64,64]")
        return []
    if not _few(2 * len(sizes), "model.hidden", problems):
        return []
    return [width for width in sizes if _whole(width, "model.hidden", problems)]


def _few(layers: int, where: str, problems: list[str]) -> bool:
    if layers > LAYERS:
        problems.append(f"{where}: gives {layers:,} layers, and at most {LAYERS:,} are allowed; take fewer")
    return layers <= LAYERS


def _whole(value: Any, where: str, problems: list[str], minimum: int = 1) -> bool:
    fine = isinstance(value, int) and not isinstance(value, bool) and value >= minimum
    if not fine:
        problems.append(f"{where}={value}: must be a whole number of at least {minimum}")
    return fine


@dataclass(frozen=True)
class Around:
    """What regularizers put around every activation: functions from (shape of a row, number of the activation) to a layer."""

    before: tuple[Callable[[tuple[int, ...], int], Layer], ...] = ()
    after: tuple[Callable[[tuple[int, ...], int], Layer], ...] = ()


class Model:
    """A chain of stacked layers and the layout of their parameters and buffers. It holds no values: they are passed in.

    Args:
        layers: the layers.
        names: the kind of each.
        shapes: of one row, before the first layer and after each step of the chain.
        numbers: how many numbers a row leaves behind: its own, and those that each layer puts out for it.
    """

    def __init__(self, layers: Sequence[Layer], names: Sequence[str], shapes: Sequence[tuple[int, ...]], numbers: int) -> None:
        self.layers = list(layers)
        self.numbers = numbers
        self.names = list(names)  # the kind of each layer: "linear", "activation", ...
        self.output_shape = shapes[-1]  # of one row
        self.widest = max(math.prod(shape) for shape in shapes)  # the most numbers of one row between two layers
        self.narrowest = min(math.prod(shape) for shape in shapes[1:-1] or shapes)  # the fewest inside
        self.layout = Layout([layer.shapes for layer in layers])
        self.buffers = Layout([layer.buffers for layer in layers])

    def forward(
        self, parameters: list[list[Tensor]], buffers: list[list[Tensor]], x: Tensor, pass_: Pass
    ) -> tuple[Tensor, list[Any]]:
        """The output of every run [R, B, ...], and the tape that ``backward`` reads."""
        tape = []
        for layer, mine, remembered in zip(self.layers, parameters, buffers, strict=True):
            x, saved = layer.forward(mine, remembered, x, pass_)
            tape.append(saved)
        return x, tape

    def evaluate(self, parameters: list[list[Tensor]], buffers: list[list[Tensor]], x: Tensor) -> tuple[Tensor, Tensor]:
        """The output of every run [R, B, ...] at evaluation, and what stands before the head (the output if there is none)."""
        before = x
        for layer, mine, remembered in zip(self.layers, parameters, buffers, strict=True):
            before, x = x, layer.forward(mine, remembered, x, Pass())[0]
        return x, before if self.names[-1] == "head" else x

    def backward(
        self, parameters: list[list[Tensor]], gradients: list[list[Tensor]], grad: Tensor, tape: list[Any], down_to: int = 0
    ) -> None:
        """Write the gradient of every parameter, from that of the output. ``down_to`` is the first layer with parameters."""
        signal: Tensor | None = grad
        for i in range(len(self.layers) - 1, down_to - 1, -1):
            assert signal is not None
            signal = self.layers[i].backward(parameters[i], gradients[i], signal, tape[i], i == down_to)

    def activations(self) -> list[Pointwise]:
        """The layers that may compute other functions for other rows."""
        return [layer for layer in self.layers if isinstance(layer, Pointwise)]

    def normalized(self, rows: int) -> float:
        """The fewest numbers of a unit that a batch_norm averages over in a batch of ``rows``; infinite without one."""
        return min((rows * layer.places for layer in self.layers if isinstance(layer, BatchNorm)), default=math.inf)

    def largest(self, rows: int) -> float:
        """The multiplications of the largest product of one run with a batch of ``rows``; infinite with images."""
        flat = all(isinstance(layer, Linear | Pointwise | Dropout | Flatten | BatchNorm) for layer in self.layers)
        return max(rows * layer.size for layer in self.layers if isinstance(layer, Linear)) if flat else math.inf

    @property
    def first_trained(self) -> int:
        """The first layer with parameters: nothing before it needs a gradient."""
        return next(i for i, layer in enumerate(self.layers) if layer.shapes)


def build(
    layers: Sequence[LayerSpec],
    *,
    inputs: tuple[int, ...],
    outputs: int,
    activation: Callable[[], Pointwise],
    around: Around,
    head: Pointwise | None,
) -> Model:
    """A model for inputs of shape ``inputs`` (without run and batch axes) and ``outputs`` values a row (or pixel).

    Raises InputError where a layer cannot follow the one before, such as a convolution on a table.
    """
    built: list[Layer] = []
    names: list[str] = []
    shape = inputs
    shapes = [shape]
    numbers = math.prod(shape)
    activations = 0
    for spec in layers:
        _demand(spec.kind, shape)
        options = dict(spec.options)
        made: list[Layer] = []
        if spec.kind == "activation":
            made += [make(shape, activations) for make in around.before]
            made.append(activation())
            made += [make(shape, activations) for make in around.after]
            activations += 1
        elif spec.kind == "linear" or (spec.kind == "output" and len(shape) == 1):
            width = outputs if spec.kind == "output" else spec.size
            made.append(Linear(shape[0], width))
            shape = (width,)
        elif spec.kind == "output":
            made.append(Conv2d(shape[0], outputs, kernel=1))
            shape = (outputs, *shape[1:])
        elif spec.kind == "conv2d":
            made.append(Conv2d(shape[0], spec.size, **options))
            shape = (spec.size, *(_convolved(side, **options) for side in shape[1:]))
        elif spec.kind == "max_pool2d":
            made.append(MaxPool2d(spec.size))
            shape = (shape[0], shape[1] // spec.size, shape[2] // spec.size)
        elif spec.kind == "upsample":
            made.append(Upsample(spec.size))
            shape = (shape[0], shape[1] * spec.size, shape[2] * spec.size)
        elif len(shape) > 1:  # flatten
            made.append(Flatten())
            shape = (math.prod(shape),)
        if min(shape) < 1:
            raise InputError(
                f"model.layers: {spec.kind} leaves nothing of inputs of shape {list(inputs)}; take fewer pooling layers"
            )
        built += made
        shapes.append(shape)
        numbers += len(made) * math.prod(shape)
        names += [_name(layer) for layer in made]
    if head is not None:
        built.append(head)
        names.append("head")
        numbers += math.prod(shape)
    return Model(built, names, shapes, numbers)


def _demand(kind: str, shape: tuple[int, ...]) -> None:
    if kind in ("conv2d", "max_pool2d", "upsample") and len(shape) != 3:
        raise InputError(f"model.layers: {kind} needs images, but the rows have {shape[0]} features; type model=mlp")
    if kind == "linear" and len(shape) != 1:
        raise InputError(f"model.layers: linear needs flat rows, but they have shape {list(shape)}; put flatten before it")


def _convolved(side: int, *, kernel: int, stride: int, padding: int) -> int:
    return (side + 2 * padding - kernel) // stride + 1


def _name(layer: Layer) -> str:
    kinds = {
        Pointwise: "activation",
        Linear: "linear",
        Conv2d: "conv2d",
        MaxPool2d: "max_pool2d",
        Upsample: "upsample",
        Flatten: "flatten",
        Dropout: "dropout",
        BatchNorm: "batch_norm",
    }
    return kinds[type(layer)]
