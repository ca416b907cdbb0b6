"""Workers that are forked from a process that has imported torch: a start takes 0.1 s instead of 3 s of computing.

Most tests of a user's own code need a worker, and only a few of them are about how it starts.
"""

import json
import os
import select
import signal
import socket
import subprocess
import sys
from pathlib import Path

_START = "import sys; sys.path.insert(0, sys.argv[1]); import nursery; nursery.serve(int(sys.argv[2]))"


class Nursery:
    """A process that forks workers; ``close`` ends it."""

    def __init__(self) -> None:
        self._ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        words = [sys.executable, "-c", _START, str(Path(__file__).parent), str(theirs.fileno())]
        self._process = subprocess.Popen(words, pass_fds=[theirs.fileno()])
        theirs.close()

    def start(self, kept: tuple[int, int]) -> "Child":
        """In place of ``apart.start_python``."""
        status, theirs = socket.socketpair()
        given = {"path": sys.path, "environment": dict(os.environ), "folder": _folder()}
        with theirs:
            socket.send_fds(self._ours, [json.dumps(given).encode()], [*kept, theirs.fileno(), 1, 2])
        return Child(status)

    def close(self) -> None:
        self._ours.close()
        self._process.kill()
        self._process.wait()


class Child:
    """A worker, as ``apart.Process`` describes it. Its status comes from the process that waits for it."""

    def __init__(self, status: socket.socket) -> None:
        self._status = status
        self._code: int | None = None
        self.pid = int.from_bytes(self._received(8), "big")

    def poll(self) -> int | None:
        over = self._code is not None or bool(select.select([self._status], [], [], 0)[0])
        return self.wait() if over else None

    def wait(self) -> int:
        if self._code is None:
            with self._status:
                self._code = int.from_bytes(self._received(8), "big", signed=True)
        return self._code

    def kill(self) -> None:
        if self.poll() is None:
            os.kill(self.pid, signal.SIGKILL)

    def _received(self, count: int) -> bytes:
        content = self._status.recv(count, socket.MSG_WAITALL)
        if len(content) < count:
            raise RuntimeError("the nursery has ended")
        return content


def serve(descriptor: int) -> None:
    """What the nursery does: it forks a process that forks the worker and waits for it."""

    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with socket.socket(fileno=descriptor) as requests:
        while True:
            message, descriptors, _, _ = socket.recv_fds(requests, 1 << 20, 5)
            if not message:
                return
            if os.fork() == 0:
                requests.close()
                _watch(json.loads(message), *descriptors)
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
        from dlrun.isolation_worker import serve as work

        work(connection, trace, watcher)
        os._exit(0)
    for each in (connection, trace, out, err):
        os.close(each)
    os.write(status, child.to_bytes(8, "big"))
    _, ended = os.waitpid(child, 0)
    os.write(status, os.waitstatus_to_exitcode(ended).to_bytes(8, "big", signed=True))


def _folder() -> str | None:
    try:
        return os.getcwd()
    except OSError:
        return None
