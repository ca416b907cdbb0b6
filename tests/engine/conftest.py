"""A plain implementation to hold the engine against: one nn.Sequential for one run, autograd, and no other run in sight."""

from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from dlrun import streams


class Swish(nn.Module):
    """x sigmoid(beta x), with or without a beta to learn."""

    def __init__(self, beta: float, learnable: bool) -> None:
        super().__init__()
        self.parameters_ = nn.Parameter(torch.tensor(beta, dtype=torch.float64), requires_grad=learnable)

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(self.parameters_ * x)


class Leaky(nn.Module):
    """x where it is positive, else a slope times x, with or without a slope to learn."""

    def __init__(self, negative_slope: float, learnable: bool) -> None:
        super().__init__()
        self.parameters_ = nn.Parameter(torch.tensor(negative_slope, dtype=torch.float64), requires_grad=learnable)

    def forward(self, x: Tensor) -> Tensor:
        return torch.where(x > 0, x, self.parameters_ * x)


class StreamDropout(nn.Module):
    """Dropout whose masks come from the run's stream; ``key`` is that of the step."""

    key: Tensor

    def __init__(self, p: float, part: int) -> None:
        super().__init__()
        self.p, self.part = p, part

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return x
        mask = streams.bernoulli(streams.derive(self.key, self.part), x.numel(), 1 - self.p).view(x.shape)
        return x * mask / (1 - self.p)


