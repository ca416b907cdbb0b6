"""Cohorts as tasks of a Dask cluster: one that an address names, or worker processes that Dask starts here.

Needs the extra ``dlrun[dask]``. A dataset is scattered once and cohorts refer to it. Dask trains the cohort of a lost worker
elsewhere without a word, and again up to four times. A cohort that ends its workers must not do so: a worker sends an event when
it begins, and one that begins a second time counts as died.
"""

import logging
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import CancelledError
from dataclasses import asdict
from typing import Any

from dlrun.data.dataset import Data
from dlrun.engine.progress import Progress
from dlrun.experiments.executors.base import Site, Task
from dlrun.experiments.executors.remote import LostError, Parcel, Remote, Sent, ctrl_c_waits, work
from dlrun.isolation import POLL, DiedError, StartError

ANSWER = 10.0  # seconds that a scheduler has for its answer


class Dask(Remote):
    """Trains on ``count`` workers at once.

    Args:
        count: how many cohorts at once.
        site: with the address of the scheduler; workers are started on this machine where it is empty.

    Raises:
        StartError: no scheduler answers there, or the workers cannot be started.
    """

    worker = "a Dask worker"

    def __init__(self, count: int, site: Site) -> None:
        super().__init__(count)
        self._cluster = None if site.address else _local(count)
        self.client = _client(site.address or self._cluster)
        self._data: dict[int, tuple[Data, Any]] = {}  # by id, which the data that is held here keeps its own
        self._sent: dict[str, _Sent] = {}
        self._changed = threading.Event()
        self.client.subscribe_topic(self.name, self._hear)

    def send(self, parcel: Parcel, datasets: Sequence[Data]) -> Sent:
        """Hand the cohort to the scheduler."""
        sent = self._sent[parcel.key] = _Sent(self, parcel.key)
        references = [self._reference(data) for data in datasets]
        sent.future = self.client.submit(_train, parcel, references, key=f"dlrun-{parcel.key}", pure=False)
        sent.future.add_done_callback(lambda _: self._changed.set())
        return sent

    def _reference(self, data: Data) -> Any:
        """The dataset where the workers have it; sent when no worker has, or those that had it are lost."""
        if id(data) not in self._data or self._data[id(data)][1].status != "finished":
            self._data[id(data)] = data, self.client.scatter(data, broadcast=True, hash=False)
        return self._data[id(data)][1]

    def _hear(self, event: tuple[float, tuple[str, dict[str, Any] | None]]) -> None:
        """A worker has begun a cohort, or reports; called in Dask's thread."""
        key, progress = event[1]
        sent = self._sent.get(key)
        if sent is not None:
            sent.heard(progress)
            self._changed.set()

    def wait(self, tasks: Sequence[Task]) -> None:
        """Wait until a cohort has ended, or one reports."""
        self._changed.wait(POLL)
        self._changed.clear()

    def ask(self) -> None:
        """Tell all workers."""
        self.client.run(_stop, self.name, on_error="ignore")

    def check(self) -> None:
        """Raise a StartError when the scheduler is gone."""
        if self.client.status != "running":
            raise StartError("the Dask scheduler has ended; what has been trained is kept")

    def forget(self, key: str) -> None:
        """A cohort has ended."""
        self._sent.pop(key, None)

    def close(self) -> None:
        """Cancel what is at work, and leave the cluster; end the workers that were started here."""
        if self._sent and self.client.status == "running":
            if self._cluster is None:
                self.stop()
            self.client.cancel([sent.future for sent in self._sent.values()], force=True)
        self._data.clear()
        self.client.close()
        if self._cluster is not None:
            self._cluster.close()


class _Sent(Sent):
    future: Any

    def __init__(self, executor: Dask, key: str) -> None:
        self._executor, self._key = executor, key
        self._begun = 0
        self._progress: Progress | None = None

    def heard(self, progress: Mapping[str, Any] | None) -> None:
        """It has begun (None), or reports."""
        if progress is None:
            self._begun += 1
        else:
            self._progress = Progress(**progress)

    def begun(self) -> bool:
        return self._begun > 0

    def progress(self) -> Progress | None:
        progress, self._progress = self._progress, None
        return progress

    def answer(self) -> bytes | None:
        self._executor.check()
        if self.future.status in ("cancelled", "lost"):
            self._executor.forget(self._key)
            if self._begun:
                raise self._died()
            raise LostError("Dask lost the workers that had its data; see their logs")
        if self._begun > 1 and not self.future.done():
            self.future.cancel(force=True)
            raise self._died()
        if not self.future.done():
            return None
        from distributed import KilledWorker

        try:
            answer: bytes = self.future.result(timeout=Remote.grace)
        except KilledWorker:
            raise self._died() from None
        except (CancelledError, TimeoutError):  # its worker was lost meanwhile, with what came of it
            return None
        except Exception as error:
            raise StartError(f"a Dask worker could not take a cohort: {type(error).__name__}: {error}") from error
        self._executor.forget(self._key)
        return answer

    def _died(self) -> DiedError:
        self._executor.forget(self._key)
        return DiedError("the process ended: Dask lost its worker")


def workers_at(site: Site) -> int:
    """How many workers the cluster at an address has.

    Raises:
        StartError: no scheduler answers there, or it has no worker.
    """
    client = _client(site.address)
    try:
        count = len(client.nthreads())
    finally:
        client.close()
    if not count:
        where = site.address
        raise StartError(f"hydra.launcher.address={where}: the scheduler has no worker; start some: dask worker {where}")
    return count


def _client(where: Any) -> Any:
    from distributed import Client

    logging.getLogger("distributed.client").setLevel(
        logging.CRITICAL
    )  # a traceback when the scheduler ends, which check() reports
    try:
        return Client(where, timeout=ANSWER, set_as_default=False)
    except (OSError, TimeoutError, ValueError) as error:
        raise StartError(
            f"hydra.launcher.address={where}: no Dask scheduler answers ({str(error).splitlines()[0]}); "
            "start one with: dask scheduler, or leave the address out for workers on this machine"
        ) from error


def _local(count: int) -> Any:
    """Workers of this machine, a process each."""
    from distributed import LocalCluster

    with ctrl_c_waits():
        return LocalCluster(
            n_workers=count, threads_per_worker=1, processes=True, dashboard_address=None, silence_logs=logging.CRITICAL
        )


_alone = threading.Lock()  # a worker with several threads: torch's number of threads is the process's
_asked: set[str] = set()  # executors whose cohorts shall end early


def _stop(name: str) -> None:
    _asked.add(name)


def _train(parcel: Parcel, datasets: Sequence[Data]) -> bytes:
    """What a worker does."""
    from distributed import get_worker

    def send(what: dict[str, Any] | None) -> None:
        get_worker().log_event(parcel.sender, (parcel.key, what))

    with _alone:
        send(None)
        return work(parcel, datasets, report=lambda progress: send(asdict(progress)), interrupted=lambda: parcel.sender in _asked)
