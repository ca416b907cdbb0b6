"""Whole models: every conf/model trains its parameters with the gradients that autograd finds in the same nn.Sequential."""

import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from dlrun import registry
from dlrun.components.initializers import INITIALIZERS
from dlrun.engine.cohort import Cohort
from dlrun.engine.layers import Pass
from dlrun.engine.models.model import LayerSpec, expand
from dlrun.engine.state import State
from dlrun.engine.step import TrainStep
from dlrun.errors import InputError
from dlrun.experiments.planning.cohorts import plan

MODELS = registry.options("model")
TASKS = {
    "bag_of_words": ("sentences",),
    "gru": ("sentences",),
    "attention": ("sentences",),
    "cnn1d": ("signals",),
    "gru1d": ("signals",),
    "cnn": ("digits",),
    "segmenter": ("shapes",),
    "embedder": ("pairs", "triplets", "iris"),
    "factorization": ("ratings",),
    "two_towers": ("ratings",),
}
USUAL = ("diabetes", "moons", "iris", "digits", "multilabel")
PAIRS = [(model, dataset) for model in MODELS for dataset in TASKS.get(model, USUAL)]


@pytest.fixture
def cohort_of(spec_of: Callable[..., Any], datasets: Any) -> Callable[..., Cohort]:
    """One cohort of three runs, with their own seed, activation, and what is given as a list."""

    def make(**given: Any) -> Cohort:
        specs = []
        for row in range(3):
            mine = {key: value[row] if isinstance(value, tuple) else value for key, value in given.items()}
            specs.append(spec_of(seed=row, **({"trainer.dtype": "float64"} | mine)))
        (planned,) = plan(specs, datasets)
        return planned.cohort

    return make


def loss_by_torch(task: str, output: Tensor, y: Tensor) -> Tensor:
    """The task's default loss in torch's words."""
    if task in ("regression", "recommendation"):
        return nn.functional.mse_loss(output, y)
    if task in ("multiclass", "segmentation"):
        return nn.functional.cross_entropy(output, y)
    if task == "similarity":
        return nn.functional.cosine_embedding_loss(output[:, 0], output[:, 1], y[:, 0])
    if task == "metric_learning":
        return nn.functional.triplet_margin_loss(*output.unbind(1))
    return nn.functional.binary_cross_entropy_with_logits(output, y)


def members_apart(made: nn.Module, x: Tensor) -> Tensor:
    """Pairs and triplets [B, M, D] through the network one by one: [B, M, E]."""
    return made(x.flatten(0, 1)).view(*x.shape[:2], -1)


def batch(train_step: TrainStep, data: Any, rows: int = 5) -> tuple[Tensor, Tensor]:
    """Other rows for each run, with inputs of about unit size."""
    runs = len(train_step.runs)
    x, y = (torch.from_numpy(values[: runs * rows]).unflatten(0, (runs, rows)) for values in (data.x, data.y))
    if data.vocabulary:
        return x, y
    x = (x - data.x.mean()) / data.x.std()
    # 4-dimensional noise keeps max pooling off ties, at which the subgradient is a matter of taste
    x = x + 0.01 * torch.randn(x.shape, dtype=x.dtype, generator=torch.Generator().manual_seed(0))
    return x, y if data.task != "regression" else (y - data.y.mean()) / data.y.std()


def compare(cohort: Cohort, plain: Callable[..., Any], plain_gradients: Callable[..., Any]) -> None:
    train_step, data = TrainStep(cohort.runs, cohort.data, cohort.settings), cohort.data
    state = train_step.bind(train_step.fresh())
    state.grad.fill_(torch.nan)
    x, y = batch(train_step, data)
    keys = train_step.keys().epoch(0)(3)
    start = state.buffers.clone()
    with torch.no_grad():
        output, tape = train_step.forward(x, Pass(True, keys.dropout))
        grad = train_step.loss_gradient(output, y)
        train_step.model.backward(
            train_step.parameters, train_step.gradient_views, train_step._member_grad(grad), tape, train_step.first
        )
        moved = train_step.model.buffers.views(state.buffers)
        evaluated, _ = train_step.forward(x, Pass())
    losses = train_step.loss(output, y)
    embeds = data.task in ("similarity", "metric_learning")
    for row, run in enumerate(cohort.runs):
        saved = {slot.name: slot.view(state.theta)[row] for slot in train_step.layout.slots}
        remembered = {slot.name: slot.view(start)[row] for slot in train_step.model.buffers.slots}
        made = plain(run, cohort.settings, data.sample, saved | remembered, len(data.vocabulary)).train()
        for module in made:
            if keys.dropout is not None:
                module.key = keys.dropout[row : row + 1]
        found = members_apart(made, x[row]) if embeds else made(x[row])
        torch.testing.assert_close(output[row], found.detach(), rtol=1e-10, atol=1e-12)
        loss = loss_by_torch(data.task, found, y[row])
        assert float(losses[row]) == pytest.approx(float(loss.detach()), rel=1e-10)
        loss.backward()
        theirs = plain_gradients(made, list(saved))
        for slot in train_step.layout.slots:
            expected = theirs[slot.name].reshape(slot.spec.shape)
            torch.testing.assert_close(slot.view(state.grad)[row], expected, rtol=1e-8, atol=1e-11, msg=f"row {row} {slot.name}")
        with torch.no_grad():
            for slot, value in zip(train_step.model.buffers.slots, [v for layer in moved for v in layer], strict=True):
                number, _, name = slot.name.partition(".")
                torch.testing.assert_close(value[row], getattr(made[int(number)], name))
            made.eval()
            torch.testing.assert_close(evaluated[row], members_apart(made, x[row]) if embeds else made(x[row]))


