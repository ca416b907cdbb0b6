"""Where the time of a step on torch goes: each part on the clock by itself, at R = 1 (all dispatch) and at R = 256.

    .venv/bin/python benchmarks/parts.py

Microseconds of processor time for a step of the whole cohort; the fastest of the full batches of some epochs.
"""

import time
from typing import Any

import torch

from dlrun.engine.by_torch.draws import Draws
from dlrun.engine.by_torch.process import at_speed
from dlrun.engine.layers import Pass
from work import NETS, Net, one_core, seeds, trainings

EPOCHS = 12


def parts(net: Net, runs: int) -> dict[str, float]:
    """The parts of a step of the first of the cohorts that the runs are cut into, and the step as it is taken."""
    work = trainings(seeds(runs, **net.settings), engine="torch")[0]
    train_step, draws = work.train_step, Draws(work.table, work.settings.device)
    state = train_step.fresh()
    found: dict[str, list[float]] = {}

    def lap(name: str, since: float, share: int = 1) -> float:
        now = time.process_time()
        found.setdefault(name, []).append((now - since) / share * 1e6)
        return time.process_time()

    full = work.table.sizes["train"] // net.batch
    for number in range(EPOCHS):
        train_step.bind(state)  # an epoch of the training binds that of its own
        order = train_step.keys().order(number)
        clock = time.process_time()
        batches = list(draws.epoch(order, net.batch, full, innermost=train_step.innermost))
        lap("order and gather", clock, full)
        for x, y in batches:
            clock = time.process_time()
            output, tape = train_step.forward(x, Pass(True))
            clock = lap("forward", clock)
            grad = train_step.loss_gradient(output, y)
            clock = lap("loss", clock)
            train_step.model.backward(train_step.parameters, train_step.gradient_views, grad, tape, train_step.first)
            clock = lap("backward", clock)
            state.step += 1
            for (g, optimizer), slots in zip(train_step.optimizers, state.optimizers, strict=True):
                optimizer.step(g.rows.take(state.theta), g.rows.take(state.grad), slots, state.step, 1.0)
            lap("adam", clock)
        clock = time.process_time()
        work.epoch(number)
        lap("a step as it is taken", clock, net.steps)
    return {"runs in the cohort": len(train_step.runs)} | {name: min(values) for name, values in found.items()}


def main() -> None:
    one_core()
    torch.set_num_threads(1)
    with torch.no_grad(), at_speed():
        columns: dict[str, dict[str, Any]] = {
            f"{name}, R = {runs}": parts(net, runs) for name, net in NETS.items() for runs in (1, 256)
        }
    print("| us a step |", " | ".join(columns), "|")
    print("|---|" + "---:|" * len(columns))
    for name in next(iter(columns.values())):
        print(f"| {name} |", " | ".join(f"{column[name]:.0f}" for column in columns.values()), "|")


if __name__ == "__main__":
    main()
