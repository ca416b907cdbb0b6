"""A user's nn.Module trains as torch would train it, in cohorts, with everything else that dlrun does."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from dlrun.components.tasks import TASKS
from dlrun.engine.batches import Batches
from dlrun.engine.by_torch.draws import Draws
from dlrun.engine.components import Component
from dlrun.engine.models import module as modules
from dlrun.engine.models.blueprint import seeded
from dlrun.engine.predictor import DataForm, Predictor
from dlrun.engine.step import TrainStep
from dlrun.engine.trainer import Outcome, fit
from dlrun.errors import InputError, MismatchError
from dlrun.experiments.planning.cohorts import Datasets, Planned, plan

SOURCE = """
import random

import torch
import torch.nn.functional as F
from torch import nn


class Net(nn.Module):
    def __init__(self, *, inputs, outputs, activation=torch.tanh, hidden=7):
        super().__init__()
        self.first, self.last = nn.Linear(inputs[0], hidden), nn.Linear(hidden, outputs)
        self.activation = activation

    def hidden(self, x):
        return self.activation(self.first(x))

    def forward(self, x):
        return self.last(self.hidden(x))


class Norm(Net):
    def __init__(self, *, inputs, outputs, hidden=7):
        super().__init__(inputs=inputs, outputs=outputs, hidden=hidden)
        self.norm = nn.BatchNorm1d(hidden)

    def hidden(self, x):
        return self.norm(self.first(x)).tanh()


class Drop(Net):
    def hidden(self, x):
        return F.dropout(super().hidden(x), 0.5, training=self.training)


class Flow(Net):
    def hidden(self, x):
        y = super().hidden(x)
        return 1.5 * y if y.sum() > 0 else y


class Frozen(Net):
    def __init__(self, *, inputs, outputs):
        super().__init__(inputs=inputs, outputs=outputs)
        self.first.requires_grad_(False)


class Twice(nn.Module):
    \"\"\"One layer in two places of a sequence.\"\"\"

    def __init__(self, *, inputs, outputs, dropout=0.0):
        super().__init__()
        same = nn.Linear(7, 7)
        between = nn.Dropout(dropout) if dropout else nn.ReLU()
        self.body = nn.Sequential(nn.Linear(inputs[0], 7), nn.ReLU(), same, between, same, nn.ReLU(), nn.Linear(7, outputs))

    def forward(self, x):
        return self.body(x)


class Alias(Net):
    \"\"\"One layer under two names, with a norm that counts both of its uses.\"\"\"

    def __init__(self, *, inputs, outputs):
        super().__init__(inputs=inputs, outputs=outputs)
        self.middle = nn.Sequential(nn.Linear(7, 7), nn.BatchNorm1d(7))
        self.again = self.middle

    def hidden(self, x):
        return self.again(self.middle(super().hidden(x)).tanh()).tanh()


class Tied(Net):
    \"\"\"One matrix in two layers, each with a bias of its own.\"\"\"

    def __init__(self, *, inputs, outputs):
        super().__init__(inputs=inputs, outputs=outputs)
        self.middle, self.again = nn.Linear(7, 7), nn.Linear(7, 7)
        self.again.weight = self.middle.weight

    def hidden(self, x):
        return self.again(self.middle(super().hidden(x)).tanh()).tanh()


class Curve(nn.Module):
    \"\"\"Parameters of one dimension alone, one of them without use.\"\"\"

    def __init__(self, *, inputs, outputs):
        super().__init__()
        self.slope, self.offset = nn.Parameter(torch.zeros(inputs[0])), nn.Parameter(torch.zeros(()))
        self.idle = nn.Parameter(torch.ones(3))

    def forward(self, x):
        return (x * self.slope).sum(1, keepdim=True) + self.offset


class Images(nn.Module):
    def __init__(self, *, inputs, outputs):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(inputs[0], 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, outputs, 1))

    def forward(self, x):
        return self.body(x)


