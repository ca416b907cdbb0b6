"""Hidden sizes: the user's, else the dataset's suggestion, else the general one; written into the run's config."""

from collections.abc import Callable
from typing import Any

import pytest

from dlrun.config.spec import HIDDEN, RunSpec


def widths(spec: RunSpec) -> list[int]:
    return [layer.size for layer in spec.layers if layer.kind == "linear"]


@pytest.mark.parametrize(
    ("dataset", "hidden", "expected"),
    [("diabetes", None, [5]), ("moons", None, list(HIDDEN)), ("diabetes", [7, 3], [7, 3]), ("moons", [], [])],
)
def test_hidden_sizes(spec_of: Callable[..., RunSpec], dataset: str, hidden: list[int] | None, expected: list[int]) -> None:
    given: dict[str, Any] = {"dataset": dataset, "model.hidden": hidden}
    spec = spec_of(**given)
    assert widths(spec) == expected
    assert spec.config["model"]["hidden"] == expected


def test_deep_models_keep_their_own_sizes(spec_of: Callable[..., RunSpec]) -> None:
    given: dict[str, Any] = {"dataset": "diabetes", "model": "deep_mlp", "model.depth": 3, "model.width": 4}
    config_sizes = widths(spec_of(**given))
    assert config_sizes == [4, 4, 4]
