"""Gated recurrent units: a state that goes through a sequence, place by place. Cho et al. 2014, arXiv:1406.1078.

Shapes: R runs, D directions, B batch rows, C channels, T places of a sequence, H units; S = R D sequences of states.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from dlrun.engine.layers.base import Layer, LayerType, Option, Pass, Place, Sample, unfit
from dlrun.engine.models.layout import Shape
from dlrun.errors import InputError
from dlrun.lazy import Tensor, torch


@dataclass(frozen=True)
class _Tape:
    """What a pass leaves behind: inputs [S, C, T, B]; of every place reset, update, candidate and recurrent part [T, S, H, B]."""

    inputs: Tensor
    states: Tensor  # before each place, and behind the last: [T + 1, S, H, B]
    reset: Tensor
    update: Tensor
    candidate: Tensor
    recurrent: Tensor
    words: Tensor | None  # [T, S, 1, B]


class Gru(Layer):
    """The states of gated recurrent units, as torch.nn.GRU has them: [R, B, C, T] -> [R, B, D H, T].

    r = sigmoid(W_ir x_t + b_ir + W_hr h + b_hr), z = sigmoid(W_iz x_t + b_iz + W_hz h + b_hz),
    n = tanh(W_in x_t + b_in + r (W_hn h + b_hn)), h_t = (1 - z) n + z h with h = h_t-1, and h_0 = 0.

    Matrices hold the gates r, z, n one below the other, weight_ih [3 H, C] and weight_hh [3 H, H] in every run. With two
    ``directions`` other units go through the sequence from its end; their matrices are below the first ones, and their states
    behind the first ones. With ``padded`` the state where there is no word is 0: what comes from the end begins at the last word,
    and how much padding stands behind a sequence has no effect.
    """

    def __init__(self, inputs: int, units: int, *, directions: int = 1, padded: bool = False) -> None:
        rows = directions * 3 * units
        self.units, self.directions, self.padded = units, directions, padded
        self.narrowest = directions * units
        # torch draws all of them by the number of units
        self.shapes = (
            Shape("weight_ih", (rows, inputs), "weight", units, inputs, units_first=True),
            Shape("weight_hh", (rows, units), "weight", units, units, units_first=True),
            Shape("bias_ih", (rows,), "bias", units, units),
            Shape("bias_hh", (rows,), "bias", units, units),
        )

    def forward(self, parameters: Sequence[Tensor], buffers: Sequence[Tensor], x: Tensor, pass_: Pass) -> tuple[Tensor, Any]:
        weight_ih, weight_hh, bias_ih, bias_hh = self._of_directions(parameters)
        inputs, units = self._met([x.permute(0, 2, 3, 1)] * self.directions), self.units
        places = torch.baddbmm(bias_ih, weight_ih, inputs.flatten(2)).view(*bias_ih.shape[:2], *inputs.shape[2:])
        places = places.permute(2, 0, 1, 3).contiguous()  # [T, S, 3 H, B]
        words = None
        if self.padded and pass_.words is not None:
            present = pass_.words.to(x.dtype).transpose(1, 2).unsqueeze(1)  # [R, 1, T, B]
            words = self._met([present] * self.directions).permute(2, 0, 1, 3)
        state = x.new_zeros(len(bias_ih), units, x.shape[1])
        states, gates = [state], []
        for t, of_input in enumerate(places):
            of_state = torch.baddbmm(bias_hh, weight_hh, state)
            reset, update = (of_input[:, : 2 * units] + of_state[:, : 2 * units]).sigmoid_().chunk(2, 1)
            recurrent = of_state[:, 2 * units :]
            candidate = torch.addcmul(of_input[:, 2 * units :], reset, recurrent).tanh_()
            state = torch.addcmul(candidate, update, state - candidate)
            state = state if words is None else state * words[t]
            states.append(state)
            if pass_.training:
                gates.append((reset, update, candidate, recurrent))
        held = torch.stack(states)
        y = torch.cat(self._in_order(held[1:].permute(1, 2, 0, 3)), 1).permute(0, 3, 1, 2)
        if not pass_.training:
            return y, None
        reset, update, candidate, recurrent = map(torch.stack, zip(*gates, strict=True))
        return y, _Tape(inputs, held, reset, update, candidate, recurrent, words)

    def backward(
        self, parameters: Sequence[Tensor], gradients: Sequence[Tensor], grad: Tensor, saved: Any, first: bool
    ) -> Tensor | None:
        weight_ih, weight_hh, *_ = self._of_directions(parameters)
        of_places, of_candidates = self._gates(weight_hh, grad, saved)
        before = saved.states[:-1].permute(1, 2, 0, 3).flatten(2)  # [S, H, T B]
        of_places = of_places.permute(1, 2, 0, 3).flatten(2)  # [S, 3 H, T B]
        self._write(gradients[1::2], of_places, before)
        of_places[:, 2 * self.units :] = of_candidates.permute(1, 2, 0, 3).flatten(2)
        self._write(gradients[::2], of_places, saved.inputs.flatten(2))
        if first:
            return None
        ahead, *behind = self._in_order(torch.bmm(weight_ih.mT, of_places).view_as(saved.inputs))
        return (ahead + behind[0] if behind else ahead).permute(0, 3, 1, 2)

    def _gates(self, weight_hh: Tensor, grad: Tensor, tape: _Tape) -> tuple[Tensor, Tensor]:
        """The gradient of W_hh h + b_hh at every place [T, S, 3 H, B], and of what is in the tanh [T, S, H, B]."""
        units = self.units
        of_states = self._met(grad.permute(0, 2, 3, 1).chunk(self.directions, 1)).permute(2, 0, 1, 3).contiguous()
        reset, update, candidate = tape.reset, tape.update, tape.candidate
        to_candidate = (1 - update) * (1 - candidate.square())
        to_update = (tape.states[:-1] - candidate) * update * (1 - update)
        to_reset = tape.recurrent * reset * (1 - reset)
        found = update.new_empty(len(update), update.shape[1], 3 * units, update.shape[3])
        of_candidates = torch.empty_like(update)
        carried = torch.zeros_like(update[0])
        for t in range(len(update) - 1, -1, -1):
            carried = carried + of_states[t]
            if tape.words is not None:
                carried *= tape.words[t]
            here, of_candidate = found[t], of_candidates[t]
            torch.mul(carried, to_candidate[t], out=of_candidate)
            torch.mul(of_candidate, to_reset[t], out=here[:, :units])
            torch.mul(carried, to_update[t], out=here[:, units : 2 * units])
            torch.mul(of_candidate, reset[t], out=here[:, 2 * units :])
            carried = torch.baddbmm(carried * update[t], weight_hh.mT, here)
        return found, of_candidates

    @staticmethod
    def _write(gradients: Sequence[Tensor], of_places: Tensor, inputs: Tensor) -> None:
        """The gradients of a matrix and its offsets: [S, 3 H, T B] with [S, n, T B]."""
        weight, bias = gradients
        weight.copy_(torch.bmm(of_places, inputs.mT).view_as(weight))
        bias.copy_(of_places.sum(2).view_as(bias))

    def _of_directions(self, parameters: Sequence[Tensor]) -> list[Tensor]:
        """The parameters of each direction: matrices [S, 3 H, n], offsets [S, 3 H, 1]."""
        return [p.reshape(len(p) * self.directions, 3 * self.units, -1) for p in parameters]

    def _met(self, values: Sequence[Tensor]) -> Tensor:
        """Values of each direction [R, n, T, B] in the order in which it meets them: [S, n, T, B]."""
        ahead, *behind = values
        return torch.stack((ahead, behind[0].flip(2)), 1).flatten(0, 1) if behind else ahead

    def _in_order(self, values: Tensor) -> list[Tensor]:
        """Values as each direction meets them [S, n, T, B] in the order of the places: for each direction [R, n, T, B]."""
        ahead, *behind = values.view(-1, self.directions, *values.shape[1:]).unbind(1)
        return [ahead, *(each.flip(2) for each in behind)]


def _gru(place: Place, size: int, options: Mapping[str, int]) -> tuple[list[Layer], Sample]:
    sample, directions = place.sample, options["directions"]
    if len(sample.shape) != 2:
        raise unfit("gru", "signals or embedded words", sample)
    if directions > 2:
        raise InputError(f"model.layers: gru.directions={directions}: must be 1, or 2 for units that begin at the end as well")
    layer = Gru(sample.shape[0], size, directions=directions, padded=sample.padded)
    return [layer], replace(sample, shape=(directions * size, sample.shape[1]))


TYPES = (LayerType("gru", _gru, options={"directions": Option(1)}),)
