"""Every loss against its oracle, run by run, and every closed-form gradient against autograd.

The table ``CASES`` names, for each loss, inputs, hyperparameters and a function of torch (or a formula written out anew) that
gives the loss of one run. A loss in conf/loss that has no case fails ``test_every_loss_has_an_oracle``.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from scipy.optimize import minimize
from sklearn.metrics import hinge_loss, mean_pinball_loss
from torch import Tensor
from torch.nn import functional as f

from dlrun.components import losses
from dlrun.components.hyperparameters import problems

CONF = Path(__file__).parents[2] / "conf" / "loss"
CONFIGS = {path.stem: yaml.safe_load(path.read_text()) for path in sorted(CONF.glob("*.yaml"))}
ABOUT = ("_target_", "tasks", "head", "soft_targets", "prediction")
TASKS = {"regression", "binary", "multiclass", "multilabel", "segmentation", "similarity", "metric_learning"}

B, K = 6, 4


def of_runs(loss: Callable[..., losses.Values], *given: Any, **values: Any) -> Tensor:
    """The loss of every run: [R]."""
    return losses.per_run(loss(*given, **values))


def values(runs: int, *sizes: int) -> Tensor:
    generator = torch.Generator().manual_seed(runs + sum(sizes))
    return torch.randn(runs, *sizes, generator=generator, dtype=torch.float64) * 2


def regression(runs: int) -> tuple[Tensor, Tensor]:
    return values(runs, B, K), values(runs, B, K).flip(1)


def quantiles(runs: int) -> tuple[Tensor, Tensor]:
    return values(runs, B, 3), values(runs, B, 1)


def binary(runs: int) -> tuple[Tensor, Tensor]:
    return values(runs, B, 1), (values(runs, B, 1).flip(1) > 0).double()


def multilabel(runs: int) -> tuple[Tensor, Tensor]:
    return values(runs, B, K), (values(runs, B, K).flip(1) > 0).double()


def soft_multilabel(runs: int) -> tuple[Tensor, Tensor]:
    return values(runs, B, K), values(runs, B, K).flip(1).sigmoid()


def multiclass(runs: int) -> tuple[Tensor, Tensor]:
    return values(runs, B, K), values(runs, B, K).flip(1).argmax(2)


def soft_multiclass(runs: int) -> tuple[Tensor, Tensor]:
    return values(runs, B, K), values(runs, B, K).flip(1).softmax(2)


def many_rows(runs: int) -> tuple[Tensor, Tensor]:
    return values(runs, 1500, K), values(runs, 1500, K).flip(1).argmax(2)


def masks(runs: int) -> tuple[Tensor, Tensor]:
    return values(runs, 2, 3, 5, 4), values(runs, 2, 3, 5, 4).flip(1).argmax(2)


def soft_masks(runs: int) -> tuple[Tensor, Tensor]:
    return values(runs, 2, 3, 5, 4), values(runs, 2, 3, 5, 4).flip(1).softmax(2)


def pairs(runs: int) -> tuple[Tensor, Tensor]:
    return values(runs, B, 2, 5), values(runs, B, 1).sign()


def triplets(runs: int) -> tuple[Tensor, Tensor]:
    return values(runs, B, 3, 5), torch.zeros(runs, B, dtype=torch.int64)


def as_probability(make: Callable[[int], tuple[Tensor, Tensor]]) -> Callable[[int], tuple[Tensor, Tensor]]:
    return lambda runs: (make(runs)[0].sigmoid(), make(runs)[1])


def as_log_probability(make: Callable[[int], tuple[Tensor, Tensor]]) -> Callable[[int], tuple[Tensor, Tensor]]:
    return lambda runs: (make(runs)[0].log_softmax(2), make(runs)[1])


@dataclass(frozen=True)
class Case:
    """Inputs, hyperparameters (``rows`` may differ from run to run) and the loss of one run by other means."""

    loss: Callable[..., Tensor]
    inputs: Callable[[int], tuple[Tensor, Tensor]]
    oracle: Callable[..., Any]
    rows: dict[str, float] = field(default_factory=dict)
    fixed: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.loss.__name__}-{getattr(self.inputs, '__name__', 'head')}-{self.rows | self.fixed}"


def sigmoid_focal(z: Tensor, y: Tensor, *, gamma: float, task: str, alpha: Any = None) -> Tensor:
    """As torchvision.ops.sigmoid_focal_loss, written out (for y = 0 or 1)."""
    p = z.sigmoid()
    p_t = p * y + (1 - p) * (1 - y)
    loss = f.binary_cross_entropy_with_logits(z, y, reduction="none") * (1 - p_t) ** gamma
    if alpha is not None:
        alpha = torch.as_tensor(alpha)
        loss = (alpha * y + (1 - alpha) * (1 - y)) * loss
    return loss.mean()


def softmax_focal(z: Tensor, y: Tensor, *, gamma: float, task: str, alpha: Any = None) -> Tensor:
    p = z.softmax(1)
    share = f.one_hot(y, z.shape[1]) if y.dim() == 1 else y
    weight = torch.ones(()) if alpha is None else torch.as_tensor(alpha)
    return (-share * weight * (1 - p) ** gamma * p.log()).sum(1).mean()


def sparsemax_by_bisection(z: Tensor) -> Tensor:
    low, high = z.max(1, keepdim=True).values - 1, z.max(1, keepdim=True).values
    for _ in range(80):
        middle = (low + high) / 2
        above = (z - middle).clamp(min=0).sum(1, keepdim=True) > 1
        low, high = torch.where(above, middle, low), torch.where(above, high, middle)
    return (z - low).clamp(min=0)


def sparsemax_as_printed(z: Tensor, y: Tensor) -> Tensor:
    """Equation 12 of the paper for classes; for shares, the mean of it over classes less what that mean leaves over."""
    p = sparsemax_by_bisection(z)
    threshold = torch.stack([(z[i] - p[i])[p[i] > 0].mean() for i in range(len(z))])
    support = torch.where(p > 0, z.square() - threshold[:, None] ** 2, 0.0).sum(1)
    share = f.one_hot(y, z.shape[1]) if y.dim() == 1 else y
    return (-(share * z).sum(1) + 0.5 * support + 0.5 * share.square().sum(1)).mean()


def dice(z: Tensor, y: Tensor, *, smooth: float, background: bool = False) -> Tensor:
    p = z.softmax(1)
    y = f.one_hot(y, z.shape[1]).permute(0, 3, 1, 2) if y.dim() == 3 else y
    scores = [
        1 - (2 * (p[i, k] * y[i, k]).sum() + smooth) / (p[i, k].sum() + y[i, k].sum() + smooth)
        for i in range(len(z))
        for k in range(0 if background else 1, z.shape[1])
    ]
    return torch.stack(scores).mean()


def with_class_weight(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    return lambda z, y, *, class_weight=None: function(
        z, y, weight=None if class_weight is None else torch.tensor(class_weight, dtype=z.dtype)
    )


def soft_nll(z: Tensor, y: Tensor, *, class_weight: Any = None) -> Tensor:
    """Each row of probability targets counts by the weights of its classes."""
    weight = torch.ones(z.shape[1]) if class_weight is None else torch.tensor(class_weight)
    shares = y.movedim(1, -1) * weight
    return -(shares * z.movedim(1, -1)).sum() / shares.sum()


def soft_cross_entropy(z: Tensor, y: Tensor, *, class_weight: Any = None) -> Tensor:
    return soft_nll(z.log_softmax(1), y, class_weight=class_weight)


def pinball(p: Tensor, y: Tensor, *, tau: Any) -> float:
    if isinstance(tau, list):
        return float(np.mean([mean_pinball_loss(y[:, 0], p[:, i], alpha=share) for i, share in enumerate(tau)]))
    return float(mean_pinball_loss(y, p, alpha=tau))


WEIGHTS = [0.5, 2.0, 0.0, 1.0]
CASES = [
    Case(losses.mse, regression, f.mse_loss),
    Case(losses.mae, regression, f.l1_loss),
    Case(losses.huber, regression, f.huber_loss, {"delta": 0.7}),
    Case(losses.quantile, regression, pinball, {"tau": 0.3}),
    Case(losses.quantile, quantiles, pinball, fixed={"tau": [0.1, 0.5, 0.9]}),
    Case(losses.log_cosh, regression, lambda p, y: torch.log(torch.cosh(p - y)).mean()),
    Case(losses.bce, as_probability(binary), f.binary_cross_entropy),
    Case(losses.bce, as_probability(soft_multilabel), f.binary_cross_entropy),
    Case(losses.bce_with_logits, binary, f.binary_cross_entropy_with_logits),
    Case(
        losses.bce_with_logits,
        soft_multilabel,
        lambda z, y, pos_weight: f.binary_cross_entropy_with_logits(z, y, pos_weight=torch.as_tensor(pos_weight)),
        {"pos_weight": 2.5},
    ),
    Case(
        losses.bce_with_logits,
        multilabel,
        lambda z, y, pos_weight: f.binary_cross_entropy_with_logits(z, y, pos_weight=torch.as_tensor(pos_weight)),
        fixed={"pos_weight": WEIGHTS},
    ),
    Case(losses.hinge, binary, lambda z, y, squared: hinge_loss(y[:, 0], z[:, 0], labels=[0, 1]), fixed={"squared": False}),
    Case(losses.hinge, binary, lambda z, y, squared: (1 - (2 * y - 1) * z).relu().square().mean(), fixed={"squared": True}),
    Case(losses.hinge, multiclass, lambda z, y, squared: f.multi_margin_loss(z, y), fixed={"squared": False}),
    Case(losses.hinge, multiclass, lambda z, y, squared: f.multi_margin_loss(z, y, p=2), fixed={"squared": True}),
    Case(losses.focal, binary, sigmoid_focal, {"gamma": 2.0}, {"task": "binary"}),
    Case(losses.focal, multilabel, sigmoid_focal, {"gamma": 0.5, "alpha": 0.25}, {"task": "multilabel"}),
    Case(losses.focal, multilabel, sigmoid_focal, {"gamma": 1.5}, {"task": "multilabel", "alpha": [0.1, 0.5, 0.9, 1.0]}),
    Case(losses.focal, multiclass, softmax_focal, {"gamma": 2.0, "alpha": 0.25}, {"task": "multiclass"}),
    Case(losses.focal, multiclass, softmax_focal, {"gamma": 0.5}, {"task": "multiclass", "alpha": WEIGHTS}),
    Case(losses.focal, soft_multiclass, softmax_focal, {"gamma": 2.0}, {"task": "multiclass", "alpha": WEIGHTS}),
    Case(losses.focal, soft_multiclass, softmax_focal, {"gamma": 3.0}, {"task": "multiclass"}),
    Case(losses.cross_entropy, multiclass, f.cross_entropy),
    Case(losses.cross_entropy, many_rows, f.cross_entropy),
    Case(losses.cross_entropy, multiclass, with_class_weight(f.cross_entropy), fixed={"class_weight": WEIGHTS}),
    Case(losses.cross_entropy, soft_multiclass, f.cross_entropy),
    Case(losses.cross_entropy, soft_multiclass, soft_cross_entropy, fixed={"class_weight": WEIGHTS}),
    Case(losses.cross_entropy, masks, f.cross_entropy),
    Case(losses.cross_entropy, masks, with_class_weight(f.cross_entropy), fixed={"class_weight": WEIGHTS[:3]}),
    Case(losses.cross_entropy, soft_masks, soft_cross_entropy, fixed={"class_weight": WEIGHTS[:3]}),
    Case(losses.nll, as_log_probability(multiclass), f.nll_loss),
    Case(losses.nll, as_log_probability(multiclass), with_class_weight(f.nll_loss), fixed={"class_weight": WEIGHTS}),
    Case(losses.nll, as_log_probability(soft_multiclass), soft_nll),
    Case(losses.nll, as_log_probability(soft_multiclass), soft_nll, fixed={"class_weight": WEIGHTS}),
    Case(losses.sparsemax_loss, multiclass, sparsemax_as_printed),
    Case(losses.sparsemax_loss, soft_multiclass, sparsemax_as_printed),
    Case(losses.dice, masks, dice, {"smooth": 1.0}),
    Case(losses.dice, soft_masks, dice, {"smooth": 0.5}),
    Case(losses.dice, masks, dice, {"smooth": 0.2}, {"background": True}),
    Case(
        losses.dice_cross_entropy,
        masks,
        lambda z, y, weight, smooth: weight * dice(z, y, smooth=smooth) + (1 - weight) * f.cross_entropy(z, y),
        {"weight": 0.3, "smooth": 1.0},
    ),
    Case(
        losses.dice_cross_entropy,
        soft_masks,
        lambda z, y, weight, smooth: weight * dice(z, y, smooth=smooth) + (1 - weight) * f.cross_entropy(z, y),
        {"weight": 0.8, "smooth": 0.1},
    ),
    Case(
        losses.dice_cross_entropy,
        soft_masks,
        lambda z, y, weight, smooth, background: (
            weight * dice(z, y, smooth=smooth, background=background) + (1 - weight) * f.cross_entropy(z, y)
        ),
        {"weight": 0.6, "smooth": 1.0},
        {"background": True},
    ),
    Case(
        losses.cosine_embedding,
        pairs,
        lambda z, t, margin: f.cosine_embedding_loss(z[:, 0], z[:, 1], t[:, 0], margin=margin),
        {"margin": 0.1},
    ),
    Case(
        losses.triplet_margin,
        triplets,
        lambda z, _, margin, p: f.triplet_margin_loss(z[:, 0], z[:, 1], z[:, 2], margin=margin, p=p),
        {"margin": 1.0, "p": 2.0},
    ),
    Case(
        losses.triplet_margin,
        triplets,
        lambda z, _, margin, p: f.triplet_margin_loss(z[:, 0], z[:, 1], z[:, 2], margin=margin, p=p),
        {"margin": 0.5, "p": 1.0},
    ),
]
IN_CLOSED_FORM = [case for case in CASES if case.loss in losses.GRADIENTS]


def each_run(case: Case, runs: int) -> list[dict[str, float]]:
    """A different value of each hyperparameter for each run; the first run has the case's own."""
    return [{name: value * (1 - 0.2 * run) for name, value in case.rows.items()} for run in range(runs)]


