"""Hidden sizes: the user's, else the dataset's suggestion, else the general one; written into the run's config."""

from collections.abc import Callable
from typing import Any

import pytest

from dlrun.experiments.spec import HIDDEN, from_config

Compose = Callable[..., tuple[dict[str, Any], dict[str, str]]]


def widths(compose: Compose, *words: str) -> tuple[list[int], Any]:
    config, choices = compose(*words)
    spec = from_config(config, choices)
    return [layer.size for layer in spec.layers if layer.kind == "linear"], spec.config["model"]["hidden"]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["dataset=diabetes"], [5]),
        (["dataset=moons"], list(HIDDEN)),
        (["dataset=diabetes", "model.hidden=[7,3]"], [7, 3]),
        (["dataset=moons", "model.hidden=[]"], []),
    ],
)
def test_hidden_sizes(compose: Compose, words: list[str], expected: list[int]) -> None:
    assert widths(compose, *words) == (expected, expected)


def test_deep_models_keep_their_own_sizes(compose: Compose) -> None:
    assert widths(compose, "dataset=diabetes", "model=deep_mlp", "model.depth=3", "model.width=4")[0] == [4, 4, 4]