@pytest.mark.parametrize(("model", "dataset"), PAIRS, ids=[f"{model}-{dataset}" for model, dataset in PAIRS])
def test_gradients_are_autograds(
    model: str, dataset: str, cohort_of: Callable[..., Cohort], plain: Callable[..., Any], plain_gradients: Callable[..., Any]
) -> None:
    cohort = cohort_of(model=model, dataset=dataset, activation=("tanh", "elu", "tanh"))
    compare(cohort, plain, plain_gradients)


@pytest.mark.parametrize("activation", registry.options("activation"))
def test_gradients_with_every_activation_and_layers_around_it(
    activation: str, cohort_of: Callable[..., Cohort], plain: Callable[..., Any], plain_gradients: Callable[..., Any]
) -> None:
    """batch_norm before and dropout behind it, with numbers of their own in each run."""
    cohort = cohort_of(
        dataset="iris",
        activation=activation,
        regularizer=["dropout", "batch_norm"],
        **{
            "model.hidden": [6, 5],
            "regularizer.dropout.p": (0.1, 0.5, 0.3),
            "regularizer.batch_norm.momentum": (0.1, 0.5, 0.9),
            "regularizer.batch_norm.eps": (1e-5, 1e-3, 1e-2),
        },
    )
    compare(cohort, plain, plain_gradients)


def test_gradients_of_a_cnn_with_layers_around_its_activations(
    cohort_of: Callable[..., Cohort], plain: Callable[..., Any], plain_gradients: Callable[..., Any]
) -> None:
    cohort = cohort_of(
        dataset="digits",
        model="cnn",
        activation=("prelu", "prelu", "prelu"),
        regularizer=["batch_norm", "dropout"],
        **{"model.hidden": [7], "activation.negative_slope": (0.1, 0.25, 0.5), "regularizer.dropout.p": 0.25},
    )
    compare(cohort, plain, plain_gradients)


def test_gradients_around_layers_and_within_each_other(
    cohort_of: Callable[..., Cohort], plain: Callable[..., Any], plain_gradients: Callable[..., Any]
) -> None:
    """Residual connections of images and of tables, one in another, the first before anything that is trained."""
    inner = [{"conv2d": 3}, "activation", {"residual": [{"conv2d": 3}, "activation"]}]
    layers = [{"residual": [{"conv2d": 1}]}, {"conv2d": 3, "stride": 3}, {"residual": inner}, "activation", "flatten"]
    cohort = cohort_of(
        dataset="digits",
        activation=("tanh", "elu", "tanh"),
        regularizer=["batch_norm", "dropout"],
        **{"model.layers": [*layers, {"residual": ["activation"]}, "output"], "regularizer.dropout.p": 0.25},
    )
    compare(cohort, plain, plain_gradients)


@pytest.mark.parametrize(("dataset", "model"), [("iris", "mlp"), ("shapes", "segmenter")])
def test_gradients_through_heads_which_may_differ(
    dataset: str, model: str, cohort_of: Callable[..., Cohort], plain: Callable[..., Any], plain_gradients: Callable[..., Any]
) -> None:
    """Softmax twice and other mistakes that users may measure; the head normalizes over classes, also of pixels."""
    given = {"dataset": dataset, "model": model, "loss": "cross_entropy", "allow_mismatch": True}
    for heads in (("softmax", "logit", "log_probability"), ("probability",) * 3, ("softmax",) * 3):
        compare(cohort_of(**given, **{"model.head": heads}), plain, plain_gradients)