def as_columns(hypers: list[dict[str, float]], output: Tensor) -> dict[str, Tensor]:
    shape = (len(hypers), *(1,) * (output.dim() - 1))
    return {name: torch.tensor([run[name] for run in hypers], dtype=output.dtype).view(shape) for name in hypers[0]}


def gradient_by_autograd(case: Case, output: Tensor, target: Tensor, **hypers: Any) -> Tensor:
    leaf = output.detach().clone().requires_grad_()
    of_runs(case.loss, leaf, target, **hypers).sum().backward()
    assert leaf.grad is not None
    return leaf.grad


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("runs", [1, 3])
def test_equals_the_oracle_for_each_run(case: Case, runs: int) -> None:
    output, target = case.inputs(runs)
    loss = of_runs(case.loss, output, target, **case.rows, **case.fixed)
    expected = [float(case.oracle(output[r], target[r], **case.rows, **case.fixed)) for r in range(runs)]
    assert loss.shape == (runs,)
    torch.testing.assert_close(loss, torch.tensor(expected, dtype=torch.float64), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("function", [losses.cross_entropy, losses.nll])
@pytest.mark.parametrize("smoothings", [[0.0, 1e-9, 0.1], [0.3, 0.9, 0.5]])
def test_class_weights_with_label_smoothing_are_torchs(function: Callable[..., Tensor], smoothings: list[float]) -> None:
    """[(1 - s) w_y nll + s / K sum_k w_k (-log p_k)] / sum w_y, and as any mean independent of the scale of the weights."""
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(3, 7, 4, dtype=torch.float64, generator=generator)
    y = torch.randint(4, (3, 7), generator=generator)
    s = torch.tensor(smoothings, dtype=torch.float64).view(3, 1, 1)
    soft = f.one_hot(y, 4) * (1 - s) + s / 4
    output = z.log_softmax(2) if function is losses.nll else z
    expected = [
        f.cross_entropy(z[r], y[r], weight=torch.tensor([0.5, 2, 0, 1], dtype=z.dtype), label_smoothing=smoothings[r])
        for r in range(3)
    ]
    for scale in (1, 1000):
        weights = [scale * weight for weight in WEIGHTS]
        found = of_runs(function, output, soft, s, class_weight=weights)
        torch.testing.assert_close(found, torch.stack(expected), rtol=1e-9, atol=0)
        gradient = losses.GRADIENTS[function](output, soft, s, class_weight=weights)
        leaf = output.clone().requires_grad_()
        of_runs(function, leaf, soft, s, class_weight=weights).sum().backward()
        assert leaf.grad is not None
        torch.testing.assert_close(gradient, leaf.grad, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("function", [losses.cross_entropy, losses.nll])
@pytest.mark.parametrize("target", [torch.zeros(1, 2, dtype=torch.int64), torch.tensor([[[1.0, 0, 0]] * 2])])
def test_a_batch_that_weighs_nothing_moves_nothing(function: Callable[..., Tensor], target: Tensor) -> None:
    gradient = losses.GRADIENTS[function](torch.randn(1, 2, 3), target, class_weight=[0.0, 1.0, 2.0])
    assert not gradient.any()


@pytest.mark.parametrize("case", [case for case in CASES if case.rows], ids=str)
def test_columns_give_each_run_its_own_hyperparameters(case: Case) -> None:
    output, target = case.inputs(3)
    hypers = each_run(case, 3)
    if case.loss is losses.triplet_margin and case.rows["p"] == 1.0:
        hypers = [{**run, "p": 1.0} for run in hypers]
    together = of_runs(case.loss, output, target, **as_columns(hypers, output), **case.fixed)
    alone = [of_runs(case.loss, output[[r]], target[[r]], **hypers[r], **case.fixed) for r in range(3)]
    torch.testing.assert_close(together, torch.cat(alone), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("case", IN_CLOSED_FORM, ids=str)
@pytest.mark.parametrize("runs", [1, 3])
def test_gradient_equals_autograd(case: Case, runs: int) -> None:
    output, target = case.inputs(runs)
    before = output.clone(), target.clone()
    gradient = losses.GRADIENTS[case.loss](output, target, **case.rows, **case.fixed)
    expected = gradient_by_autograd(case, output, target, **case.rows, **case.fixed)
    assert gradient.shape == output.shape
    torch.testing.assert_close(gradient, expected, rtol=1e-9, atol=1e-12)
    assert torch.equal(output, before[0])
    assert torch.equal(target, before[1])


@pytest.mark.parametrize("case", [case for case in IN_CLOSED_FORM if case.rows], ids=str)
def test_gradient_with_columns_equals_autograd(case: Case) -> None:
    output, target = case.inputs(3)
    columns = as_columns(each_run(case, 3), output)
    gradient = losses.GRADIENTS[case.loss](output, target, **columns, **case.fixed)
    expected = gradient_by_autograd(case, output, target, **columns, **case.fixed)
    torch.testing.assert_close(gradient, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_targets_may_be_shared_between_runs(case: Case) -> None:
    output, target = case.inputs(3)
    shared = target[:1].expand(target.shape)
    hypers = case.rows | case.fixed
    assert torch.equal(of_runs(case.loss, output, shared, **hypers), of_runs(case.loss, output, shared.contiguous(), **hypers))
    if case.loss in losses.GRADIENTS:
        gradient = losses.GRADIENTS[case.loss]
        assert torch.equal(gradient(output, shared, **hypers), gradient(output, shared.contiguous(), **hypers))


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.fault("NaN and infinity in one run of many")
def test_a_nan_stays_in_its_run(case: Case) -> None:
    output, target = case.inputs(3)
    hypers = case.rows | case.fixed
    clean = of_runs(case.loss, output, target, **hypers)
    broken = output.clone()
    broken[1] = float("nan")
    loss = of_runs(case.loss, broken, target, **hypers)
    assert loss[1].isnan()
    assert torch.equal(loss[[0, 2]], clean[[0, 2]])
    if case.loss in losses.GRADIENTS:
        gradient = losses.GRADIENTS[case.loss]
        assert torch.equal(gradient(broken, target, **hypers)[[0, 2]], gradient(output, target, **hypers)[[0, 2]])


def named(config: dict[str, Any]) -> Callable[..., Tensor]:
    module, _, name = config["_target_"].rpartition(".")
    assert module == "dlrun.components.losses"
    return getattr(losses, name)


def test_every_loss_has_an_oracle() -> None:
    tested = {case.loss for case in CASES}
    assert {name for name, config in CONFIGS.items() if named(config) not in tested} == set()
    assert set(losses.GRADIENTS) <= tested
    assert tested == {named(config) for config in CONFIGS.values()}


@pytest.mark.parametrize("name", CONFIGS)
def test_config_is_complete_and_its_defaults_are_those_of_the_function(name: str) -> None:
    config = CONFIGS[name]
    loss = named(config)
    given = {key: value for key, value in config.items() if key not in ABOUT}
    assert problems(loss, given | ({"task": "binary"} if name == "focal" else {}), "loss") == []
    assert given == (loss.__kwdefaults__ or {})
    assert config["tasks"]
    assert set(config["tasks"]) <= TASKS
    assert config["head"] in {"value", "logit", "probability", "log_probability", "embedding"}
    assert config["prediction"] in {"auto", "identity", "sigmoid", "softmax", "sparsemax", "exp"}
    assert isinstance(config["soft_targets"], bool)


@pytest.mark.parametrize("name", CONFIGS)
def test_config_opens_with_what_it_is_and_its_formula(name: str) -> None:
    first, second, *_ = (CONF / f"{name}.yaml").read_text().splitlines()
    assert first.startswith("# ")
    assert second.startswith("# Formula: ")


@pytest.mark.parametrize(("alias", "name"), [("l1_loss", "mae"), ("pinball", "quantile"), ("log_loss", "bce")])
def test_an_alias_is_the_same_component(alias: str, name: str) -> None:
    assert CONFIGS[alias] == CONFIGS[name]
    assert (CONF / f"{alias}.yaml").read_text().startswith(f"# Alias of {name}.")


def test_losses_that_take_soft_targets_have_a_case_with_them() -> None:
    soft = {case.loss for case in CASES if not case.inputs(1)[1].equal(case.inputs(1)[1].round())}
    assert {name for name, config in CONFIGS.items() if config["soft_targets"] and named(config) not in soft} == set()


def test_minimum_of_quantile_loss_is_the_quantile() -> None:
    y = values(1, 1001, 1)
    found = minimize(
        lambda c: float(of_runs(losses.quantile, torch.full_like(y, c[0]), y, tau=0.8)), [0.0], method="Nelder-Mead"
    ).x[0]
    assert found == pytest.approx(float(y.quantile(0.8)), abs=0.02)
