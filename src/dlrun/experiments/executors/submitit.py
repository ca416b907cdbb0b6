"""Cohorts as jobs of SLURM, or of this machine where there is no SLURM, by way of submitit.

Needs the extra ``dlrun[submitit]``. Jobs and the command exchange files in a folder of the output root, which every node must
see; it is removed when the sweep ends:

    submitit/HOST-PID-.../wanted         as long as it is there, jobs go on
                          data-0         a dataset, which each job reads once
                          KEY/           a cohort: its pickles and its logs, as submitit names them
                          KEY.begun      a job trains it
                          KEY.progress   what it last reported

A job whose time ends, or that SLURM ends for another, hands over a checkpoint from which the next job goes on.
"""

import json
import os
import pickle
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from types import FrameType
from typing import Any
from uuid import uuid4

import psutil

from dlrun.data.dataset import Data
from dlrun.engine.progress import Progress
from dlrun.errors import of_system
from dlrun.experiments.executors.base import Site, Task
from dlrun.experiments.executors.remote import LostError, Parcel, Remote, Sent, ctrl_c_waits, work
from dlrun.isolation import POLL, DiedError, StartError

FOLDER, WANTED = "submitit", "wanted"
MINUTES = 60  # that a job has where nothing is said; a longer cohort goes on in the next one
LOOK = 0.5  # seconds between two looks of a job at the folder
CLUSTERS = ("slurm", "local")
QUEUE = 10.0  # seconds between two looks at SLURM's queue: submitit looks at its accounting, up to ten minutes late
SLOW = 15.0  # seconds that a shared file system has for showing what a job of another node wrote


class Submitit(Remote):
    """Trains in ``count`` jobs at once.

    Args:
        count: how many cohorts at once.
        site: ``slurm`` or ``local`` as its address, which submitit finds where it is empty; what submitit calls the parameters of
            a job, such as ``timeout_min`` and ``slurm_partition``; and the output root.

    Raises:
        StartError: submitit knows no such cluster, or refuses the parameters.
        StoreError: the folder cannot be written.
    """

    worker = "a job of submitit"
    grace = 15.0

    def __init__(self, count: int, site: Site) -> None:
        super().__init__(count)
        self._site = site
        self._name = f"{_here()}-{os.getpid()}-{uuid4().hex[:8]}"
        self._root = site.folder.absolute() / FOLDER
        self._folder = self._root / self._name
        self._data: list[Data] = []
        self._sent: list[_Sent] = []
        self._sent_at: dict[str, float] = {}  # by job
        self._queue: tuple[float, set[str]] | None = None  # when it was looked at, and the jobs in it
        try:
            _clear(self._root)
            self._folder.mkdir(parents=True)
            (self._folder / WANTED).touch()
        except OSError as error:
            raise of_system(error) from error
        try:
            self.is_local = self._jobs("")[1] == "local"
        except BaseException:
            self.close()
            raise

    def _jobs(self, key: str) -> tuple[Any, str]:
        """What submits jobs, with a folder for one cohort; and the name of the cluster."""
        import submitit

        address = self._site.address
        if address not in ("", *CLUSTERS):
            raise StartError(
                f"hydra.launcher.address={address}: must be {' or '.join(CLUSTERS)} for submitit; "
                "leave it out to take SLURM where there is one"
            )
        jobs = submitit.AutoExecutor(self._folder / key, cluster=address or None)
        try:
            jobs.update_parameters(**{"name": "dlrun", "timeout_min": MINUTES, **self._site.parameters})
        except (AssertionError, NameError, TypeError, ValueError) as error:
            said = " ".join(str(error).split())
            raise StartError(f"hydra.launcher.parameters: submitit refuses them: {said}") from error
        return jobs, jobs.cluster

    def send(self, parcel: Parcel, datasets: Sequence[Data]) -> Sent:
        """Submit a job for the cohort."""
        from submitit.core.utils import FailedSubmissionError

        files = [self._file(data) for data in datasets]
        jobs, _ = self._jobs(parcel.key)
        try:
            with ctrl_c_waits():
                job = jobs.submit(_train, parcel, self._folder, files, _command())
        except FailedSubmissionError as error:
            raise StartError(f"SLURM refuses a job: {' '.join(str(error).split())}") from error
        self._sent_at[job.job_id] = time.monotonic()
        self._sent.append(sent := _Sent(self, job, self._folder / parcel.key))
        return sent

    def _file(self, data: Data) -> str:
        """The name of the file that has a dataset, which is written when it is first needed."""
        for number, other in enumerate(self._data):
            if other is data:
                return f"data-{number}"
        self._data.append(data)
        name = f"data-{len(self._data) - 1}"
        (self._folder / name).write_bytes(pickle.dumps(data, protocol=pickle.HIGHEST_PROTOCOL))
        return name

    def wait(self, tasks: Sequence[Task]) -> None:
        """Wait, and not long: a job has no other way than its files."""
        time.sleep(POLL)

    def ask(self) -> None:
        """Take the file away without which jobs stop."""
        (self._folder / WANTED).unlink(missing_ok=True)

    def is_over(self, job: Any) -> bool:
        """Whether a job has a result, or is not there any more."""
        if self.is_local or job.paths.result_pickle.exists():
            return bool(job.done())
        now = time.monotonic()
        if self._queue is None or now > self._queue[0] + QUEUE:
            found = subprocess.run(["squeue", "--me", "--noheader", "--format=%i"], capture_output=True, text=True, check=False)
            if found.returncode:  # SLURM does not answer, now
                return False
            self._queue = now, set(found.stdout.split())
        return self._sent_at[job.job_id] < self._queue[0] and job.job_id not in self._queue[1]

    def forget(self, sent: "_Sent") -> None:
        """A job has ended."""
        self._sent.remove(sent)

    def close(self) -> None:
        """End all jobs, and remove the folder."""
        for sent in self._sent:
            sent.cancel()
        shutil.rmtree(self._folder, ignore_errors=True)
        with suppress(OSError):  # jobs of another command are there
            self._root.rmdir()


