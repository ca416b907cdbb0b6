"""Components that are broken on purpose: a claim about each of them notices. Those that train are marked slow."""

from collections.abc import Callable
from functools import wraps
from inspect import isfunction
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor

from dlrun.claims.checks import Holds
from dlrun.claims.claim import Claim
from dlrun.claims.examine import examine
from dlrun.claims.finding import Evidence
from dlrun.claims.fitted import Trained
from dlrun.claims.functions import call
from dlrun.components import activations, losses, optimizers
from dlrun.components.activations import Activation
from dlrun.components.optimizers import SGD, Adagrad, Adam, AdamW, RMSprop
from dlrun.components.regularizers import L1, L2
from dlrun.results.store import Store

Break = Callable[[pytest.MonkeyPatch], None]


def activation(target: str, other: str) -> Break:
    """Another activation in the place of one."""

    def mutate(patch: pytest.MonkeyPatch) -> None:
        known, instead = activations.ROWWISE[target], activations.ROWWISE[other]
        backward = instead.backward
        assert backward is not None

        def forward(x: Tensor, **hyperparameters: Any) -> Tensor:
            return instead.forward(x)

        takes = wraps(known.forward)(forward) if isfunction(known.forward) else forward  # the settings of the one
        patch.setitem(activations.ROWWISE, target, Activation(takes, lambda grad, x, y, **_: backward(grad, x, y)))

    return mutate


def loss(name: str, value: Callable[..., Tensor], gradient: Callable[..., Tensor]) -> Break:
    """Another loss under the name of one."""

    def mutate(patch: pytest.MonkeyPatch) -> None:
        patch.setattr(losses, name, value)
        patch.setitem(losses.GRADIENTS, value, gradient)

    return mutate


def optimizer(name: str, make: Callable[..., Any]) -> Break:
    """Another update rule under the name of one, for functions and for training."""

    def mutate(patch: pytest.MonkeyPatch) -> None:
        patch.setattr(optimizers, name, make)
        patch.setitem(optimizers.ROWWISE, f"torch.optim.{name}", make)

    return mutate


def _double_sigmoid(patch: pytest.MonkeyPatch) -> None:
    steep = Activation(lambda x: (2 * x).sigmoid(), lambda grad, x, y: 2 * grad * y * (1 - y))
    patch.setitem(activations.ROWWISE, "torch.nn.Sigmoid", steep)


def _plain_exponential(patch: pytest.MonkeyPatch) -> None:
    patch.setitem(activations.ROWWISE, "torch.nn.Softmax", Activation(lambda x, **_: x.exp(), lambda grad, x, y, **_: grad * y))


def _naive(z: Tensor, y: Tensor) -> Tensor:
    return losses.bce(z.sigmoid(), y)


def _naive_gradient(z: Tensor, y: Tensor) -> Tensor:
    p = z.sigmoid()
    return losses.GRADIENTS[losses.bce](p, y) * p * (1 - p)


def _square(output: Tensor, target: Tensor, **_: Any) -> Tensor:
    return (output - target).square()


def _square_gradient(output: Tensor, target: Tensor, **_: Any) -> Tensor:
    return 2 * (output - target)


