"""Who may train what: a claim has one owner, and what a process that is gone had claimed is free."""

import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from dlrun.errors import StoreError
from dlrun.results import claims
from dlrun.results.store import Store

SOURCE = str(Path(__file__).parents[2] / "src")

HOLDER = """
import sys
from pathlib import Path
from dlrun.results.store import Store
with Store(Path(sys.argv[1])).claim(sys.argv[2:]) as claim:
    print(*claim.mine, flush=True)
    sys.stdin.read()  # until the test ends it
"""

RACE = """
import os, sys
from pathlib import Path
from dlrun.results.store import Store
store = Store(Path(sys.argv[1]))
for round in range(5):
    results, go = os.pipe(), os.pipe()
    children = []
    for number in range(8):
        child = os.fork()
        if child == 0:
            os.close(go[1])
            with store.claim(f"{run:012x}" for run in range(number, number + 20)) as claim:
                os.write(results[1], (" ".join(claim.mine) + "\\n").encode())
                os.read(go[0], 1)  # until all have claimed
            os._exit(0)
        children.append(child)
    text = b""
    while text.count(b"\\n") < len(children):
        text += os.read(results[0], 65536)
    os.close(go[1])
    for child in children:
        assert os.waitpid(child, 0)[1] == 0
    mine = text.decode().split()
    assert len(mine) == len(set(mine)), "a run with two owners"
    assert set(mine) == {f"{run:012x}" for run in range(27)}, "a run without an owner"
    for end in (*results, go[0]):
        os.close(end)
"""


def _start(script: str, *args: str) -> subprocess.Popen[str]:
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen([sys.executable, "-c", script, *args], env={**os.environ, "PYTHONPATH": SOURCE}, text=True, **pipes)


def rows(store: Store, table: str) -> int:
    with sqlite3.connect(store.path) as connection:
        return int(connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0])


@pytest.fixture
def pretend(store: Store):
    """``pretend(pid=1)``: somebody else has claimed the run a...a."""

    def change(**values: object) -> None:
        with sqlite3.connect(store.path) as connection:
            old = {
                "pid": os.getpid(),
                "started": psutil.Process().create_time(),
                "host": claims.host(),
                "since": "then",
                "token": "x",
            }
            made = connection.execute(
                "INSERT INTO owners (pid, started, host, since, token) VALUES (:pid, :started, :host, :since, :token)",
                old | values,
            )
            connection.execute("INSERT INTO claims VALUES (?, ?)", ("a" * 12, made.lastrowid))

    return change


def test_a_claim_has_one_owner_and_ends_with_it(store: Store):
    process = _start(HOLDER, str(store.root), "a" * 12, "b" * 12)
    assert process.stdout is not None
    assert process.stdout.readline().split() == ["a" * 12, "b" * 12]
    assert f"process {process.pid} on" in store.owners(["a" * 12])["a" * 12]
    with store.claim(["b" * 12, "c" * 12]) as claim:
        assert claim.mine == ("c" * 12,)
        assert f"process {process.pid}" in claim.others["b" * 12]
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert store.owners(["a" * 12]) == {}
    assert rows(store, "claims") == 2
    with store.claim(["b" * 12]) as claim:
        assert (claim.mine, claim.others) == (("b" * 12,), {})
    assert (rows(store, "owners"), rows(store, "claims")) == (0, 0)
    process.communicate()


def test_a_killed_process_that_nobody_has_collected_is_gone(store: Store):
    process = _start(HOLDER, str(store.root), "a" * 12)
    assert process.stdout is not None
    assert process.stdout.readline()
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # it has ended, and is a zombie
    with store.claim(["a" * 12]) as claim:
        assert claim.mine == ("a" * 12,)
    process.communicate()


def test_claims_that_race_are_disjoint(store: Store):
    process = _start(RACE, str(store.root))
    _, errors = process.communicate()
    assert process.returncode == 0, errors
    assert (rows(store, "owners"), rows(store, "claims")) == (0, 0)


def test_two_claims_of_one_process_are_two(store: Store):
    with store.claim(["a" * 12]), store.claim(["a" * 12, "b" * 12]) as second:
        assert second.mine == ("b" * 12,)
    with store.claim(["a" * 12, "a" * 12]) as again:
        assert again.mine == ("a" * 12,)


@pytest.mark.parametrize(
    "owner",
    [{}, {"started": 1.0}, {"pid": 2**22 + 12345}, {"pid": 10**30 % 2**62}],
    ids=["a claim that could not be given back", "an earlier process of the same id", "a process that is gone", "no process id"],
)
def test_what_a_process_that_is_gone_had_claimed_is_free(store: Store, pretend, owner: dict[str, object]):
    pretend(**owner)
    assert store.owners(["a" * 12]) == {}
    with store.claim(["a" * 12]) as claim:
        assert claim.mine == ("a" * 12,)
    pretend(**owner)
    store.prepare()
    assert rows(store, "claims") == 0


def test_another_hosts_claim_is_respected_until_it_is_released(store: Store, pretend):
    pretend(host="elsewhere", pid=2**22 + 12345)
    store.prepare()
    with store.claim(["a" * 12]) as claim:
        assert claim.mine == ()
        assert claim.others == {"a" * 12: f"process {2**22 + 12345} on elsewhere (since then)"}
    with store.writing() as runs:
        assert claims.release(runs.connection) == 1
    with store.claim(["a" * 12]) as claim:
        assert claim.mine == ("a" * 12,)


def test_a_claim_that_cannot_be_given_back_blocks_nobody(store: Store, monkeypatch: pytest.MonkeyPatch):
    def full(*_: object) -> None:
        raise StoreError("No space left on device")

    with monkeypatch.context() as patch:
        with store.claim(["a" * 12]):
            patch.setattr(claims, "give_back", full)
        assert rows(store, "claims") == 1
    with store.claim(["a" * 12]) as claim:
        assert claim.mine == ("a" * 12,)
