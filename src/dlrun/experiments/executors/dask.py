"""Cohorts as tasks of a Dask cluster: one that an address names, or worker processes that Dask starts here.

Needs the extra ``dlrun[dask]``. A dataset is scattered once and cohorts refer to it; results come back to this process, which
alone writes. Dask trains the cohort of a lost worker elsewhere without a word, and again up to four times. A cohort that ends its
workers must not do so: a worker sends an event when it begins, and one that begins a second time counts as died.
"""

import logging
import pickle
import signal
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import CancelledError
from dataclasses import asdict
from typing import Any
from uuid import uuid4

import torch

from dlrun import own_modules
from dlrun.config import own_code
from dlrun.data.dataset import Data
from dlrun.engine.progress import Progress
from dlrun.experiments.checkpoints import Keep
from dlrun.experiments.executors.base import Executor, Report, Task
from dlrun.experiments.planning.cohorts import Planned
from dlrun.experiments.train import train, versions
from dlrun.isolation import POLL, DiedError, StartError, now_and_then, packed, told, unpacked
from dlrun.results.checkpoints import SavedCheckpoint
from dlrun.results.formats import RunFiles

ANSWER = 10.0  # seconds that a scheduler has for its answer
GRACE = 3.0  # seconds that a cohort which is asked to stop has for handing over what it has
LOSSES = 3  # times that a cohort which has not begun may lose its data with a worker


class Dask(Executor):
    """Trains on ``count`` workers at once.

    Args:
        count: how many cohorts at once.
        address: of the scheduler; workers are started on this machine where it is empty.

    Raises:
        StartError: no scheduler answers there, or the workers cannot be started.
    """

    def __init__(self, count: int, address: str = "") -> None:
        self.slots, self._name, self._modules = count, uuid4().hex, own_modules.trusted()
        self._cluster = None if address else _local(count)
        self.client = _client(address or self._cluster)
        self._data: dict[int, tuple[Data, Any]] = {}  # by id, which the data that is held here keeps its own
        self._tasks: dict[str, _Remote] = {}
        self._changed = threading.Event()
        self._stopped = False
        self.client.subscribe_topic(self._name, self._hear)

    def submit(self, cohort: Planned, threads: int) -> Task:
        """Hand the cohort to the scheduler."""
        return _Remote(self, cohort, threads)

    def begin(self, task: "_Remote", cohort: Planned, threads: int) -> Any:
        """The future of a cohort."""
        given, datasets = packed((cohort, threads, own_code.known()))
        key = f"dlrun-{self._name}-{uuid4().hex}"
        self._tasks[key] = task
        about = self._name, key, self._modules, versions()
        references = [self._reference(data) for data in datasets]
        future = self.client.submit(_train, given, references, about, key=key, pure=False)
        future.add_done_callback(lambda _: self._changed.set())
        return future

    def _reference(self, data: Data) -> Any:
        """The dataset where the workers have it; sent when no worker has, or those that had it are lost."""
        if id(data) not in self._data or self._data[id(data)][1].status != "finished":
            self._data[id(data)] = data, self.client.scatter(data, broadcast=True, hash=False)
        return self._data[id(data)][1]

    def _hear(self, event: tuple[float, tuple[str, dict[str, Any] | None]]) -> None:
        """A worker has begun a cohort, or reports; called in Dask's thread."""
        key, progress = event[1]
        task = self._tasks.get(key)
        if task is not None:
            task.heard(progress)
            self._changed.set()

    def wait(self, tasks: Sequence[Task]) -> None:
        """Wait until a cohort has ended, or one reports."""
        self._changed.wait(POLL)
        self._changed.clear()

    def check(self) -> None:
        """Raise a StartError when the scheduler is gone."""
        if self.client.status != "running":
            raise StartError("the Dask scheduler has ended; what has been trained is kept")

    def stop(self) -> None:
        """Ask all workers to end the cohorts of this executor early."""
        if not self._stopped:
            self._stopped = True
            self.client.run(_stop, self._name, on_error="ignore")

    def ended(self, key: str) -> None:
        """Forget a task."""
        self._tasks.pop(key, None)

    def close(self) -> None:
        """Cancel what is at work, and leave the cluster; end the workers that were started here."""
        if self._tasks and self.client.status == "running":
            if self._cluster is None:
                self.stop()
            self.client.cancel([task.future for task in self._tasks.values()], force=True)
        self._data.clear()
        self.client.close()
        if self._cluster is not None:
            self._cluster.close()