class Words(nn.Module):
    """Vectors of words numbered from 1, [B, E, T]: padding has none. It keeps where there are words, [B, T]."""

    there: Tensor

    def __init__(self, words: int, size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(words, size, dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        self.there = x != 0
        padded = torch.cat([torch.zeros_like(self.weight[:1]), self.weight])
        return torch.nn.functional.embedding(x, padded, padding_idx=0).mT


class OfPlaces(nn.Module):
    """What works on places [B, C, T], all of them or those where the module of the model's words found some."""

    def __init__(self, words: Words | None) -> None:
        super().__init__()
        self._words = [words]  # in a list, so that its parameters are not taken for this module's

    def there(self, x: Tensor) -> Tensor:
        (words,) = self._words
        return torch.ones(len(x), x[0, 0].numel(), dtype=torch.bool) if words is None else words.there


class Mean(OfPlaces):
    """The mean over places."""

    def forward(self, x: Tensor) -> Tensor:
        there = self.there(x).unsqueeze(1)
        return (x.flatten(2) * there).sum(2) / there.sum(2)


class Last(OfPlaces):
    """The last place."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([row[:, int(there.sum()) - 1] for row, there in zip(x, self.there(x), strict=True)])


class Positions(OfPlaces):
    """A vector added to each place."""

    def __init__(self, words: Words | None, shape: tuple[int, ...]) -> None:
        super().__init__(words)
        self.weight = nn.Parameter(torch.zeros(shape, dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.weight * self.there(x).unsqueeze(1)


class States(OfPlaces):
    """torch.nn.GRU of packed sequences, which takes parameters with both directions one below the other."""

    def __init__(self, words: Words | None, inputs: int, units: int, directions: int) -> None:
        super().__init__(words)
        self._gru = [nn.GRU(inputs, units, bidirectional=directions == 2)]
        of_torch = dict(self._gru[0].named_parameters())
        for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
            parts = [of_torch[f"{name}_l0{end}"] for end in ("", "_reverse")[:directions]]
            self.register_parameter(name, nn.Parameter(torch.cat(parts)))

    def forward(self, x: Tensor) -> Tensor:
        (gru,), ends = self._gru, ("", "_reverse")
        parts = {name: each.chunk(2 if gru.bidirectional else 1) for name, each in self.named_parameters()}
        given = {f"{name}_l0{end}": part for name, each in parts.items() for end, part in zip(ends, each, strict=False)}
        packed = nn.utils.rnn.pack_padded_sequence(x.permute(2, 0, 1), self.there(x).sum(1), enforce_sorted=False)
        states = torch.func.functional_call(gru, given, (packed,))[0]
        return nn.utils.rnn.pad_packed_sequence(states, total_length=x.shape[2])[0].permute(1, 2, 0)


class Attention(OfPlaces):
    """torch.nn.MultiheadAttention of a sequence with itself, and the sequence; nothing where there is no word."""

    def __init__(self, words: Words | None, channels: int, heads: int) -> None:
        super().__init__(words)
        made = nn.MultiheadAttention(channels, heads, batch_first=True)
        self._attention = [made]
        for name, parameter in made.named_parameters():
            self.register_parameter(name.replace(".", "_"), parameter)

    def forward(self, x: Tensor) -> Tensor:
        there = self.there(x)
        given = {name.replace("proj_", "proj.") if "out" in name else name: each for name, each in self.named_parameters()}
        mixed, _ = torch.func.functional_call(self._attention[0], given, (x.mT,) * 3, {"key_padding_mask": ~there})
        return (x + mixed.mT) * there.unsqueeze(1)


class Factors(nn.Module):
    """Vectors of a user and an item, with (bias, 1) behind the one and (1, bias) behind the other: [B, E + 2, 2]."""

    def __init__(self, words: int, size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(words, size, dtype=torch.float64))
        self.bias = nn.Parameter(torch.zeros(words, dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        weight = torch.cat([torch.zeros_like(self.weight[:1]), self.weight])[x]
        bias = torch.cat([torch.zeros_like(self.bias[:1]), self.bias])[x]
        ones = torch.ones_like(bias[:, 0])
        sides = [(bias[:, 0], ones), (ones, bias[:, 1])]
        return torch.stack([torch.cat([weight[:, p], torch.stack(side, 1)], 1) for p, side in enumerate(sides)], 2)


class Tower(nn.Module):
    """A torch.nn.Linear for the first of two vectors [B, C, 2], another for the second; weights [in, out]."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        for whose in ("user", "item"):
            self.register_parameter(f"{whose}_weight", nn.Parameter(torch.zeros(inputs, outputs, dtype=torch.float64)))
            self.register_parameter(f"{whose}_bias", nn.Parameter(torch.zeros(1, outputs, dtype=torch.float64)))

    def forward(self, x: Tensor) -> Tensor:
        given = dict(self.named_parameters())
        each = [
            nn.functional.linear(x[..., place], given[f"{whose}_weight"].mT, given[f"{whose}_bias"][0])
            for place, whose in enumerate(("user", "item"))
        ]
        return torch.stack(each, 2)


class Dot(nn.Module):
    """The inner product of two vectors, and an offset."""

    def __init__(self) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(1, dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        return torch.einsum("bc,bc->b", x[..., 0], x[..., 1])[:, None] + self.bias


class Fork(nn.Module):
    """Passes on its input, and keeps it."""

    def forward(self, x: Tensor) -> Tensor:
        self.kept = x
        return x


class Add(nn.Module):
    """Adds what a fork keeps."""

    def __init__(self, fork: Fork) -> None:
        super().__init__()
        self._fork = [fork]  # in a list, so that it is not a module of this one

    def forward(self, x: Tensor) -> Tensor:
        return x + self._fork[0].kept


def activation(run: Any) -> nn.Module:
    values = dict(run.activation.values)
    kind = run.activation.target.rpartition(".")[2]
    if kind == "swish":
        return Swish(values["beta"], run.learnable)
    if kind == "leaky_relu":
        return Leaky(values["negative_slope"], run.learnable)
    made: nn.Module = getattr(nn, kind)(**values)
    return made


def network(run: Any, settings: Any, shape: tuple[int, ...], weights: Mapping[str, ArrayLike], words: int = 0) -> nn.Sequential:
    """The run's model as an nn.Sequential with its weights, in float64. ``weights`` are named as dlrun saves them."""
    modules: list[nn.Module] = []
    around = [(part.function.__name__, part.values) for part in run.regularizers]
    activations = 0
    vectors: Words | None = None
    forks: list[Fork] = []
    for spec in settings.layers:
        options = dict(spec.options)
        added: list[nn.Module] = []
        if spec.kind == "activation":
            norm = nn.BatchNorm1d if len(shape) == 1 else nn.BatchNorm2d
            added += [norm(shape[0], momentum=v["momentum"], eps=v["eps"]) for name, v in around if name == "BatchNorm"]
            added.append(activation(run))
            added += [StreamDropout(v["p"], activations) for name, v in around if name == "Dropout"]
            activations += 1
        elif spec.kind == "flatten":
            added += [nn.Flatten()] if len(shape) > 1 else []
        elif spec.kind == "max_pool2d":
            added.append(nn.MaxPool2d(spec.size))
        elif spec.kind == "upsample":
            added.append(nn.Upsample(scale_factor=spec.size))
        elif spec.kind == "embedding":
            added.append(vectors := Words(words, spec.size))
        elif spec.kind == "mean":
            added.append(Mean(vectors))
        elif spec.kind == "last":
            added.append(Last(vectors))
        elif spec.kind == "positions":
            added.append(Positions(vectors, shape))
        elif spec.kind == "gru":
            added.append(States(vectors, shape[0], spec.size, options["directions"]))
        elif spec.kind == "attention":
            added.append(Attention(vectors, shape[0], spec.size))
        elif spec.kind == "factors":
            added.append(Factors(words, spec.size))
        elif spec.kind == "tower":
            added.append(Tower(shape[0], spec.size))
        elif spec.kind == "fork":
            added.append(fork := Fork())
            forks.append(fork)
        elif spec.kind == "add":
            modules.append(Add(forks.pop()))
            continue
        elif spec.kind == "dot":
            added.append(Dot())
        elif spec.kind == "max_pool1d":
            added.append(nn.MaxPool1d(spec.size))
        elif spec.kind == "conv1d":
            added.append(nn.Conv1d(shape[0], spec.size, options["kernel"], options["stride"], options["padding"]))
        elif spec.kind == "conv2d":
            added.append(nn.Conv2d(shape[0], spec.size, options["kernel"], options["stride"], options["padding"]))
        else:
            size = settings.outputs if spec.kind == "output" else spec.size
            added.append(nn.Linear(shape[0], size) if len(shape) == 1 else nn.Conv2d(shape[0], size, 1))
        probe = torch.ones(1, *shape, dtype=torch.int64 if spec.kind in ("embedding", "factors") else torch.float32)
        shape = tuple(nn.Sequential(*added).float().eval()(probe).shape[1:])
        modules += added
    heads = {"probability": nn.Sigmoid(), "softmax": nn.Softmax(1), "log_probability": nn.LogSoftmax(1)}
    made = nn.Sequential(*modules, *([heads[run.head]] if run.head in heads else [])).double()
    fill(made, weights)
    return made


def fill(made: nn.Sequential, weights: Mapping[str, ArrayLike]) -> None:
    """Write saved weights into the modules; every one of them must find its place."""
    left = dict(weights)
    with torch.no_grad():
        for number, module in enumerate(made):
            for name in (*dict(module.named_parameters()), "running_mean", "running_var"):
                holder = getattr(module, name, None)
                value = left.pop(f"{number}.{name.rstrip('_')}", None) if holder is not None else None
                if value is not None:
                    assert isinstance(holder, Tensor)
                    matrix = torch.as_tensor(value)
                    matrix = matrix.mT if isinstance(module, nn.Linear) and name == "weight" else matrix
                    holder.copy_(matrix.reshape(holder.shape))
    assert not left, f"no place for {list(left)}"


def gradient_matrix(made: nn.Sequential, names: list[str]) -> dict[str, Tensor]:
    """The gradients of the modules' parameters, named and shaped as dlrun's."""
    found = {}
    for name in names:
        number, _, kind = name.partition(".")
        module = made[int(number)]
        grad = getattr(module, "parameters_" if kind == "parameters" else kind).grad
        found[name] = grad.mT if isinstance(module, nn.Linear) and kind == "weight" else grad
    return found


@pytest.fixture(scope="session")
def plain() -> Callable[..., nn.Sequential]:
    """``plain(run, settings, shape of a row, weights)``: the run's model by torch.nn alone."""
    return network


@pytest.fixture(scope="session")
def plain_gradients() -> Callable[..., dict[str, Tensor]]:
    """The gradients in such a model, named and shaped as dlrun's."""
    return gradient_matrix
