"""Bad input is answered in a few lines that say what to type, with exit code 2, and leaves nothing behind."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

Call = Callable[..., tuple[int, str, str]]
Process = Callable[..., subprocess.CompletedProcess[str]]


CASES = {
    "optimizer=adm": ["optimizer=adm: no such option; optimizer takes adadelta, ", "did you mean 'adam'?"],
    "optimzer=adam": ["optimzer=adam: no such key; dlrun takes activation, ", "did you mean 'optimizer'?"],
    "optimizer=": ["optimizer=: no such option; optimizer takes "],
    "optimizer=null": ["optimizer=null: cannot be left out; optimizer takes "],
    "optimizer=[adam,sgd]": ["takes one option; -m optimizer=adam,sgd runs each of them"],
    "optimizer.lrr=1": ["optimizer.lrr=1: no such key; optimizer takes lr, ", "did you mean 'lr'?"],
    "trainer.epoch=3": ["trainer takes epochs, ", "did you mean 'epochs'?"],
    "model.hiddn.x=3": ["model takes hidden, ", "did you mean 'hidden'?"],
    "seed.x=1": ["seed takes no keys"],
    "sed=1": ["did you mean 'seed'?"],
    "regularizer=[l1,dropot]": ["regularizer=dropot: no such option; regularizer takes ", "did you mean 'dropout'?"],
    "regularizer=dropot": ["did you mean 'dropout'?"],
    "regularizer=null": ["for none of them, type regularizer=[]"],
    "regularizer.l1.weight=1": ["l1 is not selected; add regularizer=[l1]"],
    "regularizer=dropout regularizer.l1.weight=1": ["l1 is not selected; add regularizer=[dropout,l1]"],
    "lr=0.1": ["lr=0.1: no such key; type optimizer.lr=0.1"],
    "loss=bce_with_logits loss.class_weight=balanced": ["loss.class_weight=balanced: no such key; type loss.pos_weight=balanced"],
    "epochs=3": ["type trainer.epochs=3"],
    "hidden=[3]": ["type model.hidden=[3]"],
    "batch_size=4": ["type trainer.batch_size=4"],
    "momentum=0.9": ["type optimizer=sgd optimizer.momentum=0.9"],
    "target=price": ["type dataset=csv dataset.path=FILE dataset.target=price"],
    "dataset.path=my.csv": ["dataset=diabetes has no path", "type dataset=csv dataset.target=COLUMN dataset.path=my.csv"],
    "p=0.2 regularizer=[dropout]": ["type regularizer.dropout.p=0.2"],
    "dropout=0.5": ["type 'regularizer=[dropout]'"],
    "activation=ReLU": ["did you mean 'relu'?"],
    "activation=LeakyReLU": ["did you mean 'leaky_relu'?"],
    "optimizer=SGD": ["did you mean 'sgd'?"],
    "loss=MSE": ["did you mean 'mse'?"],
    "optimizer=adma": ["did you mean 'adam'?"],
    "activation=none": ["type activation=identity"],
    "regularizer=none": ["type regularizer=[]"],
    "scheduler=None": ["type scheduler=constant"],
    "--activation=relu": ["--activation=relu: settings have no dashes; type activation=relu"],
    "--activation relu": ["type activation=relu"],
    "activation relu": ["type activation=relu"],
    "-m seed=0, 1, 2": ["seed=0,: no spaces after commas; type seed=0,1,2"],
    "--import bad.py": ["type --import bad"],
    "trainer.device=gpu": ["type trainer.device=cuda"],
    "seed=-1": ["a whole number in [0, 9223372036854775807]"],
    "resume trainer.epochs=5": ["resume takes no settings"],
    "regularizer=[l2] regularizer.l2.wight=1": ["regularizer.l2 takes weight; did you mean 'weight'?"],
    "optimizer.sgd.lr=0.1": ["type optimizer=sgd optimizer.lr=0.1"],
    "activation.tanh=1": ["type activation=tanh"],
    "--lr 0.1": ["a setting has no dashes, as in lr=VALUE"],
    "loss=null": ["leave it out, or type ~loss"],
    "loss.delta=2": ["no loss is selected; add loss=NAME"],
    "experiment=xr": ["experiment=xr: no such option", "did you mean 'xor'?"],
    "seed=1,2": ["seed=1,2: holds several values; -m seed=1,2 runs each of them"],
    "seed=range(3)": ["seed=range(3): holds several values; -m 'seed=range(3)' runs each of them"],
    "seed=[1": ["seed=[1: cannot be read as key=value"],
    "seed==1": ["seed==1: cannot be read as key=value"],
    "+seed=1": ["+seed=1: the key exists; type seed=1"],
    "~nothing": ["~nothing: no such key"],
    "hydra/launcher=foo": ["hydra/launcher takes basic"],
    "hydra.launcher.process=1": ["hydra.launcher takes ", "did you mean 'processes'?"],
    "-cn mine": ["mine.yaml must lie in the folder given with --config-dir"],
    "-m optimizer=adm,sgd": ["optimizer=adm: no such option", "did you mean 'adam'?"],
    "-m optimizer=sgd,adam optimizer.lrr=1,2": ["optimizer takes lr, ", "did you mean 'lr'?"],
    "-m optimizer=glob(zz*)": ["optimizer=glob(zz*): matches nothing; optimizer takes "],
    "-m activation=relu,null": ["activation=null: cannot be left out"],
    "-m seed=interval(0,1)": ["seed=interval(0,1): has no end; list the values"],
    "-m hydra.launcher.processes=1,2": ["a setting of Hydra's own cannot be swept"],
    "seed=0,1,": ["ends with a comma; type -m seed=0,1"],
    "-m seed=0,1,": ["ends with a comma; type seed=0,1"],
    "-m seed=0,,1": ["has a comma too many; type seed=0,1"],
    "activation=relu, seed=1": ["ends with a comma; type activation=relu\n"],
    "-m activation=relu tanh": ["type -m activation=relu,tanh"],
    "regularizer=[l1": ["has a bracket without its other half; type 'regularizer=[l1]'"],
    "name='a": ["has a quote without its other half; type name=a"],
    "-m seed=range(a,b)": ["range cannot take that; type range(start,stop,step)"],
    "-m seed=range(0,3,0)": ["has a step of 0"],
    "-m seed=glob(*)": ["glob(...) chooses options of a group, and seed is none"],
    "-m activation=glob(zz*),relu": ["matches nothing; activation takes "],
    "-m seed=choice()": ["holds no value"],
    "=": ["has no key"],
    "=3": ["has no key"],
    "activation=“relu”": ["of a text processor; type 'activation=\"relu\"'"],
    "“seed=1”": ["of a text processor; type seed=1"],
    "—m seed=0,1": ["begins with a dash of a text processor; type -m"],
    "optimizer.lr=1e−3": ["of a text processor; type optimizer.lr=1e-3"],
    "learning_rate=0.01": ["type optimizer.lr=0.01"],
    "optimizer.learning_rate=0.01": ["type optimizer.lr=0.01"],
    "trainer.lr=0.01": ["type optimizer.lr=0.01"],
    "model.batch_size=8": ["type trainer.batch_size=8"],
    "n_epochs=3": ["type trainer.epochs=3"],
    "optim=sgd": ["type optimizer=sgd"],
    "random_state=3": ["type seed=3"],
    "cv=5": ["type dataset.folds=5"],
    "l1=0.1": ["type 'regularizer=[l1]' regularizer.l1.weight=0.1"],
    "dropout_rate=0.5": ["type 'regularizer=[dropout]' regularizer.dropout.p=0.5"],
    "l1=0.1 regularizer=[l2]": ["type 'regularizer=[l2,l1]' regularizer.l1.weight=0.1"],
    "xor": ["type dataset=xor or experiment=xor"],
    "dropout": ["type 'regularizer=[dropout]'"],
    "seed=1 xor": ["type dataset=xor or experiment=xor"],
    "multirun seed=0,1": ["type dlrun -m"],
    "seed=0,1 sweep": ["type dlrun -m"],
    "seed:1": ["type seed=1"],
    "optimizer.lr 0.1": ["type optimizer.lr=0.1"],
    "regularizer=[l1,l1]": ["names an option twice; type regularizer=[l1]"],
    "hydra.sweep.dir=x": ["has no effect with dlrun's launcher; type output_dir=PATH"],
    "hydra.run.dir=x": ["type output_dir=PATH"],
    "hydra.job.name=x": ["type name=NAME"],
    "hydra.verbose=true": ["type hydra/job_logging=stdout hydra.verbose=true"],
    "hydra.runtime.cwd=x": ["has no effect; leave it out"],
    "hydra/output=default": ["has no effect; leave it out"],
    "-m hydra.sweeper.max_batch_size=2": ["has no effect with dlrun's launcher"],
    "optimzer@x=sgd": ["there is no group optimzer; the groups are ", "did you mean 'optimizer'?"],
    "losss=mse": ["did you mean 'loss'?"],
    "regularizer=true": ["regularizer=true: no such option"],
    "+optimizer=sgd": ["is chosen already; type optimizer=sgd"],
    "optimizer@x=sgd": ["type "],
    "~optimizer=sgd": ["nothing to take out"],
    "~seed=3": ["the value is 0; type ~seed"],
    "trian seed=1": ["trian: no such verb; the verbs are train, ", "did you mean 'train'?"],
    "ls optimiser": ["did you mean 'optimizer'?"],
    "ls --cfg job": ["no such flag"],
    "show optimizer/adm": ["did you mean 'adam'?"],
    "show dropot": ["did you mean 'dropout'?"],
    "show linear": ["is in several groups; type one of activation/linear, "],
    "show optimizer": ["is a group; dlrun ls optimizer lists it"],
    "show": ["takes group/option"],
}


@pytest.mark.parametrize("line", CASES)
def test_bad_input(call: Call, folder: Path, line: str) -> None:
    code, out, err = call(*line.split())
    assert code == 2
    assert out == ""
    assert len(err.splitlines()) == 1
    for words in CASES[line]:
        assert words in err
    assert not list(folder.iterdir())


def test_special_characters_in_a_path(call: Call) -> None:
    code, _, err = call("dataset.path=data (1).csv")
    assert code == 2
    assert err == "error: dataset.path=data (1).csv: cannot be read as key=value; type 'dataset.path=\"data (1).csv\"'\n"


def test_an_option_in_another_folder(call: Call, folder: Path) -> None:
    (folder / "conf" / "optimizer").mkdir(parents=True)
    (folder / "conf" / "optimizer" / "mine.yaml").write_text("lr: 1\n")
    assert "conf/optimizer/mine.yaml is not searched; add --config-dir conf" in call("optimizer=mine")[2]
    assert "the file mine.yaml needs a line such as _target_: mymodule.name" in call("optimizer=mine", "-cd", "conf")[2]


def test_all_problems_at_once(call: Call) -> None:
    code, _, err = call("optimizer=adm", "activation=gelo", "trainer.epochss=3", "sed=1")
    assert code == 2
    assert [line.split(":")[1].strip() for line in err.splitlines()] == [
        "optimizer=adm",
        "activation=gelo",
        "trainer.epochss=3",
        "sed=1",
    ]


def test_an_experiment_with_a_wrong_name(call: Call, tmp_path: Path) -> None:
    (tmp_path / "mine" / "experiment").mkdir(parents=True)
    experiment = "# @package _global_\n# Mine.\ndefaults:\n  - override /optimizer: adm\n"
    (tmp_path / "mine" / "experiment" / "bad.yaml").write_text(experiment)
    code, _, err = call("experiment=bad", "--config-dir", str(tmp_path / "mine"))
    assert code == 2
    assert "optimizer=adm: no such option" in err
    (tmp_path / "mine" / "experiment" / "bad.yaml").write_text("a: [1\n")
    code, _, err = call("experiment=bad", "--config-dir", str(tmp_path / "mine"))
    assert (code, len(err.splitlines())) == (2, 1)
    assert "bad.yaml" in err


@pytest.mark.starts_workers
def test_a_process_says_the_same(process: Process, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = process("optimizer=adm")
    assert (done.returncode, done.stdout) == (2, "")
    assert "did you mean 'adam'?" in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(folder.iterdir())
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    done = process("optimizer=adm")
    assert done.returncode == 2
    assert "Traceback" in done.stderr
