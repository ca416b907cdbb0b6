"""A received config is data. What it names is neither imported nor called, and the user is told in one line why.

The names are harmless: functions that return something, and ``beside.touch``, which leaves a file. It lies where Python finds it:
the file is absent because dlrun did not look. Limits on nodes and levels are lowered, and files exceed them by a little.
The user's own command line stays free.
"""

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dlrun import registry
from dlrun.config import resolver
from dlrun.errors import InputError
from dlrun.results.sweeps import Sweep

pytestmark = pytest.mark.fault("received files, with harmless canaries")

Call = Callable[..., tuple[int, str, str]]

CANARY = "canary"
BESIDE = f"""
from pathlib import Path

Path("{CANARY}").touch()

def touch(*args, **kwargs):
    Path("{CANARY}").touch()
"""


@pytest.fixture(autouse=True)
def beside(own_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module that Python can import, and that nobody has named with --import."""
    (own_folder / "beside.py").write_text(BESIDE)
    monkeypatch.syspath_prepend(str(own_folder))


@pytest.fixture
def received(own_folder: Path) -> Callable[[str, str], None]:
    """``received("optimizer/sent", text)``: a YAML file in a folder that somebody sent."""

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


TARGETS = [
    "os.getcwd",
    "posix.getcwd",
    "math.sqrt",
    "builtins.len",
    "pathlib.Path.cwd",
    "numpy.zeros",
    "torch.get_num_threads",
    "torch.nn.functional.relu",  # of torch.nn itself its classes alone
    "torch.nn.functional.math.sqrt",  # a module that an allowed one has imported
    "torch.optim.lr_scheduler.StepLR",
    "dlrun.errors.nearest",
    "dlrun.own_modules.trusted",
    "dlrun.components.activations.torch.get_num_threads",
    "dlrun.components.losses.Callable",
    "hydra.utils.get_class",
    "beside.touch",
    "beside",
    ".touch",
    "os",
    "os.",
]
GROUPS = ("optimizer", "activation", "loss", "scheduler", "dataset", "model", "regularizer")


@pytest.mark.parametrize("target", TARGETS)
def test_no_target_outside_the_components(own_folder: Path, target: str) -> None:
    with pytest.raises(InputError, match=f"^activation._target_={re.escape(target)}: "):
        resolver.resolve(target, "activation")
    assert "beside" not in sys.modules
    assert not list(own_folder.rglob(CANARY))


@pytest.mark.parametrize("group", GROUPS)
def test_in_every_group(call: Call, received: Callable[[str, str], None], own_folder: Path, group: str) -> None:
    head = f"# @package {group}.sent\n" if group == "regularizer" else ""
    common = {"loss": "tasks: [regression]\n", "dataset": "task: regression\n"}.get(group, "")
    received(f"{group}/sent", f"{head}_target_: beside.touch\nlr: 0.1\n{common}")
    said = "_target_=beside.touch: beside was not imported; if it is yours or you trust it, type --import beside"
    refused(call("-cd", "sent", f"{group}=sent", "trainer=smoke"), own_folder, said)


def test_in_a_sweep(call: Call, received: Callable[[str, str], None], own_folder: Path) -> None:
    received("optimizer/sent", "_target_: os.getcwd\n")
    refused(call("-m", "-cd", "sent", "optimizer=sgd,sent", "trainer=smoke"), own_folder, "a config cannot name that")


CALL = "{_target_: beside.touch}"
HIDDEN = {
    "nested": f"_target_: torch.optim.SGD\nlr: {CALL}\n",
    "nested deeper": f"_target_: torch.optim.SGD\nlr: 0.1\nmomentum: {{a: {{b: {CALL}}}}}\n",
    "in a list": f"_target_: torch.optim.Adam\nlr: 0.1\nbetas: [{CALL}, 0.9]\n",
    "by interpolation": "_target_: ${.name}\nname: beside.touch\n",
    "by parts": "_target_: ${.a}.${.b}\na: beside\nb: touch\n",
    "by the environment": "_target_: ${oc.env:NOTHING,beside.touch}\n",
    "as a partial": f"_target_: torch.optim.SGD\n_partial_: true\nlr: 0.1\nfoo: {CALL}\n",
    "as a list": "_target_: [beside.touch]\n",
}


@pytest.mark.parametrize("how", HIDDEN)
def test_hidden_targets(call: Call, received: Callable[[str, str], None], own_folder: Path, how: str) -> None:
    received("optimizer/sent", HIDDEN[how])
    code, _, err = call("-cd", "sent", "optimizer=sent", "trainer=smoke")
    assert code == 2
    assert "Traceback" not in err
    assert "optimizer" in err
    assert not list(own_folder.rglob(CANARY))


HYDRAS = {
    "callbacks": f"callbacks: {{x: {CALL}}}",
    "job_logging factory": "job_logging: {version: 1, formatters: {x: {'()': beside.touch}}}",
    "job_logging class": f"job_logging: {{version: 1, handlers: {{x: {{class: logging.FileHandler, filename: {CANARY}}}}}}}",
    "hydra_logging": "hydra_logging: {version: 1, handlers: {x: {'()': beside.touch}}}",
    "launcher": f"launcher: {CALL}",
    "sweeper": f"sweeper: {CALL}",
    "env_set": "job: {env_set: {A_VARIABLE: a value}}",
    "run.dir": f"run: {{dir: {CANARY}}}\n  output_subdir: .",
    "chdir": "job: {chdir: true}",
    "a sweep that sets them": "mode: MULTIRUN\n  sweeper: {params: {seed: '0,1', hydra.run.dir: canary}}",
}


@pytest.mark.parametrize("what", HYDRAS)
def test_hydras_own_ways_of_running_code(call: Call, received: Callable[[str, str], None], own_folder: Path, what: str) -> None:
    received("experiment/sent", f"# @package _global_\nhydra:\n  {HYDRAS[what]}\n")
    refused(call("-cd", "sent", "experiment=sent", "trainer=smoke"), own_folder, "hydra.")


@pytest.mark.parametrize("words", ["-m optimizer=sent", "-cn own", "-cp sent -cn own", "--run optimizer=sent"])
def test_whichever_file_says_it(call: Call, received: Callable[[str, str], None], own_folder: Path, words: str) -> None:
    hydra = f"hydra: {{callbacks: {{x: {CALL}}}}}\n"
    received("own", f"defaults: [config, _self_]\n{hydra}")
    received("optimizer/sent", f"# @package _global_\n{hydra}optimizer: {{_target_: torch.optim.SGD, lr: 0.1}}\n")
    folder = () if "-cp" in words else ("-cd", "sent")
    refused(call(*folder, *words.split(), "trainer=smoke"), own_folder, "hydra.callbacks.x._target_")


def test_a_file_adds_no_folders(call: Call, received: Callable[[str, str], None], own_folder: Path) -> None:
    received("own", "defaults: [config, _self_]\nhydra: {searchpath: ['pkg://beside']}\n")
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


YAML = {
    "python/object": "a: !!python/object/apply:beside.touch []\n",
    "python/name": "a: !!python/name:os.getcwd\n",
    "python/new": "a: !!python/object/new:beside.touch []\n",
}


@pytest.mark.parametrize("what", YAML)
def test_yaml_that_makes_objects(call: Call, received: Callable[[str, str], None], own_folder: Path, what: str) -> None:
    received("optimizer/sent", f"_target_: torch.optim.SGD\nlr: 0.1\n{YAML[what]}")
    for words in ("-m optimizer=sent seed=0,1 -cd sent", "show optimizer/sent -cd sent"):
        refused(call(*words.split()), own_folder, "python")
    assert not list(own_folder.rglob(CANARY))


def test_the_run_beside_trains(call: Call, received: Callable[[str, str], None], own_folder: Path) -> None:
    received("optimizer/sent", f"_target_: torch.optim.SGD\nlr: 0.1\n{YAML['python/object']}")
    code, out, err = call("-m", "optimizer=sent,sgd", "-cd", "sent", "trainer=smoke", "baseline=[]")
    assert (code, "2 runs: 1 done, 1 failed" in out, "sent.yaml, line 3: cannot be read as YAML" in err) == (1, True, True)
    assert not list(own_folder.rglob(CANARY))


LARGE = {
    "aliases": (
        "a: &a [x, x, x]\nb: &b [*a, *a, *a]\nc: [*b, *b]\n",
        "its aliases stand for more than 30 nodes, or for themselves",
    ),
    "levels": ("a: [[[[[x]]]]]\n", "has more than 5 levels of lists and keys within each other; write it with fewer"),
    "levels by aliases": ("a: &a [x]\nb: &b [*a]\nc: &c [*b]\nd: &d [*c]\ne: [*d]\n", "has more than 5 levels"),
}


@pytest.mark.parametrize("what", LARGE)
def test_yaml_that_grows_is_refused_before_it_is_read(
    call: Call, received: Callable[[str, str], None], own_folder: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    import yaml

    text, said = LARGE[what]
    monkeypatch.setattr(registry, "NODES", 30)
    monkeypatch.setattr(registry, "LEVELS", 5)
    load = yaml.load

    def checked(stream: Any, **how: Any) -> Any:
        content = stream if isinstance(stream, str) else stream.read()
        assert text not in content, "the file was read"
        return load(content, **how)

    monkeypatch.setattr(yaml, "load", checked)
    received("optimizer/sent", f"_target_: torch.optim.SGD\nlr: 0.1\n{text}")
    for words in ("-m optimizer=sent seed=0,1 -cd sent", "optimizer=sent -cd sent", "show optimizer/sent -cd sent"):
        refused(call(*words.split()), own_folder, "sent.yaml", said)


def test_an_alias_of_itself_has_too_many_nodes() -> None:
    from yaml import MappingNode, ScalarNode, SequenceNode

    listed, mapped = SequenceNode("", []), MappingNode("", [])
    listed.value.append(listed)
    mapped.value.append((ScalarNode("", "a"), mapped))
    for node in (listed, mapped):
        assert registry._size(node, {})[0] > registry.NODES


def test_plain_aliases_are_fine(call: Call, received: Callable[[str, str], None]) -> None:
    received("optimizer/mine", "_target_: torch.optim.Adam\nlr: &lr 0.01\nweight_decay: *lr\n")
    code, out, err = call("-cd", "sent", "optimizer=mine", "--cfg", "job", "-p", "optimizer")
    assert (code, err) == (0, "")
    assert "weight_decay: 0.01" in out


NAMES = ["../../name", "'; touch canary", "$(touch canary)"]
MORE_NAMES = ["/tmp/name", "~/name", "..", "C:\\name", "<b>name</b>"]


@pytest.mark.parametrize("name", [*NAMES, *(pytest.param(name, marks=pytest.mark.slow) for name in MORE_NAMES)])
def test_names_stay_labels(call: Call, own_folder: Path, name: str) -> None:
    before = set(own_folder.parent.iterdir())
    quoted = "name='" + name.replace("'", "\\'") + "'"
    code, _, err = call("-m", quoted, "trainer=smoke", "dataset=xor", "seed=0,1", "logger=none")
    assert code == 0, err
    assert {path.name for path in own_folder.iterdir()} == {"outputs", "beside.py"}
    assert set(own_folder.parent.iterdir()) == before
    (sweep,) = (own_folder / "outputs" / "sweeps").iterdir()
    assert Sweep.open(sweep).name == name


@pytest.mark.parametrize("name", ["a\0b", "a\nb", "a\033[31mb", "x" * 101])
def test_names_are_printable(call: Call, own_folder: Path, name: str) -> None:
    code, _, err = call(f'name="{name}"', "trainer=smoke")
    assert code == 2
    assert "\033" not in err
    assert "\0" not in err
    assert [path.name for path in own_folder.iterdir()] == ["beside.py"]


def test_a_trusted_module_does_not_lend_what_it_imports(own: Callable[[str], None]) -> None:
    own("import os\nfrom os import getcwd\nfrom math import sqrt\nimport torch\n\ndef mine(x):\n    return x\n")
    assert resolver.resolve("own_components.mine", "activation").__name__ == "mine"
    for name in ("getcwd", "sqrt"):
        with pytest.raises(InputError, match="only what it defines itself can be named"):
            resolver.resolve(f"own_components.{name}", "activation")
    for target in ("own_components.torch.get_num_threads", "own_components.os.getcwd", "own_components.mine.__name__"):
        with pytest.raises(InputError):
            resolver.resolve(target, "activation")


def test_a_sent_sweep_imports_nothing_and_sets_nothing_of_hydras(call: Call, own_folder: Path) -> None:
    assert call("-m", "dataset=xor", "trainer=smoke", "seed=0,1", "logger=none")[0] == 0
    (sweep,) = (own_folder / "outputs" / "sweeps").iterdir()
    content = Sweep.open(sweep)
    words = content.settings["words"]
    for sent, said in (
        (["--import", "beside", *words], f"type dlrun resume {sweep.name} --import beside"),
        ([*words, f"+hydra.callbacks.x={CALL}"], "a folder cannot ask for"),
    ):
        content.settings["words"] = sent
        content.save()
        code, _, err = call("resume", sweep.name)
        assert code == 2
        assert said in err
        assert not list(own_folder.rglob(CANARY))
