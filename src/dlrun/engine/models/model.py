"""From a list of layers in YAML to a stacked model.

    layers: [flatten, {hidden: [64, 64]}, output]

A layer is a word, or a word with its size and options:

    linear: 64                      embedding: 16   a vector for each word of a sequence
    conv2d: 16, conv1d: 16          (kernel: 3, stride: 1, padding: 1), on images and on signals
    gru: 16                         (directions: 1), the states of so many units at each value or word; 2: from the end as well
    positions                       a vector for each place of a sequence, added; attention does not know places without
    attention: 2                    each value or word looks at all others with so many heads; what it was is added
    max_pool2d: 2, max_pool1d: 2    upsample: 2
    mean, last                      the mean over all pixels, values or words; that of the last value or word
    flatten                         all values as one list; of words how often each occurs
    activation                      the selected activation, with what regularizers put around it
    factors: 8                      vectors and biases of a user and an item, for a matrix factorization
    tower: 16                       a linear map for users and another for items; towers: [32] with the activation behind each
    dot                             their inner product, in the place of output
    hidden: [64, 32]                a linear layer and the activation for each size; (depth: 10, width: 32) instead of a list
    repeat: 3  (layers: [...])      output          a linear map to as many outputs as the task wants (on images: of each pixel)
    residual: [...]                 what goes into these layers is added to what comes out: between a fork and an add

Sizes follow from the data. Regularizers add layers before the activation (batch_norm) or behind it (dropout).
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

from dlrun.data.modality import PADDING
from dlrun.engine.layers import LAYER_TYPES, Around, Layer, LayerType, Pass, Place, Pointwise, Sample
from dlrun.engine.models.layout import Layout
from dlrun.errors import InputError, nearest
from dlrun.lazy import Tensor


@dataclass(frozen=True)
class LayerSpec:
    """One layer of an expanded model: what it is, its size, its options."""

    kind: str
    size: Any = None
    options: tuple[tuple[str, Any], ...] = ()


STACKS = {"hidden": "linear", "towers": "tower"}
"""Keys that stand for a layer and the activation, for each of a list of sizes; with the layer."""

_MACROS: dict[str, tuple[str, ...]] = dict.fromkeys(STACKS, ("depth", "width")) | {"repeat": ("layers",), "residual": ()}
"""Keys that stand for several layers, with their options."""

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
    if sum(LAYER_TYPES[layer.kind].ends for layer in flat) != 1 and not problems:
        problems.append("model.layers: needs exactly one 'output' layer; add output as the last one")
    if problems:
        raise InputError(*problems)
    return tuple(flat)


def _expand(layers: Sequence[Any], problems: list[str]) -> list[LayerSpec]:
    flat: list[LayerSpec] = []
    for entry in layers:
        kind, size, options = _parse(entry, problems)
        if kind in STACKS:
            for width in _widths(size, options, problems):
                flat += [LayerSpec(STACKS[kind], width), LayerSpec("activation")]
        elif kind == "repeat":
            if _whole(size, "model.layers: repeat", problems, minimum=0):
                repeated = _expand(options.get("layers") or [], problems)
                if _few(size * len(repeated), f"model.layers: repeat={size}", problems):
                    flat += repeated * size
        elif kind == "residual":
            if isinstance(size, list | tuple) and size:
                flat += [LayerSpec("fork"), *_expand(size, problems), LayerSpec("add")]
            else:
                problems.append(f"model.layers: residual={size}: must be a list of layers, such as [{{linear: 32}}, activation]")
        elif kind:
            flat.append(_single(LAYER_TYPES[kind], size, options, problems))
    return flat


def _single(each: LayerType, size: Any, options: Mapping[str, Any], problems: list[str]) -> LayerSpec:
    """One layer of a type that is written with this size and these options."""
    if not each.sized and size is not None:
        problems.append(f"model.layers: {each.key} takes no size, and was given {size}; write {each.key} alone")
    if each.sized:
        size = each.size if size is None else size
        _whole(size, f"model.layers: {each.key}", problems)
    for name, value in options.items():
        _whole(value, f"model.layers: {each.key}.{name}", problems, each.options[name].minimum)
    values = {name: option.default for name, option in each.options.items()} | dict(options)
    return LayerSpec(each.key, size if each.sized else None, tuple(sorted(values.items())))


def _parse(entry: Any, problems: list[str]) -> tuple[str, Any, dict[str, Any]]:
    """The key of an entry, its size, and the options that are written there; an empty key where something is wrong."""
    words = {entry: None} if isinstance(entry, str) else dict(entry) if isinstance(entry, Mapping) else {}
    known = {key: tuple(each.options) for key, each in LAYER_TYPES.items() if each.written} | _MACROS
    kind = next((word for word in words if word in known), None)
    if kind is None:
        word = next(iter(words), str(entry))
        problems.append(f"model.layers: no layer is called '{word}'; layers are {', '.join(known)}{nearest(str(word), known)}")
        return "", None, {}
    size = words.pop(kind)
    unknown = [word for word in words if word not in known[kind]]
    if unknown:
        takes = ", ".join(known[kind]) or "no options"
        problems.append(f"model.layers: {kind} has no option '{unknown[0]}'; it takes {takes}{nearest(unknown[0], known[kind])}")
        return "", None, {}
    return kind, size, words


def _widths(size: Any, options: Mapping[str, Any], problems: list[str]) -> list[int]:
    if size is None and options.get("depth") is not None:
        depth, width = options["depth"], options.get("width")
        fine = _whole(depth, "model.depth", problems, minimum=0) & _whole(width, "model.width", problems)
        return [int(options["width"])] * depth if fine and _few(2 * depth, f"model.depth={depth}", problems) else []
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


class Model:
    """A chain of stacked layers and the layout of their parameters and buffers. It holds no values: they are passed in.

    Args:
        layers: the layers.
        shapes: of one row, before the first layer and after each step of the chain.
        numbers: how many numbers a row leaves behind: its own, and those that each layer puts out for it.
        headed: whether the last layer is the head, which makes predictions of logits.
        words: whether inputs are sequences of words, of which layers want to know where they end.
        coded: how many layers make the code of a sample: up to the last linear layer without an activation behind it, else all
            before the output; 0 where that is not known.
    """

    def __init__(
        self,
        layers: Sequence[Layer],
        shapes: Sequence[tuple[int, ...]],
        numbers: int,
        headed: bool,
        words: bool = False,
        coded: int = 0,
    ) -> None:
        self.layers, self.numbers, self.headed, self.words, self.coded = list(layers), numbers, headed, words, coded
        self.output_shape = shapes[-1]  # of one row
        self.widest = max(math.prod(shape) for shape in shapes)  # the most numbers of one row between two layers
        inside = [math.prod(shape) for shape in shapes[1:-1] or shapes] + [each.narrowest for each in layers if each.narrowest]
        self.narrowest = min(inside)  # the fewest inside
        self.layout = Layout([layer.shapes for layer in layers])
        self.buffers = Layout([layer.buffers for layer in layers])

    def forward(
        self, parameters: list[list[Tensor]], buffers: list[list[Tensor]], x: Tensor, pass_: Pass
    ) -> tuple[Tensor, list[Any]]:
        """The output of every run [R, B, ...], and the tape that ``backward`` reads."""
        tape = []
        pass_ = self._knowing(parameters, x, pass_)
        for layer, mine, remembered in zip(self.layers, parameters, buffers, strict=True):
            x, saved = layer.forward(mine, remembered, x, pass_)
            tape.append(saved)
        return x, tape

    def evaluate(self, parameters: list[list[Tensor]], buffers: list[list[Tensor]], x: Tensor) -> tuple[Tensor, Tensor]:
        """The output of every run [R, B, ...] at evaluation, and what stands before the head (the output if there is none)."""
        before, pass_ = x, self._knowing(parameters, x, Pass())
        for layer, mine, remembered in zip(self.layers, parameters, buffers, strict=True):
            before, x = x, layer.forward(mine, remembered, x, pass_)[0]
        return x, before if self.headed else x

    def codes(self, parameters: list[list[Tensor]], buffers: list[list[Tensor]], x: Tensor) -> Tensor:
        """The code of every sample at evaluation, [R, B, E]; see ``coded``."""
        pass_ = self._knowing(parameters, x, Pass())
        for layer, mine, remembered in list(zip(self.layers, parameters, buffers, strict=True))[: self.coded]:
            x = layer.forward(mine, remembered, x, pass_)[0]
        return x.flatten(2)

    def _knowing(self, parameters: list[list[Tensor]], x: Tensor, pass_: Pass) -> Pass:
        """The pass, which knows where the words of sequences x [R, B, T] are, and what numbers they become."""
        if not self.words:
            return pass_
        return replace(pass_, words=x != PADDING, dtype=next(each.dtype for mine in parameters for each in mine))

    def backward(
        self, parameters: list[list[Tensor]], gradients: list[list[Tensor]], grad: Tensor, tape: list[Any], down_to: int = 0
    ) -> None:
        """Write the gradient of every parameter, from that of the output. ``down_to`` is the first layer with parameters."""
        signal: Tensor | None = grad
        for i in range(len(self.layers) - 1, down_to - 1, -1):
            assert signal is not None
            signal = self.layers[i].backward(parameters[i], gradients[i], signal, tape[i], i == down_to)

    def pointwise(self) -> list[Pointwise]:
        """The layers that may compute other functions for other rows: activations and the head."""
        return [layer for layer in self.layers if isinstance(layer, Pointwise)]

    def is_activation(self, number: int) -> bool:
        """Whether layer ``number`` is an activation of hidden units."""
        return isinstance(self.layers[number], Pointwise) and not (self.headed and number == len(self.layers) - 1)

    def left_by(self, members: int) -> int:
        """How many numbers a row of so many members (0 for one that has none) leaves behind, between layers and inside them."""
        return max(1, members) * self.numbers + sum(layer.inner for layer in self.layers)

    def averaged(self, rows: int) -> float:
        """The fewest numbers of a unit that a layer averages over in a batch of ``rows``; infinite where none does."""
        return min((rows * layer.averaged for layer in self.layers if layer.averaged), default=math.inf)

    def largest(self, rows: int) -> float:
        """The multiplications of the largest product of one run with a batch of ``rows``; infinite with images."""
        return max(rows * layer.product for layer in self.layers)

    @property
    def first_trained(self) -> int:
        """The first layer with parameters: nothing before it needs a gradient."""
        return next(i for i, layer in enumerate(self.layers) if layer.shapes)


def build(
    layers: Sequence[LayerSpec],
    *,
    inputs: Sample,
    outputs: int,
    activation: Callable[[], Pointwise],
    around: Around,
    head: Pointwise | None,
) -> Model:
    """A model for samples such as ``inputs`` and ``outputs`` values a row (or pixel).

    Raises InputError where a layer cannot follow the one before, such as a convolution on a table.
    """
    built: list[Layer] = []
    place = Place(inputs, outputs, activation, around)
    shapes = [inputs.shape]
    numbers, coded = math.prod(inputs.shape), 0
    code = _code(layers)
    for number, spec in enumerate(layers):
        made, sample = LAYER_TYPES[spec.kind].build(place, spec.size, dict(spec.options))
        if min(sample.shape) < 1:
            given = list(inputs.shape)
            raise InputError(f"model.layers: {spec.kind} leaves nothing of inputs of shape {given}; take fewer pooling layers")
        built += made
        coded = len(built) if number < code else coded
        shapes.append(sample.shape)
        numbers += len(made) * math.prod(sample.shape)
        forks = place.forks
        if spec.kind == "fork":
            forks = (*forks, sample)
        elif spec.kind == "add":
            forks = forks[:-1]
        place = replace(place, sample=sample, number=place.number + (spec.kind == "activation"), forks=forks)
    if head is not None:
        built.append(head)
        numbers += math.prod(place.sample.shape)
    return Model(built, shapes, numbers, head is not None, inputs.words > 0, coded)


def _code(layers: Sequence[LayerSpec]) -> int:
    """How many of the layers make the code of a sample; see ``Model``."""
    kinds = [layer.kind for layer in layers]
    narrow = [
        number for number, (kind, after) in enumerate(pairwise(kinds)) if kind == "linear" and after not in ("activation", "add")
    ]
    return narrow[-1] + 1 if narrow else next(number for number, kind in enumerate(kinds) if LAYER_TYPES[kind].ends)
