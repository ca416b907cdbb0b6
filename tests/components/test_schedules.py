"""Each schedule against torch.optim.lr_scheduler, step by step."""

import inspect
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from torch.optim import lr_scheduler

from dlrun.components import schedules
from dlrun.components.hyperparameters import problems

CONF = Path(__file__).parents[2] / "conf" / "scheduler"
FILES = sorted(file.stem for file in CONF.glob("*.yaml"))
EPOCHS, EPOCH_STEPS = 12, 5
TOTAL = EPOCHS * EPOCH_STEPS
LR = 0.3


def warmup_cosine(optimizer, warmup=0.1, min_factor=0.0):
    steps = math.floor(warmup * TOTAL)
    down = lr_scheduler.CosineAnnealingLR(optimizer, TOTAL - steps, eta_min=min_factor * LR)
    if steps == 0:
        return down
    up = lr_scheduler.LinearLR(optimizer, 1 / (steps + 1), 1.0, total_iters=steps)
    return lr_scheduler.SequentialLR(optimizer, [up, down], milestones=[steps])


# The oracle, whether it steps once an epoch, and two more sets of hyperparameters besides the defaults.
ORACLES = {
    "constant": (lambda optimizer: lr_scheduler.LambdaLR(optimizer, lambda step: 1.0), False, []),
    "linear": (
        lambda optimizer, start_factor=1.0, end_factor=0.0: lr_scheduler.LinearLR(optimizer, start_factor, end_factor, TOTAL),
        False,
        [{"end_factor": 0.1}, {"start_factor": 0.5, "end_factor": 1.0}],
    ),
    "exponential": (
        lambda optimizer, gamma=0.95: lr_scheduler.ExponentialLR(optimizer, gamma),
        True,
        [{"gamma": 0.5}, {"gamma": 1.1}],
    ),
    "step": (
        lambda optimizer, step_size=30, gamma=0.1: lr_scheduler.StepLR(optimizer, step_size, gamma),
        True,
        [{"step_size": 5}, {"step_size": 1, "gamma": 0.7}],
    ),
    "cosine": (
        lambda optimizer, min_factor=0.0: lr_scheduler.CosineAnnealingLR(optimizer, TOTAL, eta_min=min_factor * LR),
        False,
        [{"min_factor": 0.1}, {"min_factor": 1.0}],
    ),
    "warmup_cosine": (warmup_cosine, False, [{"warmup": 0.0}, {"warmup": 0.33, "min_factor": 0.2}, {"warmup": 0.99}]),
    "one_cycle": (
        lambda optimizer, **numbers: lr_scheduler.OneCycleLR(optimizer, LR, total_steps=TOTAL, cycle_momentum=False, **numbers),
        False,
        [{"pct_start": 0.5, "div_factor": 10.0}, {"pct_start": 0.01}, {"pct_start": 0.0}, {"final_div_factor": 2.0}],
    ),
}
EACH_CASE = [
    pytest.param(name, numbers, id=f"{name}-{number}")
    for name, (_, _, cases) in ORACLES.items()
    for number, numbers in enumerate([{}, *cases])
]


def expected(name: str, numbers: dict) -> np.ndarray:
    make, by_epoch, _ = ORACLES[name]
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=LR)
    scheduler = make(optimizer, **numbers)
    rates = []
    for step in range(TOTAL):
        rates.append(optimizer.param_groups[0]["lr"] / LR)
        optimizer.step()
        if step + 1 < TOTAL and (not by_epoch or (step + 1) % EPOCH_STEPS == 0):
            scheduler.step()
    return np.array(rates)[:, None]


def actual(name: str, numbers: dict) -> np.ndarray:
    steps = np.arange(TOTAL)[:, None]
    return getattr(schedules, name)(steps, epoch_steps=EPOCH_STEPS, total_steps=TOTAL, **numbers)


@pytest.mark.filterwarnings("ignore:The epoch parameter:UserWarning")  # torch's own SequentialLR causes it
@pytest.mark.parametrize(("name", "numbers"), EACH_CASE)
def test_every_step_matches_torch(name, numbers):
    factors = actual(name, numbers)
    assert factors.dtype == np.float64
    np.testing.assert_allclose(factors, expected(name, numbers), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", [name for name, (_, _, cases) in ORACLES.items() if cases])
def test_each_run_may_have_its_own_numbers(name):
    cases = [{}, *ORACLES[name][2]]
    defaults = {
        p.name: p.default for p in inspect.signature(getattr(schedules, name)).parameters.values() if p.default is not p.empty
    }
    rows = [defaults | numbers for numbers in cases]
    numbers = {key: np.array([[row[key] for row in rows]], dtype=np.float64) for key in defaults}
    factors = actual(name, numbers)
    assert factors.shape == (TOTAL, len(rows))
    for row, case in enumerate(rows):
        np.testing.assert_allclose(factors[:, [row]], actual(name, case), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", ORACLES)
def test_a_chunk_equals_its_part_of_the_whole(name):
    function = getattr(schedules, name)
    for start in range(0, TOTAL, 7):
        chunk = np.arange(start, min(start + 7, TOTAL))[:, None]
        assert np.array_equal(function(chunk, epoch_steps=EPOCH_STEPS, total_steps=TOTAL), actual(name, {})[chunk[:, 0]])


@pytest.mark.parametrize("name", ORACLES)
@pytest.mark.parametrize("total", [1, 2, 3])
def test_short_trainings_have_finite_factors(name, total):
    factors = getattr(schedules, name)(np.arange(total)[:, None], epoch_steps=1, total_steps=total)
    assert factors.shape == (total, 1)
    assert (factors > 0).all()
    assert np.isfinite(factors).all()


@pytest.mark.parametrize("pct_start", [0.0, 0.1, 1.0])
def test_one_cycle_is_finite_at_the_ends_of_its_range(pct_start):
    factors = schedules.one_cycle(np.arange(10)[:, None], epoch_steps=1, total_steps=10, pct_start=pct_start)
    assert np.isfinite(factors).all()
    assert factors.max() <= 1


@pytest.mark.parametrize("name", FILES)
def test_every_configured_schedule_has_an_oracle_and_is_valid(name):
    assert name in ORACLES, f"add {name} to ORACLES"
    config = OmegaConf.to_container(OmegaConf.load(CONF / f"{name}.yaml"))
    function = getattr(schedules, config.pop("_target_").removeprefix("dlrun.components.schedules."))
    # The engine supplies epoch_steps and total_steps, so they may well be missing here.
    assert [line for line in problems(function, config, "scheduler") if "_steps: is missing" not in line] == []
    defaults = {p.name: p.default for p in inspect.signature(function).parameters.values() if p.default is not p.empty}
    assert config == defaults


def test_one_cycle_golden():
    """By hand: 10 steps, half up. e = 4; up 0.04 + 0.96 (1 - cos(pi s / 4)) / 2; down over (s - 4) / 5 to 0.04 / 10000."""
    factors = schedules.one_cycle(np.array([[0], [2], [4], [9]]), epoch_steps=1, total_steps=10, pct_start=0.5).flatten()
    assert factors.tolist() == pytest.approx([0.04, 0.52, 1.0, 4e-6])