@pytest.mark.parametrize("runs", [1, 3])
def test_a_model_knows_what_it_puts_out(runs: int, cohort_of: Callable[..., Cohort]) -> None:
    for model, dataset, widest in [("mlp", "iris", 5), ("cnn", "digits", 16 * 64), ("segmenter", "shapes", 32 * 256)]:
        cohort = cohort_of(model=model, dataset=dataset)
        train_step = TrainStep(cohort.runs[:runs], cohort.data, cohort.settings)
        state = train_step.bind(train_step.fresh())
        assert train_step.model.widest == widest
        output, _ = train_step.forward(torch.zeros(runs, 2, *cohort.data.shape, dtype=torch.float64), Pass())
        assert output.shape[2:] == train_step.model.output_shape
        assert state.theta.shape == (runs, train_step.layout.size)


def test_step_writes_every_gradient_and_changes_every_parameter(cohort_of: Callable[..., Cohort]) -> None:
    cohort = cohort_of(dataset="iris", activation="swish", regularizer=["batch_norm"], **{"activation.learnable": True})
    train_step = TrainStep(cohort.runs, cohort.data, cohort.settings)
    state = train_step.bind(train_step.fresh())
    state.grad.fill_(torch.nan)
    before = state.theta.clone()
    x, y = batch(train_step, cohort.data, rows=16)
    with torch.no_grad():
        train_step.step(state, x, y, train_step.keys().epoch(0)(0))
    assert state.theta.isfinite().all()
    changed = (state.theta != before).double().mean(1)
    assert (changed > 0.9).all()  # a bias before batch_norm has no gradient but rounding
    assert state.step == 1


# The layout of parameters


def test_layout_places_are_views_side_by_side(cohort_of: Callable[..., Cohort]) -> None:
    cohort = cohort_of(dataset="digits", model="cnn", regularizer=["batch_norm"])
    train_step = TrainStep(cohort.runs, cohort.data, cohort.settings)
    layout = train_step.layout
    edges = [(slot.start, slot.stop) for slot in layout.slots]
    assert edges[0][0] == 0
    assert edges[-1][1] == layout.size
    assert all(a[1] == b[0] for a, b in itertools.pairwise(edges))
    matrix = torch.zeros(3, layout.size)
    for number, slot in enumerate(layout.slots):
        slot.view(matrix).fill_(number)
    assert torch.equal(matrix.unique(), torch.arange(len(layout.slots)).float())
    mask = layout.weight_mask()
    assert mask.shape == (layout.size,)
    for slot in layout.slots:
        assert (mask[slot.start : slot.stop] == (slot.spec.name == "weight" and slot.spec.role == "weight")).all()
    names = [slot.name for slot in layout.slots]
    assert len(set(names)) == len(names)
    assert sum(role == "norm" for role in (slot.spec.role for slot in layout.slots)) == 2 * 3


def test_views_of_theta_after_a_cut_share_the_new_memory(cohort_of: Callable[..., Cohort]) -> None:
    cohort = cohort_of(dataset="iris")
    train_step = TrainStep(cohort.runs, cohort.data, cohort.settings)
    old = train_step.bind(train_step.fresh())
    small = TrainStep(cohort.runs[1:], cohort.data, cohort.settings)
    theta = old.theta[1:].clone()
    new = small.bind(State(theta, old.buffers[1:], [{n: v[1:] for n, v in old.optimizers[0].items()}], torch.zeros_like(theta)))
    before = old.theta.clone()
    x, y = batch(small, cohort.data)
    with torch.no_grad():
        small.step(new, x, y, small.keys().epoch(0)(0))
    assert torch.equal(old.theta, before)
    assert not torch.equal(new.theta, before[1:])


# From YAML to layers


def test_expand_writes_hidden_and_repeat_out() -> None:
    spec = ["flatten", {"hidden": [4, 3]}, {"repeat": 2, "layers": [{"linear": 5}, "activation"]}, "output"]
    assert [(layer.kind, layer.size) for layer in expand(spec)] == [
        ("flatten", None),
        ("linear", 4),
        ("activation", None),
        ("linear", 3),
        ("activation", None),
        *[("linear", 5), ("activation", None)] * 2,
        ("output", None),
    ]
    assert expand([{"hidden": None, "depth": 2, "width": 7}, "output"]) == expand([{"hidden": [7, 7]}, "output"])
    assert expand([{"hidden": [3], "depth": 2, "width": 7}, "output"]) == expand([{"hidden": 3}, "output"])
    assert [layer.kind for layer in expand([{"residual": [{"residual": ["activation"]}]}, "output"])] == [
        *["fork"] * 2,
        "activation",
        *["add"] * 2,
        "output",
    ]
    assert expand([{"conv2d": 4, "stride": 2}, "output"])[0] == LayerSpec(
        "conv2d", 4, (("kernel", 3), ("padding", 1), ("stride", 2))
    )
    assert expand(["max_pool2d", "output"])[0].size == 2


