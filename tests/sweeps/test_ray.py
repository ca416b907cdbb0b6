"""Sweeps on Ray: here with a stand-in whose actors train when they are called; test_clusters.py has the real library."""

import importlib.machinery
import itertools
import os
import signal
import socket
import sys
import types
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from six_runs import SWEEP, same_as_alone

Call = Callable[..., tuple[int, str, str]]
Outputs = Callable[..., dict[str, dict[str, Any]]]

ON_RAY = "hydra.launcher.executor=ray"


class RayError(Exception):
    pass


class RayActorError(RayError):
    pass


class Inline(types.ModuleType):
    """What dlrun uses of Ray. An answer is a number; the actors of ``lost`` (a number for each that starts) are lost there.

    Args:
        lost: which call of an actor ends it: 1 is that which says that it is ready; 0 is none.
    """

    def __init__(self, lost: Iterator[int]) -> None:
        super().__init__("ray")
        self.__spec__ = importlib.machinery.ModuleSpec("ray", None)
        self.lost, self.places = lost, itertools.count()
        self.answers: dict[int, Any] = {}
        self.started, self.killed, self.put_, self.joined = 0, 0, 0, []
        self.resources = {"CPU": 2.0}
        self.exceptions = types.SimpleNamespace(
            RayError=RayError,
            RayActorError=RayActorError,
            OutOfMemoryError=type("OutOfMemoryError", (RayError,), {}),
            ObjectLostError=type("ObjectLostError", (RayError,), {}),
        )
        self._private = types.SimpleNamespace(worker=types.SimpleNamespace())

    def is_initialized(self) -> bool:
        return False

    def init(self, **how: Any) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # Ray sets a handler too
        self.joined.append(how)

    def shutdown(self) -> None:
        self.joined.append({})

    def cluster_resources(self) -> dict[str, float]:
        return self.resources

    def remote(self, kind: type) -> Any:
        return types.SimpleNamespace(options=lambda **options: types.SimpleNamespace(remote=lambda: self._start(kind, options)))

    def _start(self, kind: type, options: dict[str, Any]) -> Any:
        if "bla" in options:
            raise ValueError("Invalid option keyword bla for actors")
        self.started += 1
        actor, calls, lost = kind(), itertools.count(1), next(self.lost, 0)

        def method(name: str) -> Any:
            def call(*given: Any) -> int:
                dead = next(calls) == lost
                return self._keep(RayActorError("The actor died\nunexpectedly.") if dead else getattr(actor, name)(*given))

            return types.SimpleNamespace(remote=call)

        return types.SimpleNamespace(**{name: method(name) for name in ("ready", "train", "progress", "stop")})

    def _keep(self, value: Any) -> int:
        place = next(self.places)
        self.answers[place] = value
        return place

    def put(self, value: Any) -> int:
        self.put_ += 1
        return self._keep(value)

    def get(self, place: int) -> Any:
        if isinstance(self.answers[place], RayError):
            raise self.answers[place]
        return self.answers[place]

    def wait(self, places: list[int], **how: Any) -> tuple[list[int], list[int]]:
        return places, []

    def kill(self, actor: Any) -> None:
        self.killed += 1


@pytest.fixture
def inline(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Inline]:
    """``inline(2, 0)``: the first actor is lost with its first cohort."""

    def make(*lost: int) -> Inline:
        module = Inline(iter(lost))
        monkeypatch.setitem(sys.modules, "ray", module)
        for name in ("RAY_AUTH_MODE", "RAY_USAGE_STATS_ENABLED"):  # what dlrun sets does not outlast the test
            monkeypatch.setenv(name, os.environ.get(name, ""))
        return module

    return make


@pytest.mark.parametrize(("lost", "started"), [((), 2), ((2,), 3), ((1, 0, 1), 4)], ids=["none", "at work", "before"])
def test_same_bits(call: Call, outputs: Outputs, inline: Any, lost: tuple[int, ...], started: int) -> None:
    before = signal.getsignal(signal.SIGTERM)
    ray = same_as_alone(call, outputs, lambda: inline(*lost), ON_RAY, "hydra.launcher.processes=2")
    assert (ray.put_, ray.started) == (1, started)
    assert (len(ray.joined), ray.joined[0]["address"], ray.joined[-1]) == (2, "local", {})
    assert signal.getsignal(signal.SIGTERM) is before


def test_progress_of_one_actor(call: Call, inline: Any) -> None:
    inline()
    code, _, err = call(*SWEEP, ON_RAY, "hydra.launcher.processes=1")
    assert (code, "sweep: 6/6 runs" in err) == (0, True)


def test_a_run_that_loses_every_actor_fails_alone(call: Call, outputs: Outputs, inline: Any) -> None:
    inline(*[2] * 100)
    code, out, _ = call(*SWEEP, "model.hidden=[3]", "seed=0,1", ON_RAY)
    assert (code, "2 runs: 2 failed" in out) == (1, True)
    assert {record["reason"] for record in outputs().values()} == {"the process that trained it ended: Ray lost its actor"}


def test_actors_that_do_not_start(call: Call, inline: Any) -> None:
    inline(*[1] * 100)
    code, _, err = call(*SWEEP, ON_RAY)
    assert (code, "3 Ray actors ended before they were ready; the last: RayActorError: unexpectedly." in err) == (2, True)


def test_parameters_that_ray_refuses(call: Call, inline: Any) -> None:
    inline()
    code, _, err = call(*SWEEP, ON_RAY, "hydra.launcher.parameters={bla: 1}")
    assert (code, "hydra.launcher.parameters: Ray refuses them for an actor: Invalid option keyword bla" in err) == (2, True)


@pytest.mark.parametrize(("parameters", "started"), [("{}", 4), ("{num_cpus: 2}", 2), ("{num_gpus: 1}", 0)])
def test_a_cluster_at_an_address(call: Call, inline: Any, parameters: str, started: int) -> None:
    """As many actors as it has room for, each with a cohort of the six."""
    ray = inline()
    ray.resources = {"CPU": 4.0}
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        words = (ON_RAY, f"hydra.launcher.address={address}", f"hydra.launcher.parameters={parameters}")
        code, _, err = call(*SWEEP, "model.hidden=[3],[4],[5],[6]", "seed=0", *words)
    assert (code, ray.started) == ((0, started) if started else (2, 0)), err
    assert ray.joined[0]["address"] == address
    if not started:
        assert "the cluster has no room for an actor, which takes 1 CPU, 1 GPU" in err


def test_nothing_answers(call: Call, inline: Any) -> None:
    inline()
    code, _, err = call(*SWEEP, ON_RAY, "hydra.launcher.address=127.0.0.1:1")
    assert (code, "hydra.launcher.address=127.0.0.1:1: no Ray cluster answers (ConnectionRefusedError" in err) == (2, True)
