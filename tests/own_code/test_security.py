"""A received config is data. Each payload tries to leave a canary file; none does, and the user is told in one line why.

Reliability, security: targets outside dlrun's reach however they are put, Hydra's own ways of running code, YAML that makes
objects or grows, names of runs that point elsewhere. The user's own command line stays free.
"""

import json
import re
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

from dlrun.errors import InputError
from dlrun.experiments import targets

Call = Callable[..., tuple[int, str, str]]

CANARY = "canary"
TOUCH = f"touch {CANARY}"


@pytest.fixture
def received(own_folder: Path) -> Callable[[str, str], None]:
    """``received("optimizer/evil", text)``: a YAML file in a folder that somebody sent."""

    def write(option: str, text: str) -> None:
        path = own_folder / "sent" / f"{option}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    return write


def refused(answer: tuple[int, str, str], folder: Path, *said: str) -> None:
    code, out, err = answer
    assert code == 2, err
    assert out == ""
    assert len(err.splitlines()) == 1, err
    assert "Traceback" not in err
    for words in said:
        assert words in err
    assert not list(folder.rglob(CANARY))
    assert not (folder / "outputs" / "runs").exists() or not list((folder / "outputs" / "runs").glob("*/result.json"))


TARGETS = {
    "os.system": f"command: {TOUCH}",
    "posix.system": f"command: {TOUCH}",
    "subprocess.run": f"args: [touch, {CANARY}]",
    "builtins.open": f"file: {CANARY}\nmode: w",
    "builtins.exec": f"source: open('{CANARY}', 'w')",
    "builtins.eval": f"source: open('{CANARY}', 'w')",
    "torch.hub.load": "repo_or_dir: .\nmodel: evil\nsource: local",
    "torch.load": "f: evil.pt\nweights_only: false",
    "numpy.load": "file: evil.npy\nallow_pickle: true",
    "pickle.loads": "data: x",
    "pathlib.Path.touch": f"self: {CANARY}",
    "dlrun.cli.main.main": "arguments: [ls]",
    "dlrun.experiments.targets.trust": "module: evil",
    "hydra.utils.instantiate": "config: {_target_: os.system}",
    "hydra._internal.utils._locate": "path: os.system",
    "torch.nn.os.system": f"command: {TOUCH}",
    "torch.nn.functional.torch.hub.load": "x: 1",
    "torch.optim.os.system": f"command: {TOUCH}",
    "dlrun.components.activations.torch.load": "f: evil.pt",
    "dlrun.components.losses.Callable": "x: 1",
    "evil.touch": "x: 1",
    ".system": "x: 1",
    "os": "x: 1",
    "os.": "x: 1",
}
GROUPS = ("optimizer", "activation", "loss", "scheduler", "dataset", "model", "regularizer")


@pytest.mark.parametrize("target", TARGETS)
def test_no_target_outside_the_components(own_folder: Path, target: str) -> None:
    (own_folder / "evil.py").write_text(f"open('{CANARY}', 'w')\n")
    with pytest.raises(InputError, match=f"^activation._target_={re.escape(target)}: "):
        targets.resolve(target, "activation")
    assert not list(own_folder.rglob(CANARY))


@pytest.mark.parametrize("group", GROUPS)
def test_in_every_group(call: Call, received: Callable[[str, str], None], own_folder: Path, group: str) -> None:
    head = f"# @package {group}.evil\n" if group == "regularizer" else ""
    common = {"loss": "tasks: [regression]\n", "dataset": "task: regression\n"}.get(group, "")
    received(f"{group}/evil", f"{head}_target_: os.system\ncommand: {TOUCH}\nlr: 0.1\n{common}")
    refused(call("-cd", "sent", f"{group}=evil", "trainer=smoke"), own_folder, "_target_=os.system: a config cannot name that")


def test_in_a_sweep(call: Call, received: Callable[[str, str], None], own_folder: Path) -> None:
    received("optimizer/evil", f"_target_: os.system\ncommand: {TOUCH}\n")
    refused(call("-m", "-cd", "sent", "optimizer=sgd,evil", "trainer=smoke"), own_folder, "a config cannot name that")


