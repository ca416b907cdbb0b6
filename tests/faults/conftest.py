"""Sweeps in processes of their own, to which bad things happen.

``@pytest.mark.dose(3)`` injects a fault three times, each with another ``number`` to seed the chance; with DLRUN_FAULTS=20 twenty
times (make faults).
"""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

DOSE = int(os.environ.get("DLRUN_FAULTS", "0"))  # 0: the short doses of the usual tests

Process = subprocess.Popen[str]


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "dose(usual): how often a fault is injected, unless DLRUN_FAULTS says")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    for mark in metafunc.definition.iter_markers("dose"):
        metafunc.parametrize("number", range(DOSE or mark.args[0]))


class Lab:
    """A folder, and processes at work in it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.root = folder, folder / "out"
        self._children: list[Process] = []

    def start(self, *words: str, limit: Callable[[], None] | None = None) -> Process:
        """``dlrun`` with these words and the output folder ``root``, in a process group of its own."""
        child = subprocess.Popen(
            [sys.executable, "-m", "dlrun", *words],
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={name: value for name, value in os.environ.items() if name != "HYDRA_FULL_ERROR"}
            | {"OMP_NUM_THREADS": "1", "DLRUN_OUTPUT_DIR": str(self.root)},
            start_new_session=True,
            preexec_fn=limit,
        )
        self._children.append(child)
        return child

    def run(self, *words: str, limit: Callable[[], None] | None = None) -> tuple[int, str, str]:
        """The same to its end: exit code, stdout, stderr."""
        return self.end(self.start(*words, limit=limit))

    @staticmethod
    def end(child: Process, seconds: float = 180) -> tuple[int, str, str]:
        """Wait for the end of a process."""
        out, err = child.communicate(timeout=seconds)
        return child.returncode, out, err

    def kill(self, child: Process) -> None:
        """Kill a process, and it alone; one that has ended by itself stays as it is."""
        child.kill()
        child.communicate()

    @contextmanager
    def meanwhile(self, look: Callable[[], None]) -> Iterator[None]:
        """Call ``look`` over and over while other things happen, and once more when they have."""
        over = threading.Event()

        def watch() -> None:
            while not over.wait(0.005):
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
        return {path.parent.name: json.loads(path.read_text()) for path in self.root.glob("runs/*/result.json")}

    def stamps(self) -> dict[str, int]:
        """Run id -> when its result was written, in nanoseconds."""
        return {path.parent.name: path.stat().st_mtime_ns for path in self.root.glob("runs/*/result.json")}

    def sweeps(self) -> list[Path]:
        """The folders of the sweeps, oldest first."""
        return sorted(path.parent for path in self.root.glob("sweeps/*/sweep.json"))

    def claims(self) -> set[Path]:
        """The claims of processes, which they make when they begin to train; a killed one leaves its behind."""
        return set(self.root.glob("runs/.claims/*.claim"))

    def check_clean(self) -> None:
        """Nothing is left of what was being written, and nothing but the store's own folders is there (P6)."""
        assert {path.name for path in self.folder.iterdir()} == {"out"}
        assert {path.name for path in self.root.iterdir()} == {"runs", "sweeps"}
        assert not list((self.root / "runs" / ".new").iterdir())
        assert {path.name for path in (self.root / "runs" / ".claims").iterdir()} == {"lock"}
        for sweep in (self.root / "sweeps").iterdir():
            assert {path.name for path in sweep.iterdir()} <= {".lock", "sweep.json", "comparison.csv", "comparison.md"}
        for run in (self.root / "runs").glob("[0-9a-f]*"):
            assert (run / "result.json").exists()


def wait_for(condition: Callable[[], Any], child: Process | None = None, seconds: float = 60) -> None:
    """Wait until something is so; not longer than the process lives."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it took too long"
        assert child is None or child.poll() is None, child.communicate()
        time.sleep(0.005)


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    folder = tmp_path / "work"
    folder.mkdir()
    made = Lab(folder)
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


@pytest.fixture(scope="session")
def processes_of() -> Callable[[int], list[int]]:
    return family