class Flat(Net):
    def forward(self, x):
        return super().forward(x)[:, 0]


class Noisy(Net):
    def hidden(self, x):
        return F.dropout(super().hidden(x), 0.5)


class Forgetful(nn.Module):
    def __init__(self, *, inputs, outputs):
        super().__init__()
        self.linear = nn.Linear(inputs[0], outputs)
        self.register_buffer("mean", torch.zeros(inputs[0]))

    def forward(self, x):
        if self.training:
            self.mean = 0.9 * self.mean + 0.1 * x.mean(0)
        return self.linear(x - self.mean)


class Foreign(Net):
    def hidden(self, x):
        return super().hidden(x) * random.random()


class Detached(Net):
    def forward(self, x):
        return super().forward(x).detach()


class Empty(nn.Module):
    def __init__(self, *, inputs, outputs):
        super().__init__()

    def forward(self, x):
        return x[:, :1]


class Plain:
    def __init__(self, *, inputs, outputs):
        pass


class Positional(Net):
    def __init__(self, inputs, outputs, hidden=5):
        super().__init__(inputs=inputs, outputs=outputs, hidden=hidden)


def factory(*, inputs, outputs, width=3):
    return nn.Sequential(nn.Flatten(), nn.Linear(inputs[0], width), nn.ReLU(), nn.Linear(width, outputs))
