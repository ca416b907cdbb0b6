"""Sequences of words and signals: masks, what padding must not change, and what is refused by name."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from dlrun.components.initializers import INITIALIZERS
from dlrun.data.modality import SEQUENCES, SIGNALS
from dlrun.data.preprocessing import fit
from dlrun.data.sequences import padded
from dlrun.data.sources.sequences import sentences, signals
from dlrun.data.splits import splits
from dlrun.engine import batches as batches_module
from dlrun.engine.batches import SUBSETS, Batches
from dlrun.engine.by_torch.draws import Draws
from dlrun.engine.layers import Attention, Embedding, Gru, Last, Layer, Pass, Positions
from dlrun.engine.models.layout import Layout
from dlrun.engine.step import TrainStep
from dlrun.errors import InputError
from dlrun.experiments.planning.cohorts import plan

X = torch.from_numpy(padded([[3, 1, 2], [2], [1, 1, 4, 5, 2]], 6))
LAYERS = {
    "bag": [{"embedding": 4}, "mean", {"linear": 3}, "activation", "output"],
    "mean behind an activation": [{"embedding": 4}, "activation", "mean", "output"],
    "convolutions": [
        {"embedding": 4},
        {"conv1d": 3},
        "activation",
        {"conv1d": 3, "kernel": 5, "padding": 2},
        "activation",
        "mean",
        "output",
    ],
    "gru": [{"embedding": 4}, {"gru": 3}, "last", "output"],
    "gru both ways": [{"embedding": 4}, {"gru": 3, "directions": 2}, "mean", "output"],
    "attention": [{"embedding": 4}, {"attention": 2}, {"conv1d": 3, "kernel": 1, "padding": 0}, "mean", "output"],
}


@pytest.fixture
def step_of(spec_of: Callable[..., Any], datasets: Any) -> Callable[..., TrainStep]:
    """Two runs on sentences with a model of these layers."""

    def make(layers: list[Any], **given: Any) -> TrainStep:
        given = {"trainer.dtype": "float64", "activation": "softplus", "model": "bag_of_words", "model.layers": layers} | given
        specs = [spec_of(seed=seed, dataset="sentences", **given) for seed in (0, 1)]
        (planned,) = plan(specs, datasets)
        step = TrainStep(planned.cohort.runs, planned.cohort.data, planned.cohort.settings)
        step.bind(step.fresh())
        return step

    return make


def test_an_embedding_is_torchs() -> None:
    layer = Embedding(5, 3)
    layout = Layout([layer.shapes])
    theta = torch.from_numpy(layout.initialize([0, 1], [(INITIALIZERS["default"], [0, 1])], "float64"))
    x = torch.stack([X, X.flip(0)])
    y, saved = layer.forward(layout.views(theta)[0], [], x, Pass(True, words=x != 0))
    grad = torch.randn(y.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    matrix = torch.full_like(theta, torch.nan)
    assert layer.backward(layout.views(theta)[0], layout.views(matrix)[0], grad, saved, True) is None
    for run in range(2):
        weight = layout.slots[0].view(theta)[run].clone().requires_grad_()
        found = F.embedding(x[run], torch.cat([torch.zeros(1, 3, dtype=torch.float64), weight])).mT
        torch.testing.assert_close(y[run], found.detach())
        (expected,) = torch.autograd.grad(found, weight, grad[run])
        torch.testing.assert_close(layout.slots[0].view(matrix)[run], expected)


@pytest.mark.parametrize("layers", LAYERS.values(), ids=LAYERS)
def test_more_padding_changes_nothing(layers: list[Any], step_of: Callable[..., TrainStep]) -> None:
    step = step_of(layers)
    x = torch.stack([X, X.flip(0)])
    longer = F.pad(x, (0, 9))
    found = []
    for inputs in (x, longer):
        output, tape = step.forward(inputs, Pass(True))
        step.model.backward(step.parameters, step.gradient_views, torch.ones_like(output), tape, step.first)
        found.append((output, torch.cat([view.flatten() for views in step.gradient_views for view in views])))
    for mine, theirs in zip(*found, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-12, atol=1e-12)
    assert found[0][1].abs().sum() > 0


@pytest.mark.parametrize("layers", LAYERS.values(), ids=LAYERS)
def test_gradients_are_those_of_finite_differences(layers: list[Any], step_of: Callable[..., TrainStep]) -> None:
    step = step_of(layers)
    state = step.fresh()
    step.bind(state)
    x = torch.stack([X, X.flip(0)])

    def total(theta: Tensor) -> Tensor:
        step.use(theta)
        return step.forward(x, Pass())[0].square().flatten(1).sum(1)

    output, tape = step.forward(x, Pass(True))
    step.model.backward(step.parameters, step.gradient_views, 2 * output, tape, step.first)
    column = torch.randperm(state.theta.shape[1], generator=torch.Generator().manual_seed(0))[:12]
    for place in column.tolist():
        change = torch.zeros_like(state.theta)
        change[:, place] = 1e-6
        slope = (total(state.theta + change) - total(state.theta - change)) / 2e-6
        torch.testing.assert_close(state.grad[:, place], slope, rtol=1e-5, atol=1e-7)


Oracle = Callable[[Tensor, Sequence[Tensor]], Tensor]  # sequences [B, C, T] and one run's parameters -> what the layer gives


def packed(layer: Gru) -> Oracle:
    """torch.nn.GRU of sequences that are packed without their padding."""
    made = nn.GRU(layer.shapes[0].shape[1], layer.units, bidirectional=layer.directions == 2, dtype=torch.float64)
    names = [name + end for name in ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0") for end in ("", "_reverse")]

    def found(x: Tensor, parameters: Sequence[Tensor]) -> Tensor:
        parts = [part for parameter in parameters for part in parameter.chunk(2)]
        sequences = pack_padded_sequence(x.permute(2, 0, 1), (X != 0).sum(1), enforce_sorted=False)
        states, _ = torch.func.functional_call(made, dict(zip(names, parts, strict=True)), (sequences,))
        return pad_packed_sequence(states, total_length=x.shape[2])[0].permute(1, 2, 0)

    return found


def masked(heads: int) -> Oracle:
    """F.scaled_dot_product_attention with a mask of the words."""

    def found(x: Tensor, parameters: Sequence[Tensor]) -> Tensor:
        in_weight, in_bias, out_weight, out_bias = parameters
        parts = F.linear(x.mT, in_weight, in_bias).unflatten(2, (3, heads, -1)).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(*parts, attn_mask=(X != 0)[:, None, None]).transpose(1, 2).flatten(2)
        return (x + F.linear(mixed, out_weight, out_bias).mT) * (X != 0)[:, None]

    return found


OF_PADDED: dict[str, tuple[Layer, Oracle]] = {
    "gru": (made := Gru(4, 3, directions=2, padded=True), packed(made)),
    "attention": (Attention(4, heads=2, padded=True), masked(2)),
    "positions": (Positions(4, 6, padded=True), lambda x, parameters: x + parameters[0] * (X != 0)[:, None]),
    "last": (Last(padded=True), lambda x, parameters: torch.stack([row[:, n - 1] for row, n in zip(x, (3, 1, 5), strict=True)])),
}


@pytest.mark.parametrize(("layer", "oracle"), OF_PADDED.values(), ids=OF_PADDED)
def test_layers_of_padded_sequences_are_torchs(layer: Layer, oracle: Oracle) -> None:
    layout = Layout([layer.shapes])
    theta = torch.from_numpy(layout.initialize([0, 1], [(INITIALIZERS["default"], [0, 1])], "float64"))
    generator = torch.Generator().manual_seed(0)
    words = torch.stack([X != 0] * 2)
    x = torch.randn(2, *X.shape, 4, dtype=torch.float64, generator=generator).mT * words.unsqueeze(2)
    y, saved = layer.forward(layout.views(theta)[0], [], x, Pass(True, words=words))
    grad = torch.randn(y.shape, dtype=torch.float64, generator=generator)
    matrix = torch.full_like(theta, torch.nan)
    dx = layer.backward(layout.views(theta)[0], layout.views(matrix)[0], grad, saved, False)
    assert dx is not None
    evaluated, _ = layer.forward(layout.views(theta)[0], [], x, Pass(words=words))
    assert torch.equal(evaluated, y)
    for run in range(2):
        parameters = [slot.view(theta)[run].clone().requires_grad_() for slot in layout.slots]
        leaf = x[run].clone().requires_grad_()
        found = oracle(leaf, parameters)
        torch.testing.assert_close(y[run], found.detach())
        of_x, *of_parameters = torch.autograd.grad(found, [leaf, *parameters], grad[run])
        of_words = slice(None) if isinstance(layer, Last) else words[run].unsqueeze(1).expand_as(of_x)
        torch.testing.assert_close(dx[run][of_words], of_x[of_words])
        for slot, expected in zip(layout.slots, of_parameters, strict=True):
            torch.testing.assert_close(slot.view(matrix)[run], expected)


REFUSED = [
    (
        {"dataset": "sentences", "model.layers": [{"linear": 4}, "output"]},
        "linear needs numbers, but the rows are sequences .* type model=bag_of_words",
    ),
    ({"dataset": "sentences", "model": "cnn"}, "conv2d needs images, but the rows are sequences"),
    ({"dataset": "sentences", "model": "cnn1d"}, "conv1d needs signals or embedded words, but the rows are sequences"),
    ({"dataset": "iris", "model": "bag_of_words"}, "embedding needs sequences of words, but the rows have 4 features; .*mlp"),
    ({"dataset": "iris", "model": "cnn1d"}, "conv1d needs signals or embedded words, but the rows have 4 features; .*mlp"),
    ({"dataset": "digits", "model": "bag_of_words"}, r"but the rows are images of shape \[1, 8, 8\]; type model=cnn"),
    ({"dataset": "signals", "model": "bag_of_words"}, r"but the rows are signals of shape \[1, 64\]; type model=cnn1d"),
    ({"dataset": "signals", "model": "cnn"}, "conv2d needs images, but the rows are signals"),
    ({"dataset": "sentences", "regularizer": ["augmentation"]}, "kind=noise: needs numbers, .* leave augmentation out"),
    ({"dataset": "signals", "regularizer": ["augmentation"], "regularizer.augmentation.kind": "flip"}, "needs images"),
    ({"dataset": "signals", "model.layers": [{"conv1d": 4}, "output"]}, "output needs flat rows or images.*put mean before it"),
    ({"dataset": "sentences", "model.layers": [{"embedding": 4}, "flatten", "output"]}, "flatten would mix words"),
    ({"dataset": "sentences", "model.layers": [{"embedding": 4}, "max_pool1d", "mean", "output"]}, "max_pool1d would mix"),
    ({"dataset": "sentences", "model.layers": [{"embedding": 4}, {"conv1d": 4, "padding": 0}, "mean", "output"]}, "keep their"),
    (
        {"dataset": "sentences", "model.layers": [{"gru": 3}, "last", "output"]},
        "gru needs signals or embedded words, but the rows",
    ),
    ({"dataset": "iris", "model.layers": [{"attention": 2}, "output"]}, "attention needs signals or embedded words"),
    ({"dataset": "digits", "model.layers": ["positions", "output"]}, r"positions needs signals .* images of shape \[1, 8, 8\]"),
    ({"dataset": "iris", "model.layers": ["last", "output"]}, "last needs signals or embedded words"),
    (
        {"dataset": "sentences", "model.layers": [{"embedding": 4}, {"attention": 3}, "mean", "output"]},
        "attention: 3 heads cannot share 4 channels evenly",
    ),
    (
        {"dataset": "sentences", "model.layers": [{"embedding": 4}, {"gru": 3, "directions": 3}, "last", "output"]},
        r"gru\.directions=3: must be 1, or 2",
    ),
    ({"dataset": "sentences", "model.layers": ["activation", "output"]}, "activation needs numbers"),
    (
        {
            "dataset": "sentences",
            "model.layers": [{"embedding": 4}, "activation", "mean", "output"],
            "regularizer": ["batch_norm"],
        },
        "batch_norm: would count the padding",
    ),
]


@pytest.mark.parametrize(("given", "said"), REFUSED)
def test_what_does_not_fit_is_refused_by_name(
    given: dict[str, Any], said: str, spec_of: Callable[..., Any], datasets: Any
) -> None:
    with pytest.raises(InputError, match=said):
        plan([spec_of(**given)], datasets)


@pytest.mark.parametrize("data", [sentences(rows=60), signals(rows=60, length=10)], ids=["sentences", "signals"])
@pytest.mark.parametrize("materialized", [True, False], ids=["scaled once", "scaled as drawn"])
def test_batches_hold_the_rows_of_each_run(data: Any, materialized: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not materialized:
        monkeypatch.setattr(batches_module, "MATERIALIZED_BYTES", 0)
    made = splits(data, [0, 1])
    fitted = [fit(data, split.train) for split in made]
    batches = Batches(data, made, fitted, [1, 0], floats="float64")
    for subset in SUBSETS:
        x, _ = batches.subset(subset)
        for run, split in enumerate((1, 0)):
            expected = fitted[split].inputs(data.x[getattr(made[split], subset)])
            assert x.dtype == data.x.dtype
            np.testing.assert_allclose(x[run], expected)
    (drawn, _), *_ = Draws(batches, torch.device("cpu")).epoch(torch.tensor([5, 6]), 7, 2)
    assert drawn.shape == (2, 7, *data.shape)
    assert drawn.numpy().dtype == data.x.dtype


def test_signals_share_the_scaling_of_their_channel() -> None:
    data = signals(rows=40, length=9)
    fitted = fit(data, np.arange(40))
    assert fitted.shift.shape == (1, 1)
    scaled = fitted.inputs(data.x)
    assert float(scaled.mean()) == pytest.approx(0, abs=1e-12)
    assert float(scaled.std()) == pytest.approx(1)


def test_baselines_see_how_often_a_word_occurs() -> None:
    assert SEQUENCES.flat(X.numpy(), 5).tolist() == [[1, 1, 1, 0, 0], [0, 1, 0, 0, 0], [2, 1, 0, 1, 1]]
    assert SEQUENCES.flat_width((6,), 5) == 5
    assert SIGNALS.flat(np.zeros((2, 3, 4, 5)), 0).shape == (2, 3, 20)
