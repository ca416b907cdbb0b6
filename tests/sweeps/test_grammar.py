"""The values that a word sweeps over."""

from fractions import Fraction
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from hydra.core.override_parser.overrides_parser import OverridesParser

from dlrun.config.composing.grammar import decimal_range, parse, plain, values, word, words_of
from dlrun.errors import InputError

SPREAD = {
    "optimizer.lr=range(0.1,0.4,0.1)": "0.1 0.2 0.3",
    "optimizer.lr=range(0.4,0.1,-0.1)": "0.4 0.3 0.2",
    "optimizer.lr=range(1.5)": "0.0 1.0",
    "optimizer.lr=range(1e-3,1e-2,3e-3)": "0.001 0.004 0.007",
    "optimizer.lr=sort(range(0.4,0.1,-0.1))": "0.2 0.3 0.4",
    "optimizer.lr=choice(range(0.1,0.4,0.1),1)": "0.1 0.2 0.3 1",
    "optimizer.lr=0.5,range(0.1,0.4,0.1)": "0.5 0.1 0.2 0.3",
    "seed=range(0,3),10": "0 1 2 10",
    "seed=range(0,3)": "0 1 2",
    "seed=sort(range(10,0,-3))": "1 4 7 10",
    "seed=sort(3,1,2,reverse=true)": "3 2 1",
    "seed=tag(some,range(0,2)),7": "0 1 7",
    "seed=choice(choice(1,2),3)": "1 2 3",
    "activation=glob(s*),relu": "selu sigmoid silu softmax softplus swish relu",
    "activation=glob([se*,t*],exclude=tan*),relu": "selu relu",
    "name='a,b',c": "'a,b' c",
}


@pytest.mark.parametrize("line", SPREAD)
def test_values(line: str) -> None:
    assert [*values(parse([line])[0])] == SPREAD[line].split()
    (written,) = plain([line])
    assert [*values(parse([written])[0])] == SPREAD[line].split()


def test_ranges_of_decimals_are_those_of_exact_arithmetic() -> None:
    """Binary sums have a value too many in 146 of these 360 ranges."""
    steps = ["0.1", "0.2", "0.05", "0.01", "0.3", "0.25"]
    for start, step, count, more in product(["0", "0.1", "0.5", "1", "0.01"], steps, (2, 3, 4, 6, 7, 9), (0, 1)):
        first, by = Fraction(start), Fraction(step)
        stop = first + count * by + more * by / 2
        found = [*decimal_range(float(start), float(stop), float(step))]
        assert found == [float(first + n * by) for n in range(count + more)], (start, float(stop), step)


def test_shuffling_keeps_the_values() -> None:
    (written,) = plain(["optimizer.lr=shuffle(range(0.1,0.6,0.1))"])
    assert sorted(values(parse([written])[0])) == ["0.1", "0.2", "0.3", "0.4", "0.5"]


@pytest.mark.parametrize(
    "line",
    [
        "seed=1",
        "seed=0,1",
        "seed=range(0,1000000)",
        "activation=glob(s*)",
        "seed=interval(0,1)",
        "seed=0,1,",
        "name='range(0,3)'",
    ],
)
def test_what_hydra_reads_as_well_is_left_alone(line: str) -> None:
    assert plain([line]) == [line]


def test_another_sweeper_has_its_own_reading() -> None:
    given = ["hydra/sweeper=optuna", "optimizer.lr=range(0.1,0.4,0.1)"]
    assert plain(given) == given


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("optimizer.lr=range(0,1,0)", "has a step of 0"),
        ("optimizer.lr=range(inf)", "takes finite numbers"),
        ("optimizer.lr=range(0,1e9,0.5)", "more than 100,000 values"),
        ("seed=sort(1,a)", "values that can be compared"),
        ("seed=choice(interval(0,1),2)", "has no end; list the values"),
        ("seed=range(0.5,0.1,0.1)", "holds no value"),
    ],
)
def test_refused(line: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        plain([line])


def test_computed_numbers_are_those_that_were_meant() -> None:
    assert [word(value) for value in np.arange(0.1, 0.35, 0.1)] == ["0.1", "0.2", "0.3"]
    assert [word(value) for value in np.linspace(0, 1, 11)][3:8] == ["0.3", "0.4", "0.5", "0.6", "0.7"]
    assert [word(value) for value in np.float32([0.1, 0.3])] == ["0.1", "0.3"]
    assert word(torch.tensor(0.1)) == "0.1"
    assert word(0.1 + 0.2) == "0.3"
    assert word(1 / 3) == repr(1 / 3)
    assert word(float(np.pi)) == repr(float(np.pi))


def test_sweeps_of_a_config_file() -> None:
    params: dict[str, Any] = {
        "activation": ["relu", "tanh"],
        "seed": "range(0,3)",
        "optimizer": {"lr": [0.1, "range(0.2,0.4,0.1)"]},
        "trainer.max_steps": None,
        "folders": False,
        "model.hidden": [32, 32],
        "regularizer": ["[]", ["l1"]],
    }
    assert words_of(params, lambda key, value: key == "model.hidden") == [
        "activation=relu,tanh",
        "seed=range(0,3)",
        "optimizer.lr=0.1,range(0.2,0.4,0.1)",
        "trainer.max_steps=null",
        "folders=false",
        "model.hidden=[32,32]",
        "regularizer=[],[l1]",
    ]
    with pytest.raises(InputError, match="holds no value to try"):
        words_of({"seed": []}, lambda key, value: False)


@pytest.mark.parametrize(
    "line",
    ["seed=0", "seed=12", "a.b_c.d1=123456789012345678", "_x=5", "seed=007", "seed=1_0", "seed=+3", "a-b=3", "a.1=3", "seed=-0"],
)
def test_words_that_need_no_parser_are_read_as_it_reads_them(line: str) -> None:
    mine, theirs = parse([line])[0], OverridesParser.create().parse_override(line)
    assert vars(mine) == vars(theirs)
    assert type(mine.value()) is type(theirs.value())