FUNCTIONS: dict[str, tuple[str, Break]] = {
    "a sigmoid of twice the slope": ("vanishing_gradients", _double_sigmoid),
    "a gelu that is relu": ("smoothness", activation("torch.nn.GELU", "torch.nn.ReLU")),
    "a leaky_relu that is relu": ("smoothness", activation("torch.nn.LeakyReLU", "torch.nn.ReLU")),
    "a softmax that is not normalized": ("softmax", _plain_exponential),
    "a log-softmax that is the identity": ("cross_entropy", activation("torch.nn.LogSoftmax", "torch.nn.Identity")),
    "bce_with_logits by way of the probability": ("stable_bce", loss("bce_with_logits", _naive, _naive_gradient)),
    "a huber loss that is the squared error": ("robust_losses", loss("huber", _square, _square_gradient)),
    "a sparsemax loss that is the cross entropy": (
        "sparsemax",
        loss("sparsemax_loss", lambda z, y: losses.cross_entropy(z, y), lambda z, y: z),  # type: ignore[arg-type, return-value]
    ),
    "adamw whose decay is a part of the gradient": ("adamw", optimizer("AdamW", Adam)),
    "adam whose decay is adamw's": ("adamw", optimizer("Adam", AdamW)),
    "sgd that ignores weight decay": ("weight_decay", optimizer("SGD", lambda **given: SGD(**given | {"weight_decay": 0.0}))),
    "an l2 penalty without its factor 2": (
        "weight_decay",
        lambda patch: patch.setattr(L2, "add_gradient", lambda self, theta, grad: grad.add_(theta * self.weight)),
    ),
    "adagrad that forgets": ("adagrad_slows", optimizer("Adagrad", lambda lr: RMSprop(lr=lr))),
    "rmsprop that does not forget": ("adagrad_slows", optimizer("RMSprop", lambda lr: Adagrad(lr=lr))),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_broken_function_refutes_its_claim(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    claim, mutate = FUNCTIONS[name]
    assert _words(claim) == {"supported"}
    mutate(monkeypatch)
    assert "refuted" in _words(claim)


def _words(name: str) -> set[str]:
    """The answers to those checks of a claim that need no runs."""
    trained = Trained(Store.at(), (), {})
    evidence = Evidence({}, lambda function: call(function, trained), trained.vector)
    checks = [check for check in Claim.load(name).checks if isinstance(check, Holds) and not check.needs_runs]
    assert checks
    return {check.finding(evidence, 0.05).word for check in checks}


def _no_momentum(patch: pytest.MonkeyPatch) -> None:
    original = SGD.__init__

    @wraps(original)  # whose signature says which settings there are
    def init(self: SGD, **given: Any) -> None:
        original(self, **given | {"momentum": 0.0})

    patch.setattr(SGD, "__init__", init)


TRAINED: dict[str, tuple[str, Break, tuple[str, ...]]] = {
    "a relu that is the identity": ("xor", activation("torch.nn.ReLU", "torch.nn.Identity"), ("trainer.epochs=30",)),
    "an elu that is relu": ("elu_mean", activation("torch.nn.ELU", "torch.nn.ReLU"), ("trainer.epochs=5",)),
    "a tanh that is the sigmoid": ("tanh_faster", activation("torch.nn.Tanh", "torch.nn.Sigmoid"), ("trainer.epochs=60",)),
    "momentum that is ignored": ("momentum", _no_momentum, ()),
    "an l1 penalty without its proximal step": (
        "l1_zeros",
        lambda patch: patch.setattr(L1, "project", lambda self, theta, signs: None),
        ("trainer.epochs=10",),
    ),
    "an l2 penalty of the wrong sign": (
        "small_weights",
        lambda patch: patch.setattr(L2, "add_gradient", lambda self, theta, grad: grad.sub_(theta * self.weight)),
        ("trainer.epochs=10",),
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", TRAINED)
def test_a_broken_component_changes_the_verdict(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reference that trains has to be torch: the kernel in C has activations and optimizers of its own."""
    claim, mutate, settings = TRAINED[name]
    words = ["trainer.engine=torch", "hydra.launcher.executor=serial", *settings]
    sound = examine(Claim.load(claim), seeds=6, settings=[*words, f"output_dir={folder / 'sound'}"])
    mutate(monkeypatch)
    broken = examine(Claim.load(claim), seeds=6, settings=[*words, f"output_dir={folder / 'broken'}"])
    before, after = ([finding.word for finding in outcome.findings] for outcome in (sound, broken))
    lost = [(one, other) for one, other in zip(before, after, strict=True) if one == "supported" and other != "supported"]
    assert lost, (before, after)
