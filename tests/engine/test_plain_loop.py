"""A loop as anyone would write it, with nn.Module and torch.optim, ends where dlrun's trainer ends.

It takes from dlrun the initial weights and the random numbers: batch orders, dropout masks, noise. All else is torch's: modules,
autograd, losses, optimizers, schedulers, clipping. Two runs with their own seeds train in one cohort; each has a loop of its own.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from dlrun import streams
from dlrun.engine.cohort import Cohort, CohortRun
from dlrun.engine.step import TrainStep
from dlrun.engine.trainer import fit
from dlrun.experiments.planning.cohorts import plan

Batch = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]


def weights_of(made: nn.Module) -> list[nn.Parameter]:
    """What penalties act on: the weights of linear and convolutional layers."""
    return [module.weight for module in made.modules() if isinstance(module, nn.Linear | nn.Conv2d)]


@dataclass(frozen=True)
class Case:
    """What dlrun is told, and the same in torch's words."""

    given: dict[str, Any]
    optimizer: Callable[[Any], torch.optim.Optimizer]
    loss: Callable[[Tensor, Tensor], Tensor]
    regularizer: tuple[str, ...] = ()
    scheduler: Callable[[torch.optim.Optimizer, int, int], Any] | None = None  # optimizer, steps an epoch, all steps
    penalty: Callable[[nn.Module], Tensor] = lambda made: torch.zeros(())
    clip: Callable[[nn.Module], object] = lambda made: None
    after_step: Callable[[nn.Module, float], object] = lambda made, lr: None
    batch: Batch = lambda x, y, key: (x, y)
    final: Callable[[torch.optim.Optimizer, nn.Parameter], Tensor] = lambda optimizer, parameter: parameter
    steps: int = 50
    tolerance: float = 1e-10


def choose_sides(made: nn.Module, penalty: float) -> None:
    """Before an optimizer's step, weight by weight: the gradient of loss + penalty |w| on the side on which w is to stay."""
    for weight in weights_of(made):
        assert weight.grad is not None
        number, average = getattr(weight, "history", (0, torch.zeros_like(weight)))
        average = average + 4 / (number + 4) * (weight.grad - average)
        weight.history = (number + 1, average)  # type: ignore[attr-defined]
        weight.side = torch.zeros_like(weight)  # type: ignore[attr-defined]
        for place in torch.cartesian_prod(*map(torch.arange, weight.shape)).tolist():
            at, pull = tuple(place), average[tuple(place)]
            side = weight[at].sign() if weight[at] != 0 else -pull.sign() if abs(pull) > penalty else 0 * pull
            weight.side[at] = side  # type: ignore[attr-defined]
            weight.grad[at] = weight.grad[at] + penalty * side if side != 0 else 0.0


def stop_at_zero(made: nn.Module) -> None:
    """Behind the step: weights that have left their side are 0."""
    for weight in weights_of(made):
        weight[weight * weight.side <= 0] = 0  # type: ignore[attr-defined]


def to_the_ball(made: nn.Module, limit: float) -> None:
    for weight in weights_of(made):
        weight.mul_((limit / weight.flatten(1).norm(dim=1, keepdim=True)).clamp(max=1).view(-1, *[1] * (weight.dim() - 1)))


def noisy(x: Tensor, y: Tensor, key: Tensor) -> tuple[Tensor, Tensor]:
    return x + 0.3 * streams.normal(key, x.numel(), x.dtype).view(x.shape), y


