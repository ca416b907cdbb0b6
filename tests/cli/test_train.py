"""The command trains: what it prints, what it leaves on disk, and how it ends when it is interrupted."""

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from kept import results

Call = Callable[..., tuple[int, str, str]]
Process = Callable[..., subprocess.CompletedProcess[str]]


@pytest.mark.starts_workers
def test_a_run(process: Process, folder: Path) -> None:
    done = process("dataset=moons", "seed=3", "trainer=smoke")
    assert done.returncode == 0, done.stderr
    kept = Path(done.stdout.splitlines()[-1])
    assert kept.parent == folder / "outputs" / "runs"
    assert json.loads((kept / "result.json").read_text())["status"] == "done"
    assert [path.name for path in folder.iterdir()] == ["outputs"]
    assert re.search(r"train +validation +test", done.stdout)
    assert re.search(r"^accuracy( +\d\.\d{4}){3}$", done.stdout, re.MULTILINE)
    assert done.stderr.splitlines()[0].startswith("moons: epoch 1/2, loss ")
    assert "\033" not in done.stdout + done.stderr


def test_quiet(call: Call, folder: Path) -> None:
    assert call("logger=none", "trainer=smoke") == (0, "", "")
    assert len(list((folder / "outputs" / "runs").glob("*/result.json"))) == 1


def test_a_sweep(call: Call, folder: Path) -> None:
    code, out, _ = call("activation=relu,tanh", "-m", "trainer=smoke", "regularizer=[],[l1,dropout]")
    assert code == 0
    assert "4 runs: 4 done" in out
    assert len(results(folder / "outputs")) == 4


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("optimizer.lr=-1", ["optimizer.lr=-1: must be a number above 0"]),
        ("trainer.batch_size=0", ["trainer.batch_size=0: must be a whole number of at least 1"]),
        ("loss=mse dataset=iris", ["loss=mse: ", "loss=cross_entropy"]),
        ("optimizer.lr=fast trainer.epochs=0 seed=-1", ["optimizer.lr=fast: ", "trainer.epochs=0: ", "seed=-1: "]),
        ("model.layers=3", ["model.layers=3: must be a list, such as [flatten,"]),
        ("model.layers=[output,{repeat:2,layers:3}]", ["model.layers: repeat.layers=3: must be a list"]),
        ("model=3 loss=4", ["model=3: no such option", "loss=4: no such option"]),
        ("++optimizer=3", ["optimizer"]),
        ("dataset.hidden=3", ["dataset.hidden=3: must be "]),
        ("model.init=[1] metric=[2]", ["model.init=[1]: must be a word", "metric=[2]: "]),
        ("regularizer=[l1] regularizer.l1=3", ["regularizer.l1=3: must hold keys and values; type regularizer=[l1]"]),
        ("loss=mse loss.tasks=3", ["loss.tasks=3: must be a list"]),
        ("+foo=1", ["+foo=1: no such key; dlrun takes activation, "]),
        ("++traner.epochs=3", ["++traner.epochs=3: no such key; dlrun takes activation, ", "did you mean 'trainer'?"]),
        ("+regularizer@foo=l1", ["+regularizer@foo=l1: no such key; dlrun takes activation, "]),
        ("~seed", ["seed: is missing; leave ~seed out, or type seed=0"]),
        ("+model.hiden=[3]", ["+model.hiden=[3]: no such key; model takes hidden, ", "did you mean 'hidden'?"]),
        ("+optimizer.foo=1", ["optimizer.foo: no such key"]),
        ("optimizer.lr=${nothing}", ["optimizer.lr: Interpolation key 'nothing' not found"]),
    ],
)
def test_what_only_the_job_can_know(call: Call, folder: Path, line: str, said: list[str]) -> None:
    code, out, err = call(*line.split())
    assert (code, out) == (2, "")
    for words in said:
        assert words in err
    assert not list(folder.glob("**/*.*"))


def test_data_that_raises_is_named(call: Call, folder: Path) -> None:
    source = "from dlrun.data.sources.real import iris\n\n\ndef noise(*, rows: int = 3):\n    raise RuntimeError('no steps')\n"
    (folder / "rowless.py").write_text(source)
    code, out, err = call("--import", "rowless", "dataset=iris", "dataset._target_=rowless.noise")
    assert (code, out, err) == (1, "", "error: dataset=iris: RuntimeError: no steps\n")


def test_ablations(call: Call, folder: Path) -> None:
    sweep = ("-m", "dataset=moons", "trainer=smoke", "logger.progress=false")
    code, out, err = call(*sweep, "regularizer=[],[l2]", "regularizer.l2.weight=0.1,0.01", "seed=0,1")
    assert (code, err) == (0, "warning: regularizer.l2.weight: left out of 4 of 8 runs, which do not select l2\n")
    assert "8 runs: 8 done, 2 of them the same as another" in out
    code, out, err = call(*sweep, "optimizer=sgd,adam,adamw", "optimizer.momentum=0.9")
    assert (code, err) == (
        0,
        "warning: optimizer.momentum: left out of 2 of 3 runs, since optimizer=adam and adamw have no momentum\n",
    )
    code, out, err = call(*sweep, "optimizer=adam,adamw", "optimizer.momentum=0.9")
    assert (code, out) == (2, "")
    assert "l2 takes weight" in call(*sweep, "regularizer=[],[l2]", "regularizer.l2.wight=0.1,0.01")[2]
    assert "optimizer.momentum=0.9: optimizer=adam has no momentum (rmsprop, sgd have one); it takes lr, " in err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("dataset=moons", "loss.class_weight=balanced"), "(bce_with_logits has pos_weight); .*loss.pos_weight=balanced"),
        (("dataset=iris", "loss.class_weight=balanced"), "(cross_entropy, nll have one); .* or type loss=cross_entropy "),
        (("dataset=digits", "dataset.clusters=3"), "(clusters has one); .* or type dataset=clusters dataset.clusters=3"),
        (("optimizer.adam=1",), "the name of an option is no key; type optimizer=adam"),
    ],
)
def test_a_key_of_other_options_names_one_that_goes_with_the_data(
    call: Call, folder: Path, words: tuple[str, ...], said: str
) -> None:
    code, _, err = call("loss=hinge", *words)
    assert code == 2
    assert re.search(said.replace("(", r"\(").replace(")", r"\)"), err)


def test_a_regularizer_without_effect_is_told(call: Call, folder: Path) -> None:
    code, _, err = call("dataset=moons", "trainer=smoke", "model=linear", "regularizer=[dropout,l2]", "logger=none")
    assert code == 0
    assert err.startswith("warning: regularizer.dropout: has no effect, since it stands at activations and model=linear has none")
    assert len(err.splitlines()) == 1


def test_an_activation_without_effect_is_told(call: Call, folder: Path) -> None:
    words = ("dataset=moons", "trainer=smoke", "model=linear")
    said = "warning: activation: has no effect, since model=linear has none; leave it out, or take a model with hidden layers"
    assert call(*words, "activation=tanh", "logger=none") == (0, "", f"{said}\n")
    _, out, err = call("-m", *words, "activation=tanh,relu")
    assert f"{said}\n" in err
    assert "2 runs: 2 done, 1 of them the same as another" in out
    assert call(*words, "logger=none") == (0, "", "")
    code, _, err = call("-m", *words[:2], "model=linear,mlp", "model.hidden=[3],[4]", "logger.progress=false")
    assert code == 0
    assert err == ("warning: model.hidden: has no effect, since model=linear has no hidden layers of other sizes; leave it out\n")
