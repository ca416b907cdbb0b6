"""Cohorts on a GPU beside a plain loop on the same GPU, and whether they have the bits that the docs promise. Under five minutes.

    python benchmarks/gpu.py                 a table in Markdown; exits with 1 when a check fails
    python benchmarks/gpu.py --device cpu    the same without a GPU, to try the script

A step is timed by the clock, until the device has done it, batches drawn and gathered: the fastest of several epochs. The loop is
an nn.Module with Adam over tensors that lie on the device, cut into batches beforehand. Checks, for every work:

order     the rows of the first epoch's batches are those that the CPU draws, every one of them
again     the same cohort trained twice has the same bits
close     its parameters after an epoch are those of the CPU's torch, to TOLERANCE
"""

import argparse
import itertools
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from dlrun.engine.by_torch.draws import Draws
from dlrun.engine.by_torch.process import at_speed
from work import NETS, seeds, trainings

TOLERANCE = 1e-3
SECONDS = 3.0  # of training for each work and size


class Work(NamedTuple):
    name: str
    settings: Mapping[str, Any]
    sizes: tuple[int, ...]
    network: Callable[[], nn.Module]
    loss: nn.Module


def mlp(*widths: int) -> nn.Module:
    layers: list[nn.Module] = []
    for inputs, outputs in itertools.pairwise(widths):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def cnn() -> nn.Module:
    """That of conf/model/cnn.yaml, for digits of 8 x 8."""
    first = nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)
    second = nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)
    return nn.Sequential(*first, *second, nn.Flatten(), *mlp(128, 128, 10))


MOONS = {"dataset": "moons", "hidden": [32, 32], "batch_size": 16}
DIGITS = {"dataset": "digits", "model": "cnn", "batch_size": 16}
WORKS = [
    Work("notes 10-5-1, batch 4", NETS["notes"].settings, (1, 256, 4096), lambda: mlp(10, 5, 1), nn.MSELoss()),
    Work("diabetes 10-64-64-1, batch 32", NETS["mlp"].settings, (1, 64, 1024), lambda: mlp(10, 64, 64, 1), nn.MSELoss()),
    Work("moons 2-32-32-1, batch 16", MOONS, (1, 100, 1000), lambda: mlp(2, 32, 32, 1), nn.BCEWithLogitsLoss()),
    Work("cnn on digits, batch 16", DIGITS, (1, 32, 256), cnn, nn.CrossEntropyLoss()),
]


class Device:
    """Where it trains, and its clock."""

    def __init__(self, name: str) -> None:
        self.name = name

    def seconds(self, work: Callable[[], None]) -> float:
        """By the clock, until the device has done it."""
        self.wait()
        started = time.perf_counter()
        work()
        self.wait()
        return time.perf_counter() - started

    def wait(self) -> None:
        if self.name != "cpu":
            torch.cuda.synchronize()

    def best(self, work: Callable[[], None]) -> float:
        """The fastest of three or more times, within SECONDS."""
        work()
        end, found = time.perf_counter() + SECONDS, [self.seconds(work)]
        while time.perf_counter() < end or len(found) < 3:
            found.append(self.seconds(work))
        return min(found)


def plain(work: Work, device: Device) -> float:
    """Seconds a step of the loop that people write."""
    (training,) = _trainings(work, 1, device)
    keys, steps = training.train_step.keys().order(0), training.steps_per_epoch
    batches = list(Draws(training.table, training.settings.device).epoch(keys, training.settings.batch_size, steps))
    x = [batch[0][0] for batch in batches]
    y = [batch[1][0] for batch in batches]
    torch.manual_seed(0)
    model = work.network().to(device.name)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)

    def epoch() -> None:
        with torch.enable_grad():
            for inputs, targets in zip(x, y, strict=True):
                optimizer.zero_grad()
                work.loss(model(inputs), targets).backward()
                optimizer.step()

    return device.best(epoch) / len(x)


def cohort(work: Work, runs: int, device: Device) -> float:
    """Seconds a step of one run of so many."""
    works, number = _trainings(work, runs, device), 0

    def epoch() -> None:
        nonlocal number
        for training in works:
            training.epoch(number)
        number += 1

    return device.best(epoch) / works[0].steps_per_epoch / runs


def checks(work: Work, runs: int, device: Device) -> dict[str, bool]:
    """What is promised of a cohort on the device."""
    ends = []
    for place in (device.name, device.name, "cpu"):
        (training,) = _trainings(work, runs, Device(place))
        order = Draws(training.table, training.settings.device).order(training.train_step.keys().order(0))
        training.epoch(0)
        training.way.evaluated(training.step)
        theta, _ = training.way.parameters()
        ends.append((order[:runs].cpu(), theta[:runs]))  # filled up with other rows on a CPU
    (order, theta), (_, again), (order_there, there) = ends
    return {
        "order": torch.equal(order, order_there),
        "again": np.array_equal(theta, again),
        "close": np.allclose(theta, there, rtol=TOLERANCE, atol=TOLERANCE),
    }


def _trainings(work: Work, runs: int, device: Device) -> list[Any]:
    return trainings(seeds(runs, **work.settings), engine="torch", device=device.name)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    given = parser.parse_args()
    if given.device == "cuda" and not torch.cuda.is_available():
        sys.exit("no GPU here; --device cpu tries the script")
    device = Device(given.device)
    name = torch.cuda.get_device_name() if given.device == "cuda" else "CPU"
    print(f"{name}, torch {torch.__version__}, microseconds a step of one run\n")
    print("| work | runs | dlrun | a plain loop | ratio | order | again | close |\n|---|---:|---:|---:|---:|---|---|---|")
    failed = False
    with torch.no_grad(), at_speed():
        for work in WORKS:
            loop = plain(work, device)
            for runs in work.sizes:
                ours, found = cohort(work, runs, device), checks(work, runs, device)
                failed |= not all(found.values())
                told = " | ".join("yes" if holds else "NO" for holds in found.values())
                print(
                    f"| {work.name} | {runs:,} | {1e6 * ours:.3g} | {1e6 * loop:.3g} | 1/{loop / ours:.3g} | {told} |", flush=True
                )
    sys.exit(failed)


if __name__ == "__main__":
    main()
