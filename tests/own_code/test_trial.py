"""Components of the user's own: good ones train next to dlrun's, bad ones are refused with the reason and the remedy."""

from collections.abc import Callable
from functools import wraps
from typing import Any

import numpy as np
import pytest
import torch

from dlrun.components.activations import swish
from dlrun.engine.trainer import fit
from dlrun.errors import InputError
from dlrun.experiments.planning.cohorts import Datasets, plan

SOURCE = '''
import random
import torch
from torch import Tensor, nn

from dlrun.components.hyperparameters import Finite, NonNegative, Positive, Share
from dlrun.components.optimizers import Optimizer
from dlrun import streams
from dlrun.components.regularizers import AfterStep, BatchTransform, Penalty, Stop, each_run
from dlrun.data.dataset import Data


# numbers that are none
def logarithm(x):
    return torch.log(x)

def positional(x, slope: float = 0.1):
    return torch.where(x > 0, x, slope * x)

def logarithmic(output, target):
    return (output.log() - target).flatten(1).mean(1)


# activations
def swish(x, *, beta: Finite = 1.0):
    return x * torch.sigmoid(beta * x)

def plain(x, *, sharpness=1.0):
    return torch.tanh(sharpness * x)

class Hard(nn.Module):
    def __init__(self, limit=1.0):
        super().__init__()
        self.limit = limit

    def forward(self, x):
        return x.clamp(-self.limit, self.limit)

class Learned(nn.Module):
    def __init__(self):
        super().__init__()
        self.slope = nn.Parameter(torch.ones(()))

    def forward(self, x):
        return self.slope * x

def mixes(x):
    return x - x.mean(0)

def shrinks(x):
    return x[..., :1]

def draws(x):
    return x + torch.rand_like(x)

def detached(x):
    return torch.relu(x).detach()

def scalar_only(x, *, beta: Positive = 1.0):
    return x * torch.sigmoid(x) if beta == 1.0 else x

def in_place(x):
    return x.relu_()

def broken(x):
    return x.nothing

def number(x):
    return 1.0

def doubles(x):
    return x.double().tanh()


# losses
def mse(output, target, *, scale: Positive = 1.0):
    return (scale * (output - target) ** 2).flatten(1).mean(1)

def scalar(output, target):
    return ((output - target) ** 2).mean()

def unreduced(output, target):
    return (output - target) ** 2

def turned(output, target):
    return ((output - target) ** 2).transpose(0, 1)

def rows(output, target):
    return ((output - target) ** 2).mean((0, 2))

def couples(output, target):
    return ((output - output.mean(0)) - target).square().flatten(1).mean(1)

def crossed(output, target, *, scale: Positive = 1.0):
    number = scale.flatten().flip(0)[:, None, None] if isinstance(scale, Tensor) else scale
    return (number * (output - target) ** 2).flatten(1).mean(1)

def dice(output, target):
    return (torch.rand_like(output) * (output - target) ** 2).flatten(1).mean(1)

def constant(output, target):
    return target.flatten(1).mean(1)

def nll(output, target):
    return -output.log().gather(2, target.unsqueeze(2)).flatten(1).mean(1)


# optimizers
class Sign(Optimizer):
    """theta -= lr sign(grad)."""

    def __init__(self, *, lr: Positive = 0.01):
        self.lr = lr

    def state(self, theta):
        return {}

    def step(self, theta, grad, state, t, factor):
        theta.sub_(self.lr * factor * grad.sign())

class Normed(Sign):
    def step(self, theta, grad, state, t, factor):
        theta.sub_(self.lr * factor * grad / grad.norm())

class Idle(Sign):
    def step(self, theta, grad, state, t, factor):
        theta = theta - self.lr * grad

class Waits(Sign):
    def step(self, theta, grad, state, t, factor):
        theta.sub_((self.lr * (factor if factor > 0.07 else 0.07) * grad).to(theta.dtype))

class Torch(torch.optim.SGD):
    def __init__(self, params, lr=0.1):
        super().__init__(params, lr=lr, momentum=0.9)


# schedulers
def down(step, *, epoch_steps, total_steps, floor=0.1):
    return torch.clamp(1 - step / total_steps, min=floor)

def power(step, *, epoch_steps, total_steps, exponent: Positive = 1.0):
    return (1 - step / total_steps) ** exponent

def jumps(step, *, epoch_steps, total_steps, at: Share = 0.5):
    return torch.ones_like(step) if at > 0.7 else 1 - step / total_steps

def chance(step, *, epoch_steps, total_steps):
    return torch.rand(step.shape)

def half(step, *, epoch_steps, total_steps):
    return 0.5

def negative(step, *, epoch_steps, total_steps):
    return -torch.ones_like(step, dtype=torch.float64)

def fewer(step):
    return torch.ones_like(step, dtype=torch.float64)


# regularizers
class Group(Penalty):
    def __init__(self, weights, *, weight: NonNegative = 0.01):
        self.weights, self.weight = weights, weight

    def value(self, theta):
        return (theta ** 4 * self.weights.mask).sum(1) * self.weight

    def add_gradient(self, theta, grad):
        grad += 4 * theta ** 3 * self.weights.mask * self.weight

class Bare(Penalty):
    """The value alone: autograd does the rest."""

    def __init__(self, weights, *, weight: NonNegative = 0.01):
        self.weights, self.weight = weights, weight

    def value(self, theta):
        return ((theta ** 4 * self.weights.mask).sum(1, keepdim=True) * self.weight).flatten()

class Soft(Bare, AfterStep):
    """l1 by its proximal map."""

    def value(self, theta):
        return ((theta.abs() * self.weights.mask).sum(1, keepdim=True) * self.weight).flatten()

    def add_gradient(self, theta, grad):
        pass

    def after_step(self, theta, lr):
        threshold = self.weights.mask * (self.weight * lr)
        theta.sub_(torch.clamp(theta, -threshold, threshold))

class Bounded(Bare, AfterStep):
    """A penalty with a gradient, and a limit."""

    def after_step(self, theta, lr):
        theta.clamp_(-0.9, 0.9)

class Rebound(Bare):
    def add_gradient(self, theta, grad):
        grad = grad + 4 * theta ** 3 * self.weights.mask * self.weight

class Halved(Bare):
    def add_gradient(self, theta, grad):
        grad += 2 * theta ** 3 * self.weights.mask * self.weight

class Everywhere(Bare):
    def add_gradient(self, theta, grad):
        grad += 4 * theta ** 3 * self.weight

class Replaced(Bare):
    def add_gradient(self, theta, grad):
        grad.copy_(4 * theta ** 3 * self.weights.mask * self.weight)

class Moved(Bare):
    def add_gradient(self, theta, grad):
        grad += theta.pow_(3) * 4 * self.weights.mask * self.weight

class Both(Soft):
    def add_gradient(self, theta, grad):
        Penalty.add_gradient(self, theta, grad)

class Hasty(Soft):
    def after_step(self, theta, lr):
        Soft.after_step(self, theta, 2 * lr)

class Crossed(Bare):
    def value(self, theta):
        return (theta ** 4 * self.weights.mask).sum(1) * self.weight

class Swapped(Bare):
    def add_gradient(self, theta, grad):
        grad += 4 * theta ** 3 * self.weights.mask * (self.weight.flip(0) if isinstance(self.weight, Tensor) else self.weight)

class Cut(Bare):
    def value(self, theta):
        return Bare.value(self, theta.detach())

class Rooted(Bare):
    def value(self, theta):
        return ((theta.abs().sqrt() * self.weights.mask).sum(1, keepdim=True) * self.weight).flatten()

class Zero(AfterStep):
    def __init__(self, weights):
        self.weights = weights

    def after_step(self, theta, lr):
        theta[:, self.weights.places[0][0]] = 0.0

class Shift(BatchTransform):
    def __init__(self, classes, *, by: Finite = 0.1):
        self.by = by

    def batch(self, x, y, keys):
        return x + 0.1, y

class Noise(BatchTransform):
    def __init__(self, classes, *, strength: NonNegative = 0.1):
        self.strength = strength

    def batch(self, x, y, keys):
        return x + each_run(self.strength, x) * streams.normal(keys, x[0].numel(), x.dtype).view(x.shape), y

class Scaled(Noise):
    def batch(self, x, y, keys):
        return x * self.strength, y

class Tilted(Noise):
    def batch(self, x, y, keys):
        return (x * (1 + keys[:, None] % 2) if len(x) == x.shape[1] else x), y

class Mirrored(Noise):
    def batch(self, x, y, keys):
        channels, height, width = x.shape[2:]
        return x.flip(-1) * each_run(self.strength, x), y

class Centred(Noise):
    def batch(self, x, y, keys):
        return x - x.mean((0, 1)), y

class Dice(Noise):
    def batch(self, x, y, keys):
        return x + torch.randn_like(x), y

class Slow(AfterStep):
    def __init__(self, weights):
        pass

    def after_step(self, theta, lr):
        theta.mul_(0.9 if lr > 0.07 else 0.8)

class Impatient(Stop):
    def stop(self, history):
        return history[-1] > history[-1].mean()

class Early(Stop):
    def stop(self, history):
        return torch.ones(history.shape[1], dtype=torch.bool) & (len(history) > 0)

class Whole(Penalty):
    def __init__(self, weights):
        pass

    def value(self, theta):
        return theta.sum()

    def add_gradient(self, theta, grad):
        pass

class Shared(AfterStep):
    def __init__(self, weights):
        pass

    def after_step(self, theta, lr):
        theta.div_(theta.norm())

class Nothing:
    pass


# datasets
def line(*, rows=60, slope=2.0):
    x = torch.linspace(-1, 1, rows, dtype=torch.float64)[:, None]
    return Data("line", x, slope * x, "regression", 1, ("x",), ("y",))

def cloud(*, rows=60):
    x = torch.randn(rows, 1)
    return Data("cloud", x, 2 * x, "regression", 1, ("x",), ("y",))

def lists(*, rows=60):
    x = torch.linspace(-1, 1, rows)[:, None]
    return Data("lists", x.tolist(), 2 * x, "regression", 1, ("x",), ("y",))

def tensors(*, rows=60):
    return torch.zeros(rows, 1), torch.zeros(rows, 1)
'''

