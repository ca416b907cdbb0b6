import random
import re
from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dlrun.results.identity import VOLATILE, run_id, run_ids

CONFIG: dict[str, Any] = {
    "seed": 0,
    "name": "first",
    "dataset": {"name": "diabetes", "rows": 1},
    "optimizer": {"lr": 0.001, "betas": [0.9, 0.999], "amsgrad": False},
    "regularizer": {"l1": {"weight": 0.1}, "dropout": {"p": 0.5}},
    "trainer": {"epochs": 10, "device": "cpu", "engine": "auto"},
}


def ident(**changes: Any) -> str:
    config = deepcopy(CONFIG)
    for key, value in changes.items():
        *groups, last = key.split("__")
        place = config
        for group in groups:
            place = place[group]
        place[last] = value
    return run_id(config, "data", "1.0")


def shuffled(value: Any, rng: random.Random) -> Any:
    if not isinstance(value, dict):
        return value
    items = [(key, item if key == "regularizer" else shuffled(item, rng)) for key, item in value.items()]
    rng.shuffle(items)
    return dict(items)


def test_golden_value():
    # Written down so that a change of the canonical form, which would orphan every stored run, cannot pass unseen.
    assert ident() == "0f04a64b5749"


@given(st.randoms(use_true_random=False))
def test_the_order_of_keys_does_not_matter(rng: random.Random):
    assert run_id(shuffled(CONFIG, rng), "data", "1.0") == ident()


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "second"},
        {"output_dir": "/elsewhere"},
        {"reuse": False},
        {"logger": {"tensorboard": {}}},
        {"hydra": {"job": {"num": 3}}},
        {"trainer__device": "cuda"},
        {"trainer__engine": "torch"},
        {"optimizer__lr": 1e-3},
        {"seed": 0.0},
        {"trainer__epochs": 10.0},
        {"optimizer__betas": (0.9, 0.999)},
    ],
)
def test_the_same_run(changes: dict[str, Any]):
    assert ident(**changes) == ident()


@pytest.mark.parametrize(
    "changes",
    [
        {"seed": 1},
        {"seed": False},
        {"seed": "0"},
        {"seed": None},
        {"dataset__rows": 1.0},
        {"dataset__name": "iris"},
        {"optimizer__lr": 0.0010000000000000002},
        {"optimizer__lr": float("nan")},
        {"optimizer__betas": [0.999, 0.9]},
        {"optimizer__name": "a name inside a group is no label"},
        {"regularizer": {"dropout": {"p": 0.5}, "l1": {"weight": 0.1}}},
        {"trainer__dtype": "float64"},
    ],
)
def test_another_run(changes: dict[str, Any]):
    assert ident(**changes) != ident()


def test_data_and_version_are_part_of_it():
    ids = {run_id(CONFIG, data, version) for data in ("a", "b") for version in ("1", "2")}
    assert len(ids) == 4
    assert all(re.fullmatch("[0-9a-f]{12}", item) for item in ids)


def test_every_volatile_key_says_why():
    assert all(reason for reason in VOLATILE.values())


def test_a_value_without_canonical_form_is_named():
    with pytest.raises(TypeError, match=r"optimizer\.hook: object"):
        ident(optimizer__hook=object())


@pytest.mark.parametrize("more", [{}, {"name2": "\0seed"}, {"seeds": 3}, {"a": 1, "z": {"seed": 0}}])
@pytest.mark.parametrize("seed", [0, 7, 2**53 + 1, 2**63 - 1])
def test_ids_of_many_seeds(more: dict[str, Any], seed: int) -> None:
    known = run_ids(CONFIG | more, "data", "1.0")
    assert known(seed) == run_id(CONFIG | more | {"seed": seed}, "data", "1.0")