EVIL = f"{{_target_: os.system, command: {TOUCH}}}"
HIDDEN = {
    "nested": f"_target_: torch.optim.SGD\nlr: {EVIL}\n",
    "nested deeper": f"_target_: torch.optim.SGD\nlr: 0.1\nmomentum: {{a: {{b: {EVIL}}}}}\n",
    "in a list": f"_target_: torch.optim.Adam\nlr: 0.1\nbetas: [{EVIL}, 0.9]\n",
    "by interpolation": f"_target_: ${{.name}}\nname: os.system\ncommand: {TOUCH}\n",
    "by parts": f"_target_: ${{.a}}.${{.b}}\na: os\nb: system\ncommand: {TOUCH}\n",
    "by the environment": f"_target_: ${{oc.env:NOTHING,os.system}}\ncommand: {TOUCH}\n",
    "as a partial": f"_target_: torch.optim.SGD\n_partial_: true\nlr: 0.1\nfoo: {EVIL}\n",
    "as a list": f"_target_: [os.system]\ncommand: {TOUCH}\n",
}


@pytest.mark.parametrize("how", HIDDEN)
def test_hidden_targets(call: Call, received: Callable[[str, str], None], own_folder: Path, how: str) -> None:
    received("optimizer/evil", HIDDEN[how])
    code, _, err = call("-cd", "sent", "optimizer=evil", "trainer=smoke")
    assert code == 2
    assert "Traceback" not in err
    assert "optimizer" in err
    assert not list(own_folder.rglob(CANARY))


HYDRAS = {
    "callbacks": f"callbacks: {{x: {EVIL}}}",
    "job_logging factory": f"job_logging: {{version: 1, formatters: {{x: {{'()': os.system, command: {TOUCH}}}}}}}",
    "job_logging class": f"job_logging: {{version: 1, handlers: {{x: {{class: logging.FileHandler, filename: {CANARY}}}}}}}",
    "hydra_logging": f"hydra_logging: {{version: 1, handlers: {{x: {{'()': os.system, command: {TOUCH}}}}}}}",
    "launcher": f"launcher: {{_target_: os.system, command: {TOUCH}}}",
    "sweeper": f"sweeper: {{_target_: os.system, command: {TOUCH}}}",
    "env_set": "job: {env_set: {LD_PRELOAD: evil.so}}",
    "run.dir": f"run: {{dir: {CANARY}}}\n  output_subdir: .",
    "chdir": "job: {chdir: true}",
    "a sweep that sets them": "mode: MULTIRUN\n  sweeper: {params: {seed: '0,1', hydra.run.dir: canary}}",
}


@pytest.mark.parametrize("what", HYDRAS)
def test_hydras_own_ways_of_running_code(call: Call, received: Callable[[str, str], None], own_folder: Path, what: str) -> None:
    received("experiment/evil", f"# @package _global_\nhydra:\n  {HYDRAS[what]}\n")
    refused(call("-cd", "sent", "experiment=evil", "trainer=smoke"), own_folder, "hydra.")


@pytest.mark.parametrize("words", ["-m optimizer=evil", "-cn own", "-cp sent -cn own", "--run optimizer=evil"])
def test_whichever_file_says_it(call: Call, received: Callable[[str, str], None], own_folder: Path, words: str) -> None:
    hydra = f"hydra: {{callbacks: {{x: {EVIL}}}}}\n"
    received("own", f"defaults: [config, _self_]\n{hydra}")
    received("optimizer/evil", f"# @package _global_\n{hydra}optimizer: {{_target_: torch.optim.SGD, lr: 0.1}}\n")
    folder = () if "-cp" in words else ("-cd", "sent")
    refused(call(*folder, *words.split(), "trainer=smoke"), own_folder, "hydra.callbacks.x._target_")


def test_a_file_adds_no_folders(call: Call, received: Callable[[str, str], None], own_folder: Path) -> None:
    (own_folder / "evil").mkdir()
    (own_folder / "evil" / "__init__.py").write_text(f"open('{CANARY}', 'w')\n")
    received("own", "defaults: [config, _self_]\nhydra: {searchpath: ['pkg://evil']}\n")
    refused(call("-cd", "sent", "-cn", "own", "trainer=smoke"), own_folder, "hydra.searchpath: stands in own.yaml")


def test_the_command_line_is_the_users_own(call: Call, received: Callable[[str, str], None], own_folder: Path) -> None:
    received("experiment/fine", "# @package _global_\nhydra: {mode: MULTIRUN, sweeper: {params: {seed: '0,1'}}}\n")
    code, out, err = call("-cd", "sent", "experiment=fine", "trainer=smoke", "dataset=xor", "+hydra.job.env_set.A=b")
    assert code == 0, err
    assert "2 runs: 2 done" in out
    code, out, _ = call("-cd", "sent", "experiment=fine", "--cfg", "hydra", "-p", "hydra.sweeper.params")
    assert code == 0
    assert "seed: 0,1" in out
    callback = "hydra.experimental.callbacks.LogJobReturnCallback"
    code, _, err = call("-cd", "sent", "trainer=smoke", "dataset=xor", f"+hydra.callbacks.x._target_={callback}")
    assert code == 0, err