REGRESSION = {"tasks": ["regression"], "head": "value", "soft_targets": True, "prediction": "auto"}
SPLIT = {"task": "regression", "validation": 0.2, "test": 0.2}


def entry(group: str, name: str, **values: Any) -> dict[str, dict[str, Any]]:
    """A component of SOURCE as its group's config."""
    content = {"_target_": f"own_components.{name}", **values}
    return {group: {"mine": content} if group == "regularizer" else content}


@pytest.fixture
def spec(own: Callable[[str], None], spec_with: Callable[..., Any]) -> Callable[..., Any]:
    own(SOURCE)
    return spec_with


GOOD: list[tuple[str, str, dict[str, Any], str]] = [
    ("activation", "swish", {"beta": 1.5}, "beta"),
    ("activation", "plain", {"sharpness": 2.0}, "sharpness"),
    ("activation", "Hard", {"limit": 2.0}, "limit"),
    ("loss", "mse", {"scale": 2.0, **REGRESSION}, "scale"),
    ("loss", "unreduced", REGRESSION, ""),
    ("optimizer", "Sign", {"lr": 0.01}, "lr"),
    ("optimizer", "Torch", {"lr": 0.01}, "lr"),
    ("scheduler", "down", {"floor": 0.2}, "floor"),
    ("scheduler", "power", {"exponent": 2.0}, "exponent"),
    ("regularizer", "Group", {"weight": 0.1}, "mine.weight"),
    ("regularizer", "Bare", {"weight": 0.1}, "mine.weight"),
    ("regularizer", "Soft", {"weight": 0.1}, "mine.weight"),
    ("regularizer", "Bounded", {"weight": 0.0}, "mine.weight"),
    ("regularizer", "Noise", {"strength": 0.3}, "mine.strength"),
    ("regularizer", "Zero", {}, ""),
    ("regularizer", "Shift", {"by": 0.2}, "mine.by"),
    ("regularizer", "Early", {}, ""),
    ("dataset", "line", {"slope": 3.0, **SPLIT}, ""),
]


