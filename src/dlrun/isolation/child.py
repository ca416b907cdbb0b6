"""What a worker process does: see ``apart``. It is started with the descriptors of its connection and its traceback file."""

import ctypes
import faulthandler
import io
import json
import os
import pickle
import signal
import sys
import time
from collections.abc import Callable
from contextlib import redirect_stdout, suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from dlrun.isolation.travel import DATA, STOP, now_and_then, told, unpacked

LOOK = 0.05  # seconds between two looks for the message that asks to stop

_datasets: list[Any] = []


def main() -> None:
    """What a new process does."""
    serve(*json.loads(sys.argv[2]))


def serve(descriptor: int, trace: int, parent: int) -> None:
    """Serve the parent until it is gone.

    Args:
        descriptor, trace: of the connection, and of the file for the traceback of a fatal signal.
        parent: the process.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # they are for the parent, which asks to stop
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGINT, signal.SIGTERM))
    _end_with(parent)
    _first_when_memory_runs_out()
    faulthandler.enable(trace, all_threads=False)
    connection: Connection[bytes, bytes] = Connection(descriptor)
    try:
        modules, forks = pickle.loads(connection.recv_bytes())
        _begin(connection, modules)
        while True:
            message = connection.recv_bytes()
            if message == STOP:  # it came when the task had ended
                continue
            kind, content = message[:1], message[1:]
            if kind == DATA:
                _datasets.append(pickle.loads(content))
            else:
                (_forked if forks else _serve)(connection, content)
    except (EOFError, OSError):  # the parent is gone
        os._exit(1)


def _end_with(parent: int) -> None:
    """End when the parent does, whatever this process is doing. Elsewhere than on Linux the next look tells."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
        if os.getppid() != parent:
            os._exit(1)


def _first_when_memory_runs_out() -> None:
    """Let Linux end this process rather than the parent, which knows what to do then."""
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("500")


def _begin(connection: "Connection[bytes, bytes]", modules: list[str]) -> None:
    from dlrun import own_modules
    from dlrun.threads import set_thread_count

    set_thread_count(1)
    try:
        with redirect_stdout(io.StringIO()):  # what a module prints, the parent's import prints
            for module in modules:
                connection.send_bytes(pickle.dumps(("importing", module)))
                if module == "__main__":  # the parent's: what is defined there travels as it is
                    continue
                own_modules.trust(module)
    except BaseException as error:
        connection.send_bytes(pickle.dumps(("raised", told(error))))
    else:
        connection.send_bytes(pickle.dumps(("ready", None)))


def _forked(connection: "Connection[bytes, bytes]", task: bytes) -> None:
    """Serve in a child; what ends it leaves this process as it is."""
    _flush()
    child = os.fork()
    if child == 0:
        _end_with(os.getppid())
        _serve(connection, task)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    connection.send_bytes(pickle.dumps(("ended", os.waitstatus_to_exitcode(status))))


def _serve(connection: "Connection[bytes, bytes]", task: bytes) -> None:
    """Do a task and send what came of it."""
    try:
        folder, function, given, hooks = unpacked(task, _datasets)
        if folder is not None:
            os.chdir(folder)
        more = {"report": _reporter(connection), "interrupted": _Asked(connection), "keep": _keeper(connection)} if hooks else {}
        answer = pickle.dumps(("done", function(*given, **more)), protocol=pickle.HIGHEST_PROTOCOL)
    except BaseException as error:  # whatever it is: it is the user's code that raises here, and the parent that decides
        answer = pickle.dumps(("raised", told(error)))
    _flush()
    connection.send_bytes(answer)


def _flush() -> None:
    """Write out what components have printed; nobody may be there to read it."""
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            with suppress(OSError, ValueError):
                stream.flush()


def _reporter(connection: "Connection[bytes, bytes]") -> Callable[[Any], None]:
    return now_and_then(lambda progress: connection.send_bytes(pickle.dumps(("progress", progress))))


def _keeper(connection: "Connection[bytes, bytes]") -> Callable[[Any], None]:
    return lambda content: connection.send_bytes(pickle.dumps(("kept", content), protocol=pickle.HIGHEST_PROTOCOL))


class _Asked:
    """Whether the parent has asked to stop; looked up now and then, since training asks before every step."""

    def __init__(self, connection: "Connection[bytes, bytes]") -> None:
        self._connection, self._next, self._asked = connection, 0.0, False

    def __call__(self) -> bool:
        now = time.monotonic()
        if not self._asked and now >= self._next:
            self._next = now + LOOK
            self._asked = self._connection.poll() and self._connection.recv_bytes() == STOP
        return self._asked
