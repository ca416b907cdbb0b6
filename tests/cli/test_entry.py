"""The entry point: quick answers, light imports, exit codes that survive Hydra."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn

import pytest
from omegaconf import DictConfig

from dlrun import __version__, registry
from dlrun.cli.main import VERBS
from dlrun.errors import GateError, InputError
from dlrun.native.load import described

Call = Callable[..., tuple[int, str, str]]
Process = Callable[..., subprocess.CompletedProcess[str]]

HEAVY = {"torch", "sklearn", "pandas", "scipy", "numpy"}
QUICK = {"--version": 0.2, "--help": 0.25, "--cfg job": 3.5}  # times the work of importing hydra
CALLS = """
import sys
calls = 0
def look(frame, event, argument):
    global calls
    calls += event in ("call", "c_call")
sys.setprofile(look)
try:
    {}
finally:
    sys.setprofile(None)
    print(calls)
"""


@pytest.mark.parametrize("line", [*QUICK, "ls", "ls optimizer", "optimizer=adm", "train --help", "--info defaults"])
def test_no_heavy_imports(folder: Path, line: str) -> None:
    code = f"import sys; from dlrun.cli.main import main; main({line.split()}); print(sorted({HEAVY} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    assert not list(folder.iterdir())


def test_quick_answers(folder: Path) -> None:
    def calls(statement: str) -> int:
        """How many calls a statement makes in a new process: unlike seconds, the same on a busy train_step."""
        done = subprocess.run([sys.executable, "-c", CALLS.format(statement)], capture_output=True, text=True, check=True)
        return int(done.stdout.splitlines()[-1])

    hydra = calls("import hydra")
    found = {line: calls(f"from dlrun.cli.main import main; main({line.split()})") / hydra for line in QUICK}
    assert {line: found[line] <= allowed for line, allowed in QUICK.items()} == dict.fromkeys(QUICK, True), found


def test_version_and_help(call: Call) -> None:
    assert call("--version") == (0, f"dlrun {__version__} (trains with {described()})\n", "")
    code, out, _ = call("optimizer=adam", "-h")
    assert code == 0
    for word in ["--multirun", "Exit codes", *registry.groups(), *VERBS]:
        assert re.search(rf"(^|[\s,]){word}\b", out), word
    assert all(len(line) <= 110 for line in out.splitlines())
    assert 24 <= len(out.splitlines()) <= 40  # a screen
    for verb in VERBS:
        code, out, _ = call(verb, "--help")
        assert code == 0
        assert out.startswith(f"usage: dlrun {'[train]' if verb == 'train' else verb}")
        assert "Examples:" in out


def test_flags_in_any_order(call: Call, tmp_path: Path) -> None:
    code, out, _ = call("seed=3", "--cfg", "job", "optimizer=sgd")
    assert code == 0
    assert "seed: 3" in out
    assert "torch.optim.SGD" in out
    (tmp_path / "mine" / "optimizer").mkdir(parents=True)
    (tmp_path / "mine" / "optimizer" / "slow.yaml").write_text("# Slow.\n_target_: torch.optim.SGD\nlr: 1e-9\n")
    code, out, _ = call("optimizer=slow", "--config-dir", str(tmp_path / "mine"), "-c", "job", "-p", "optimizer")
    assert code == 0
    assert "lr: 1.0e-09" in out
    (tmp_path / "mine" / "own.yaml").write_text("defaults:\n  - config\n  - override optimizer: slow\n  - _self_\nseed: 7\n")
    code, out, _ = call("-cd", str(tmp_path / "mine"), "-cn", "own", "--cfg", "job")
    assert code == 0
    assert "seed: 7" in out
    assert "lr: 1.0e-09" in out
    code, out, _ = call("-cp", str(tmp_path / "mine"), "-cn", "own", "--cfg", "job")
    assert code == 0
    assert "seed: 7" in out


def test_every_experiment_composes(call: Call) -> None:
    for name in registry.options("experiment"):
        code, out, err = call(f"experiment={name}", "--cfg", "job")
        assert code == 0, err
        assert f"name: {name}" in out


@pytest.mark.starts_workers
def test_completion(process: Process, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMP_LINE", "dlrun optimizer=ada")
    monkeypatch.setenv("COMP_POINT", "19")
    done = process("-sc", "query=bash")
    assert done.returncode == 0
    assert {"optimizer=adam", "optimizer=adamw"} <= set(done.stdout.split())


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("sh", {"show"}),
        ("p", {"plan"}),
        ("show activation/r", {"activation/relu"}),
        ("show activation/relu loss/hub", {"loss/huber"}),
        ("ls opt", {"optimizer"}),
        ("plan -m optimizer=adamw", {"optimizer=adamw"}),
        ("train dataset=moo", {"dataset=moons"}),
        ("resume ", set()),
        ("tune optimizer=adamw", {"optimizer=adamw"}),
        ("optimizer=sgd optimizer.l", {"optimizer.lr="}),
        ("-m activation=relu,ta", set()),
        ("optimizer=nonsense optimizer.", set()),
    ],
)
def test_completion_of_verbs_and_settings(process: Process, monkeypatch: pytest.MonkeyPatch, line: str, words: set[str]) -> None:
    monkeypatch.setenv("COMP_LINE", f"dlrun {line}")
    monkeypatch.setenv("COMP_POINT", str(len(line) + 6))
    done = process("-sc", "query=bash")
    assert (done.returncode, done.stderr) == (0, "")
    assert words <= set(done.stdout.split())
    assert words or not done.stdout.strip()


def raises(error: BaseException) -> Any:
    def main(config: DictConfig) -> NoReturn:
        raise error

    return main


@pytest.mark.parametrize(
    ("outcome", "code", "said"),
    [
        (lambda config: 0, 0, ""),
        (lambda config: 1, 1, ""),
        (raises(InputError("a=1: no", "b=2: \033[31mno")), 2, "error: a=1: no\nerror: b=2: \\x1b[31mno\n"),
        (raises(GateError("too slow")), 3, "error: too slow\n"),
        (raises(ValueError("boom")), 1, "error: ValueError: boom (HYDRA_FULL_ERROR=1 shows where)\n"),
        (raises(SystemExit(0)), 1, "error: the run called sys.exit(0)\n"),
        (raises(KeyboardInterrupt()), 130, ""),
        (lambda config: config.nothing, 2, "error: nothing: Key 'nothing' is not in struct\n"),
    ],
)
def test_exit_codes(call: Call, folder: Path, job: SimpleNamespace, outcome: Any, code: int, said: str) -> None:
    job.main = outcome
    assert call("seed=1") == (code, "", said)
    assert not list(folder.iterdir())


def test_full_error_shows_where(call: Call, job: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def main(config: DictConfig) -> int:
        seen.append(os.environ.get("HYDRA_FULL_ERROR"))
        if config.seed:
            raise ValueError("boom")
        return 0

    job.main = main
    assert call("seed=0") == (0, "", "")
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    code, _, err = call("seed=1")
    assert code == 1
    assert "Traceback" in err
    assert seen == [None, "1"]


BASIC = ("hydra/launcher=basic", "hydra/sweeper=basic")


def test_hydras_own_sweep_goes_on_after_a_failure_and_tells_it(call: Call, folder: Path, job: SimpleNamespace) -> None:
    def main(config: DictConfig) -> int:
        if config.seed == 1:
            raise InputError("seed=1: no")
        if config.seed == 2:
            raise SystemExit(0)
        print("trained", config.seed)
        return 0

    job.main = main
    code, out, err = call("seed=0,1,2,3", "-m", "optimizer=sgd", *BASIC)
    assert code == 2
    assert [line for line in out.splitlines() if "trained" in line] == ["trained 0", "trained 3"]
    assert "#3: seed=3 optimizer=sgd" in out
    assert err == "error: seed=1: no\nerror: the run called sys.exit(0)\n"
    assert [path.name for path in folder.iterdir()] == ["outputs"]


def test_hydras_own_sweep_writes_under_the_output_root(
    call: Call, folder: Path, job: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DLRUN_OUTPUT_DIR", str(tmp_path / "elsewhere"))
    assert call("-m", "seed=1,2", *BASIC)[0] == 0
    assert (tmp_path / "elsewhere" / "sweeps").is_dir()
    assert call("-m", "seed=1,2", f"output_dir={tmp_path / 'third'}", *BASIC)[0] == 0
    assert (tmp_path / "third" / "sweeps").is_dir()
    assert call("-m", "seed=1,2", "optimizer.lrr=1", f"output_dir={tmp_path / 'fourth'}", *BASIC)[0] == 2
    assert not (tmp_path / "fourth").exists()
    assert not list(folder.iterdir())