@pytest.mark.parametrize(("group", "name", "values", "key"), GOOD, ids=[name for _, name, _, _ in GOOD])
def test_trains_in_a_cohort(spec: Callable[..., Any], group: str, name: str, values: dict[str, Any], key: str) -> None:
    """With another number in every run, next to a run with dlrun's own components, each as if it were alone."""
    given = {} if group == "dataset" else {"dataset": "diabetes"}
    own = entry(group, name, **values)
    changed = {f"{group}.{key}": 0.05} if key else {}
    specs = [spec(own, seed=0, **given), spec(own, seed=1, **given, **changed)]
    if group not in ("dataset", "regularizer"):
        specs.append(spec({}, seed=0, **given))
    datasets = Datasets()
    groups = plan(specs, datasets)
    assert len(groups) == 1
    together = dict(zip(map(id, groups[0].specs), fit(groups[0].cohort), strict=True))
    for each in specs:
        (alone,) = plan([each], datasets)
        (expected,) = fit(alone.cohort)
        outcome = together[id(each)]
        assert outcome.status == expected.status == ("stopped" if name == "Early" else "done")
        for weight, value in expected.weights.items():
            np.testing.assert_allclose(outcome.weights[weight], value, rtol=1e-4, atol=1e-5)


def test_gives_the_figures_of_dlruns_own(spec: Callable[..., Any]) -> None:
    (theirs,) = plan([spec(entry("activation", "swish", beta=1.5), dataset="iris")], Datasets())
    (ours,) = plan([spec({}, dataset="iris", activation="swish", **{"activation.beta": 1.5})], Datasets())
    assert theirs.cohort.runs[0].activation.function is not swish
    for key, value in fit(ours.cohort)[0].weights.items():
        np.testing.assert_allclose(fit(theirs.cohort)[0].weights[key], value, rtol=1e-5, atol=1e-6)


