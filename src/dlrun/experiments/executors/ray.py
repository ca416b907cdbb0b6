"""Cohorts on the actors of a Ray cluster: one that an address names, or one that Ray starts here.

Needs the extra ``dlrun[ray]``. An actor is a worker process that trains one cohort at a time, while a second thread of it hears
that it shall stop, and tells how far it is. A dataset is put into Ray's object store once; each node fetches it once, and each
actor keeps what it has unpacked. A cohort is given to an actor that is ready, so that one which waits for a place on the cluster
holds up none, and Ray restarts nothing: an actor that is lost is replaced here.
"""

import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from dlrun.data.dataset import Data
from dlrun.engine.progress import Progress
from dlrun.experiments.executors.base import Site, Task
from dlrun.experiments.executors.remote import LOSSES, Parcel, Remote, Sent, work
from dlrun.isolation import POLL, DiedError, StartError

ANSWER = 10.0  # seconds that a cluster has for its answer


class Ray(Remote):
    """Trains on ``count`` actors at once.

    Args:
        count: how many cohorts at once.
        site: with the address of the cluster, which is started on this machine where it is empty, and what an actor asks of it:
            options of Ray's actors, such as ``num_cpus`` (1 where nothing is said) and ``num_gpus``.

    Raises:
        StartError: no cluster answers there, or it cannot be started.
    """

    worker = "a Ray actor"

    def __init__(self, count: int, site: Site) -> None:
        super().__init__(count)
        self._options = {"num_cpus": 1, **site.parameters, "max_concurrency": 2}
        self._joined = _join(site.address, max(count, count * int(self._options["num_cpus"])))
        self._references: dict[int, tuple[Data, Any]] = {}  # by id, which the data that is held here keeps its own
        self._starting: dict[Any, Any] = {}  # what an actor answers when it is ready -> the actor
        self._idle: list[Any] = []
        self._busy: dict[Any, Any] = {}  # the answer to come -> the actor
        self._deaths = 0  # of actors before they were ready, since one was
        try:
            for _ in range(count):
                self._start()
        except BaseException:
            self.close()
            raise

    def _start(self) -> None:
        import ray

        try:
            actor = ray.remote(_Worker).options(**self._options).remote()
        except (TypeError, ValueError) as error:
            raise StartError(f"hydra.launcher.parameters: Ray refuses them for an actor: {error}") from error
        self._starting[actor.ready.remote()] = actor

    def send(self, parcel: Parcel, datasets: Sequence[Data]) -> Sent:
        """Give the cohort to an actor, now or as soon as one is ready."""
        return _Sent(self, parcel, [self._reference(data) for data in datasets])

    def _reference(self, data: Data) -> Any:
        import ray

        if id(data) not in self._references:
            self._references[id(data)] = data, ray.put(data)
        return self._references[id(data)][1]

    def take(self, parcel: Parcel, references: Sequence[Any]) -> tuple[Any, Any] | None:
        """An actor that has begun the cohort, and its answer to come; None while no actor is ready.

        Raises:
            StartError: actors end before they are ready.
        """
        import ray

        for ready in ray.wait([*self._starting], num_returns=len(self._starting), timeout=0)[0] if self._starting else ():
            actor = self._starting.pop(ready)
            try:
                ray.get(ready)
            except ray.exceptions.RayError as error:
                self._deaths += 1
                if self._deaths == LOSSES:
                    raise StartError(f"{LOSSES} Ray actors ended before they were ready; the last: {_said(error)}") from error
                self._start()
            else:
                self._deaths = 0
                self._idle.append(actor)
        if not self._idle:
            return None
        actor = self._idle.pop()
        answer = actor.train.remote(parcel, references)
        self._busy[answer] = actor
        return actor, answer

    def give(self, answer: Any, *, lost: bool = False) -> None:
        """An actor has ended its cohort; one that is lost is replaced."""
        import ray

        actor = self._busy.pop(answer)
        if not lost:
            self._idle.append(actor)
        else:
            with suppress(ray.exceptions.RayError):  # it may have been the connection alone
                ray.kill(actor)
            self._start()

    def wait(self, tasks: Sequence[Task]) -> None:
        """Wait until a cohort has ended, or an actor is ready."""
        import ray

        coming = [*self._busy, *self._starting]
        if coming:
            ray.wait(coming, timeout=POLL)
        else:
            time.sleep(POLL)

    def ask(self) -> None:
        """Tell all actors."""
        for actor in self._busy.values():
            actor.stop.remote()

    def close(self) -> None:
        """End the actors, and leave the cluster, or end the one that was started here."""
        import ray

        for actor in (*self._starting.values(), *self._idle, *self._busy.values()):
            with suppress(ray.exceptions.RayError):
                ray.kill(actor)
        self._references, self._starting, self._idle, self._busy = {}, {}, [], {}
        if self._joined:
            ray.shutdown()


