"""Sweeps on submitit: here with a stand-in that runs a job when it is submitted; test_clusters.py has the real library."""

import importlib.machinery
import os
import signal
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dlrun.experiments.executors import submitit
from six_runs import SWEEP, same_as_alone

Call = Callable[..., tuple[int, str, str]]
Outputs = Callable[..., dict[str, dict[str, Any]]]

ON_JOBS = ("hydra.launcher.executor=submitit", "hydra.launcher.processes=2")


class UncompletedJobError(RuntimeError):
    pass


class FailedSubmissionError(RuntimeError):
    pass


class Job:
    def __init__(self, folder: Path, number: int) -> None:
        self.job_id, self.folder = str(number), folder
        self.paths = types.SimpleNamespace(result_pickle=folder / "result.pkl")
        self.answer: Any = None

    def run(self, fate: str, train: Any, parcel: Any, folder: Path, *given: Any) -> None:
        self.folder.mkdir()
        if fate == "killed":
            (folder / f"{parcel.key}.begun").touch()
        elif fate == "broken":
            self.answer = UncompletedJobError("Traceback:\nModuleNotFoundError: No module named 'dlrun'\n---")
        elif fate == "done":
            handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGUSR2)}
            self.answer = train(parcel, folder, *given)
            for number, handler in handlers.items():
                signal.signal(number, handler)
        if self.answer is not None:
            self.paths.result_pickle.touch()

    def done(self) -> bool:
        return True

    def result(self) -> Any:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def stderr(self) -> str:
        return "slurmstepd: error: *** JOB CANCELLED ***"


class Inline:
    """What dlrun uses of submitit. A job is ``done``, ``killed`` at work, killed ``early``, or ``broken``: dlrun is not there."""

    def __init__(self, fates: Iterator[str]) -> None:
        self.fates, self.submitted = fates, 0
        self.parameters: dict[str, Any] = {}

    def executor(self, folder: Path, cluster: str | None) -> Any:
        def submit(*given: Any) -> Job:
            self.submitted += 1
            job = Job(folder, self.submitted)
            job.run(next(self.fates, "done"), *given)
            return job

        def update(**parameters: Any) -> None:
            if "bla" in parameters:
                raise NameError("Parameter 'bla' need to be prefixed\nby an executor name.")
            self.parameters = parameters

        return types.SimpleNamespace(cluster="local", submit=submit, update_parameters=update)


@pytest.fixture
def inline(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Inline]:
    """``inline("killed")``: the first job is killed while it trains."""

    def make(*fates: str) -> Inline:
        made = Inline(iter(fates))
        utils = types.ModuleType("submitit.core.utils")
        utils.__dict__.update(UncompletedJobError=UncompletedJobError, FailedSubmissionError=FailedSubmissionError)
        module = types.ModuleType("submitit")
        module.__spec__ = importlib.machinery.ModuleSpec("submitit", None)
        module.__dict__["AutoExecutor"] = made.executor
        monkeypatch.setitem(sys.modules, "submitit", module)
        monkeypatch.setitem(sys.modules, "submitit.core", types.ModuleType("submitit.core"))
        monkeypatch.setitem(sys.modules, "submitit.core.utils", utils)
        monkeypatch.setattr(submitit.Submitit, "wait", lambda *_: None)
        return made

    return make


@pytest.mark.parametrize(
    ("fates", "submitted"), [((), 6), (("killed",), 7), (("early", "done", "broken"), 8)], ids=["none", "at work", "before"]
)
def test_same_bits(call: Call, outputs: Outputs, inline: Any, folder: Path, fates: tuple[str, ...], submitted: int) -> None:
    jobs = same_as_alone(call, outputs, lambda: inline(*fates), *ON_JOBS)
    assert jobs.submitted == submitted
    assert not (folder / "outputs" / "submitit").exists()


def test_a_run_that_loses_every_job_fails_alone(call: Call, outputs: Outputs, inline: Any) -> None:
    inline(*["killed"] * 100)
    code, out, _ = call(*SWEEP, "model.hidden=[3]", "seed=0", *ON_JOBS)
    assert (code, "1 run: 1 failed" in out) == (1, True)
    assert [record["reason"] for record in outputs().values()] == ["the process that trained it ended: job 2 left no result"]


def test_jobs_that_do_not_begin(call: Call, inline: Any) -> None:
    inline(*["broken"] * 100)
    code, _, err = call(*SWEEP, *ON_JOBS)
    assert code == 2
    assert "lost 3 times before it began; the last: job 5 failed: ModuleNotFoundError: No module named 'dlrun'" in err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ("hydra.launcher.parameters={bla: 1}",),
            "submitit refuses them: Parameter 'bla' need to be prefixed by an executor name.",
        ),
        (("hydra.launcher.address=tcp://one:8786",), "must be slurm or local for submitit; leave it out"),
    ],
)
def test_what_submitit_refuses(call: Call, inline: Any, folder: Path, words: tuple[str, ...], said: str) -> None:
    inline()
    code, _, err = call(*SWEEP, *ON_JOBS, *words)
    assert (code, said in err) == (2, True), err
    assert not (folder / "outputs" / "submitit").exists()


def test_parameters_of_jobs(call: Call, inline: Any) -> None:
    jobs = inline()
    assert call(*SWEEP, *ON_JOBS, "hydra.launcher.parameters={timeout_min: 5, slurm_partition: long}")[0] == 0
    assert jobs.parameters == {"name": "dlrun", "timeout_min": 5, "slurm_partition": "long"}


def test_what_killed_commands_left(call: Call, inline: Any, folder: Path) -> None:
    inline()
    there = folder / "outputs" / "submitit"
    kept = [f"elsewhere-{os.getpid()}-0", f"{submitit._here()}-{os.getppid()}-0"]
    for name in (*kept, f"{submitit._here()}-{2**22 + 1}-0"):  # no process has a number beyond 2**22
        (there / name).mkdir(parents=True)
    assert call(*SWEEP, *ON_JOBS)[0] == 0
    assert {file.name for file in there.iterdir()} == {*kept}


@pytest.mark.parametrize("ends", ["signal", "file", "command"])
def test_when_a_job_stops(tmp_path: Path, ends: str, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = tmp_path / "wanted"
    wanted.touch()
    monkeypatch.setattr(submitit, "LOOK", 0.0)
    monkeypatch.setattr(signal, "signal", lambda number, handler: None)
    stop = submitit._Stop(wanted, submitit._command())
    assert not stop()
    if ends == "signal":
        stop._arrived(signal.SIGUSR2, None)
    elif ends == "file":
        wanted.unlink()
    else:
        stop = submitit._Stop(wanted, (submitit._here(), 2**22 + 1))
    assert stop()