def test_a_hyperparameter_of_their_own_can_be_learned(spec: Callable[..., Any]) -> None:
    own = entry("activation", "swish", beta=1.0, learnable=True)
    (group,) = plan([spec(own, seed=seed, dataset="iris") for seed in (0, 1)], Datasets())
    learned = [float(outcome.weights["1.parameters"][0]) for outcome in fit(group.cohort)]
    assert learned[0] != learned[1]
    assert 1.0 not in learned


MEAN = r"values\.flatten\(1\)\.mean\(1\)"
BAD = [
    ("activation", "logarithm", {}, r"gives nan or inf for ordinary numbers \(x = -"),
    (
        "activation",
        "positional",
        {"slope": 0.3},
        r"activation.slope: hyperparameters are keyword-only; write def positional\(x, \*, slope=0.1\)",
    ),
    ("loss", "logarithmic", {**REGRESSION}, "gives nan or inf for ordinary numbers"),
    ("activation", "Learned", {}, "has parameters of its own, and those would not be trained"),
    ("activation", "mixes", {}, "one run's values depend on another run"),
    ("activation", "shrinks", {}, r"has shape \[2, 3, 1\]; it has to be \[2, 3, 4\]"),
    ("activation", "draws", {}, "gives other values each time"),
    ("activation", "detached", {}, "cannot be differentiated"),
    ("activation", "in_place", {}, "in-place"),
    ("activation", "scalar_only", {"beta": 1.0}, "annotates beta as a number that may differ from run to run"),
    ("activation", "broken", {}, "AttributeError: 'Tensor' object has no attribute 'nothing'"),
    ("activation", "number", {}, "what it gave is a float"),
    ("activation", "doubles", {}, "what it gave is torch.float64 for torch.float32"),
    ("activation", "Nothing", {}, r"is a class that is no torch\.nn\.Module"),
    ("activation", "swish", {"bta": 1.0}, r"activation\.bta: no such key; activation takes beta"),
    ("loss", "scalar", REGRESSION, rf"returned one number for all runs for outputs of shape \[2, 3, 1\].*{MEAN}"),
    ("loss", "turned", REGRESSION, rf"returned shape \[3, 2, 1\].*{MEAN}"),
    ("loss", "rows", REGRESSION, rf"returned shape \[3\].*{MEAN}"),
    ("loss", "couples", REGRESSION, "one run's values depend on another run"),
    (
        "loss",
        "crossed",
        {"scale": 2.0, **REGRESSION},
        "annotates scale .* it gives other values with a column than with a number",
    ),
    ("loss", "dice", REGRESSION, "gives other values each time"),
    ("loss", "constant", REGRESSION, "cannot be differentiated"),
    ("loss", "number", REGRESSION, r"TypeError: number\(\) takes 1 positional argument"),
    ("loss", "mse", {"scale": 1.0}, r"loss\.tasks: is missing; say in its YAML .* tasks: \[regression\]"),
    ("optimizer", "Sign", {}, "has no lr in its config"),
    ("optimizer", "Normed", {"lr": 0.1}, "one run's values depend on another run"),
    ("optimizer", "Idle", {"lr": 0.1}, "two steps changed nothing"),
    ("optimizer", "plain", {"lr": 0.1}, r"optimizer\.lr: no such key"),
    ("optimizer", "Nothing", {}, "has no lr"),
    ("optimizer", "Waits", {"lr": 0.1}, r"factor is a number, or a column \[runs, 1\].*fails with a column"),
    ("scheduler", "jumps", {"at": 0.5}, "annotates at as a number that may differ from run to run, but it fails with a column"),
    ("scheduler", "chance", {}, "gives other values each time"),
    ("scheduler", "half", {}, "returned a float for steps of shape"),
    ("scheduler", "negative", {}, "factors below 0"),
    ("scheduler", "fewer", {}, "unexpected keyword argument 'epoch_steps'"),
    ("regularizer", "Whole", {}, r"value\(theta\) has shape \[\]; it has to be \[2\]"),
    ("regularizer", "Rebound", {}, r"add_gradient adds nothing, .*change grad in place, grad \+= .*or leave add_gradient out"),
    ("regularizer", "Halved", {}, r"add_gradient adds 0\.5 times the derivative of value\(theta\); correct one of them"),
    ("regularizer", "Halved", {"weight": 0.0}, r"add_gradient adds 0\.5 times the derivative"),
    ("regularizer", "Everywhere", {}, r"add_gradient adds -?[\d.]+ where the derivative of value\(theta\) is -?0"),
    ("regularizer", "Replaced", {}, "add_gradient replaces what is in grad"),
    ("regularizer", "Moved", {}, "add_gradient changed theta"),
    ("regularizer", "Both", {}, "acts twice, by add_gradient and by after_step"),
    ("regularizer", "Hasty", {}, r"after_step\(theta, lr\) does not move theta by lr times the derivative"),
    ("regularizer", "Crossed", {"weight": 0.1}, r"gives shape \[2, 2\] with a column, and \[2\] with a number; keep the axis"),
    ("regularizer", "Swapped", {}, "annotates weight .* it gives other values with a column than with a number"),
    ("regularizer", "Cut", {}, "cannot be differentiated"),
    ("regularizer", "Rooted", {}, "gives nan or inf where biases are 0"),
    ("regularizer", "Scaled", {"strength": 0.3}, r"annotates strength .* each_run\(number, x\) .* or annotate it as float"),
    ("regularizer", "Tilted", {}, "one run's values depend on another run"),
    ("regularizer", "Centred", {}, "one run's values depend on another run"),
    ("regularizer", "Dice", {}, "gives other values each time it is called; draw with dlrun.streams from keys"),
    ("regularizer", "Slow", {}, "lr is a number, or a column .* fails with a column"),
    ("regularizer", "Impatient", {}, "one run's values depend on another run"),
    ("regularizer", "Shared", {}, "one run's values depend on another run"),
    ("regularizer", "Nothing", {}, "is no regularizer; subclass Penalty"),
]


