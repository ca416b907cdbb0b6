"""Sweeps in processes of their own, to which bad things happen.

How often each happens, see doses.py. The processes are forked from one that has imported torch, but for those of tests that are
marked ``starts_workers``, and for every tenth of a long dose.

Moments are events of the process itself, so that a busy machine changes nothing: a line it prints, a file it writes, a result at
which it waits (``Lab.hold``), or the processor time it has used (``Lab.work``).
"""

import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from dlrun.errors import StoreError
from dlrun.results.database import problems, reading
from dlrun.results.store import Store
from dlrun.results.sweeps import sweep_folders
from kept import results, stamps
from nursery import Command, Nursery

Process = subprocess.Popen[str] | Command

MINUTES = 600.0  # seconds after which a test gives up; nothing that works takes nearly as long, however busy the machine is

# Python imports a module of this name when it starts. The process waits before the transaction of a cohort.
GATE = """
import sys, time
from pathlib import Path

from dlrun.results.store import Store

here = Path(__file__).parent
results = 0
write = Store.write_cohort

def held(store, runs, **how):
    global results
    runs = list(runs)
    if results < {number} <= results + len(runs):
        (here / "held").touch()
        while (here / "gate").exists():
            time.sleep(0.01)
    results += len(runs)
    return write(store, runs, **how)

Store.write_cohort = held
"""


class Lab:
    """A folder, and processes at work in it."""

    def __init__(self, folder: Path, call: Callable[..., tuple[int, str, str]], nursery: Callable[[], Nursery] | None) -> None:
        self.folder, self.root = folder, folder / "out"
        self._nursery = nursery  # None: processes start as those of a user
        self.pace = 1.0 if nursery is None else 0.3  # the processor time of a sweep with its start, against such a process's
        self._call = call
        self.modules = folder.parent / "modules"  # on the import path of the processes
        self.modules.mkdir()
        self._children: list[Process] = []

    def start(self, *words: str, limit: Callable[[], None] | None = None) -> Process:
        """``dlrun`` with these words and the output folder ``root``, in a process group of its own."""
        environment = {name: value for name, value in os.environ.items() if name != "HYDRA_FULL_ERROR"}
        environment |= {"OMP_NUM_THREADS": "1", "DLRUN_OUTPUT_DIR": str(self.root), "PYTHONPATH": str(self.modules)}
        child: Process
        if self._nursery is None:
            child = subprocess.Popen(
                [sys.executable, "-m", "dlrun", *words],
                cwd=self.folder,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                env=environment,
                start_new_session=True,
                preexec_fn=limit,
            )
        else:
            child = self._nursery().command(words, self.folder, environment, limit)
        self._children.append(child)
        return child

    def run(self, *words: str, limit: Callable[[], None] | None = None) -> tuple[int, str, str]:
        """The same to its end: exit code, stdout, stderr. Without a limit it runs in this process, which spares the imports."""
        return self._call(*words) if limit is None else self.end(self.start(*words, limit=limit))

    @staticmethod
    def end(child: Process) -> tuple[int, str, str]:
        """Wait for the end of a process."""
        out, err = child.communicate(timeout=MINUTES)
        return child.returncode, out, err

    def hold(self, number: int, words: Sequence[str]) -> Process:
        """The process of ``words``, which waits before its result ``number`` (from 1) appears, until ``release``."""
        (self.modules / "gate").touch()
        hook = self.modules / "sitecustomize.py"
        hook.write_text(GATE.format(number=number))
        child = self.start(*words)
        wait_for((self.modules / "held").exists, child)
        hook.unlink()  # other processes do not wait
        return child

    def release(self) -> None:
        """Let a process that waits go on."""
        (self.modules / "gate").unlink()

    @staticmethod
    def work(processes: Callable[[], Sequence[int]], seconds: float) -> None:
        """Wait until processes have used so many seconds of processor time from now on, or have ended."""
        before = processor_seconds(processes())
        wait_for(lambda: not (now := processes()) or processor_seconds(now) - before >= seconds)

    def stop(self, child: Process, which: signal.Signals, *, everybody: bool = False) -> tuple[str, str]:
        """Send a signal; the process must stop with the right exit code, without a traceback, and without further work."""
        before = processor_seconds(family(child.pid)) + ended_seconds()
        (os.killpg if everybody else os.kill)(child.pid, which)
        if (self.modules / "gate").exists():
            self.release()
        code, out, err = self.end(child)
        assert code == 128 + which, err
        assert "Traceback" not in err
        assert ended_seconds() - before < 5, err
        return out, err

    def kill(self, child: Process) -> None:
        """Kill a process, and it alone; one that has ended by itself stays as it is."""
        child.kill()
        child.communicate()

    @contextmanager
    def meanwhile(self, look: Callable[[], None]) -> Iterator[None]:
        """Call ``look`` over and over while other things happen, and once more when they have."""
        over = threading.Event()

        def watch() -> None:
            while not over.wait(0.02):
                look()
            look()

        thread = threading.Thread(target=watch)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def close(self) -> None:
        """Let nothing outlive the test."""
        for child in self._children:
            if child.poll() is None:
                os.killpg(child.pid, signal.SIGKILL)
            if child.stdout and not child.stdout.closed:
                child.communicate()

    def records(self) -> dict[str, dict[str, Any]]:
        """Run id -> what result.json says. Every one of them parses, whatever happened."""
        return results(self.root)

    def stamps(self) -> dict[str, tuple[str, float]]:
        """Run id -> what is never the same when it has been trained again."""
        return stamps(self.root)

    def sweeps(self) -> list[Path]:
        """The folders of the sweeps, oldest first."""
        return sweep_folders(Store(self.root))

    def claims(self) -> set[tuple[int, str]]:
        """The claims of runs, which processes make when they begin to train; a killed one leaves its behind."""
        with reading(self.root) as connection:
            if connection is None:
                return set()
            return set(connection.execute("SELECT owner, subject FROM claims WHERE subject NOT LIKE 'sweep%'"))

    def checkpoints(self) -> int:
        """How many checkpoints are kept."""
        with suppress(StoreError), reading(self.root) as connection:
            if connection is not None:
                return int(connection.execute("SELECT count(*) FROM checkpoints").fetchone()[0])
        return 0

    def check_clean(self) -> None:
        """Nothing is left of what was being written, and nothing but the store's own folders is there (P6)."""
        assert {path.name for path in self.folder.iterdir()} == {"out"}
        assert {path.name for path in self.root.iterdir()} - {"runs"} == {"dlrun.sqlite", "sweeps"}
        assert not self.claims()
        assert not self.checkpoints()
        assert not problems(self.root)
        for sweep in (self.root / "sweeps").iterdir():
            assert {path.name for path in sweep.iterdir()} <= {"comparison.csv", "comparison.md"}
        for run in (self.root / "runs").glob("*"):
            assert (run / "result.json").exists()