class _Sent(Sent):
    def __init__(self, executor: Submitit, job: Any, path: Path) -> None:
        self._executor, self._job = executor, job
        self._begun, self._progress = path.with_suffix(".begun"), path.with_suffix(".progress")
        self._ended = 0.0  # when there was a job no more, and no result

    def begun(self) -> bool:
        return self._begun.exists()

    def progress(self) -> Progress | None:
        try:
            content = self._progress.read_text()
            self._progress.unlink()
        except FileNotFoundError:
            return None
        return Progress(**json.loads(content))

    def answer(self) -> bytes | None:
        if not self._executor.is_over(self._job):
            return None
        if not self._job.paths.result_pickle.exists():
            self._ended = self._ended or time.monotonic()
            if not self._executor.is_local and time.monotonic() < self._ended + SLOW:
                return None
            said = self._job.stderr() or ""
            self._executor.forget(self)
            raise self._lost(f"job {self._job.job_id} left no result", said)
        self._executor.forget(self)
        from submitit.core.utils import UncompletedJobError

        try:
            answer: bytes = self._job.result()
        except UncompletedJobError as error:
            raise self._lost(f"job {self._job.job_id} failed", str(error)) from None
        return answer

    def _lost(self, how: str, log: str) -> DiedError | LostError:
        if self._begun.exists():
            return DiedError(f"the process ended: {how}", log)
        lines = [line.strip() for line in log.splitlines() if ": " in line and "Error" in line]
        return LostError(": ".join([how, *lines[-1:]]))

    def cancel(self) -> None:
        """End the job, whatever it does."""
        if not self._executor.is_local:
            self._job.cancel(check=False)
            return
        with suppress(psutil.NoSuchProcess):
            controller = psutil.Process(int(self._job.job_id))
            controller.suspend()  # so that it starts no other process
            for process in (*controller.children(recursive=True), controller):
                with suppress(psutil.NoSuchProcess):
                    process.kill()


def _here() -> str:
    return socket.gethostname().replace("-", "_").partition(".")[0]


def _command() -> tuple[str, int]:
    """The command, for its jobs."""
    return _here(), os.getpid()


def _is_gone(host: str, process: int) -> bool:
    """Whether a command of this machine has ended."""
    return host == _here() and not psutil.pid_exists(process)


def _clear(root: Path) -> None:
    """Remove the folders of commands of this machine that were killed, of which jobs that still wait end."""
    for folder in root.glob("*-*-*"):
        host, process, _ = folder.name.split("-", 2)
        if process.isdecimal() and _is_gone(host, int(process)):
            shutil.rmtree(folder, ignore_errors=True)


class _Stop:
    """Whether a job shall end early: its command says so or has been killed, or its time ends."""

    def __init__(self, wanted: Path, command: tuple[str, int]) -> None:
        self._wanted, self._command = wanted, command
        self._next, self._asked = 0.0, False
        for number in (signal.SIGTERM, signal.SIGUSR2):  # SLURM's, and that which submitit asks for before the time is over
            signal.signal(number, self._arrived)

    def _arrived(self, number: int, frame: FrameType | None) -> None:
        self._asked = True

    def __call__(self) -> bool:
        now = time.monotonic()
        if not self._asked and now >= self._next:
            self._next = now + LOOK
            self._asked = not self._wanted.exists() or _is_gone(*self._command)
        return self._asked


def _train(parcel: Parcel, folder: Path, files: Sequence[str], command: tuple[str, int]) -> bytes:
    """What a job does."""
    stop = _Stop(folder / WANTED, command)
    (folder / f"{parcel.key}.begun").touch()
    datasets = [pickle.loads((folder / name).read_bytes()) for name in files]
    return work(parcel, datasets, report=_reporting(folder / f"{parcel.key}.progress"), interrupted=stop)


def _reporting(path: Path) -> Callable[[Progress], None]:
    """A function that writes down what is reported."""

    def report(progress: Progress) -> None:
        new = path.with_suffix(".new")
        with suppress(OSError):  # the folder is gone: nobody asks
            new.write_text(json.dumps(asdict(progress)))
            new.replace(path)

    return report