@pytest.mark.parametrize(("group", "name", "values", "said"), BAD, ids=[f"{group} {name}" for group, name, *_ in BAD])
def test_refused_with_the_reason(spec: Callable[..., Any], group: str, name: str, values: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said) as caught:
        spec(entry(group, name, **values), dataset="diabetes")
    assert all("\n" not in problem for problem in caught.value.problems)


def test_a_loss_of_torch_is_refused(spec: Callable[..., Any]) -> None:
    with pytest.raises(InputError, match=r"loss\._target_=torch\.nn\.MSELoss"):
        spec({"loss": {"_target_": "torch.nn.MSELoss", **REGRESSION}}, dataset="diabetes")


@pytest.mark.parametrize("dataset", ["diabetes", "moons", "iris", "multilabel", "shapes", "pairs", "triplets"])
def test_the_losses_of_dlrun_pass_their_own_trial(dataset: str) -> None:
    """The trial makes outputs and targets as the engine does, for every task and head: dlrun's own losses bear witness."""
    from dlrun import registry
    from dlrun.config.checks.compatibility import LOSS_FACTS
    from dlrun.config.checks.components import _tried
    from dlrun.config.resolver import resolve

    task = registry.load_option("dataset", dataset)["task"]
    for name in registry.options("loss"):
        content = LOSS_FACTS | registry.load_option("loss", name)
        values = {key: value for key, value in content.items() if key not in LOSS_FACTS and key != "_target_"}
        if task in content["tasks"]:
            import json

            assert _tried("loss", resolve(content["_target_"], "loss"), json.dumps(values), task, content["head"]) == "", name