class _Sent(Sent):
    def __init__(self, executor: Ray, parcel: Parcel, references: Sequence[Any]) -> None:
        self._executor, self._parcel, self._references = executor, parcel, references
        self._taken: tuple[Any, Any] | None = None
        self._progress: Any = None  # to come
        self._take()

    def _take(self) -> None:
        self._taken = self._executor.take(self._parcel, self._references)

    def begun(self) -> bool:
        return self._taken is not None

    def progress(self) -> Progress | None:
        import ray

        if self._taken is None:
            return None
        coming, self._progress = self._progress, None
        if coming is not None and not ray.wait([coming], timeout=0)[0]:
            self._progress = coming
            return None
        try:
            found: Mapping[str, Any] | None = ray.get(coming) if coming is not None else None
        except ray.exceptions.RayError:  # as the answer will tell
            return None
        self._progress = self._taken[0].progress.remote()
        return None if found is None else Progress(**found)

    def answer(self) -> bytes | None:
        import ray

        if self._taken is None:
            self._take()
            return None
        _, coming = self._taken
        if not ray.wait([coming], timeout=0)[0]:
            return None
        lost = (ray.exceptions.RayActorError, ray.exceptions.OutOfMemoryError, ray.exceptions.ObjectLostError)
        try:
            answer: bytes = ray.get(coming)
        except lost as error:
            self._executor.give(coming, lost=True)
            raise DiedError(f"the process ended: {_how(error)}", str(error)) from None
        except ray.exceptions.RayError as error:
            raise StartError(f"a Ray actor could not take a cohort: {_said(error)}") from error
        self._executor.give(coming)
        return answer


def _how(error: Any) -> str:
    import ray

    full = isinstance(error, ray.exceptions.OutOfMemoryError) or "memory" in str(error).partition("Some common causes")[0]
    return "Ray lost its actor" + (", as when memory runs out" if full else "")


def _said(error: Exception) -> str:
    """What Ray raised, in a line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[-1] if lines else ''}"


class _Worker:
    """What an actor is."""

    def __init__(self) -> None:
        self._known: dict[Any, Data] = {}
        self._asked = False
        self._progress: Progress | None = None

    def ready(self) -> None:
        """It has started, and dlrun is there."""

    def train(self, parcel: Parcel, references: Sequence[Any]) -> bytes:
        """Train a cohort."""
        import ray

        for reference in references:
            if reference not in self._known:
                self._known[reference] = ray.get(reference)
        datasets = [self._known[reference] for reference in references]
        return work(parcel, datasets, report=self._report, interrupted=lambda: self._asked)

    def _report(self, progress: Progress) -> None:
        self._progress = progress

    def progress(self) -> dict[str, Any] | None:
        """What was reported since the last call."""
        progress, self._progress = self._progress, None
        return None if progress is None else asdict(progress)

    def stop(self) -> None:
        """End early what is at work."""
        self._asked = True


def workers_at(site: Site) -> int:
    """How many actors the cluster at an address has room for.

    Raises:
        StartError: no cluster answers there, or it has no room.
    """
    joined = _join(site.address, 1)
    import ray

    try:
        there = ray.cluster_resources()
    finally:
        if joined:
            ray.shutdown()
    wanted = {"CPU": site.parameters.get("num_cpus", 1), "GPU": site.parameters.get("num_gpus", 0)}
    count = int(min((there.get(name, 0) / number for name, number in wanted.items() if number), default=1))
    if not count:
        asks = ", ".join(f"{number:g} {name}" for name, number in wanted.items() if number)
        raise StartError(f"hydra.launcher.address={site.address}: the cluster has no room for an actor, which takes {asks}")
    return count


def _join(address: str, cpus: int) -> bool:
    """Join a cluster, or start one here; False where this process had joined one before."""
    _show_token()
    import ray

    if ray.is_initialized():
        return False
    try:
        with _own_signals():
            _check(address)
            if not address:
                os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # Ray would send statistics to its makers
            here = {"address": "local", "num_cpus": cpus, "include_dashboard": False} if not address else {"address": address}
            ray.init(**here, log_to_driver=False, logging_level=logging.CRITICAL)
            ray._private.worker._worker_logs_enabled = False  # without logs of workers, Ray still prints losses on stdout
    except (OSError, ValueError, RuntimeError, AssertionError, ImportError) as error:
        if not address:
            raise StartError(f"Ray cannot be started here: {_said(error)}") from error
        raise StartError(
            f"hydra.launcher.address={address}: no Ray cluster answers ({_said(error)}); it is HOST:PORT of its head (start one "
            "with: ray start --head), ray://HOST:PORT, or auto on a machine of it; leave it out for workers on this machine"
        ) from error
    return True


def _check(address: str) -> None:
    """Raise an OSError where nothing listens: Ray would try for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdecimal():
        socket.create_connection((host, int(port)), timeout=ANSWER).close()


def _show_token() -> None:
    """Show the cluster the token that is there: Ray does so for ``auto``, and not for HOST:PORT. It looks when it is imported."""
    given = any(name in os.environ for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"))
    if given or (Path.home() / ".ray" / "auth_token").exists():
        os.environ.setdefault("RAY_AUTH_MODE", "token")


@contextmanager
def _own_signals() -> Iterator[None]:
    """What this process does with SIGTERM stays: Ray sets a handler of its own, which would end it."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)