def wait_for(condition: Callable[[], Any], child: Process | None = None) -> None:
    """Wait until something is so; not longer than the process lives."""
    end = time.monotonic() + MINUTES
    while not condition():
        assert time.monotonic() < end, "it never happened"
        assert child is None or child.poll() is None or condition(), child.communicate()
        time.sleep(0.005)


@pytest.fixture
def lab(
    folder: Path,
    call: Callable[..., tuple[int, str, str]],
    monkeypatch: pytest.MonkeyPatch,
    nursery: Callable[[], Nursery],
    request: pytest.FixtureRequest,
) -> Iterator[Lab]:
    monkeypatch.setenv("DLRUN_OUTPUT_DIR", str(folder / "out"))
    tenth = "number" in request.fixturenames and request.getfixturevalue("number") % 10 == 9
    started = tenth or sys.platform != "linux" or request.node.get_closest_marker("starts_workers") is not None
    made = Lab(folder, call, None if started else nursery)
    yield made
    made.close()


@pytest.fixture(scope="session")
def wait() -> Callable[..., None]:
    return wait_for


def family(pid: int) -> list[int]:
    """A process and all that descend from it."""
    parents = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(entry.parent.name)] = int(entry.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
    found = [pid]
    for one in found:
        found += [child for child, parent in parents.items() if parent == one]
    return found


def processor_seconds(processes: Sequence[int]) -> float:
    """The processor time that processes, and their children that have ended, have used."""
    ticks = 0
    for process in processes:
        with suppress(OSError):  # it has ended
            fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
            ticks += sum(map(int, fields[11:15]))
    return ticks / os.sysconf("SC_CLK_TCK")


def ended_seconds() -> float:
    """The processor time of the children of this process that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@pytest.fixture(scope="session")
def processes_of() -> Callable[[int], list[int]]:
    return family
