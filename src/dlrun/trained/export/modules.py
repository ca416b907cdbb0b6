"""The layers of a trained run as modules of torch.nn with their weights, in the order of an nn.Sequential.

    dlrun                            torch.nn
    Linear, W [D, H]                 Linear, weight [H, D]
    Convolution                      Conv1d, Conv2d
    MaxPool1d, MaxPool2d             the same
    Mean                             AdaptiveAvgPool1d or 2d, Flatten
    Upsample, Flatten, Dropout       the same; dropout is off in eval()
    the layers of a residual         Residual
    BatchNorm                        BatchNorm1d or 2d with the running statistics
    an activation, the head          the module of its name, with its hyperparameters or what was learnt of them

Shapes: n rows, D features, H units, K outputs.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from dlrun.engine.components import Group
from dlrun.engine.layers import Layer, Pointwise
from dlrun.engine.layers.convolution import Convolution
from dlrun.engine.layers.dense import Linear
from dlrun.engine.layers.dropout import Dropout
from dlrun.engine.layers.normalization import BatchNorm
from dlrun.engine.layers.pooling import MaxPool1d, MaxPool2d, Mean
from dlrun.engine.layers.reshaping import Flatten, Upsample
from dlrun.engine.layers.residual import Add, Fork
from dlrun.engine.predictor import Predictor
from dlrun.errors import InputError
from dlrun.trained.run import Run


class Swish(nn.Module):
    """x sigmoid(beta x), which torch.nn has for beta = 1 alone (SiLU)."""

    def __init__(self, beta: float) -> None:
        super().__init__()
        self.beta = beta

    def forward(self, x: Tensor) -> Tensor:
        """[n, ...] to the same."""
        return x * torch.sigmoid(self.beta * x)


class Residual(nn.Module):
    """x + f(x), where f are modules one behind the other."""

    def __init__(self, modules: Sequence[nn.Module]) -> None:
        super().__init__()
        self.inner = nn.Sequential(*modules)

    def forward(self, x: Tensor) -> Tensor:
        """[n, ...] to the same."""
        return x + cast(Tensor, self.inner(x))


def modules_of(run: Run) -> list[nn.Module]:
    """The model of a run, in eval mode; a state_dict of nn.Sequential(*these) holds what was trained.

    Raises:
        InputError: a layer has no such module; with the reason.
    """
    predictor = run.predictor
    step = predictor.train_step
    if run.task.members:
        raise InputError(
            f"export: run {run.id} is of {run.task.name} data, whose rows have several members; type --format folder"
        )
    if run.vocabulary:
        raise InputError(
            f"export: run {run.id} reads sequences of words, whose padding is no part of a Sequential; type --format folder"
        )
    axes = len(run.shape)
    found: list[nn.Module] = []
    around: list[list[nn.Module]] = []
    for number, layer in enumerate(step.model.layers):
        mine = [values[0] for values in step.parameters[number]]
        kept = [values[0] for values in step.buffers[number]]
        if isinstance(layer, Fork):
            around.append(found)
            found = []
            continue
        if isinstance(layer, Add):
            inner, found = found, around.pop()
            found.append(Residual(inner))
            continue
        headed = step.model.headed and number == len(step.model.layers) - 1
        made = _head(layer, predictor) if headed else _module(layer, mine, kept, axes, run)
        found += made
        axes = 1 if isinstance(layer, Flatten | Mean) else axes
    return [module.to(step.settings.dtype).eval() for module in found]


def _module(layer: Layer, parameters: Sequence[Tensor], buffers: Sequence[Tensor], axes: int, run: Run) -> list[nn.Module]:
    for kind, make in _MODULES.items():
        if isinstance(layer, kind):
            return make(layer, parameters, buffers, axes)
    what = "a module of your own" if run.config["model"].get("_target_") else f"a layer {type(layer).__name__}"
    raise InputError(
        f"export: run {run.id} has {what}, which this format has no form of; type --format folder, or take its arrays: "
        f"dlrun.load('{run.id}').weights"
    )


def _linear(layer: Linear, parameters: Sequence[Tensor], buffers: Sequence[Tensor], axes: int) -> list[nn.Module]:
    weight, bias = parameters
    made = nn.Linear(*weight.shape)
    return [_loaded(made, weight=weight.t(), bias=bias.flatten())]


def _convolution(layer: Convolution, parameters: Sequence[Tensor], buffers: Sequence[Tensor], axes: int) -> list[nn.Module]:
    weight, bias = parameters
    kind: Callable[..., nn.Module] = nn.Conv1d if layer.axes == 1 else nn.Conv2d
    made = kind(weight.shape[1], weight.shape[0], layer.kernel, layer.stride[0], layer.padding[0])
    return [_loaded(made, weight=weight, bias=bias)]


def _norm(layer: BatchNorm, parameters: Sequence[Tensor], buffers: Sequence[Tensor], axes: int) -> list[nn.Module]:
    kind: Callable[..., nn.Module] = nn.BatchNorm2d if axes == 3 else nn.BatchNorm1d
    made = kind(layer.channels, eps=float(layer.eps), momentum=float(layer.momentum))
    return [_loaded(made, weight=parameters[0], bias=parameters[1], running_mean=buffers[0], running_var=buffers[1])]


def _mean(layer: Mean, parameters: Sequence[Tensor], buffers: Sequence[Tensor], axes: int) -> list[nn.Module]:
    return [nn.AdaptiveAvgPool2d(1) if axes == 3 else nn.AdaptiveAvgPool1d(1), nn.Flatten()]


def _pointwise(layer: Pointwise, parameters: Sequence[Tensor], buffers: Sequence[Tensor], axes: int) -> list[nn.Module]:
    (group, _), learned = layer.activations[0], {}
    if layer.learned:
        learned = dict(zip(layer.learned, map(float, parameters[0]), strict=True))
    return [_activation(group, {**group.values, **learned}, axes)]


def _activation(group: Group, values: Mapping[str, Any], axes: int) -> nn.Module:
    """The module of an activation with these hyperparameters."""
    target, name = group.part.target, group.part.target.rpartition(".")[2]
    if name == "swish":
        return nn.SiLU() if values["beta"] == 1 else Swish(float(values["beta"]))
    if name == "leaky_relu":
        return nn.LeakyReLU(float(values["negative_slope"]))
    if name in ("Softmax", "LogSoftmax"):  # the last axis of a row, which is that of the classes where each pixel has some
        return getattr(nn, name)(dim=-1)  # type: ignore[no-any-return]
    if target.startswith("torch.nn."):
        return getattr(nn, name)(**{key: _plain(value) for key, value in values.items()})  # type: ignore[no-any-return]
    raise InputError(
        f"export: the activation {target} is a function of your own, which this format has no form of; type --format folder"
    )


def _head(layer: Layer, predictor: Predictor) -> list[nn.Module]:
    assert isinstance(layer, Pointwise)
    name = layer.activations[0][0].part.target.rpartition(".")[2]
    return [nn.Sigmoid() if name == "Sigmoid" else getattr(nn, name)(dim=1)]


def _plain(value: Any) -> Any:
    return float(value) if isinstance(value, Tensor) else value


def _loaded(module: nn.Module, **tensors: Tensor) -> nn.Module:
    """The module with these parameters and buffers."""
    state = dict(module.state_dict())
    module.load_state_dict(state | {name: value.detach().clone().contiguous() for name, value in tensors.items()})
    return module


_MODULES: dict[type[Layer], Callable[[Any, Sequence[Tensor], Sequence[Tensor], int], list[nn.Module]]] = {
    Linear: _linear,
    Convolution: _convolution,
    BatchNorm: _norm,
    MaxPool1d: lambda layer, *_: [nn.MaxPool1d(layer.pool.kernel[1])],
    MaxPool2d: lambda layer, *_: [nn.MaxPool2d(layer.kernel[1])],
    Mean: _mean,
    Upsample: lambda layer, *_: [nn.Upsample(scale_factor=float(layer.scale))],
    Flatten: lambda *_: [nn.Flatten()],
    Dropout: lambda layer, *_: [nn.Dropout(1 - float(layer.keep))],
    Pointwise: _pointwise,
}
