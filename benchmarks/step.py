"""A step of the notes' diabetes network: dlrun against the loops that people write.

    .venv/bin/python benchmarks/step.py

Contestants take turns in one process on one core, and the fastest round of each counts, in processor time. Exits with 1 when a
limit is broken.
"""

import sys
import time

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from dlrun.data.sources.real import diabetes
from dlrun.native.load import load
from work import NETS, ROWS, dlrun_step, one_core

ROUNDS = 5
AT_MOST = {  # by the kernel, and by torch
    "R = 1 against an nn.Module loop over tensors": (1 / 50, 1.1),
    "R = 256 per run against a loop with DataLoader": (1 / 800, 1 / 80),
}


def network() -> nn.Module:
    return nn.Sequential(nn.Linear(10, 5), nn.ReLU(), nn.Linear(5, 1))


def data() -> tuple[torch.Tensor, torch.Tensor]:
    source = diabetes()
    x, y = (torch.from_numpy(values[:ROWS]).float() for values in (source.x, source.y))
    return (x - x.mean(0)) / x.std(0), (y - y.mean(0)) / y.std(0)


class Loop:
    """The plain loop, over batches that are sliced beforehand or come from a DataLoader."""

    def __init__(self, loader: bool) -> None:
        torch.manual_seed(0)
        self.model, (self.x, self.y) = network(), data()
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=1e-3)
        self.loss = nn.MSELoss()
        batch = NETS["notes"].batch
        self.batches = (
            DataLoader(TensorDataset(self.x, self.y), batch_size=batch, shuffle=True)
            if loader
            else list(zip(self.x.split(batch), self.y.split(batch), strict=True))
        )

    def epoch(self) -> float:
        """Seconds a step."""
        started = time.process_time()
        for x, y in self.batches:
            self.optimizer.zero_grad()
            self.loss(self.model(x), y).backward()
            self.optimizer.step()
        return (time.process_time() - started) / NETS["notes"].steps


def shown(ratio: float) -> str:
    return f"{ratio:.3g}" if ratio > 0.1 else f"1/{1 / ratio:.0f}"


def main() -> int:
    one_core()
    torch.set_num_threads(1)
    sliced, loaded = Loop(loader=False), Loop(loader=True)
    best = dict.fromkeys(("dlrun, R = 1", "dlrun, R = 256, a run", "nn.Module, sliced tensors", "nn.Module, DataLoader"), 1.0)
    for _ in range(ROUNDS):
        seconds = (
            dlrun_step(NETS["notes"], 1, 0.3),
            dlrun_step(NETS["notes"], 256, 0.3),
            min(sliced.epoch() for _ in range(10)),
            min(loaded.epoch() for _ in range(10)),
        )
        best = {name: min(before, now) for (name, before), now in zip(best.items(), seconds, strict=True)}
    for name, value in best.items():
        print(f"{name:28s} {value * 1e6:8.2f} us a step")
    one, many, plain, loader = best.values()
    broken = 0
    for (name, limits), ratio in zip(AT_MOST.items(), (one / plain, many / loader), strict=True):
        limit = limits[load() is None]
        broken += ratio > limit
        print(f"{name}: {shown(ratio)} (at most {shown(limit)})")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