CASES = {
    "diabetes adam": Case(
        {"dataset": "diabetes", "model.hidden": [10, 5], "trainer.batch_size": 4, "optimizer.lr": 0.01},
        lambda p: torch.optim.Adam(p, lr=0.01),
        nn.MSELoss(),
    ),
    "raw targets": Case(
        {"dataset": "diabetes", "dataset.standardize_target": False, "optimizer": "sgd", "optimizer.lr": 1e-4},
        lambda p: torch.optim.SGD(p, lr=1e-4, momentum=0.9),
        nn.MSELoss(),
    ),
    "iris dropout and batch_norm, sgd, cosine, clipping": Case(
        {
            "dataset": "iris",
            "activation": "tanh",
            "optimizer": "sgd",
            "optimizer.lr": 0.1,
            "optimizer.nesterov": True,
            "scheduler": "cosine",
            "model.hidden": [8, 7],
            "regularizer.dropout.p": 0.3,
            "trainer.clip_norm": 0.5,
        },
        lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True),
        nn.CrossEntropyLoss(),
        regularizer=("dropout", "batch_norm"),
        scheduler=lambda o, epoch, total: torch.optim.lr_scheduler.CosineAnnealingLR(o, total),
        clip=lambda made: nn.utils.clip_grad_norm_(made.parameters(), 0.5),
    ),
    "moons bce, adamw, l2, clipping by value": Case(
        {
            "loss": "bce",
            "optimizer": "adamw",
            "optimizer.lr": 0.01,
            "optimizer.weight_decay": 0.1,
            "activation": "swish",
            "activation.beta": 1.5,
            "regularizer.l2.weight": 0.02,
            "trainer.clip_value": 0.02,
        },
        lambda p: torch.optim.AdamW(p, lr=0.01, weight_decay=0.1),
        nn.BCELoss(),
        regularizer=("l2",),
        penalty=lambda made: 0.02 * torch.stack([weight.square().sum() for weight in weights_of(made)]).sum(),
        clip=lambda made: nn.utils.clip_grad_value_(made.parameters(), 0.02),
    ),
    "wine l1, sgd, one cycle": Case(
        {"dataset": "wine", "optimizer": "sgd", "optimizer.lr": 0.1, "scheduler": "one_cycle", "regularizer.l1.weight": 0.02},
        lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9),
        nn.CrossEntropyLoss(),
        regularizer=("l1",),
        scheduler=lambda o, epoch, total: torch.optim.lr_scheduler.OneCycleLR(o, 0.1, total, cycle_momentum=False),
        clip=lambda made: choose_sides(made, 0.02),
        after_step=lambda made, lr: stop_at_zero(made),
    ),
    "wine class weights, label smoothing": Case(
        {
            "dataset": "wine",
            "loss": "cross_entropy",
            "optimizer": "sgd",
            "loss.class_weight": [100, 500, 50],
            "regularizer.label_smoothing.smoothing": 0.2,
        },
        lambda p: torch.optim.SGD(p, lr=0.01, momentum=0.9),
        nn.CrossEntropyLoss(weight=torch.tensor([100.0, 500.0, 50.0], dtype=torch.float64), label_smoothing=0.2),
        regularizer=("label_smoothing",),
    ),
    "spirals max_norm, adam, step": Case(
        {
            "dataset": "spirals",
            "optimizer.lr": 0.05,
            "scheduler": "step",
            "scheduler.step_size": 1,
            "regularizer.max_norm.max_norm": 0.7,
        },
        lambda p: torch.optim.Adam(p, lr=0.05),
        nn.CrossEntropyLoss(),
        regularizer=("max_norm",),
        scheduler=lambda o, epoch, total: torch.optim.lr_scheduler.StepLR(o, epoch, 0.1),
        after_step=lambda made, lr: to_the_ball(made, 0.7),
    ),
    "digits cnn, rmsprop, label smoothing": Case(
        {"dataset": "digits", "model": "cnn", "model.hidden": [9], "optimizer": "rmsprop", "activation": "gelu"},
        lambda p: torch.optim.RMSprop(p, lr=0.001),
        nn.CrossEntropyLoss(label_smoothing=0.1),
        regularizer=("label_smoothing",),
        steps=12,
    ),
    "function asgd averages": Case(
        {"dataset": "function", "optimizer": "asgd", "optimizer.lr": 0.1, "optimizer.t0": 10.0, "activation": "tanh"},
        lambda p: torch.optim.ASGD(p, lr=0.1, t0=10.0),
        nn.MSELoss(),
        final=lambda optimizer, parameter: optimizer.state[parameter]["ax"],
        tolerance=1e-8,  # torch holds the learning rate of asgd in float32
    ),
    "circles noise, nadam, a learned slope": Case(
        {"dataset": "circles", "activation": "prelu", "optimizer": "nadam", "regularizer.augmentation.strength": 0.3},
        lambda p: torch.optim.NAdam(p, lr=0.001),
        nn.BCEWithLogitsLoss(),
        regularizer=("augmentation",),
        batch=noisy,
    ),
    "multilabel adagrad": Case(
        {"dataset": "multilabel", "optimizer": "adagrad", "activation": "elu"},
        lambda p: torch.optim.Adagrad(p, lr=0.01),
        nn.BCEWithLogitsLoss(),
    ),
    "shapes segmenter": Case(
        {"dataset": "shapes", "dataset.rows": 60, "model": "segmenter", "activation": "softplus", "optimizer.lr": 0.01},
        lambda p: torch.optim.Adam(p, lr=0.01),
        nn.CrossEntropyLoss(),
        steps=4,
    ),
    "nll": Case(
        {"dataset": "iris", "loss": "nll", "optimizer": "adadelta", "trainer.batch_size": 90},
        lambda p: torch.optim.Adadelta(p, lr=1.0),
        nn.NLLLoss(),
    ),
}


