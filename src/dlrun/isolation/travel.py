"""What travels between a worker process and its parent: tasks, datasets once each, reports now and then, errors as text."""

import io
import pickle
import time
import traceback
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from dlrun.errors import DlrunError, InputError, RunError

REPORT = 0.1  # seconds between two reports of progress
STOP, DATA, TASK = b"stop", b"d", b"t"  # messages: end the task early; a dataset; a task


class RaisedError(RunError):
    """What code in a worker raised, in a line.

    Args:
        reason: the line.
        log: the traceback.
        foreign: whether it was no exception of dlrun's, so that where it was raised is worth knowing.
    """

    def __init__(self, reason: str, log: str = "", *, foreign: bool = False) -> None:
        super().__init__(reason)
        self.reason, self.log, self.foreign = reason, log, foreign
        if log:
            self.add_note(log)  # a full error shows it

    def __reduce__(self) -> Any:
        return partial(type(self), foreign=self.foreign), (self.reason, self.log)


class DiedError(RaisedError):
    """The worker ended before its task did. ``reason`` says how: ``the process ended with exit code 3`` (``signal SIGSEGV``)."""

    def named(self, components: Sequence[str], did: str = "trained it") -> "DiedError":
        """The same, saying what the process did and what components of the user's own it used."""
        whose = f"; it uses the component{'s' * (len(components) > 1)} {', '.join(components)}" if components else ""
        return DiedError(self.reason.replace("the process", f"the process that {did}", 1) + whose, self.log)


def reason(error: BaseException) -> str:
    """What an exception says, in a line."""
    if isinstance(error, SystemExit):
        return f"called sys.exit({error.code})"
    said = str(error) if isinstance(error, DlrunError) else f"{type(error).__name__}: {error}"
    return said.splitlines()[0].removesuffix(": ")


def now_and_then(send: Callable[[Any], None]) -> Callable[[Any], None]:
    """``send``, but for reports that come within REPORT seconds of one that was sent."""
    last = 0.0

    def report(progress: Any) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= REPORT:
            last = now
            send(progress)

    return report


def told(error: BaseException) -> DlrunError:
    """An exception that can travel."""
    if isinstance(error, InputError | RaisedError):
        return error
    log = "".join(traceback.format_exception(error))
    return RaisedError(reason(error), log, foreign=not isinstance(error, DlrunError))


class StartError(InputError):
    """No worker could be started, or the user's modules could not be imported in one: no run is to blame."""


def packed(task: Any, known: Sequence[Any] = ()) -> tuple[bytes, list[Any]]:
    """A task as bytes without its datasets, and those of them that are not among ``known``: each is sent once."""
    import cloudpickle

    from dlrun.data.dataset import Data

    places = {id(data): number for number, data in enumerate(known)}
    new: list[Any] = []

    class Pickler(cloudpickle.Pickler):  # type: ignore[misc]
        def persistent_id(self, item: Any) -> int | None:
            if not isinstance(item, Data):
                return None
            if id(item) not in places:
                places[id(item)] = len(places)
                new.append(item)
            return places[id(item)]

    out = io.BytesIO()
    Pickler(out, protocol=pickle.HIGHEST_PROTOCOL).dump(task)
    return out.getvalue(), new


def unpacked(task: bytes, datasets: Sequence[Any]) -> Any:
    """What ``packed`` packed, with the datasets in the order in which they were found."""

    class Unpickler(pickle.Unpickler):
        def persistent_load(self, place: Any) -> Any:
            return datasets[place]

    return Unpickler(io.BytesIO(task)).load()