"""


@pytest.fixture
def spec(own: Callable[[str], None], spec_with: Callable[..., Any]) -> Callable[..., Any]:
    """``spec("Net", seed=1, **{"model.hidden": 4})``: a run whose model is a class of SOURCE."""
    own(SOURCE)

    def make(name: str, **given: Any) -> Any:
        return spec_with({"model": {"_target_": f"own_components.{name}"}}, **given)

    return make


def cohorts(specs: list[Any], datasets: Any) -> list[Planned]:
    return plan(specs, datasets)


def loop(planned: Planned, optimizer: Callable[[Any], torch.optim.Optimizer], loss: Any, steps: int) -> nn.Module:
    """The same training as anyone would write it: torch's module, autograd and optimizer. Data, order and start are dlrun's."""
    cohort = planned.cohort
    settings = cohort.settings
    train_step = TrainStep(cohort.runs, cohort.data, settings)
    fresh = train_step.fresh()
    start, kept = train_step.layout.views(fresh.theta)[0], train_step.model.buffers.views(fresh.buffers)[0]
    part = settings.module
    assert part is not None
    made = part.function(inputs=cohort.data.shape, outputs=settings.outputs, **part.values).to(settings.dtype)
    trained = [(name, p) for name, p in made.named_parameters() if p.requires_grad]
    rest = [p for p in made.parameters() if not p.requires_grad] + list(made.buffers())
    with torch.no_grad():
        for place, value in zip([*(p for _, p in trained), *rest], [*start, *kept], strict=True):
            place.copy_(value[0])
    table = Batches(cohort.data, cohort.splits, cohort.preprocessing, [0], floats=settings.floats)
    stepper, keys, done, epoch = optimizer([p for _, p in trained]), train_step.keys(), 0, 0
    per_epoch = -(-table.sizes["train"] // settings.batch_size)
    while done < steps:
        count = min(per_epoch, steps - done)
        for x, y in Draws(table, settings.device).epoch(keys.order(epoch), settings.batch_size, count):
            stepper.zero_grad()
            loss(made(x[0]), y[0]).backward()
            stepper.step()
        done, epoch = done + count, epoch + 1
    return made.eval()


@pytest.mark.parametrize("name", ["Net", "Norm", "Flow", "Frozen", "Positional", "Twice", "Alias", "Tied"])
def test_trains_as_torch_does(spec: Callable[..., Any], datasets: Any, name: str) -> None:
    given = {"dataset": "iris", "activation": "tanh", "trainer.dtype": "float64", "optimizer.lr": 0.01}
    given |= {"trainer.max_steps": 20, "trainer.epochs": 4}
    planned = cohorts([spec(name, seed=seed, **given) for seed in (0, 1, 2)], datasets)
    assert len(planned) == (3 if name == "Flow" else 1)
    ended = [outcome for group in planned for outcome in fit(group.cohort)]
    for number, seed in enumerate((0, 1, 2)):
        (alone,) = cohorts([spec(name, seed=seed, **given)], datasets)
        made = loop(alone, lambda p: torch.optim.Adam(p, lr=0.01), nn.CrossEntropyLoss(), 20)
        expected = {f"0.{key}": value for key, value in (*made.named_parameters(), *made.named_buffers())}
        found = ended[number].weights
        assert set(found) == set(expected)
        # a norm takes any offset away, so that its gradient is nothing but rounding, which adam scales up
        offset = {"Norm": ("0.first.bias", "0.norm.running_mean"), "Alias": ("0.middle.0.bias", "0.middle.1.running_mean")}
        expected = {key: value for key, value in expected.items() if key not in offset.get(name, ())}
        for key, value in expected.items():
            np.testing.assert_allclose(found[key], value.detach().double(), rtol=1e-9, atol=1e-11, err_msg=key)


def test_same_alone_and_in_company(spec: Callable[..., Any], datasets: Any) -> None:
    given = {"dataset": "moons", "trainer.dtype": "float64"}
    together = [spec("Net", seed=seed, **given, **{"optimizer.lr": 0.001 * (1 + seed)}) for seed in range(4)]
    (group,) = cohorts(together, datasets)
    ended = fit(group.cohort)
    for seed, outcome in enumerate(ended):
        (single,) = cohorts([together[seed]], datasets)
        same(fit(single.cohort)[0], outcome)


def same(one: Outcome, other: Outcome) -> None:
    for key, value in one.weights.items():
        np.testing.assert_allclose(value, other.weights[key], rtol=1e-9, atol=1e-11)


def test_dropout_draws_from_the_runs_own_stream(spec: Callable[..., Any], datasets: Any) -> None:
    specs = [spec("Drop", seed=seed, dataset="moons") for seed in (0, 1)]
    groups = cohorts(specs, datasets)
    assert [len(group.specs) for group in groups] == [1, 1]
    assert "one by one" in groups[0].note
    assert "draws random numbers" in groups[0].note
    torch.manual_seed(1)
    first = fit(groups[0].cohort)[0]
    before = torch.get_rng_state()
    torch.manual_seed(2)
    second = fit(groups[0].cohort)[0]
    same(first, second)
    assert first.metrics == second.metrics
    other = fit(groups[1].cohort)[0]
    assert not np.array_equal(first.weights["0.last.weight"], other.weights["0.last.weight"])
    torch.manual_seed(1)
    plain = fit(cohorts([spec("Net", seed=0, dataset="moons")], datasets)[0].cohort)[0]
    assert not np.array_equal(first.weights["0.last.weight"], plain.weights["0.last.weight"])
    assert torch.equal(before, torch.get_rng_state()), "torch's own generator is left alone"


def test_regularizers_and_clipping_act_on_its_parameters(spec: Callable[..., Any], datasets: Any) -> None:
    rules = {"regularizer": ["l1", "max_norm"], "regularizer.l1.weight": 0.5, "regularizer.max_norm.max_norm": 0.3}
    given = {"dataset": "moons", "trainer.clip_norm": 1.0, "optimizer": "sgd", "optimizer.lr": 0.1} | rules
    (group,) = cohorts([spec("Net", seed=seed, **given) for seed in (0, 1)], datasets)
    first, _ = fit(group.cohort)
    weight = first.weights["0.first.weight"]
    assert weight.shape == (7, 2)
    assert bool((weight == 0).any()), "l1 gives exact zeros"
    assert float(np.linalg.norm(weight, axis=1).max()) <= 0.3 + 1e-6, "a unit's incoming weights are a row of torch's matrix"
    assert bool((first.weights["0.first.bias"] != 0).all()), "biases are left alone"
    assert first.parameters == 7 * 2 + 7 + 7 + 1
    assert len(first.diagnostics["gradient_norm"]) == 2


@pytest.mark.fault("NaN and infinity in one run of many")
def test_a_diverged_run_leaves_its_neighbours_alone(spec: Callable[..., Any], datasets: Any) -> None:
    given = {"dataset": "moons", "optimizer": "sgd", "trainer.dtype": "float64"}
    specs = [spec("Net", seed=seed, **given, **{"optimizer.lr": lr}) for seed, lr in ((0, 0.1), (1, 1e300))]
    (group,) = cohorts(specs, datasets)
    first, lost = fit(group.cohort)
    assert (first.status, lost.status) == ("done", "diverged")
    same(first, fit(cohorts(specs[:1], datasets)[0].cohort)[0])


def test_frozen_parameters_are_kept_and_not_trained(spec: Callable[..., Any], datasets: Any) -> None:
    (group,) = cohorts([spec("Frozen", seed=seed, dataset="iris") for seed in (0, 1)], datasets)
    first, second = fit(group.cohort)
    assert first.parameters == 7 * 3 + 3
    made = group.cohort.settings.module.function(inputs=(4,), outputs=3)
    assert first.weights["0.first.weight"].shape == made.first.weight.shape
    assert not np.array_equal(first.weights["0.first.weight"], second.weights["0.first.weight"]), "each run starts elsewhere"


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("Curve", {"dataset": "diabetes"}),
        ("Images", {"dataset": "shapes", "dataset.rows": 60}),
        ("Net", {"dataset": "pairs"}),
        ("Net", {"dataset": "triplets", "activation": "swish"}),
        ("factory", {"dataset": "wine", "model.width": 4}),
        ("Net", {"dataset": "breast_cancer", "loss": "bce", "activation": "gelu"}),
    ],
)
def test_every_task(spec: Callable[..., Any], datasets: Any, name: str, given: dict[str, Any]) -> None:
    (group,) = cohorts([spec(name, seed=seed, **given) for seed in (0, 1)], datasets)
    for outcome in fit(group.cohort):
        assert outcome.status == "done"
        assert all(torch.tensor(value).isfinite() for key, value in outcome.metrics.items() if "auroc" not in key)


def test_the_selected_activation_goes_into_the_module(spec: Callable[..., Any], datasets: Any) -> None:
    given = {"dataset": "moons", "trainer.dtype": "float64"}
    specs = [spec("Net", activation=name, **given) for name in ("relu", "swish")]
    specs.append(spec("Net", activation="swish", **given, **{"activation.beta": 3.0}))
    groups = cohorts(specs, datasets)
    assert [len(group.specs) for group in groups] == [1, 1, 1], "an activation is part of a module, not a row of a group"
    ended = [fit(group.cohort)[0].weights["0.last.weight"] for group in groups]
    assert not np.array_equal(ended[0], ended[1])
    assert not np.array_equal(ended[1], ended[2])
    assert not specs[0].warnings
    assert "has no effect" in spec("Norm", activation="tanh", overrides=("activation=tanh",)).warnings[0]


def test_initial_values_come_from_the_seed_alone(spec: Callable[..., Any], datasets: Any) -> None:
    (group,) = cohorts([spec("Net", seed=seed, dataset="moons", activation="tanh") for seed in (3, 4)], datasets)
    train_step = TrainStep(group.cohort.runs, group.cohort.data, group.cohort.settings)
    torch.manual_seed(0)
    first = train_step.fresh().theta
    assert torch.equal(first, train_step.fresh().theta)
    assert not torch.equal(first[0], first[1])
    bound = 1 / 2**0.5
    weight = train_step.layout.views(first)[0][0]
    assert 0.5 * bound < float(weight.abs().max()) <= bound, "torch.nn.Linear's own range"
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    train_step.fresh()
    assert torch.equal(torch.rand(1), expected)


@pytest.mark.parametrize(("name", "dropout"), [("Twice", {}), ("Twice", {"model.dropout": 0.2}), ("Alias", {}), ("Tied", {})])
def test_what_is_used_twice_is_one_layer(spec: Callable[..., Any], datasets: Any, name: str, dropout: dict[str, float]) -> None:
    given = {"dataset": "moons", "trainer.dtype": "float64", "optimizer": "sgd", "optimizer.lr": 0.1, **dropout}
    groups = cohorts([spec(name, seed=seed, **given) for seed in (0, 1)], datasets)
    assert len(groups) == (2 if dropout else 1)
    for group in groups:
        for each, outcome in zip(group.specs, fit(group.cohort), strict=True):
            (single,) = cohorts([each], datasets)
            same(fit(single.cohort)[0], outcome)
            predicts_as_torch_does(single, outcome)


def predicts_as_torch_does(planned: Planned, outcome: Outcome) -> None:
    """A predictor of what is kept of a run, and torch's module with the same weights."""
    cohort, part = planned.cohort, planned.cohort.settings.module
    form = DataForm(cohort.data.shape, TASKS[cohort.data.task], cohort.data.outputs)
    kept = {key: value.reshape(value.shape or (1,)) for key, value in outcome.weights.items()}  # a file has no scalars
    predictor = Predictor(cohort.runs[0], cohort.settings, form, cohort.preprocessing[0], kept)
    made = part.function(inputs=form.shape, outputs=form.outputs, **part.values).double().eval()
    with torch.no_grad():
        for key, value in (*made.named_parameters(), *made.named_buffers()):
            value.copy_(torch.as_tensor(outcome.weights[f"0.{key}"]))
        expected = made(torch.from_numpy(cohort.preprocessing[0].inputs(cohort.data.x))).sigmoid()
    np.testing.assert_allclose(predictor(cohort.data.x), expected, rtol=1e-9, atol=1e-11)


