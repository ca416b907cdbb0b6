import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from dlrun.errors import StoreError
from dlrun.results import locks
from dlrun.results.store import Store

SOURCE = str(Path(__file__).parents[2] / "src")

HOLDER = """
import sys
from pathlib import Path
from dlrun.results import locks
from dlrun.results.store import Store
with locks.held(Path(sys.argv[1]), "it"), Store(Path(sys.argv[2])).claim(sys.argv[3:]) as claim:
    print(*claim.mine, flush=True)
    sys.stdin.read()  # until the test ends it
"""

RACE = """
import os, sys
from pathlib import Path
from dlrun.results.store import Store
store = Store(Path(sys.argv[1]))
for round in range(10):
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
assert not list((store.runs / ".claims").glob("*.claim"))
"""


def _start(script: str, *args: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": SOURCE}
    return subprocess.Popen(
        [sys.executable, "-c", script, *args],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_lock_has_one_holder_and_dies_with_it(tmp_path: Path):
    store, lock = Store(tmp_path / "out"), tmp_path / "lock"
    process = _start(HOLDER, str(lock), str(store.root), "a" * 12, "b" * 12)
    assert process.stdout is not None
    assert process.stdout.readline().split() == ["a" * 12, "b" * 12]
    assert f"process {process.pid} on" in locks.owner(lock)
    with pytest.raises(StoreError, match=rf"sweep x is being worked on by process {process.pid}"), locks.held(lock, "sweep x"):
        pass
    with store.claim(["b" * 12, "c" * 12]) as claim:
        assert claim.mine == ("c" * 12,)
        assert f"process {process.pid}" in claim.others["b" * 12]
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert locks.owner(lock) == ""
    with locks.held(lock, "sweep x"), store.claim(["b" * 12]) as claim:
        assert claim.mine == ("b" * 12,)
        assert claim.others == {}
    assert list((store.runs / ".claims").glob("*.claim")) == []


def test_what_a_killed_process_claimed_is_cleared_away_though_nothing_is_left_to_claim(tmp_path: Path):
    store = Store(tmp_path / "out")
    first, second = (_start(HOLDER, str(tmp_path / name), str(store.root), name * 12) for name in "ab")
    for process in (first, second):
        assert process.stdout is not None
        assert process.stdout.readline()
    first.kill()
    first.communicate()
    store.prepare()
    (claim,) = (store.runs / ".claims").glob("*.claim")
    with store.claim(["a" * 12, "b" * 12]) as mine:
        assert mine.mine == ("a" * 12,)
    assert claim.exists()  # the one of the process that lives
    second.kill()
    second.communicate()


def test_claims_that_race_are_disjoint(tmp_path: Path):
    process = _start(RACE, str(tmp_path))
    _, errors = process.communicate()
    assert process.returncode == 0, errors


def test_two_claims_of_one_process_are_two(tmp_path: Path):
    store = Store(tmp_path)
    with store.claim(["a" * 12]), store.claim(["a" * 12, "b" * 12]) as second:
        assert second.mine == ("b" * 12,)
    with store.claim(["a" * 12, "a" * 12]) as again:
        assert again.mine == ("a" * 12,)


def test_a_lock_that_cannot_be_made_is_named(tmp_path: Path):
    with pytest.raises(StoreError, match="cannot be locked"), locks.held(tmp_path / "no" / "lock", "it"):
        pass
    assert locks.owner(tmp_path / "no" / "lock") == ""
