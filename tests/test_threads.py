"""Twenty threads that call dlrun at once get what each would have got alone."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any, TypeVar

from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf

import dlrun
from dlrun import registry
from dlrun.config.composing.from_python import single, words
from dlrun.errors import InputError

T = TypeVar("T")

THREADS = 20
DATASETS = ("moons", "diabetes", "xor", "iris")
ACTIVATIONS = ("relu", "tanh", "gelu", "silu")


def settings(number: int) -> dict[str, Any]:
    """A setting of its own for each thread."""
    return {
        "dataset": DATASETS[number % len(DATASETS)],
        "activation": ACTIVATIONS[number % len(ACTIVATIONS)],
        "optimizer": ("adam", "sgd", "rmsprop")[number % 3],
        "optimizer.lr": (number + 1) / 1000,
        "seed": number,
        "trainer": "smoke",
    }


def at_once(function: Callable[[int], T]) -> list[T]:
    """What ``function`` returns for each number, called by as many threads that begin together."""
    begin = Barrier(THREADS)

    def call(number: int) -> T:
        begin.wait()
        return function(number)

    with ThreadPoolExecutor(THREADS) as pool:
        return [*pool.map(call, range(THREADS))]


def test_runs(folder: Path) -> None:
    def train(number: int, output_dir: str = "together") -> dlrun.Run:
        return dlrun.run(progress=False, output_dir=output_dir, **settings(number))

    together = at_once(train)
    assert len({run.id for run in together}) == THREADS
    for number, run in enumerate(together):
        alone = train(number, "alone")
        assert (run.id, run.status, run.metrics) == (alone.id, alone.status, alone.metrics)
        assert run.config == {**alone.config, "output_dir": "together"}


def test_each_has_its_own_config_and_its_own_error(folder: Path) -> None:
    known = OmegaConf.create({"hydra": {"mine": True}})

    def config(number: int) -> Any:
        line = words((), settings(number) | ({"optimizer.lrr": number} if number % 4 == 1 else {}))
        try:
            return single(line).config
        except InputError as error:
            return error.problems

    HydraConfig.instance().cfg = known  # of an application that calls dlrun
    try:
        found = at_once(config)
        assert HydraConfig.instance().cfg is known
    finally:
        HydraConfig.instance().cfg = None
    for number, each in enumerate(found):
        if number % 4 == 1:
            assert each[0].startswith(f"optimizer.lrr={number}: no such key; optimizer takes lr, ")
        else:
            assert (each["seed"], each["optimizer"]["lr"]) == (number, settings(number)["optimizer.lr"])
            assert each["activation"] == registry.load_option("activation", settings(number)["activation"])
