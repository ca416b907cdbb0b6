"""Processes that are forked from one that has imported torch: a start takes 0.1 s instead of 3 s of computing.

Most tests of a user's own code need a worker, and many others the command in a process of its own, but only a few of them are
about how it starts.
"""

import base64
import ctypes
import gc
import importlib.util
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

# serve returns in a process that is to be the command, which then runs as by python -m
_START = """
import runpy, sys
sys.path.insert(0, sys.argv[1])
import nursery
nursery.serve(int(sys.argv[2]))
runpy.run_module("dlrun", run_name="__main__", alter_sys=True)
"""
_PR_SET_NAME, _PR_SET_CHILD_SUBREAPER = 15, 36


class Nursery:
    """A process that forks others; ``close`` ends it.

    Args:
        preload: a library that stands before those of the system in all of them.
    """

    def __init__(self, preload: str | None = None) -> None:
        self._ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        words = [sys.executable, "-c", _START, str(Path(__file__).parent), str(theirs.fileno())]
        alone = {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}  # as the tests and the command have it
        alone |= {} if preload is None else {"LD_PRELOAD": preload}
        self._process = subprocess.Popen(words, pass_fds=[theirs.fileno()], env=os.environ | alone)
        theirs.close()

    def start(self, kept: tuple[int, int]) -> "Child":
        """In place of ``isolation.worker.start_python``."""
        status, theirs = socket.socketpair()
        given = {"path": sys.path, "environment": dict(os.environ), "folder": _folder()}
        with theirs:
            socket.send_fds(self._ours, [json.dumps(given).encode()], [*kept, theirs.fileno(), 1, 2])
        return Child(status)

    def command(
        self, words: Sequence[str], folder: Path, environment: Mapping[str, str], limit: Callable[[], None] | None = None
    ) -> "Command":
        """``python -m dlrun`` with these words, in a session of its own; ``limit`` is called in it before it starts.

        It is a child of this process: the one that forks it ends, and until it has, orphans are taken in here.
        """
        import cloudpickle

        status, theirs = socket.socketpair()
        (out, its_out), (err, its_err) = os.pipe(), os.pipe()
        called = None if limit is None else base64.b64encode(cloudpickle.dumps(limit)).decode()
        given = {"words": list(words), "environment": dict(environment), "folder": str(folder), "limit": called}
        _prctl(_PR_SET_CHILD_SUBREAPER, 1)
        try:
            with theirs:
                descriptors = [theirs.fileno(), its_out, its_err]
                socket.send_fds(self._ours, [json.dumps(given | {"parent": os.getpid()}).encode()], descriptors)
            with status:
                pid = int.from_bytes(_received(status, 8), "big")
        finally:
            _prctl(_PR_SET_CHILD_SUBREAPER, 0)
            os.close(its_out)
            os.close(its_err)
        return Command(pid, out, err)

    def close(self) -> None:
        self._ours.close()
        self._process.kill()
        self._process.wait()


class Child:
    """A worker, as ``isolation.Process`` describes it. Its status comes from the process that waits for it."""

    def __init__(self, status: socket.socket) -> None:
        self._status = status
        self._code: int | None = None
        self.pid = int.from_bytes(_received(status, 8), "big")

    def poll(self) -> int | None:
        over = self._code is not None or bool(select.select([self._status], [], [], 0)[0])
        return self.wait() if over else None

    def wait(self) -> int:
        if self._code is None:
            with self._status:
                self._code = int.from_bytes(_received(self._status, 8), "big", signed=True)
        return self._code

    def kill(self) -> None:
        if self.poll() is None:
            os.kill(self.pid, signal.SIGKILL)


