"""Each optimizer against its oracle, step by step: torch's class of the same name, or the paper's formula where torch has none.

R = 3 rows with different hyperparameters are trained at once and each is compared with a torch optimizer of its own.
"""

import inspect
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf
from torch import Tensor

from dlrun.components.hyperparameters import problems
from dlrun.components.optimizers import ROWWISE, Lion, Optimizer
from dlrun.errors import InputError

CONF = Path(__file__).parents[2] / "conf" / "optimizer"
FILES = sorted(file.stem for file in CONF.glob("*.yaml"))
ROWS, PARAMETERS, STEPS = 3, 5, 200

LR = (0.01, 0.003, 0.02)
DECAY = (0.1, 0.0, 0.5)
BETAS = ((0.9, 0.999), (0.8, 0.95), (0.0, 0.6))
EPS = (1e-8, 1e-3, 1e-1)

# A tuple of three holds one value for each row; everything else is the same for all rows.
CASES = {
    "sgd": [
        {"lr": LR},
        {"lr": LR, "weight_decay": DECAY},
        {"lr": LR, "momentum": (0.9, 0.0, 0.5), "dampening": (0.1, 0.7, 0.3), "weight_decay": DECAY},
        {"lr": LR, "momentum": (0.9, 0.0, 0.5), "dampening": 0.4},
        {"lr": LR, "momentum": 0.9, "dampening": (0.1, 0.0, 0.3)},
        {"lr": LR, "momentum": (0.9, 0.3, 0.5), "weight_decay": DECAY, "nesterov": True},
    ],
    "asgd": [
        {"lr": LR},
        {"lr": LR, "lambd": (1e-4, 0.0, 0.1), "alpha": (0.75, 0.0, 1.0), "t0": (1e6, 0.0, 20.0), "weight_decay": DECAY},
        {"lr": LR, "t0": 50.0, "weight_decay": 0.1},
    ],
    "adam": [
        {"lr": LR},
        {"lr": LR, "betas": BETAS, "eps": EPS, "weight_decay": DECAY},
        {"lr": LR, "betas": BETAS, "eps": EPS, "weight_decay": DECAY, "amsgrad": True},
        {"lr": LR, "weight_decay": DECAY, "decoupled_weight_decay": True},
    ],
    "adamw": [
        {"lr": LR},
        {"lr": LR, "betas": BETAS, "eps": EPS, "weight_decay": DECAY},
        {"lr": LR, "weight_decay": DECAY, "amsgrad": True},
        {"lr": LR, "weight_decay": 0.0},
    ],
    "nadam": [
        {"lr": LR},
        {"lr": LR, "betas": BETAS, "eps": EPS, "weight_decay": DECAY, "momentum_decay": (4e-3, 0.0, 1e-1)},
        {"lr": LR, "weight_decay": DECAY, "decoupled_weight_decay": True},
    ],
    "radam": [
        {"lr": LR},
        {"lr": LR, "betas": BETAS, "eps": EPS, "weight_decay": DECAY},  # the third row's mean square is never trusted
        {"lr": LR, "weight_decay": DECAY, "decoupled_weight_decay": True},
    ],
    "adamax": [
        {"lr": LR},
        {"lr": LR, "betas": BETAS, "eps": EPS, "weight_decay": DECAY},
    ],
    "rmsprop": [
        {"lr": LR},
        {"lr": LR, "alpha": (0.99, 0.5, 0.0), "eps": EPS, "weight_decay": DECAY},
        {"lr": LR, "momentum": (0.9, 0.0, 0.5), "weight_decay": DECAY},
        {"lr": LR, "alpha": (0.99, 0.5, 0.9), "eps": 1e-2, "centered": True},
        {"lr": LR, "eps": 1e-2, "momentum": (0.9, 0.0, 0.5), "centered": True},
    ],
    "adagrad": [
        {"lr": LR},
        {"lr": LR, "lr_decay": (0.1, 0.0, 1.0), "initial_accumulator_value": (0.1, 0.0, 2.0), "eps": EPS, "weight_decay": DECAY},
    ],
    "adadelta": [
        {"lr": (1.0, 0.5, 2.0)},
        {"lr": (1.0, 0.5, 2.0), "rho": (0.9, 0.0, 0.99), "eps": (1e-6, 1e-3, 1e-2), "weight_decay": DECAY},
    ],
    "lion": [
        {"lr": LR},
        {"lr": LR, "betas": BETAS, "weight_decay": DECAY},
    ],
}
EACH_CASE = [
    pytest.param(name, case, id=f"{name}-{number}") for name, cases in CASES.items() for number, case in enumerate(cases)
]


