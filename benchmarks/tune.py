"""``dlrun tune 'optimizer=glob(*)' budget=64 dataset=digits`` against a loop that trains Optuna's trials one after the other.

    .venv/bin/python benchmarks/tune.py [--part adam,sgd] [--trials 64]

The loop is what one writes by hand: Optuna's TPESampler with its own defaults, an nn.Sequential, a torch optimizer, the same
rows, the same space. It is measured on a part (``--part`` names the optimizers, ``--trials`` how many trials of each), and its
time for all trials is that of a trial times their number. Exits with 1 when a limit is broken: 3 minutes for the whole command on
2 cores, 1/20 of the loop's time for the search, and on validation rows at least as good as the loop where that had the whole
budget.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import optuna
import torch
from torch import Tensor, nn

from dlrun.config.composing.from_python import single
from dlrun.config.composing.spaces import space
from dlrun.data.sources.real import digits
from dlrun.experiments.search.samplers import distributions
from dlrun.registry import load_option
from dlrun.results.store import Store

BUDGET, EPOCHS, BATCH = 64, 100, 16
MOST_SECONDS, RATIO = 180.0, 20.0


def tuned(folder: str) -> tuple[dict[str, Any], float, float]:
    """What dlrun tune found, and the seconds of the command: of all of it, and until new seeds train."""
    command = [sys.executable, "-m", "dlrun", "tune", "optimizer=glob(*)", f"budget={BUDGET}", "dataset=digits"]
    began, searched, printed = time.perf_counter(), 0.0, Path(folder, "tune.json")
    with (
        printed.open("w") as out,  # a pipe that nobody reads would fill
        subprocess.Popen([*command, f"output_dir={folder}", "--json"], stdout=out, stderr=subprocess.PIPE, text=True) as process,
    ):
        assert process.stderr is not None
        for line in process.stderr:
            if " trials, " in line:
                searched = time.perf_counter() - began
    return json.loads(printed.read_text()), time.perf_counter() - began, searched


class Loop:
    """The loop by hand, on the rows of one of dlrun's runs."""

    def __init__(self, store: Store) -> None:
        run = next(record.id for record in store.records() if record.seed == 0)
        rows = store.arrays(run, "targets.safetensors")
        validation, test = (torch.from_numpy(rows[f"{subset}_rows"]).long() for subset in ("validation", "test"))
        data = digits()
        chosen = torch.ones(len(data), dtype=torch.bool)
        chosen[torch.cat([validation, test])] = False
        x, self.y = data.x.float().flatten(1), data.y.long().flatten()
        mean, spread = x[chosen].mean(0), x[chosen].std(0, correction=0)
        self.x = (x - mean) / torch.where(spread > 0, spread, torch.ones(()))
        self.train, self.validation = chosen.nonzero().flatten(), validation
        weights = store.weights(run)
        self.shapes = [weights[name].shape for name in sorted(weights) if name.endswith("weight")]  # [in, out]

    def quality(self, optimizer: str, settings: dict[str, Any]) -> float:
        """The accuracy on validation rows after training."""
        torch.manual_seed(0)
        layers: list[nn.Module] = []
        for inputs, outputs in self.shapes:
            layers += [nn.Linear(inputs, outputs), nn.ReLU()]
        net = nn.Sequential(*layers[:-1])
        kind = getattr(torch.optim, str(load_option("optimizer", optimizer)["_target_"]).rpartition(".")[2])
        update = kind(net.parameters(), **settings)
        for _ in range(EPOCHS):
            for rows in self.train[torch.randperm(len(self.train))].split(BATCH):
                update.zero_grad()
                nn.functional.cross_entropy(net(self.x[rows]), self.y[rows]).backward()
                update.step()
        with torch.no_grad():
            found: Tensor = (net(self.x[self.validation]).argmax(1) == self.y[self.validation]).double().mean()
        return float(found)

    def search(self, optimizer: str, trials: int) -> tuple[float, float]:
        """The best of so many trials, and the seconds that they took."""
        job = single([f"optimizer={optimizer}", "dataset=digits"])
        wanted = distributions(space(job, {}, ()))
        study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=0))
        began = time.perf_counter()
        for _ in range(trials):
            trial = study.ask(wanted)
            settings = {key.partition(".")[2]: json.loads(v) if isinstance(v, str) else v for key, v in trial.params.items()}
            study.tell(trial, self.quality(optimizer, settings))
        return study.best_value, time.perf_counter() - began


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--part", default="adam", help="optimizers of the loop, such as adam,sgd")
    parser.add_argument("--trials", type=int, default=BUDGET, help="of each of them")
    given = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        whole, seconds, search = tuned(folder)
        loop = Loop(Store(Path(folder)))
    mine = {each["factors"]["optimizer"]: each for each in whole["configurations"]}
    trials = sum(len(each["trials"]) for each in mine.values())
    print(f"dlrun: {trials} trials in {search:.0f} s; {seconds:.0f} s with the report of new seeds")
    broken = [f"{seconds:.0f} s for the command, at most {MOST_SECONDS:.0f}"] if seconds > MOST_SECONDS else []
    took = 0.0
    parts = given.part.split(",")
    for name in parts:
        best, spent = loop.search(name, given.trials)
        took += spent
        here = mine[name]["trials"][mine[name]["best"]["trial"]]["quality"]
        print(f"{name}: loop {best:.4f} after {given.trials} trials of {spent / given.trials:.2f} s; dlrun {here:.4f}")
        broken += (
            [f"{name}: {here:.4f} on validation rows, the loop {best:.4f}"] if given.trials >= BUDGET and here < best else []
        )
    every = took / (given.trials * len(parts)) * trials
    print(f"the loop would take {every:,.0f} s for all: {every / search:.0f} times as long (measured on {', '.join(parts)})")
    broken += [f"{every / search:.1f} times as fast, at least {RATIO:.0f}"] if every < RATIO * search else []
    for line in broken:
        print(f"limit broken: {line}")
    return bool(broken)


if __name__ == "__main__":
    sys.exit(main())