def plain_loop(case: Case, cohort: Cohort, run: CohortRun, made: nn.Sequential) -> dict[int, Tensor]:
    """Train ``made``; the final tensor of each parameter by its id."""
    data, split, scaling = cohort.data, cohort.splits[run.split], cohort.preprocessing[run.split]
    x, y = map(torch.from_numpy, (scaling.inputs(data.x[split.train]), scaling.targets(data.y[split.train])))
    size = cohort.settings.batch_size
    epoch_steps = -(-len(x) // size)
    keys = {
        stream: torch.from_numpy(streams.seeded([run.seed], stream))  # type: ignore[arg-type]
        for stream in ("order", "dropout", "augment")
    }
    optimizer = case.optimizer([parameter for parameter in made.parameters() if parameter.requires_grad])
    scheduler = case.scheduler(optimizer, epoch_steps, case.steps) if case.scheduler else None
    made.train()
    for step in range(case.steps):
        epoch, place = divmod(step, epoch_steps)
        order = streams.permutations(streams.derive(keys["order"], epoch), len(x))[0]
        here = {name: streams.derive(streams.derive(key, epoch), place) for name, key in keys.items()}
        for module in made:
            if type(module).__name__ == "StreamDropout":
                module.key = here["dropout"]
        rows = order[place * size : (place + 1) * size]
        batch_x, batch_y = case.batch(x[rows], y[rows], streams.derive(here["augment"], 0))
        optimizer.zero_grad()
        (case.loss(made(batch_x), batch_y) + case.penalty(made)).backward()
        case.clip(made)
        rate = optimizer.param_groups[0]["lr"]
        optimizer.step()
        with torch.no_grad():
            case.after_step(made, rate)
        if scheduler is not None:
            scheduler.step()
    return {
        id(parameter): case.final(optimizer, parameter).detach() for parameter in made.parameters() if parameter.requires_grad
    }


# torch warns of a scheduler that ends with the last step
@pytest.mark.filterwarnings("ignore:Detected call of `lr_scheduler.step:UserWarning")
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_the_trainer_ends_where_a_plain_loop_ends(
    case: Case, spec_of: Callable[..., Any], datasets: Any, plain: Callable[..., nn.Sequential]
) -> None:
    shared = {"trainer.dtype": "float64", "trainer.max_steps": case.steps, "trainer.epochs": 1000, "trainer.evaluate_every": 1000}
    specs = [spec_of(case.regularizer, seed=seed, **(shared | case.given)) for seed in (3, 4)]
    (planned,) = plan(specs, datasets)
    cohort = planned.cohort
    train_step = TrainStep(cohort.runs, cohort.data, cohort.settings)
    start = train_step.fresh()
    outcomes = fit(cohort)
    for row, (run, outcome) in enumerate(zip(cohort.runs, outcomes, strict=True)):
        first = {slot.name: slot.view(start.theta)[row] for slot in train_step.layout.slots}
        remembered = {slot.name: slot.view(start.buffers)[row] for slot in train_step.model.buffers.slots}
        made = plain(run, cohort.settings, cohort.data.shape, first | remembered)
        final = plain_loop(case, cohort, run, made)
        ended = plain(run, cohort.settings, cohort.data.shape, outcome.weights)
        assert outcome.steps == case.steps
        moved = 0.0
        for theirs, ours in zip(made.parameters(), ended.parameters(), strict=True):
            expected = final.get(id(theirs), theirs.detach())
            torch.testing.assert_close(ours.detach(), expected, rtol=case.tolerance, atol=case.tolerance)
        for theirs, ours in zip(made.buffers(), ended.buffers(), strict=True):
            if theirs.dim():
                torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)
        for parameter, before in zip(
            ended.parameters(), plain(run, cohort.settings, cohort.data.shape, first | remembered).parameters(), strict=True
        ):
            moved = max(moved, float((parameter - before).detach().abs().max()))
        assert moved > 1e-3, "there was something to learn"


def test_a_notes_step_is_sgds(spec_of: Callable[..., Any], datasets: Any, plain: Callable[..., nn.Sequential]) -> None:
    """The notes: a hand-written step w - lr * grad equals torch.optim.SGD's step."""
    spec = spec_of(
        dataset="diabetes",
        optimizer="sgd",
        **{"optimizer.momentum": 0.0, "trainer.max_steps": 1, "trainer.dtype": "float64", "trainer.batch_size": 266},
    )
    (planned,) = plan([spec], datasets)
    cohort = planned.cohort
    train_step = TrainStep(cohort.runs, cohort.data, cohort.settings)
    start = train_step.fresh()
    made = plain(
        cohort.runs[0], cohort.settings, (10,), {slot.name: slot.view(start.theta)[0] for slot in train_step.layout.slots}
    )
    split, scaling = cohort.splits[0], cohort.preprocessing[0]
    x, y = map(torch.from_numpy, (scaling.inputs(cohort.data.x[split.train]), scaling.targets(cohort.data.y[split.train])))
    nn.functional.mse_loss(made(x), y).backward()
    (outcome,) = fit(cohort)
    ended = plain(cohort.runs[0], cohort.settings, (10,), outcome.weights)
    for before, after in zip(made.parameters(), ended.parameters(), strict=True):
        assert before.grad is not None
        torch.testing.assert_close(after.detach(), (before - 0.01 * before.grad).detach(), rtol=1e-12, atol=1e-14)