class _Remote(Task):
    def __init__(self, executor: Dask, cohort: Planned, threads: int) -> None:
        self._executor, self._cohort, self._threads = executor, cohort, threads
        self._losses, self._deadline = 0, 0.0
        self._submit()

    def _submit(self) -> None:
        self._begun = 0
        self._progress: Progress | None = None
        self.future = self._executor.begin(self, self._cohort, self._threads)

    def heard(self, progress: Mapping[str, Any] | None) -> None:
        """It has begun (None), or reports."""
        if progress is None:
            self._begun += 1
        else:
            self._progress = Progress(**progress)

    def poll(self, report: Report | None, keep: Keep) -> list[RunFiles] | None:
        self._executor.check()
        if report is not None and self._progress is not None:
            progress, self._progress = self._progress, None
            report(progress)
        if self.future.status in ("cancelled", "lost"):
            self._lost()
            return None
        if self._begun > 1 and not self.future.done():
            self.future.cancel(force=True)
            raise self._died()
        if not self.future.done():
            return None
        from distributed import KilledWorker

        try:
            answer = self.future.result(timeout=GRACE)
        except KilledWorker:
            raise self._died() from None
        except (CancelledError, TimeoutError):  # its worker was lost meanwhile, with what came of it
            return None
        except Exception as error:
            raise StartError(f"a Dask worker could not take a cohort: {type(error).__name__}: {error}") from error
        kind, content, checkpoint = pickle.loads(answer)
        self._executor.ended(self.future.key)
        if kind == "raised":
            raise content
        if checkpoint is not None:
            keep(checkpoint)
        files: list[RunFiles] = content
        return files

    def _lost(self) -> None:
        """Submit it again where its data was lost with a worker, before it had begun."""
        if self._deadline:
            return
        self._executor.ended(self.future.key)
        self._losses += 1
        if self._begun:
            raise self._died()
        if self._losses == LOSSES:
            raise StartError(
                f"the workers that had the data of a cohort were lost {LOSSES} times; see the log of the Dask workers"
            )
        self._submit()

    def _died(self) -> DiedError:
        self._executor.ended(self.future.key)
        return DiedError("the process ended: Dask lost its worker")

    def stop(self) -> None:
        if not self._deadline:
            self._deadline = time.monotonic() + (GRACE if self._begun else 0.0)
            self._executor.stop()

    def is_late(self) -> bool:
        return 0 < self._deadline < time.monotonic()


def workers_at(address: str) -> int:
    """How many workers the cluster at an address has.

    Raises:
        StartError: no scheduler answers there, or it has no worker.
    """
    client = _client(address)
    try:
        count = len(client.nthreads())
    finally:
        client.close()
    if not count:
        raise StartError(f"hydra.launcher.address={address}: the scheduler has no worker; start some: dask worker {address}")
    return count


def _client(where: Any) -> Any:
    from distributed import Client

    try:
        return Client(where, timeout=ANSWER, set_as_default=False)
    except (OSError, TimeoutError, ValueError) as error:
        raise StartError(
            f"hydra.launcher.address={where}: no Dask scheduler answers ({str(error).splitlines()[0]}); "
            "start one with: dask scheduler, or leave the address out for workers on this machine"
        ) from error


def _local(count: int) -> Any:
    """Workers of this machine, a process each. They inherit that Ctrl-C waits: this process asks them to stop."""
    from distributed import LocalCluster

    before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT,))
    try:
        return LocalCluster(
            n_workers=count, threads_per_worker=1, processes=True, dashboard_address=None, silence_logs=logging.CRITICAL
        )
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


_alone = threading.Lock()  # a worker with several threads: torch's number of threads is the process's
_asked: set[str] = set()  # executors whose cohorts shall end early


def _stop(name: str) -> None:
    _asked.add(name)


def _train(given: bytes, datasets: Sequence[Data], about: tuple[str, str, Sequence[str], Mapping[str, str]]) -> bytes:
    """What a worker does: how it ended, with what, and a checkpoint of what was interrupted."""
    from distributed import get_worker

    name, key, modules, wanted = about
    with _alone:
        get_worker().log_event(name, (key, None))
        kept: list[SavedCheckpoint] = []

        def keep(checkpoint: SavedCheckpoint) -> None:
            kept[:] = [checkpoint]

        try:
            _check_versions(wanted)
            for module in modules:
                own_modules.trust(module)
            cohort, threads, digests = unpacked(given, datasets)
            torch.set_num_threads(threads)
            own_code.adopt(digests)
            report = now_and_then(lambda progress: get_worker().log_event(name, (key, asdict(progress))))
            files = train(cohort, report=report, interrupted=lambda: name in _asked, keep=keep)
            stopped = any(item.record.status == "interrupted" for item in files)
            answer: tuple[str, Any, SavedCheckpoint | None] = "done", files, kept[0] if stopped and kept else None
        except BaseException as error:  # the parent decides, as with worker processes of its own
            answer = "raised", told(error), None
        return pickle.dumps(answer, protocol=pickle.HIGHEST_PROTOCOL)


def _check_versions(wanted: Mapping[str, str]) -> None:
    """Raise a StartError where this worker has other versions than the parent."""
    here = versions()
    other = [f"{name} {here[name]} and not {wanted[name]}" for name in wanted if here.get(name) != wanted[name]]
    if other:
        raise StartError(f"a Dask worker has {', '.join(other)}: its figures could differ; install the same versions there")