def of_tensors(schedule: Callable[..., Any]) -> Callable[..., Any]:
    """A schedule of dlrun's, which computes with arrays, as a user's."""

    @wraps(schedule)
    def call(*given: Any, **values: Any) -> Any:
        arrays = {name: np.asarray(value) if isinstance(value, torch.Tensor) else value for name, value in values.items()}
        return torch.from_numpy(np.asarray(schedule(*map(np.asarray, given), **arrays)))

    return call


@pytest.mark.parametrize("kind", ["activation", "optimizer", "scheduler", "regularizer"])
def test_the_components_of_dlrun_pass_the_trial(kind: str) -> None:
    """No good component is refused: dlrun's own are tried as if they were a user's."""
    import json

    from dlrun import registry
    from dlrun.config.checks.components import _tried
    from dlrun.config.resolver import resolve

    for name in registry.options(kind):
        content = registry.load_option(kind, name)
        function = resolve(content.pop("_target_"), kind)
        content.pop("learnable", None)
        if kind == "scheduler":
            function = of_tensors(function)
        if not function.__module__.startswith("torch."):
            for task in ("regression", "multiclass", "segmentation", "similarity") if kind == "regularizer" else ("regression",):
                assert _tried(kind, function, json.dumps(content), task, "value") == "", (name, task)


def test_a_transform_of_images(spec: Callable[..., Any]) -> None:
    """It cannot take the rows of a table, and need not."""
    own = entry("regularizer", "Mirrored", strength=0.5)
    for dataset in ("shapes", "digits"):
        assert spec(own, dataset=dataset)


def test_autograd_of_a_value_is_the_gradient_by_hand(spec: Callable[..., Any]) -> None:
    settings = {"dataset": "diabetes", "trainer.dtype": "float64"}
    ended = []
    for name in ("Bare", "Group"):
        specs = [spec(entry("regularizer", name, weight=weight), seed=0, **settings) for weight in (0.1, 3.0)]
        (group,) = plan(specs, Datasets())
        ended.append(fit(group.cohort))
    for bare, by_hand in zip(*ended, strict=True):
        for key, value in by_hand.weights.items():
            np.testing.assert_allclose(bare.weights[key], value, rtol=1.3e-6, atol=1e-5)
    assert not np.array_equal(ended[0][0].weights["0.weight"], ended[0][1].weights["0.weight"])


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("tensors", r"returned a tuple; it has to be a dlrun\.data\.dataset\.Data"),
        ("cloud", "gives other data each time it is called, .* draw with a generator of its own"),
        ("lists", r"x is a list; make it an array, such as np\.asarray\(x\)"),
    ],
)
def test_a_dataset_has_to_be_data_that_repeats(spec: Callable[..., Any], name: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        plan([spec(entry("dataset", name, **SPLIT))], Datasets())


def test_a_large_dataset_is_read_once(spec: Callable[..., Any]) -> None:
    (group,) = plan([spec(entry("dataset", "cloud", rows=1 << 20, **SPLIT))], Datasets())
    assert len(group.cohort.data) == 1 << 20
