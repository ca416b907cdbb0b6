"""Settings that cannot work are told before anything trains, by key, with what would work."""

from collections.abc import Callable
from typing import Any

import pytest

from dlrun.errors import InputError
from dlrun.experiments.planning.cohorts import Datasets, plan

CASES: list[tuple[dict[str, Any], str]] = [
    ({"activation": "prelu", "activation.learnable": "maybe"}, "activation.learnable=maybe: must be true or false"),
    ({"activation": "gelu", "activation.learnable": True}, "gelu has no number to learn"),
    (
        {"regularizer": ["early_stopping"], "regularizer.early_stopping.metric": "acuracy"},
        "regularizer.early_stopping.metric=acuracy",
    ),
    ({"dataset": "iris", "loss": "cross_entropy", "loss.class_weight": [1.0, 2.0]}, "iris has 3 outputs"),
    ({"dataset": "triplets", "model": "embedder", "model.embedding": 0}, "model.embedding=0: must be a whole number"),
    ({"dataset": "diabetes", "loss": "quantile", "loss.tau": []}, "loss.tau=[]: must name at least one level"),
    ({"metric": "acuracy"}, "did you mean 'accuracy'?"),
]


@pytest.mark.parametrize(("given", "said"), CASES)
def test_problem(spec_of: Callable[..., Any], given: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError) as caught:
        plan([spec_of(**given)], Datasets())
    assert said in "\n".join(caught.value.problems)


def test_a_rate_is_needed(compose: Callable[..., Any]) -> None:
    from dlrun.config.spec import from_config

    config, choices = compose()
    del config["optimizer"]["lr"]
    with pytest.raises(InputError, match=r"optimizer\.lr: is missing"):
        from_config(config, choices)