def test_no_generator_but_those_in_use_is_seeded(
    spec: Callable[..., Any], datasets: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    everywhere: list[Any] = []
    monkeypatch.setattr(torch.cuda, "manual_seed_all", everywhere.append)
    before = torch.get_rng_state()
    fit(cohorts([spec("Drop", dataset="moons", **{"model.hidden": 6})], datasets)[0].cohort)
    assert not everywhere, "draws on a GPU that are not this run's go on as they were"
    assert torch.equal(before, torch.get_rng_state())


def test_a_gpu_that_is_not_in_use_draws_on(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = (torch.Generator().manual_seed(seed) for seed in (5, 6))
    monkeypatch.setattr(torch.cuda, "default_generators", (first, second))
    before = [generator.get_state() for generator in (first, second, torch.default_generator)]
    with seeded(3, torch.device("cuda:1")):
        assert (first.initial_seed(), second.initial_seed(), torch.initial_seed()) == (5, 3, 3)
        torch.rand(2, generator=second)
    after = [generator.get_state() for generator in (first, second, torch.default_generator)]
    assert all(torch.equal(*pair) for pair in zip(before, after, strict=True))


REFUSED = {
    "Flat": r"returned float32 of shape \[3\] for a batch of shape \[3, 2\]; it has to be float32 of shape \[3, 1\]",
    "Noisy": "draws random numbers when it is evaluated",
    "Foreign": "gives other numbers each time it is called",
    "Detached": "cannot be differentiated",
    "Empty": "has no parameters to train",
    "Plain": "no torch.nn.Module",
    "Images": r"for a batch of shape \[3, 2\]",
    "Forgetful": r"puts another tensor in the place of its buffer mean, .* such as self\.mean\.copy_\(\.\.\.\)",
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_with_the_reason(spec: Callable[..., Any], datasets: Any, name: str) -> None:
    with pytest.raises(InputError, match=REFUSED[name]) as caught:
        cohorts([spec(name, dataset="moons")], datasets)
    assert f"model._target_=own_components.{name}" in str(caught.value)


def test_a_constructor_without_the_protocols_keywords() -> None:
    class Wrong(nn.Module):
        def __init__(self, *, size: int = 3) -> None:
            super().__init__()

    shape = modules.blueprint(
        Component("wrong", "x.Wrong", Wrong),
        Component("relu", "torch.nn.ReLU", torch.relu),
        inputs=(2,),
        output_shape=(1,),
        dtype=torch.float32,
    )
    with pytest.raises(InputError, match=r"inputs=\(2,\), outputs=1; its constructor has to take these keywords"):
        modules.tried(shape)


def test_what_does_not_go_with_a_module(spec: Callable[..., Any]) -> None:
    with pytest.raises(MismatchError, match=r"regularizer\.dropout: stands at the activations of dlrun's own models"):
        spec("Net", regularizer=["dropout"])
    with pytest.raises(MismatchError, match="learns parameters in dlrun's models alone"):
        spec("Net", activation="prelu")
    with pytest.raises(InputError, match=r"model\.inputs: dlrun gives it"):
        spec("Net", **{"model.inputs": 3})
    with pytest.raises(InputError, match=r"model\.hiden: no such key; model takes .*hidden"):
        spec("Net", **{"model.hiden": 3})
    with pytest.raises(InputError, match=r"model\.init=xavier"):
        spec("Net", **{"model.init": "xavier"})


def test_runs_that_cannot_be_stacked_say_why(spec: Callable[..., Any], datasets: Any) -> None:
    groups = cohorts([spec("Flow", seed=seed, dataset="moons") for seed in (0, 1, 2)], datasets)
    assert len(groups) == 3
    assert "model=mine: its runs train one by one" in groups[0].note
    assert "control flow" in groups[0].note


def test_buffers_are_each_runs_own(spec: Callable[..., Any], datasets: Any) -> None:
    (group,) = cohorts([spec("Norm", seed=seed, dataset="moons") for seed in (0, 1)], datasets)
    first, second = fit(group.cohort)
    assert float(first.weights["0.norm.num_batches_tracked"]) == first.steps
    assert not np.array_equal(first.weights["0.norm.running_mean"], second.weights["0.norm.running_mean"])
    assert isinstance(first.weights["0.norm.running_var"], np.ndarray)


WORDS = '''
import torch
from torch import nn


class Bag(nn.Module):
    """Takes how many words there are, and sees their numbers; 0 is the padding."""

    def __init__(self, *, inputs, outputs, vocabulary, size=4):
        super().__init__()
        self.vectors = nn.Embedding(vocabulary + 1, size, padding_idx=0)
        self.last = nn.Linear(size, outputs)

    def forward(self, x):
        return self.last(self.vectors(x).sum(1))
'''


def test_a_module_sees_numbers_of_words(own: Callable[[str], None], spec_with: Callable[..., Any]) -> None:
    own(WORDS)
    specs = [
        spec_with({"model": {"_target_": "own_components.Bag", "size": size}}, seed=seed, dataset="sentences")
        for seed, size in ((0, 4), (1, 4))
    ]
    planned = plan(specs, Datasets())
    assert len(planned) == 2, "vmap forgets the padding of an embedding, so that runs train one by one"
    for each in planned:
        assert "other gradients" in each.note
        (outcome,) = fit(each.cohort)
        assert outcome.status == "done"
        assert outcome.weights["0.vectors.weight"].shape == (len(each.cohort.data.vocabulary) + 1, 4)
        assert not outcome.weights["0.vectors.weight"][0].any(), "the padding has no vector"
