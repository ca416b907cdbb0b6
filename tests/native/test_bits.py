"""The bits of a run: the same alone and beside any others, in any number of calls and of threads."""

import multiprocessing
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from dlrun.engine import lanes
from dlrun.engine.lanes.library import kernel
from dlrun.engine.lanes.threads import WORTH, spread
from dlrun.engine.trainer import Training
from dlrun.experiments.planning.cohorts import plan

pytestmark = pytest.mark.skipif(kernel() is None, reason="dlrun was built without its kernel")

STEPS = 300
MINE = {
    "dataset": "moons",
    "model.hidden": [9, 6],
    "activation": "gelu",
    "optimizer": "adamw",
    "scheduler": "cosine",
    "regularizer": ["dropout", "batch_norm"],
    "trainer.batch_size": 11,
    "trainer.epochs": 1000,
    "trainer.max_steps": STEPS,
    "seed": 7,
}
KINDS = [("tanh", "sgd"), ("relu", "lion"), ("gelu", "adamw"), ("mish", "nadam"), ("elu", "adagrad"), ("softplus", "asgd")]


@pytest.fixture(scope="module")
def theta(spec_of: Callable[..., Any], datasets: Any) -> Callable[..., list[Tensor]]:
    """Theta of each run of a cohort after 300 steps."""

    def train(rows: Sequence[dict[str, Any]]) -> list[Tensor]:
        (planned,) = plan([spec_of(**row) for row in rows], datasets)
        with torch.no_grad():
            training = Training(planned.cohort)
            assert training.way.name == "native"
            number = 0
            while training.state.step < STEPS:
                training.epoch(number)
                number += 1
            found = training.way.evaluated(training.state)
        return [found[training.order.index(row)].clone() for row in range(len(rows))]

    return train


def neighbours(count: int) -> list[dict[str, Any]]:
    rows = []
    for number in range(count):
        activation, optimizer = KINDS[number % len(KINDS)]
        rows.append(MINE | {"activation": activation, "optimizer": optimizer, "seed": 50 + number, "scheduler": "constant"})
    return rows


@pytest.fixture(scope="module")
def alone(theta: Callable[..., list[Tensor]]) -> Tensor:
    return theta([MINE])[0]


@pytest.mark.parametrize("count", [7, 63, pytest.param(1000, marks=pytest.mark.slow)])
def test_neighbours_change_nothing(count: int, alone: Tensor, theta: Callable[..., list[Tensor]]) -> None:
    rows = neighbours(count)
    rows.insert(count // 2, MINE)
    assert torch.equal(theta(rows)[count // 2], alone)


def test_the_number_of_calls_changes_nothing(
    alone: Tensor, theta: Callable[..., list[Tensor]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lanes, "PRODUCTS", 1)  # a call a step
    assert torch.equal(theta([MINE])[0], alone)


@pytest.fixture
def threads() -> Iterator[Callable[[int], None]]:
    """Sets the number of threads, for a test."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def test_threads_change_nothing(threads: Callable[[int], None], alone: Tensor, theta: Callable[..., list[Tensor]]) -> None:
    rows = [*neighbours(63), MINE]
    found = []
    for count in (1, 2, 3):
        threads(count)
        found.append(torch.stack(theta(rows)))
    assert torch.equal(found[0][-1], alone)
    assert torch.equal(found[1], found[0])
    assert torch.equal(found[2], found[0])


def test_a_long_call_is_spread_over_threads(threads: Callable[[int], None]) -> None:
    threads(3)
    together = threading.Barrier(3, timeout=600)
    taken: list[int] = []
    met = threading.local()

    def call(first: int, last: int) -> int:
        if not hasattr(met, "others"):
            met.others = together.wait()  # passed when three threads are here
        taken.extend(range(first, last))
        return 0

    spread(call, 100, WORTH)
    assert sorted(taken) == list(range(100))


@pytest.mark.parametrize(("count", "blocks", "products"), [(1, 100, WORTH), (3, 1, WORTH), (3, 100, WORTH - 1)])
def test_a_call_that_cannot_gain_stays_in_its_thread(
    count: int, blocks: int, products: int, threads: Callable[[int], None]
) -> None:
    threads(count)
    calls: list[tuple[int, int, int]] = []
    spread(lambda first, last: calls.append((first, last, threading.get_ident())) or 0, blocks, products)
    assert calls == [(0, blocks, threading.get_ident())]


def test_no_memory_in_any_thread_is_an_error(threads: Callable[[int], None]) -> None:
    threads(2)
    with pytest.raises(MemoryError):
        spread(lambda first, last: -(first <= 37 < last), 100, WORTH)


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="no fork")
def test_a_forked_process_has_threads_of_its_own(threads: Callable[[int], None]) -> None:
    """It has none of its parent's, and waits for none of them."""
    threads(2)

    def spread_calls() -> list[int]:
        taken: list[int] = []
        spread(lambda first, last: taken.extend(range(first, last)) or 0, 100, WORTH)
        return sorted(taken)

    assert spread_calls() == list(range(100))
    child = multiprocessing.get_context("fork").Process(
        target=lambda: sys.exit(0 if spread_calls() == list(range(100)) else 1), daemon=True
    )
    child.start()
    child.join(300)  # a process that waits for threads it does not have would never end
    assert child.exitcode == 0
