"""What Dask, Ray and submitit share: here with workers that train when they are sent something, and are lost when asked to be."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from dlrun.data.dataset import Data
from dlrun.engine.progress import Progress
from dlrun.experiments import executors
from dlrun.experiments.executors import remote
from dlrun.experiments.executors.base import Task
from dlrun.experiments.executors.remote import LostError, Parcel, Remote, Sent, work
from dlrun.isolation import DiedError
from six_runs import SWEEP, same_as_alone

Call = Callable[..., tuple[int, str, str]]
Outputs = Callable[..., dict[str, dict[str, Any]]]

ON_INLINE = ("hydra.launcher.executor=inline", "hydra.launcher.processes=2")


class Inline(Remote):
    """Trains a cohort when it is sent, unless ``fates`` says that its worker is lost, or must end after so many looks."""

    worker = "an inline worker"

    def __init__(self, count: int, fates: Iterator[str]) -> None:
        super().__init__(count)
        self.fates, self.sent, self.asked = fates, 0, 0

    def send(self, parcel: Parcel, datasets: Sequence[Data]) -> Sent:
        self.sent += 1
        return _Sent(parcel, datasets, next(self.fates, ""))

    def ask(self) -> None:
        self.asked += 1

    def wait(self, tasks: Sequence[Task]) -> None:
        pass

    def close(self) -> None:
        pass


class _Sent(Sent):
    def __init__(self, parcel: Parcel, datasets: Sequence[Data], fate: str) -> None:
        self._given, self._fate = (parcel, datasets), fate
        self._progress: list[Progress] = []

    def begun(self) -> bool:
        return True

    def progress(self) -> Progress | None:
        return self._progress.pop() if self._progress else None

    def answer(self) -> bytes | None:
        if self._fate == "lost":
            raise LostError("its worker did not start")
        if self._fate == "died":
            raise DiedError("the process ended: it was lost")
        looks = iter(range(int(self._fate or 1 << 30)))
        return work(*self._given, report=self._progress.append, interrupted=lambda: next(looks, None) is None)


@pytest.fixture
def inline(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[Inline]]:
    """``inline("died")``: the worker of the first cohort is lost; the executors that were made."""

    def make(*fates: str) -> list[Inline]:
        made: list[Inline] = []

        def executor(count: int, *_: object) -> Inline:
            made.append(Inline(count, iter(fates)))
            return made[-1]

        monkeypatch.setitem(executors.EXECUTORS, "inline", executor)
        return made

    return make


@pytest.mark.parametrize(
    ("fates", "sent"), [((), 6), (("died",), 7), (("lost", "", "lost"), 8), (("2",), 7)], ids=["none", "died", "lost", "ends"]
)
def test_same_bits(call: Call, outputs: Outputs, inline: Any, fates: tuple[str, ...], sent: int) -> None:
    made = same_as_alone(call, outputs, lambda: inline(*fates), *ON_INLINE)
    assert [executor.sent for executor in made] == [sent]


def test_a_run_that_loses_every_worker_fails_alone(call: Call, outputs: Outputs, inline: Any) -> None:
    inline(*["died"] * 100)
    code, out, _ = call(*SWEEP, "model.hidden=[3]", "seed=0,1", *ON_INLINE)
    assert (code, "2 runs: 2 failed" in out) == (1, True)
    assert {record["reason"] for record in outputs().values()} == {"the process that trained it ended: it was lost"}


@pytest.mark.parametrize("looks", ["1", "0"])
def test_a_worker_that_ends_before_an_epoch_is_over(call: Call, outputs: Outputs, inline: Any, looks: str) -> None:
    """It is a death: another such worker would come no further."""
    inline(*[looks] * 100)
    code, _, _ = call(*SWEEP, "model.hidden=[3]", "seed=0", *ON_INLINE, "trainer.checkpoint_s=0")
    assert code == 1
    (record,) = outputs().values()
    assert record["reason"] == "the process that trained it ended: an inline worker had to end before an epoch was over"


def test_no_worker_begins(call: Call, inline: Any) -> None:
    inline(*["lost"] * 100)
    code, _, err = call(*SWEEP, *ON_INLINE)
    assert (code, "a cohort was lost 3 times before it began; the last: its worker did not start" in err) == (2, True)


def test_versions_of_a_worker(call: Call, inline: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    inline()
    here = remote.versions()
    monkeypatch.setattr(Inline, "pack", lambda *given: _with(Remote.pack(*given), here | {"torch": "1.0"}))
    code, _, err = call(*SWEEP, *ON_INLINE)
    assert (code, f"an inline worker has torch {here['torch']} and not 1.0: its figures could differ" in err) == (2, True)


def _with(packed: tuple[Parcel, list[Data]], versions: dict[str, str]) -> tuple[Parcel, list[Data]]:
    parcel, datasets = packed
    return Parcel(**{**vars(parcel), "versions": versions}), datasets
