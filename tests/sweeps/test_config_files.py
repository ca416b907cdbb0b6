"""What experiments and primary configs of the user's own may list, and what they may not."""

from collections.abc import Callable
from pathlib import Path

import pytest

Call = Callable[..., tuple[int, str, str]]
Write = Callable[[str, str], None]

GLOBAL = "# @package _global_\n"
SWEEP = "hydra: {mode: MULTIRUN, sweeper: {params: {%s}}}\n"
COMMON = ("-cd", "mine", "dataset=xor", "trainer=smoke", "baseline=none", "logger=none")


@pytest.fixture
def write(folder: Path) -> Write:
    """``write("experiment/a", text)``: a config file of the user's own."""

    def file(name: str, text: str) -> None:
        path = folder / "mine" / f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    return file


def test_a_list_under_params_is_swept(call: Call, write: Write) -> None:
    params = "activation: [relu, tanh], optimizer.lr: [0.1, 'range(0.2,0.4,0.1)'], model.hidden: [8, 8], trainer.max_steps: null"
    write("experiment/a", GLOBAL + SWEEP % params)
    code, out, err = call("plan", *COMMON, "experiment=a")
    assert (code, err) == (0, "")
    assert "6 runs: 6 to train" in out


@pytest.mark.parametrize(
    ("where", "name"),
    [
        ("experiment", "activation: [relu, tanh]"),
        ("primary", "optimizer: [sgd, adam]"),
        ("experiment", "dataset: [iris, moons]"),
    ],
)
def test_a_list_where_one_option_belongs(call: Call, write: Write, folder: Path, where: str, name: str) -> None:
    group, _, options = name.partition(": ")
    write("experiment/a", f"{GLOBAL}defaults:\n  - override /{name}\n")
    write("own", f"defaults:\n  - config\n  - override {name}\n  - _self_\n")
    line = ("-cd", "mine", *(("experiment=a",) if where == "experiment" else ("-cn", "own")))
    file = "experiment/a.yaml" if where == "experiment" else "own.yaml"
    wish = options.strip("[]").replace(" ", "")
    for words in (line, ("plan", *line)):
        code, out, err = call(*words)
        assert (code, out) == (2, "")
        assert len(err.splitlines()) == 1
        assert f"{file}: {group}=[{wish}]: takes one option" in err
        assert f"or type -m {group}={wish}" in err
    assert "2 runs: 2 to train" in call("plan", *line, "-m", f"{group}={wish}")[1]


def test_the_advice_for_a_file_works(call: Call, write: Write) -> None:
    write("own", "defaults:\n  - config\n  - _self_\n" + SWEEP % "activation: [relu, tanh]")
    assert "2 runs: 2 to train" in call("plan", *COMMON, "-cn", "own")[1]


def test_a_list_of_one_is_that_one(call: Call, write: Write) -> None:
    write("experiment/a", f"{GLOBAL}defaults:\n  - override /dataset: [moons]\n")
    code, out, _ = call("plan", "-cd", "mine", "experiment=a")
    assert code == 0
    assert "moons, mlp" in out


def test_an_option_may_build_on_another_of_its_group(call: Call, write: Write) -> None:
    write("optimizer/mine", "defaults:\n  - adam\n  - _self_\nlr: 0.5\n")
    write("own", "defaults:\n  - config\n  - override optimizer: mine\n  - _self_\n")
    assert call("-cd", "mine", "-cn", "own", "--cfg", "job")[0] == 0
    assert call("plan", "-cd", "mine", "-cn", "own")[0] == 0


REFUSED = {
    "override /regularizer: [l1, l1]": "experiment/a.yaml: regularizer: l1 is named twice",
    "override /optimizer: adm": "optimizer=adm: no such option",
}


@pytest.mark.parametrize("entry", REFUSED)
def test_refused_lists(call: Call, write: Write, entry: str) -> None:
    write("experiment/a", f"{GLOBAL}defaults:\n  - {entry}\n")
    code, _, err = call("plan", *COMMON, "experiment=a")
    assert (code, len(err.splitlines())) == (2, 1)
    assert REFUSED[entry] in err


UNREAD = {
    "optimzer: {lr: 3}": "optimzer (in a config file): no such key; dlrun takes ",
    "model: {hiden: [5]}": "model.hiden (in a config file): no such key; model takes ",
    "logger: {x: 1}": "logger.x (in a config file): no such key; logger takes progress, table",
    "optimizer: {lrr: 1}": "optimizer.lrr: no such key",
    "baseline: [mean, mean]": "baseline=[mean,mean]: mean is named twice; type baseline=[mean]",
    "name: 1:30": "1:30 is the number 90 to YAML; write '1:30'",
}


@pytest.mark.parametrize("line", UNREAD)
def test_settings_that_nothing_reads_are_refused(call: Call, write: Write, line: str) -> None:
    write("experiment/a", f"{GLOBAL}{line}\n")
    code, _, err = call("plan", "-cd", "mine", "experiment=a")
    assert (code, len(err.splitlines())) == (2, 1)
    assert UNREAD[line] in err


def test_keys_that_are_mentioned_are_read(call: Call, write: Write) -> None:
    write(
        "experiment/a",
        f"{GLOBAL}rate: 0.02\nsizes: {{wide: [9]}}\noptimizer: {{lr: '${{rate}}'}}\nmodel: {{hidden: '${{sizes.wide}}'}}\n",
    )
    assert call("plan", *COMMON, "experiment=a") == call("plan", *COMMON, "optimizer.lr=0.02", "model.hidden=[9]")
    assert call("plan", *COMMON, "+rate=0.02", "optimizer.lr=${rate}")[0] == 0
    assert call(*COMMON, "+rate=0.02", "optimizer.lr=${rate}") == (0, "", "")


@pytest.mark.parametrize(
    ("head", "text"),
    [("", "defaults:\n  - override /dataset: moons\n"), ("# A study.\n# @package _global_\n", "name: x\n")],
)
def test_an_experiment_that_is_not_global(call: Call, write: Write, head: str, text: str) -> None:
    write("experiment/a", head + text)
    code, _, err = call("plan", "-cd", "mine", "experiment=a")
    assert (code, len(err.splitlines())) == (2, 1)
    assert "experiment/a.yaml: its first line must be '# @package _global_'" in err
    write("experiment/b", GLOBAL + text)
    assert call("plan", "-cd", "mine", "experiment=b")[0] == 0
    code, out, _ = call("plan", "-cd", "mine", "experiment=a,b")  # it costs its own runs alone
    assert code == 1
    assert "1 to train" in out
    assert "1 failed" in out


def test_a_range_of_fractions_reissued(call: Call, folder: Path) -> None:
    words = ("-m", "dataset=xor", "trainer=smoke", "seed=0,1", "logger=none")
    code, out, _ = call(*words, "optimizer.lr=range(0.1,0.4,0.1)", "reference=0.3")
    assert (code, "6 runs: 6 done" in out) == (0, True)
    assert "none trained" in call(*words, "optimizer.lr=0.3,0.1,0.2")[1]
    assert "none trained" in call(*words, "optimizer.lr=range(0.3,0,-0.1)")[1]