LEVELS = "".join(f"{name}: &{name} [{','.join(['*' + below] * 9)}]\n" for below, name in pairwise("abcdefghi"))
YAML = {
    "python/object": f"a: !!python/object/apply:os.system ['{TOUCH}']\n",
    "python/name": "a: !!python/name:os.system\n",
    "python/module": "a: !!python/object/new:os.system [touch canary]\n",
    "alias bomb": f"a: &a [x,x,x,x,x,x,x,x,x]\n{LEVELS}",
    "alias of itself": "a: &a [*a]\n",
    "mapping of itself": "a: &a {b: *a}\n",
}


@pytest.mark.parametrize("what", YAML)
def test_yaml_that_makes_objects_or_grows(call: Call, received: Callable[[str, str], None], own_folder: Path, what: str) -> None:
    start = time.perf_counter()
    received("optimizer/evil", f"_target_: torch.optim.SGD\nlr: 0.1\n{YAML[what]}")
    for words in ("-m optimizer=evil,sgd -cd sent", "show optimizer/evil -cd sent"):
        code, _, err = call(*words.split())
        assert code == 2
        assert len(err.splitlines()) == 1
        assert "evil.yaml" in err or "python" in err
    assert not list(own_folder.rglob(CANARY))
    assert time.perf_counter() - start < 10


def test_plain_aliases_are_fine(call: Call, received: Callable[[str, str], None]) -> None:
    received("optimizer/mine", "_target_: torch.optim.Adam\nlr: &lr 0.01\nweight_decay: *lr\n")
    code, out, err = call("-cd", "sent", "optimizer=mine", "--cfg", "job", "-p", "optimizer")
    assert (code, err) == (0, "")
    assert "weight_decay: 0.01" in out


NAMES = ["../../evil", "/tmp/evil", "~/evil", "..", "C:\\evil", "<script>alert(1)</script>", "$(touch canary)", "'; touch canary"]


@pytest.mark.parametrize("name", NAMES)
def test_names_stay_labels(call: Call, own_folder: Path, name: str) -> None:
    before = set(own_folder.parent.iterdir())
    quoted = "name='" + name.replace("'", "\\'") + "'"
    code, _, err = call("-m", quoted, "trainer=smoke", "dataset=xor", "seed=0,1", "logger=none")
    assert code == 0, err
    assert [path.name for path in own_folder.iterdir()] == ["outputs"]
    assert set(own_folder.parent.iterdir()) == before
    (sweep,) = (own_folder / "outputs" / "sweeps").iterdir()
    assert json.loads((sweep / "sweep.json").read_text())["name"] == name


@pytest.mark.parametrize("name", ["a\0b", "a\nb", "a\033[31mb", "x" * 101])
def test_names_are_printable(call: Call, own_folder: Path, name: str) -> None:
    code, _, err = call(f'name="{name}"', "trainer=smoke")
    assert code == 2
    assert "\033" not in err
    assert "\0" not in err
    assert not list(own_folder.iterdir())


def test_a_trusted_module_does_not_lend_what_it_imports(own: Callable[[str], None]) -> None:
    own("from os import system\nfrom subprocess import run\nimport torch\n\ndef mine(x):\n    return x\n")
    assert targets.resolve("own_components.mine", "activation").__name__ == "mine"
    for name in ("system", "run"):
        with pytest.raises(InputError, match="only what it defines itself can be named"):
            targets.resolve(f"own_components.{name}", "activation")
    for target in ("own_components.torch.load", "own_components.os.system", "own_components.mine.__globals__"):
        with pytest.raises(InputError):
            targets.resolve(target, "activation")


def test_a_sent_sweep_imports_nothing_and_sets_nothing_of_hydras(call: Call, own_folder: Path) -> None:
    assert call("-m", "dataset=xor", "trainer=smoke", "seed=0,1", "logger=none")[0] == 0
    (sweep,) = (own_folder / "outputs" / "sweeps").iterdir()
    content = json.loads((sweep / "sweep.json").read_text())
    (own_folder / "evil.py").write_text(f"open('{CANARY}', 'w')\n")
    words = content["settings"]["words"]
    for sent, said in (
        (["--import", "evil", *words], f"type dlrun resume {sweep.name} --import evil"),
        ([*words, f"+hydra.callbacks.x={EVIL}"], "a folder cannot ask for"),
    ):
        content["settings"]["words"] = sent
        (sweep / "sweep.json").write_text(json.dumps(content))
        code, _, err = call("resume", sweep.name)
        assert code == 2
        assert said in err
        assert not list(own_folder.rglob(CANARY))
