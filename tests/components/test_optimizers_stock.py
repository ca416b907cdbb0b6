"""Torch's other optimizers behind the interface of the row-wise ones."""

import pytest
import torch
from torch import Tensor

from dlrun.components.optimizers import TorchOptimizer
from dlrun.errors import InputError

ROWS, PARAMETERS, STEPS = 3, 4, 30
CASES = [
    (torch.optim.Rprop, {"lr": 0.01, "etas": (0.5, 1.2)}),
    (torch.optim.Adafactor, {"lr": 0.05, "weight_decay": 0.1}),
    (torch.optim.Adam, {"lr": 0.05, "betas": (0.9, 0.99)}),
    (torch.optim.SGD, {"lr": 0.05, "momentum": 0.9}),
]
EACH_CASE = [pytest.param(kind, numbers, id=kind.__name__) for kind, numbers in CASES]


def problem() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    return torch.randn(ROWS, PARAMETERS, generator=generator), torch.randn(STEPS, ROWS, PARAMETERS, generator=generator)


def train(optimizer: TorchOptimizer, factor=1.0) -> Tensor:
    start, noise = problem()
    theta = start.clone()
    state = optimizer.state(theta)
    for t in range(1, STEPS + 1):
        optimizer.step(theta, theta + noise[t - 1], state, t, factor)
    assert all(value.shape[0] == ROWS for value in state.values())
    return theta


def train_oracle(kind, row: int, **numbers) -> Tensor:
    start, noise = problem()
    theta = start[row].clone()
    optimizer = kind([theta], **numbers)
    for t in range(STEPS):
        theta.grad = theta + noise[t, row]
        optimizer.step()
    return theta


@pytest.mark.parametrize(("kind", "numbers"), EACH_CASE)
def test_rows_match_torch(kind, numbers):
    actual = train(TorchOptimizer(kind, **numbers))
    for row in range(ROWS):
        torch.testing.assert_close(actual[row], train_oracle(kind, row, **numbers))


@pytest.mark.parametrize(("kind", "numbers"), EACH_CASE)
def test_each_row_may_have_its_own_numbers_and_schedule(kind, numbers):
    lr, factor = (
        torch.tensor([[0.01], [0.02], [0.005]], dtype=torch.float64),
        torch.tensor([[1.0], [0.5], [2.0]], dtype=torch.float64),
    )
    actual = train(TorchOptimizer(kind, **numbers | {"lr": lr}), factor)
    for row in range(ROWS):
        # Rprop's first step sizes are lr before any schedule, in torch as well.
        if kind is not torch.optim.Rprop:
            expected = train_oracle(kind, row, **numbers | {"lr": float(lr[row] * factor[row])})
            torch.testing.assert_close(actual[row], expected)


@pytest.mark.parametrize(("kind", "numbers"), EACH_CASE)
@pytest.mark.parametrize("keep", [[0, 1, 2], [2, 0]], ids=["all rows", "cut"])
def test_a_copied_state_resumes(kind, numbers, keep):
    whole = train(TorchOptimizer(kind, **numbers))
    start, noise = problem()
    theta = start.clone()
    optimizer = TorchOptimizer(kind, **numbers)
    state = optimizer.state(theta)
    for t in range(1, 11):
        optimizer.step(theta, theta + noise[t - 1], state, t, 1.0)
    theta, state = theta[keep].clone(), {name: value[keep].clone() for name, value in state.items()}
    resumed = TorchOptimizer(kind, **numbers)
    for t in range(11, STEPS + 1):
        resumed.step(theta, theta + noise[t - 1, keep], state, t, 1.0)
    assert torch.equal(theta, whole[keep])


def test_one_parameter_a_run_keeps_its_shape():
    optimizer, theta = TorchOptimizer(torch.optim.Adam, lr=0.1), torch.tensor([[1.0], [2.0]])
    state = optimizer.state(theta)
    for t in range(1, 4):
        optimizer.step(theta, theta.clone(), state, t, 1.0)
    assert {value.shape for value in state.values()} == {(2, 1)}
    assert state["step"].tolist() == [[3.0], [3.0]]


def test_training_starts_anew_at_step_one():
    optimizer = TorchOptimizer(torch.optim.Rprop, lr=0.01)
    assert torch.equal(train(optimizer), train(optimizer))


def test_the_slice_of_a_cohort_is_changed_in_place():
    theta = torch.ones(5, 3)
    optimizer = TorchOptimizer(torch.optim.SGD, lr=0.5)
    optimizer.step(theta[1:3], torch.ones(2, 3), optimizer.state(theta[1:3]), 1, 1.0)
    assert theta.mean(1).tolist() == [1.0, 0.5, 0.5, 1.0, 1.0]


@pytest.mark.parametrize(
    ("kind", "numbers", "said"),
    [
        (torch.optim.LBFGS, {}, "several times a step; use torch.optim.Adam"),
        (torch.optim.SparseAdam, {}, "sparse gradients.*use torch.optim.Adam"),
        (torch.optim.Muon, {}, "matrices.*use torch.optim.AdamW"),
        (torch.optim.Rprop, {"momentum": 0.9}, "optimizer.momentum: no such key; Rprop takes lr, etas"),
        (torch.optim.Rprop, {"step_size": [1e-6, 50]}, "did you mean 'step_sizes'"),
        (torch.optim.Rprop, {"lr": torch.tensor([[0.1], [-2.0]])}, r"Rprop refuses lr=-2.0: Invalid learning rate"),
        (torch.optim.Rprop, {"etas": [2.0, 1.2]}, r"Rprop refuses etas=\[2.0,1.2\]: Invalid eta values"),
    ],
)
def test_what_cannot_work_is_refused(kind, numbers, said):
    with pytest.raises(InputError, match=said):
        TorchOptimizer(kind, **numbers)
