"""Components that are broken on purpose: a claim about them notices. Most train, and are marked slow."""

from collections.abc import Callable
from typing import Any

import pytest
from torch import Tensor

from dlrun.claims.claim import Claim
from dlrun.components import activations
from dlrun.components.activations import Activation

Break = Callable[[pytest.MonkeyPatch], None]


def activation(target: str, forward: Callable[..., Tensor], backward: Callable[..., Tensor]) -> Break:
    """Put another function in the place of an activation."""
    return lambda patch: patch.setitem(activations.ROWWISE, target, Activation(forward, backward))


def _identity(x: Tensor, **hyperparameters: Any) -> Tensor:
    return x


def _one(grad: Tensor, x: Tensor, y: Tensor, **hyperparameters: Any) -> Tensor:
    return grad


QUICK: dict[str, tuple[str, Break]] = {
    "sigmoid with twice the slope": (
        "sigmoid_slope",
        activation("torch.nn.Sigmoid", lambda x: (2 * x).sigmoid(), lambda grad, x, y: 2 * grad * y * (1 - y)),
    ),
    "softmax that is not normalized": (
        "softmax",
        activation("torch.nn.Softmax", lambda x, **_: x.exp(), lambda grad, x, y, **_: grad * y),
    ),
    "log-softmax without its normalization": ("cross_entropy", activation("torch.nn.LogSoftmax", _identity, _one)),
}


@pytest.mark.parametrize("name", QUICK)
def test_a_broken_function_refutes_its_claim(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    claim, mutate = QUICK[name]
    functions = [check for check in Claim.load(claim).checks if not check.quantity and not hasattr(check, "as_")]
    assert functions
    assert {_word(check) for check in functions} == {"supported"}
    mutate(monkeypatch)
    assert "refuted" in {_word(check) for check in functions}


def _word(check: Any) -> str:
    from dlrun.claims.checks import Evidence
    from dlrun.claims.fitted import Trained
    from dlrun.claims.functions import call
    from dlrun.results.store import Store

    trained = Trained(Store.at(), (), {})
    word: str = check.finding(Evidence({}, lambda name: call(name, trained), trained.vector), 0.05).word
    return word
