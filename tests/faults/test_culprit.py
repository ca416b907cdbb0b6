"""One run of many that raises, leaves, crashes or eats memory: the others finish, the exit code is 1, it is named."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from doses import DOSE
from kept import results

RUNS = 1000 if DOSE else 8
CULPRIT = RUNS * 5 // 8  # its learning rate

MODULE = """
import ctypes, os, resource, signal, sys
import torch
from dlrun.extend import Optimizer

def raises():
    raise ValueError("the culprit")

def exits():
    sys.exit(0)

def leaves():
    os._exit(0)

def crashes():
    ctypes.string_at(0)

def is_killed():
    os.kill(os.getpid(), signal.SIGKILL)

def eats():
    with open("/proc/self/statm") as file:
        used = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + (1 << 28), resource.RLIM_INFINITY))
    eaten = []
    while True:
        eaten.append(bytearray(1 << 24))

class Fatal(Optimizer):
    def __init__(self, *, lr=1.0):
        self.lr = lr

    def state(self, theta):
        return {}

    def step(self, theta, grad, state, t, factor):
        if t == 5 and (torch.as_tensor(self.lr) == CULPRIT).any():  # not when it is tried
            if sys.platform == "linux":
                with open("/proc/self/oom_score_adj") as file:
                    assert int(file.read()) >= 500  # it would go before its parent
            globals()[HOW]()
        theta.sub_((1e-5 * self.lr * factor * grad).to(theta.dtype))
"""
REASONS = {
    "raises": "ValueError: the culprit",
    "exits": "called sys.exit(0)",
    "leaves": "the process that trained it ended with exit code 0",
    "crashes": "the process that trained it ended with signal SIGSEGV",
    "is_killed": "the process that trained it ended with signal SIGKILL, as when memory runs out",
    "eats": "MemoryError",
}


@pytest.mark.fault("one run of many that raises, leaves, crashes or eats memory")
@pytest.mark.parametrize("how", REASONS if DOSE else ["crashes"])
def test_the_others_finish(call: Callable[..., tuple[int, str, str]], folder: Path, monkeypatch: Any, how: str) -> None:
    monkeypatch.setattr("dlrun.own_modules._imported", set())
    monkeypatch.delitem(__import__("sys").modules, "fatal", raising=False)
    (folder / "fatal.py").write_text(MODULE.replace("CULPRIT", str(CULPRIT)).replace("HOW", repr(how)))
    option = folder / "conf" / "optimizer" / "fatal.yaml"
    option.parent.mkdir(parents=True)
    option.write_text("# is fatal to one\n_target_: fatal.Fatal\nlr: 1.0\n")
    words = ("--config-dir", "conf", "dataset=moons", "dataset.rows=80", "trainer=smoke", "trainer.max_steps=6", "baseline=[]")
    code, out, err = call("--import", "fatal", "-m", *words, "optimizer=fatal", f"optimizer.lr=range(1,{RUNS + 1})")
    assert (code, f"{RUNS:,} runs: {RUNS - 1} done, 1 failed" in out) == (1, True), err
    (failed,) = [record for record in results(folder / "outputs").values() if record["status"] == "failed"]
    assert failed["factors"]["optimizer.lr"] == CULPRIT
    assert failed["reason"].startswith(REASONS[how])
    assert f"failed: optimizer.lr={CULPRIT}: {REASONS[how]}" in err
    (line,) = [line for line in err.splitlines() if line.startswith("its traceback is in ")]
    assert "fatal.py" in Path(line.removeprefix("its traceback is in ")).read_text() or how in ("leaves", "is_killed")
