"""``dlrun settle``: seeds until it is settled."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from dlrun.results.store import Store
from dlrun.results.sweeps import Sweep

Call = Callable[..., tuple[int, str, str]]
WORDS = ("settle", "dataset=xor", "dataset.rows=60", "trainer.epochs=5", "optimizer.lr=0.03")
SWEPT = (*WORDS, "activation=identity,relu,tanh")


def test_it_adds_seeds_until_every_pair_is_settled_and_goes_on_where_it_was(call: Call, folder: Path) -> None:
    code, out, _ = call(*SWEPT, "--json", "--max-seeds", "30", "output_dir=once")
    first = json.loads(out)
    code, out, _ = call(*SWEPT, "--json", "--max-seeds", "45", "output_dir=once")
    found = json.loads(out)
    assert (code, found["settled"]) in ((0, True), (4, False))
    (table,) = found["datasets"]
    by_name = {row["configuration"]: row for row in table["configurations"]}
    assert by_name["activation=identity"]["verdict"] == "worse"
    assert by_name["activation=identity"]["runs"] < max(row["runs"] for row in by_name.values()), "who loses gets no more seeds"
    assert by_name["activation=identity"] == {row["configuration"]: row for row in first["datasets"][0]["configurations"]}.get(
        "activation=identity"
    ), "more seeds for others change nothing"
    sweep = Sweep.find(Store(folder / "once"))
    assert len(sweep.cells) == found["runs"] == sum(row["runs"] for row in by_name.values())
    assert sweep.settings["settled"]["datasets"] == found["datasets"]
    again = json.loads(call(*SWEPT, "--json", "--max-seeds", "45", "output_dir=elsewhere")[1])
    assert again["datasets"] == found["datasets"], "killed after 30 seeds and reissued, or at once"
    assert "dlrun settle has the verdicts that allow for that" in call("compare", "output_dir=once")[2]
    assert call("resume", "output_dir=once")[2].startswith("error: sweep "), "its words are not those of a sweep"


def test_the_table_and_the_exit_code(call: Call) -> None:
    code, out, err = call(*WORDS, "activation=identity,tanh", "--reference", "tanh", "seed=7,8", "--max-seeds", "30")
    assert "activation=tanh" in out
    assert "30 seeds: 1 of 1 comparisons settled" in err
    assert (code, "worse by" in out) == (0, True)
    code, out, _ = call(*WORDS, "activation=relu,elu", "--max-seeds", "30")
    assert (code, "not settled with 30 seeds: type --max-seeds 300 to go on, or --margin X" in out) == (4, True)
    code, out, _ = call(*WORDS, "activation=relu,elu", "--max-seeds", "30", "--margin", "0.9")
    assert (code, "equivalent" in out) == (0, True)


def test_a_setting_that_some_configurations_lack_is_left_out_of_these_in_every_batch(call: Call) -> None:
    swept = ("optimizer=adamw,adam,sgd", "optimizer.lr=0.001", "optimizer.momentum=choice(0.0)")
    code, out, err = call("settle", "dataset=moons", "trainer=smoke", *swept, "--max-seeds", "35", "--json")
    assert (code, "Traceback" in err) == (4, False)
    assert "optimizer.momentum: left out of 60 of 90 runs" in err
    runs = {row["configuration"]: row["runs"] for row in json.loads(out)["datasets"][0]["configurations"]}
    assert runs == {"optimizer=adamw": 35, "optimizer=adam": 35, "optimizer=sgd": 30}, "sgd, which has momentum, is settled first"


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("activation=relu",), "settle: takes two configurations or more, such as activation=relu,tanh"),
        (
            ("activation=relu,tanh", "--max-seeds", "20"),
            "--max-seeds 20: must be at least 30, since nothing is settled with fewer",
        ),
        (("activation=relu,tanh", "seed=range(0,50)", "--max-seeds", "40"), "--max-seeds 40: there are 50 seeds to begin with"),
        (("activation=relu,tanh", "--alpha", "5"), "--alpha 5.0: must lie between 0 and 0.5"),
        (("activation=relu,tanh", "--alpha"), "--alpha: takes a value"),
        (("activation=relu,tanh", "--max-seeds", "many"), "--max-seeds many: takes a whole number, such as 1000"),
        (("activation=relu,tanh", "--reference", "linear"), "reference=linear: names no group; type reference=best or one of "),
        (("activation=relu,tanh", "--margin=-1"), "margin=-1: must be a number above 0 or null"),
        (("activation=relu,tanh", "--tune-over", "activation"), "settle: does not go with tune_over"),
        (("activation=relu,tanh", "seed=a"), "seed=a: must be a whole number"),
    ],
)
def test_bad_input_is_one_line_and_trains_nothing(call: Call, folder: Path, words: tuple[str, ...], line: str) -> None:
    code, out, err = call(*WORDS, *words)
    assert (code, out) == (2, "")
    assert err.startswith(f"error: {line}")
    assert len(err.splitlines()) == 1
    assert not (folder / "outputs" / "dlrun.sqlite").exists() or Store(folder / "outputs").ids() == []
