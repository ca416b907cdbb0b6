"""A broken file that some runs of a sweep name costs those; the others train, and the exit code is 1."""

from collections.abc import Callable
from pathlib import Path

import pytest

import dlrun
from dlrun.errors import InputError, RunError
from dlrun.results.sweeps import Sweep

Call = Callable[..., tuple[int, str, str]]
Latest = Callable[..., Sweep]

FILES = {
    "experiment/sound": "# @package _global_\ndefaults:\n  - override /dataset: moons\n",
    "experiment/unclosed": "# @package _global_\ntrainer:\n  epochs: [3\nseed: 1\n",
    "experiment/value": "# @package _global_\noptimizer:\n  lr: -3\n",
    "experiment/option": "# @package _global_\ndefaults:\n  - override /dataset: moonz\n",
    "experiment/key": "# @package _global_\ntrainer:\n  epoch: 3\n",
    "activation/unclosed": '# An activation.\n_target_: torch.nn.Tanh\nkey: "a\n',
}
SHORT = ("trainer=smoke", "baseline=[]")


@pytest.fixture
def conf(folder: Path) -> tuple[str, str]:
    for name, text in FILES.items():
        path = folder / "conf" / f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return "--config-dir", "conf"


def test_broken_experiments_are_named_and_the_others_train(call: Call, conf: tuple[str, str], latest: Latest) -> None:
    code, out, err = call("-m", *conf, "experiment=unclosed,sound,value,option,key", *SHORT)
    assert code == 1
    assert "5 runs: 1 done, 4 failed" in out
    folder = Path("conf").absolute()
    for line in (
        f"experiment=unclosed: {folder}/experiment/unclosed.yaml, line 4: cannot be read as YAML",
        "experiment=value: optimizer.lr=-3: ",
        f"(in {folder}/experiment/value.yaml)",
        "experiment=option: dataset=moonz: no such option",
        f"(in {folder}/experiment/option.yaml)",
        "experiment=key: trainer.epoch: no such key",
    ):
        assert line in err
    assert latest().counts() == {"done": 1, "failed": 4}
    assert [cell.overrides[0] for cell in latest().cells if cell.status == "done"] == ["experiment=sound"]
    code, out, _ = call("status")
    assert (code, "5 runs: 1 done, 4 failed" in out, "unclosed.yaml, line 4" in out) == (1, True, True)
    (folder / "experiment" / "unclosed.yaml").write_text(FILES["experiment/sound"] + "seed: 7\n")
    code, out, _ = call("resume")
    assert (code, "5 runs: 2 done, 3 failed" in out) == (1, True)


def test_a_broken_option(call: Call, conf: tuple[str, str]) -> None:
    code, out, err = call("-m", *conf, "dataset=moons", "activation=relu,unclosed", *SHORT)
    assert (code, "2 runs: 1 done, 1 failed" in out) == (1, True)
    assert f"failed: activation=unclosed: {Path('conf').absolute()}/activation/unclosed.yaml, line " in err


def test_a_data_file_that_is_not_there(call: Call, folder: Path, latest: Latest) -> None:
    rows = "".join(f"{number},{number % 7},{number * 3}\n" for number in range(40))
    (folder / "a.csv").write_text(f"u,v,y\n{rows}")
    for more in ((), ("dataset.task=regression",)):
        words = ("-m", "dataset=csv", "dataset.path=a.csv,b.csv", "dataset.target=y", *more, *SHORT)
        code, out, err = call(*words)
        assert (code, "2 runs: 1 done, 1 failed" in out) == (1, True)
        assert "failed: dataset.path=b.csv: dataset.path=b.csv: there is no such file" in err
        assert latest().counts() == {"done": 1, "failed": 1}
    code, out, _ = call("plan", *words[1:])
    assert (code, "2 runs: 0 to train, 1 finished already, 0 skipped, 1 failed" in out) == (1, True)


def test_all_are_broken(call: Call, conf: tuple[str, str], folder: Path) -> None:
    code, out, err = call("-m", *conf, "experiment=unclosed,value", *SHORT)
    assert (code, out) == (2, "")
    assert len(err.splitlines()) == 2
    code, out, err = call("-m", "dataset=csv", "dataset.path=b.csv,c.csv", "dataset.target=y", *SHORT)
    assert (code, out) == (2, "")
    assert not (folder / "outputs").exists()


def test_what_was_typed_wrongly_is_refused_as_a_whole(call: Call, conf: tuple[str, str], folder: Path) -> None:
    for words in (("optimizer.lr=0.1,-1",), ("activation=relu,tanhh",), (*conf, "experiment=sound,nothing"), ("seed=0,-1",)):
        code, out, _ = call("-m", *words, *SHORT)
        assert (code, out) == (2, "")
    assert not (folder / "outputs").exists()


def test_python_has_a_row_for_what_is_broken(conf: tuple[str, str]) -> None:
    table = dlrun.sweep("experiment=sound,value", *SHORT, config_dir="conf", progress=False)
    assert table["status"].tolist() == ["done", "failed"]
    assert "optimizer.lr=-3" in table["reason"][1]
    with pytest.raises(InputError, match=r"unclosed.yaml, line 4"):
        dlrun.sweep("experiment=unclosed,value", *SHORT, config_dir="conf", progress=False)


# strict


SKIPS = ("dataset=diabetes", "loss=mse,cross_entropy", *SHORT)


def test_strict_makes_what_is_skipped_a_failure(call: Call, latest: Latest) -> None:
    code, out, err = call("-m", *SKIPS)
    assert (code, "2 runs: 1 done, 1 skipped" in out, "strict" in err) == (0, True, False)
    assert call("status")[0] == 0
    code, out, err = call("-m", *SKIPS, "strict=true")
    assert (code, "1 of them taken over, none trained" in out) == (1, True)  # it is no part of what a run is
    assert "error: strict=true: 1 of 2 combinations are skipped\n" in err
    code, out, _ = call("status")
    assert (code, "strict=true: 1 of 2 combinations are skipped" in out) == (1, True)
    assert call("resume")[0] == 1
    assert call("plan", *SKIPS, "strict=true")[0] == 1
    assert call("-m", *SKIPS[:1], *SHORT, "strict=true")[0] == 0


def test_strict_counts_a_setting_that_is_left_out(call: Call) -> None:
    words = ("-m", "dataset=moons", "optimizer=sgd,adam", "optimizer.momentum=0.5", *SHORT)
    assert call(*words)[0] == 0
    code, _, err = call(*words, "strict=true")
    assert code == 1
    assert "error: strict=true: optimizer.momentum: left out of 1 of 2 runs, since optimizer=adam has no momentum\n" in err


def test_strict_raises_in_python(folder: Path) -> None:
    with pytest.raises(RunError, match=r"strict=true: 1 of 2 combinations are skipped; the runs are kept in "):
        dlrun.sweep(*SKIPS, strict=True, progress=False)
    assert dlrun.sweep(*SKIPS, progress=False)["status"].tolist() == ["done", "skipped"]


def test_strict_in_an_experiment(call: Call, conf: tuple[str, str]) -> None:
    Path("conf/experiment/strict.yaml").write_text("# @package _global_\nstrict: true\n")
    assert call("-m", *conf, "experiment=strict", *SKIPS)[0] == 1
    assert call("-m", "strict=maybe", *SKIPS)[0] == 2