@pytest.mark.parametrize(
    ("layers", "said"),
    [
        (["flatten"], "needs exactly one 'output'"),
        (["output", "output"], "needs exactly one 'output'"),
        ([], "needs exactly one 'output'"),
        (["flaten", "output"], "did you mean 'flatten'?"),
        ([{"linear": 0}, "output"], "linear=0: must be a whole number of at least 1"),
        ([{"linear": True}, "output"], "linear=True"),
        ([{"linear": None}, "output"], "linear=None"),
        ([{"linear": 3, "bias": False}, "output"], "linear has no option 'bias'"),
        ([{"conv2d": 3, "kernl": 5}, "output"], "did you mean 'kernel'?"),
        ([{"conv2d": 3, "kernel": 0}, "output"], "kernel=0"),
        ([{"conv2d": 3, "padding": -1}, "output"], "padding=-1"),
        ([{"hidden": [3, 0]}, "output"], "model.hidden=0"),
        ([{"hidden": "wide"}, "output"], "model.hidden=wide: must be a list"),
        ([{"hidden": None, "depth": -1, "width": 0}, "output"], "model.depth=-1"),
        ([{"repeat": -1, "layers": ["activation"]}, "output"], "repeat=-1"),
        ([{"activation": "relu"}, "output"], "activation takes no size, and was given relu"),
        ([{"residual": 3}, "output"], "residual=3: must be a list of layers, such as [{linear: 32}, activation]"),
        ([{"residual": []}, "output"], "residual=[]: must be a list of layers"),
        ([{"residual": ["activaton"]}, "output"], "did you mean 'activation'?"),
        (["fork", "output"], "no layer is called 'fork'"),
        ([["flatten"], "output"], "no layer is called"),
        ([3, "output"], "no layer is called '3'"),
    ],
)
def test_a_wrong_list_of_layers_is_explained(layers: list[Any], said: str) -> None:
    with pytest.raises(InputError, match=said.replace("?", r"\?").replace("[", r"\[")):
        expand(layers)


def test_all_problems_of_a_list_are_told_at_once() -> None:
    with pytest.raises(InputError) as caught:
        expand([{"linear": 0}, "flaten", {"conv2d": 2, "kernel": 0}])
    assert len(caught.value.problems) == 3


@pytest.mark.parametrize(
    ("dataset", "layers", "said"),
    [
        ("moons", [{"conv2d": 4}, "flatten", "output"], "conv2d needs images"),
        ("moons", [{"max_pool2d": 2}, "output"], "max_pool2d needs images"),
        ("digits", [{"linear": 4}, "output"], "put flatten before it"),
        ("digits", ["max_pool2d"] * 4 + ["flatten", "output"], "leaves nothing"),
        ("digits", ["output"], "put flatten before output"),
        ("iris", ["output", {"linear": 2}], "multiclass data wants 3 numbers"),
        (
            "iris",
            [{"residual": [{"linear": 5}]}, "output"],
            r"shape \[4\], to what comes out, of shape \[5\]; let its last layer",
        ),
        ("iris", [{"residual": ["output"]}], r"shape \[4\], to what comes out, of shape \[3\]"),
        ("sentences", [{"residual": [{"embedding": 3}]}, "mean", "output"], "residual needs numbers, but the rows are sequences"),
        ("shapes", ["flatten", "output"], "type model=segmenter"),
        ("shapes", [{"conv2d": 2, "stride": 3}, "output"], "wants 2 numbers for each of 16 x 16 pixels"),
    ],
)
def test_layers_that_do_not_fit_the_data_are_refused_when_planning(
    dataset: str, layers: list[Any], said: str, spec_of: Callable[..., Any], datasets: Any
) -> None:
    with pytest.raises(InputError, match=said):
        plan([spec_of(dataset=dataset, **{"model.layers": layers})], datasets)


def test_initializers_may_differ_between_the_runs_of_a_cohort(cohort_of: Callable[..., Cohort]) -> None:
    cohort = cohort_of(dataset="iris", **{"model.init": ("xavier", "zeros", "orthogonal")})
    train_step = TrainStep(cohort.runs, cohort.data, cohort.settings)
    theta = train_step.fresh().theta
    assert [run.initializer for run in cohort.runs] == [INITIALIZERS[name] for name in ("xavier", "zeros", "orthogonal")]
    for row, run in enumerate(cohort.runs):
        alone = TrainStep([run], cohort.data, cohort.settings).fresh().theta
        assert torch.equal(theta[row], alone[0])
    assert not theta[1].any()