class Forked:
    """A child of this process that was forked: what is used of subprocess.Popen."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None

    def poll(self) -> int | None:
        return self._wait(os.WNOHANG)

    def wait(self) -> int:
        code = self._wait(0)
        assert code is not None
        return code

    def _wait(self, options: int) -> int | None:
        if self.returncode is None:
            ended, status = os.waitpid(self.pid, options)
            self.returncode = os.waitstatus_to_exitcode(status) if ended else None
        return self.returncode

    def send_signal(self, which: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, which)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class Command(Forked):
    """The command, with its streams."""

    def __init__(self, pid: int, out: int, err: int) -> None:
        super().__init__(pid)
        self.stdout, self.stderr = open(out), open(err)  # noqa: SIM115 (closed by communicate)

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """What it writes until it has ended, but for the lines that were read before."""
        said: dict[TextIO, str] = {}
        threads = []
        for stream in (self.stdout, self.stderr):
            threads.append(threading.Thread(target=lambda stream=stream: said.update({stream: stream.read()}), daemon=True))
            threads[-1].start()
        for thread in threads:
            thread.join(timeout)
            assert not thread.is_alive(), "it never ended"
        out, err = said[self.stdout], said[self.stderr]
        self.stdout.close()
        self.stderr.close()
        self.wait()
        return out, err


def _received(connection: socket.socket, count: int) -> bytes:
    content = connection.recv(count, socket.MSG_WAITALL)
    if len(content) < count:
        raise RuntimeError("the nursery has ended")
    return content


def _prctl(option: int, value: Any) -> None:
    ctypes.CDLL(None).prctl(option, value)


def serve(descriptor: int) -> None:
    """What the nursery does: it forks a process that forks what is asked for. Returns in a process that is to be the command."""
    import dlrun.cli.sweep
    import dlrun.cli.train
    import dlrun.experiments.executors.scheduling
    import dlrun.isolation.child
    import dlrun.own_modules  # noqa: F401 (with torch)

    gc.freeze()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with socket.socket(fileno=descriptor) as requests:
        while True:
            message, descriptors, _, _ = socket.recv_fds(requests, 1 << 20, 5)
            if not message:
                return
            if os.fork() == 0:
                requests.close()
                given = json.loads(message)
                if "words" in given:
                    if os.fork():
                        os._exit(0)
                    _become_command(given, *descriptors)
                    return
                _watch(given, *descriptors)
                os._exit(0)
            for each in descriptors:
                os.close(each)


def _watch(given: dict[str, object], connection: int, trace: int, status: int, out: int, err: int) -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM))
    watcher = os.getpid()
    child = os.fork()
    if child == 0:
        os.close(status)
        os.dup2(out, 1)
        os.dup2(err, 2)
        sys.path[:] = given["path"]
        os.environ.clear()
        os.environ.update(given["environment"])
        if given["folder"] is not None:
            os.chdir(given["folder"])
        from dlrun.isolation.child import serve as work

        work(connection, trace, watcher)
        os._exit(0)
    for each in (connection, trace, out, err):
        os.close(each)
    os.write(status, child.to_bytes(8, "big"))
    _, ended = os.waitpid(child, 0)
    os.write(status, os.waitstatus_to_exitcode(ended).to_bytes(8, "big", signed=True))


def _become_command(given: dict[str, Any], status: int, out: int, err: int) -> None:
    """Make this process what ``python -m dlrun`` is when it begins to run dlrun."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.setsid()
    while os.getppid() != given["parent"]:
        os.sched_yield()
    os.dup2(out, 1)
    os.dup2(err, 2)
    os.chdir(given["folder"])
    os.environ.clear()
    os.environ.update(given["environment"])
    if given["limit"] is not None:
        import cloudpickle

        cloudpickle.loads(base64.b64decode(given["limit"]))()
    os.write(status, os.getpid().to_bytes(8, "big"))
    for each in (status, out, err):
        os.close(each)
    sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115 (it lasts as long as the process)
    sys.stderr = open(2, "w", buffering=1, encoding="utf-8", errors="backslashreplace", closefd=False)  # noqa: SIM115
    more = [folder for folder in given["environment"].get("PYTHONPATH", "").split(os.pathsep) if folder]
    sys.path[:1] = [given["folder"], *more]
    sys.argv = ["dlrun", *given["words"]]
    for folder in more:
        if (path := Path(folder) / "sitecustomize.py").exists():
            spec = importlib.util.spec_from_file_location("sitecustomize", path)
            assert spec is not None
            assert spec.loader is not None
            spec.loader.exec_module(importlib.util.module_from_spec(spec))
    import dlrun.isolation.worker

    dlrun.isolation.worker.start_python = _fork_worker


def _fork_worker(kept: tuple[int, int]) -> Forked:
    """In place of ``isolation.worker.start_python``, in a command that was forked itself."""
    parent = os.getpid()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM))
    child = os.fork()
    if child == 0:
        _prctl(_PR_SET_NAME, b"isolation.child")  # 15 characters at most
        low, high = sorted(kept)
        for first, last in ((3, low), (low + 1, high), (high + 1, os.sysconf("SC_OPEN_MAX"))):
            os.closerange(first, last)
        from dlrun.isolation.child import serve as work

        try:
            work(*kept, parent)
        finally:
            os._exit(1)
    signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return Forked(child)


def _folder() -> str | None:
    try:
        return os.getcwd()
    except OSError:
        return None
