"""Sweeps on Dask: here with a client that trains at once and loses workers when asked; test_clusters.py has the real library."""

import importlib.machinery
import sys
import types
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from dlrun.experiments.executors import dask
from six_runs import SWEEP, same_as_alone

Call = Callable[..., tuple[int, str, str]]
Outputs = Callable[..., dict[str, dict[str, Any]]]

ON_DASK = ("hydra.launcher.executor=dask", "hydra.launcher.processes=2")


class Inline:
    """A client whose workers train when a cohort is submitted; as many begin it first and are lost as ``lost`` says."""

    status = "running"

    def __init__(self, lost: Iterator[int]) -> None:
        self.lost, self.scattered, self.submitted = lost, 0, 0
        self.hear: Callable[[Any], None] = lambda event: None

    def subscribe_topic(self, name: str, hear: Callable[[Any], None]) -> None:
        self.hear = hear

    def log_event(self, name: str, message: Any) -> None:
        self.hear((0.0, message))

    def scatter(self, data: Any, **how: Any) -> Any:
        self.scattered += 1
        return types.SimpleNamespace(status="finished", data=data)

    def submit(self, train: Any, parcel: Any, references: Any, *, key: str, **how: Any) -> Any:
        self.submitted += 1
        datasets = [reference.data for reference in references]
        future = types.SimpleNamespace(key=key, status="pending", cancel=lambda **how: None, add_done_callback=lambda call: None)
        future.done = lambda: future.status == "finished"

        def result(timeout: float) -> bytes:
            answer: bytes = train(parcel, datasets)
            return answer

        future.result = result
        lost = next(self.lost, 0)
        if lost == -1:  # its data
            future.status = "lost"
        for _ in range(2 * max(lost, 0)):
            self.hear_later.append((0.0, (parcel.key, None)))
        future.status = future.status if lost else "finished"
        return future

    def cancel(self, futures: Any, force: bool) -> None:
        pass

    def run(self, function: Any, *given: Any, **how: Any) -> None:
        function(*given)

    def close(self) -> None:
        pass

    @property
    def hear_later(self) -> Any:
        """Events arrive when the task is known to its executor: at the next wait."""
        return self.__dict__.setdefault("_later", [])


@pytest.fixture
def inline(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Inline]:
    """``inline(1, 0)``: the first cohort loses its worker, and is then trained."""

    def make(*lost: int) -> Inline:
        client = Inline(iter(lost))
        module = types.ModuleType("distributed")
        module.__spec__ = importlib.machinery.ModuleSpec("distributed", None)
        module.__dict__.update(get_worker=lambda: client, KilledWorker=type("KilledWorker", (Exception,), {}))
        monkeypatch.setitem(sys.modules, "distributed", module)
        monkeypatch.setattr(dask, "_local", lambda count: types.SimpleNamespace(close=lambda: None))
        monkeypatch.setattr(dask, "_client", lambda where: client)

        def wait(self: dask.Dask, tasks: Any) -> None:
            while client.hear_later:
                client.hear(client.hear_later.pop(0))

        monkeypatch.setattr(dask.Dask, "wait", wait)
        return client

    return make


@pytest.mark.parametrize(("lost", "submitted"), [((), 6), ((1,), 7), ((-1, 0, -1), 8)], ids=["none", "a worker", "data"])
def test_same_bits(call: Call, outputs: Outputs, inline: Any, lost: tuple[int, ...], submitted: int) -> None:
    client = same_as_alone(call, outputs, lambda: inline(*lost), *ON_DASK)
    assert (client.scattered, client.submitted) == (1, submitted)


def test_a_run_that_loses_every_worker_fails_alone(call: Call, outputs: Outputs, inline: Any) -> None:
    inline(*[1] * 100)
    code, out, _ = call(*SWEEP, "model.hidden=[3]", "seed=0,1", *ON_DASK)
    assert (code, "2 runs: 2 failed" in out) == (1, True)
    assert {record["reason"] for record in outputs().values()} == {"the process that trained it ended: Dask lost its worker"}


@pytest.mark.filterwarnings("default")
def test_nothing_answers(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("distributed", reason="pip install 'dlrun[dask]'")
    monkeypatch.setattr(dask, "ANSWER", 0.1)
    code, _, err = call(*SWEEP, ON_DASK[0], "hydra.launcher.address=tcp://127.0.0.1:1")
    assert (code, "hydra.launcher.address=tcp://127.0.0.1:1: no Dask scheduler answers" in err) == (2, True)