class LionReference(torch.optim.Optimizer):
    """Algorithm 2 of Chen et al. 2023, line by line."""

    def __init__(self, params, lr=1e-4, betas=(0.9, 0.99), weight_decay=0.0):
        super().__init__(params, {"lr": lr, "betas": betas, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            beta1, beta2 = group["betas"]
            for parameter in group["params"]:
                m = self.state[parameter].setdefault("m", torch.zeros_like(parameter))
                c = beta1 * m + (1 - beta1) * parameter.grad
                update = torch.sign(c) + group["weight_decay"] * parameter
                parameter -= group["lr"] * update
                m.copy_(beta2 * m + (1 - beta2) * parameter.grad)


def rowwise(name: str) -> type[Optimizer]:
    return ROWWISE[target(name)]


def target(name: str) -> str:
    return str(OmegaConf.load(CONF / f"{name}.yaml")["_target_"])


def oracle(name: str, parameters: list[Tensor], **numbers) -> torch.optim.Optimizer:
    kind = LionReference if name == "lion" else getattr(torch.optim, target(name).removeprefix("torch.optim."))
    # Torch keeps some scalars in the default type.
    torch.set_default_dtype(torch.float64)
    try:
        return kind(parameters, **numbers)
    finally:
        torch.set_default_dtype(torch.float32)


def of_row(case: dict, row: int) -> dict:
    return {name: value[row] if isinstance(value, tuple) and len(value) == ROWS else value for name, value in case.items()}


def columns(case: dict) -> dict:
    """The hyperparameters as the engine hands them over: columns where rows differ."""

    def column(values):
        return torch.tensor(values, dtype=torch.float64).unsqueeze(1)

    made = {}
    for name, value in case.items():
        if not (isinstance(value, tuple) and len(value) == ROWS):
            made[name] = value
        elif isinstance(value[0], tuple):
            made[name] = tuple(column(part) for part in zip(*value, strict=True))
        else:
            made[name] = column(value)
    return made


def problem() -> tuple[Tensor, Tensor, Tensor]:
    """Where a run starts, its curvatures, and the noise of each step: a noisy parabola for each row."""
    generator = torch.Generator().manual_seed(1)
    start = torch.randn(ROWS, PARAMETERS, generator=generator, dtype=torch.float64)
    curvature = 0.1 + torch.rand(ROWS, PARAMETERS, generator=generator, dtype=torch.float64)
    noise = 0.3 * torch.randn(STEPS, ROWS, PARAMETERS, generator=generator, dtype=torch.float64)
    return start, curvature, noise


def train(optimizer: Optimizer, rows=slice(None), steps=STEPS, factors=None) -> Tensor:
    start, curvature, noise = (part[..., rows, :] for part in problem())
    theta = start.clone()
    state = optimizer.state(theta)
    for t in range(1, steps + 1):
        grad = curvature * theta + noise[t - 1]
        optimizer.step(theta, grad, state, t, 1.0 if factors is None else factors[t - 1])
    return torch.stack([theta, optimizer.evaluation(theta, state)])


def train_oracle(name: str, case: dict, row: int, factors=None) -> Tensor:
    start, curvature, noise = problem()
    theta = start[row].clone()
    optimizer = oracle(name, [theta], **case)
    torch.set_default_dtype(torch.float64)
    try:
        for t in range(STEPS if factors is None else len(factors)):
            theta.grad = curvature[row] * theta + noise[t, row]
            if factors is not None:
                optimizer.param_groups[0]["lr"] = case["lr"] * float(factors[t][row])
            optimizer.step()
    finally:
        torch.set_default_dtype(torch.float32)
    return torch.stack([theta, optimizer.state[theta].get("ax", theta)])


_trained: dict[tuple[str, str, int], Tensor] = {}


def unscheduled(name: str, case: dict, row: int) -> Tensor:
    """What torch makes of one row. It takes most of these tests' time, and two of them ask for it."""
    key = (name, str(case), row)
    if key not in _trained:
        _trained[key] = train_oracle(name, of_row(case, row), row)
    return _trained[key]


def assert_equal(actual: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(actual, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(("name", "case"), EACH_CASE)
def test_rows_with_their_own_numbers_match_the_oracle(name, case):
    actual = train(rowwise(name)(**columns(case)))
    for row in range(ROWS):
        assert_equal(actual[:, row], unscheduled(name, case, row))


@pytest.mark.parametrize(("name", "case"), EACH_CASE)
def test_rows_with_equal_numbers_match_the_oracle(name, case):
    for row in range(ROWS):
        numbers = of_row(case, row)
        assert_equal(train(rowwise(name)(**numbers))[:, row], unscheduled(name, case, row))


@pytest.mark.parametrize("name", [name for name in CASES if name != "asgd"])
@pytest.mark.parametrize("apart", [False, True], ids=["one schedule", "a schedule for each row"])
def test_a_schedule_matches_the_oracle(name, apart):
    case = CASES[name][1]
    factors = torch.linspace(0, 1, 60, dtype=torch.float64).view(-1, 1, 1).expand(-1, ROWS, 1)
    if apart:
        factors = factors ** torch.tensor([1.0, 2.0, 0.5], dtype=torch.float64).view(ROWS, 1)
    given = list(factors) if apart else [float(factor[0]) for factor in factors]
    actual = train(rowwise(name)(**columns(case)), steps=60, factors=given)
    for row in range(ROWS):
        assert_equal(actual[:, row], train_oracle(name, of_row(case, row), row, factors))


def test_asgd_takes_a_schedule_at_once():
    case = {"lr": 0.1, "lambd": 0.0}
    rows = [1.0] * 100 + [0.0] * 100
    actual = train(rowwise("asgd")(**case), factors=rows)
    assert torch.equal(actual, train(rowwise("asgd")(**case), steps=100))


@pytest.mark.parametrize("name", FILES)
def test_every_configured_optimizer_has_an_oracle(name):
    assert name in CASES, f"add {name} to CASES with numbers that differ from row to row, for each of its flags"
    for number, parameter in inspect.signature(rowwise(name)).parameters.items():
        if isinstance(parameter.default, bool):  # equal within a group, whereas numbers may differ from row to row
            assert any(number in case for case in CASES[name]), f"{name}: no case sets {number}"
        else:
            assert any(isinstance(case.get(number), tuple) for case in CASES[name]), f"{name}: no case varies {number}"


@pytest.mark.parametrize("name", FILES)
def test_every_configured_optimizer_is_valid(name):
    config = OmegaConf.to_container(OmegaConf.load(CONF / f"{name}.yaml"))
    config.pop("_target_")
    assert problems(rowwise(name), config, "optimizer") == []
    assert {"lr", "weight_decay"} <= config.keys()
    rowwise(name)(**config)


@pytest.mark.parametrize("kind", [name for name in ROWWISE if name.startswith("torch.")])
def test_hyperparameters_and_defaults_are_those_of_torch(kind):
    # These choose an implementation, or minimize -f.
    implementation = {"params", "foreach", "maximize", "capturable", "differentiable", "fused"}
    theirs = inspect.signature(getattr(torch.optim, kind.removeprefix("torch.optim."))).parameters
    ours = inspect.signature(ROWWISE[kind]).parameters
    assert set(ours) == set(theirs) - implementation
    assert {name: value.default for name, value in ours.items()} == {name: theirs[name].default for name in ours}


@pytest.mark.parametrize("name", CASES)
def test_every_optimizer_solves_a_parabola(name):
    lr = {"adadelta": 30.0, "adagrad": 0.5, "sgd": 0.1, "asgd": 0.1, "radam": 0.05, "adamax": 0.05}.get(name, 0.02)
    optimizer = rowwise(name)(lr=lr, **({"weight_decay": 0.0} if name == "adamw" else {}))
    theta = torch.tensor([[1.0, -2.0], [0.5, 3.0]])
    state, lowest = optimizer.state(theta), torch.tensor([[0.5, 1.0]])
    for t in range(1, 1001):
        optimizer.step(theta, 2 * (theta - lowest), state, t, 1 - t / 1000)
    torch.testing.assert_close(optimizer.evaluation(theta, state), lowest.expand(2, 2), rtol=0, atol=1e-2)


@pytest.mark.parametrize(("name", "case"), EACH_CASE)
def test_rows_are_independent(name, case):
    together = train(rowwise(name)(**columns(case)), steps=50)
    order = [2, 0, 1]
    permuted = rowwise(name)(**{key: _rows(value, order) for key, value in columns(case).items()})
    assert torch.equal(train(permuted, rows=order, steps=50), together[:, order])
    cut = rowwise(name)(**{key: _rows(value, [1]) for key, value in columns(case).items()})
    assert torch.equal(train(cut, rows=[1], steps=50), together[:, [1]])


def _rows(value, rows):
    if isinstance(value, tuple):
        return tuple(_rows(part, rows) for part in value)
    return value[rows] if isinstance(value, Tensor) else value


@pytest.mark.parametrize("name", CASES)
def test_a_column_of_equal_numbers_gives_the_bits_of_a_float(name):
    """So a run does not depend on whether other rows of its cohort have other numbers."""
    case = {key: value for key, value in CASES[name][1].items() if key != "betas"} | {"lr": 0.013}
    floats = of_row(case, 0)
    as_columns = {
        key: torch.full((32, 1), value, dtype=torch.float64) for key, value in floats.items() if isinstance(value, float)
    }
    generator = torch.Generator().manual_seed(2)
    start, noise = torch.randn(32, 61, generator=generator), torch.randn(20, 32, 61, generator=generator)
    results = []
    for numbers in (floats, floats | as_columns):
        optimizer, theta = rowwise(name)(**numbers), start.clone()
        state = optimizer.state(theta)
        for t in range(1, 21):
            optimizer.step(theta, theta + noise[t - 1], state, t, 0.7)
        results.append(theta)
    assert torch.equal(*results)


@pytest.mark.parametrize(("name", "case"), EACH_CASE)
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_diverged_row_leaves_the_others_alone(name, case, bad):
    start, curvature, noise = problem()
    results = []
    for spoiled in (False, True):
        optimizer, theta = rowwise(name)(**columns(case)), start.clone()
        state = optimizer.state(theta)
        for t in range(1, 21):
            grad = curvature * theta + noise[t]
            if spoiled and t == 5:
                grad[1] = bad
            optimizer.step(theta, grad, state, t, 1.0)
        results.append(optimizer.evaluation(theta, state)[[0, 2]])
    assert torch.equal(*results)


@pytest.mark.parametrize(("name", "case"), EACH_CASE)
def test_the_state_can_be_cut_and_resumed(name, case):
    start, curvature, noise = problem()
    whole = train(rowwise(name)(**columns(case)), steps=40)
    optimizer, theta = rowwise(name)(**columns(case)), start.clone()
    state = optimizer.state(theta)
    for t in range(1, 41):
        if t == 20:
            keep = [2, 0]
            optimizer = rowwise(name)(**{key: _rows(value, keep) for key, value in columns(case).items()})
            assert all(value.shape in ((ROWS, PARAMETERS), (ROWS, 1)) for value in state.values())
            theta, curvature, noise = theta[keep], curvature[keep], noise[:, keep]
            state = {key: value[keep].clone() for key, value in state.items()}
        optimizer.step(theta, curvature * theta + noise[t - 1], state, t, 1.0)
    assert torch.equal(torch.stack([theta, optimizer.evaluation(theta, state)]), whole[:, keep])


@pytest.mark.parametrize(("name", "case"), [case for case in EACH_CASE if "nesterov" not in case.values[1]])
def test_a_step_stays_on_its_device_and_waits_for_nothing(name, case):
    """On the meta device an operation across devices fails, and so does every look at a value."""

    def meta(value):
        if isinstance(value, tuple):
            return tuple(meta(part) for part in value)
        return value.to("meta") if isinstance(value, Tensor) else value

    theta = torch.empty(ROWS, PARAMETERS, device="meta")
    for number, numbers in enumerate((columns(case), of_row(case, 0))):
        optimizer = rowwise(name)(**{key: meta(value) for key, value in numbers.items()})
        state = optimizer.state(theta)
        for t in (1, 2, 10):
            optimizer.step(theta, torch.empty_like(theta), state, t, theta[:, :1].double() if number else 0.5)


def test_float32_rows_take_float64_columns():
    for name, cases in CASES.items():
        optimizer = rowwise(name)(**columns(cases[-1]))
        theta = torch.ones(ROWS, PARAMETERS)
        state = optimizer.state(theta)
        for t in range(1, 12):
            optimizer.step(theta, theta.clone(), state, t, torch.full((ROWS, 1), 0.5, dtype=torch.float64))
        assert theta.dtype == torch.float32
        assert theta.isfinite().all()


def test_asgd_is_evaluated_with_its_average():
    optimizer = rowwise("asgd")(lr=0.1, lambd=0.0, alpha=0.0, t0=1.0)
    theta = torch.tensor([[1.0]], dtype=torch.float64)
    state = optimizer.state(theta)
    assert optimizer.evaluation(theta, state).item() == 1.0
    visited = []
    for t in range(1, 7):
        optimizer.step(theta, theta.clone(), state, t, 1.0)
        visited.append(theta.item())
    # mu = 1 up to t = 3, so the mean starts with the third point.
    assert optimizer.evaluation(theta, state).item() == pytest.approx(sum(visited[2:]) / 4)


def test_lion_golden():
    """By hand: c = 0.1 g > 0, so theta = (1 - 0.1 * 0.5) * 1 - 0.1; m = 0.01 g. Then c = 0.9 * 0.02 - 0.1 * 0.1 > 0."""
    optimizer, theta = Lion(lr=0.1, weight_decay=0.5), torch.tensor([[1.0]], dtype=torch.float64)
    state = optimizer.state(theta)
    optimizer.step(theta, torch.tensor([[2.0]], dtype=torch.float64), state, 1, 1.0)
    assert (theta.item(), state["exp_avg"].item()) == pytest.approx((0.85, 0.02))
    optimizer.step(theta, torch.tensor([[-0.1]], dtype=torch.float64), state, 2, 1.0)
    assert (theta.item(), state["exp_avg"].item()) == pytest.approx((0.7075, 0.0188))


def test_a_step_of_sgd_by_hand():
    theta, grad = torch.tensor([[1.0, -2.0]]), torch.tensor([[0.5, 4.0]])
    rowwise("sgd")(lr=0.1).step(theta, grad.clone(), {}, 1, 1.0)
    torch.testing.assert_close(theta, torch.tensor([[1.0, -2.0]]) - 0.1 * grad)


def test_weight_decay_of_adam_and_adamw_differ():
    numbers = {"lr": 0.01, "weight_decay": 0.1}
    assert not torch.allclose(train(rowwise("adam")(**numbers)), train(rowwise("adamw")(**numbers)))


@pytest.mark.parametrize(
    ("numbers", "said"),
    [
        ({"nesterov": True}, "nesterov=true: needs a momentum"),
        ({"nesterov": True, "momentum": 0.9, "dampening": 0.1}, "nesterov=true: allows no dampening"),
        ({"nesterov": True, "momentum": torch.tensor([[0.9], [0.0]])}, "nesterov=true: needs a momentum"),
    ],
)
def test_nesterov_is_refused_where_torch_refuses_it(numbers, said):
    with pytest.raises(InputError, match=said):
        rowwise("sgd")(lr=0.1, **numbers)


@pytest.mark.parametrize(
    ("name", "values", "said"),
    [
        ("adam", {"lr": 0}, "above 0"),
        ("adam", {"lr": -1.0}, "above 0"),
        ("adam", {"lr": float("nan")}, "above 0"),
        ("adam", {"betas": [0.9, 1.0]}, "[0, 1)"),
        ("adam", {"betas": [0.9]}, "a list of 2"),
        ("adam", {"amsgrad": 1}, "true or false"),
        ("adam", {"weight_decay": -0.1}, "at least 0"),
        ("adam", {"momentum": 0.9}, "no such key"),
        ("rmsprop", {"alpha": 1.5}, "[0, 1]"),
    ],
)
def test_values_out_of_range_are_told(name, values, said):
    (found,) = problems(rowwise(name), values, "optimizer")
    assert said in found
