"""``dlrun tune 'optimizer=glob(*)' budget=64 dataset=digits`` against a loop that trains Optuna's trials one after the other.

    .venv/bin/python benchmarks/tune.py [--part adam,sgd,rmsprop] [--seeds 5] [--plain 3] [--batch N]

The loop is what one writes by hand: Optuna's TPESampler with its own defaults, an nn.Sequential, a torch optimizer, the same
rows, the same space, the same number of trials. A trial of it takes seconds, so it is measured in two parts:

    time     the processor time of --plain trainings of each optimizer of --part, times the number of trials
    quality  that of studies that ask for a trial, train it and tell its accuracy before they ask for the next, one for each
             optimizer and each of --seeds seeds, which decide the split of the rows too. Their trials train on dlrun, as the
             trials of dlrun tune do: it ends where the plain loop ends (tests/engine/test_plain_loop.py), and here too both
             train the same settings on the same rows, from weights of their own, and have to agree within noise

Exits with 1 when a limit is broken: 3 minutes of processor time for the whole command, 1/20 of the loop's time for the search,
plain torch apart from dlrun with the same settings, or studies of dlrun tune that are worse on validation rows: the 95% interval
of the mean difference of the best accuracies, study by study, lies below 0, or reaches the accuracy of one row below 0.
"""

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
import psutil
import torch
from torch import Tensor, nn

from dlrun.comparison.summary import Summary, summarize
from dlrun.config.composing.from_python import single
from dlrun.config.composing.spaces import space
from dlrun.config.spec import RunSpec, from_config
from dlrun.data.sources.real import digits
from dlrun.engine.trainer import fit
from dlrun.experiments.planning.cohorts import Datasets, plan
from dlrun.experiments.search.samplers import distributions
from dlrun.experiments.tuning import TUNED
from dlrun.registry import load_option
from dlrun.results.store import Store
from dlrun.results.sweeps import Sweep

BUDGET, EPOCHS, BATCH = 64, 100, 16
ROWS = 359  # for validation
MOST_SECONDS, RATIO = 180.0, 20.0


@dataclass(frozen=True)
class Took:
    """The seconds of a command: by the clock, of processor time, and of processor time until new seeds train."""

    clock: float
    processor: float
    search: float


def tuned(folder: str, *words: str) -> tuple[dict[str, Any], Took]:
    """What dlrun tune found, and what it took."""
    command = [sys.executable, "-m", "dlrun", "tune", f"budget={BUDGET}", "dataset=digits", *words]
    began, search, before, printed = time.perf_counter(), 0.0, os.times(), Path(folder, "tune.json")
    with (
        printed.open("w") as out,  # a pipe that nobody reads would fill
        subprocess.Popen([*command, f"output_dir={folder}", "--json"], stdout=out, stderr=subprocess.PIPE, text=True) as process,
    ):
        assert process.stderr is not None
        for line in process.stderr:
            if " trials, " in line:
                search = sum(psutil.Process(process.pid).cpu_times()[:2])
    clock, after = time.perf_counter() - began, os.times()
    processor = after.children_user + after.children_system - before.children_user - before.children_system
    return json.loads(printed.read_text()), Took(clock, processor, search)


def best(found: dict[str, Any], part: Sequence[str]) -> dict[str, float]:
    """The accuracy of the best trial of each optimizer."""
    mine = {each["factors"]["optimizer"]: each for each in found["configurations"]}
    return {name: mine[name]["trials"][mine[name]["best"]["trial"]]["quality"] for name in part}


class Plain:
    """A training by hand, on the rows of one of dlrun's runs."""

    def __init__(self, store: Store, run: str) -> None:
        rows = store.arrays(run, "targets.safetensors")
        validation, test = (torch.from_numpy(rows[f"{subset}_rows"]).long() for subset in ("validation", "test"))
        data = digits()
        chosen = torch.ones(len(data), dtype=torch.bool)
        chosen[torch.cat([validation, test])] = False
        x, self.y = torch.from_numpy(data.x).float().flatten(1), torch.from_numpy(data.y)
        self.x = (x - x[chosen].mean()) / x[chosen].std(correction=0)  # an image is scaled as one
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


def by_hand(found: dict[str, Any], store: Store, part: Sequence[str], count: int) -> tuple[list[float], float]:
    """Train what was chosen by hand: accuracies less those of dlrun's runs on the same rows, and the processor time of one."""
    cells = [cell for cell in Sweep.open(Path(found["sweep"])).cells if cell.factors.get(TUNED) is True]
    words = {each["factors"]["optimizer"]: each["best"]["settings"] for each in found["configurations"]}
    began, pairs = time.process_time(), []
    for name in part:
        settings = {key.rpartition(".")[2]: json.loads(value) for key, _, value in (word.partition("=") for word in words[name])}
        runs = [cell.id for cell in cells if cell.factors["optimizer"] == name][:count]
        pairs += [
            (Plain(store, run.id).quality(name, settings), run.metrics["validation/accuracy"]) for run in store.records(runs)
        ]
    each = (time.process_time() - began) / len(pairs)
    return [plain - (mine or 0.0) for plain, mine in pairs], each


def one_by_one(part: Sequence[str], seeds: int) -> dict[tuple[str, int], float]:
    """The best accuracy of a study for each optimizer and seed; the next trials of all studies train together."""
    jobs = {name: single([f"optimizer={name}", "dataset=digits"]) for name in part}
    wanted = {name: distributions(space(job, {}, ())) for name, job in jobs.items()}
    studies = {
        (name, seed): optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed))
        for name in part
        for seed in range(seeds)
    }
    datasets = Datasets()

    def spec(name: str, seed: int, values: dict[str, Any]) -> RunSpec:
        job = jobs[name]
        settings = {key.rpartition(".")[2]: json.loads(v) if isinstance(v, str) else v for key, v in values.items()}
        return from_config({**job.config, "seed": seed, "optimizer": {**job.config["optimizer"], **settings}}, job.choices)

    for _ in range(BUDGET):
        asked = {key: study.ask(wanted[key[0]]) for key, study in studies.items()}
        specs = {id(each): (key, each) for key, trial in asked.items() for each in [spec(*key, trial.params)]}
        for planned in plan([each for _, each in specs.values()], datasets):
            for each, outcome in zip(planned.specs, fit(planned.cohort), strict=True):
                key, quality = specs[id(each)][0], outcome.metrics.get("validation/accuracy", math.nan)
                known = outcome.status == "done" and math.isfinite(quality)
                studies[key].tell(asked[key], quality if known else None, None if known else optuna.trial.TrialState.FAIL)
    return {key: study.best_value for key, study in studies.items()}


def said(values: Sequence[float]) -> tuple[Summary, str]:
    """The mean of differences with its interval."""
    found = summarize(values)
    assert found is not None
    return found, f"{found.mean:+.4f} (95% interval {found.low:+.4f} to {found.high:+.4f}, n={found.n})"


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--part", default="adam,sgd,rmsprop", help="optimizers that the loop is measured on")
    parser.add_argument("--seeds", type=int, default=5, help="studies of each of them")
    parser.add_argument("--plain", type=int, default=3, help="trainings of each of them by hand")
    parser.add_argument("--batch", type=int, help="of dlrun tune, where it is not to be the usual one")
    given = parser.parse_args()
    part, batch = given.part.split(","), [] if given.batch is None else [f"batch={given.batch}"]
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        whole, took = tuned(folder, "optimizer=glob(*)", *batch)
        trials = sum(len(each["trials"]) for each in whole["configurations"])
        print(
            f"dlrun: {trials} trials in {took.search:.0f} s of processor time; the whole command in {took.processor:.0f} s",
            end="",
        )
        print(f", {took.clock:.0f} s by the clock", flush=True)
        apart, each_trial = by_hand(whole, Store(Path(folder)), part, given.plain)
        few = (f"optimizer={given.part}", "fresh=2", "baseline=none", *batch)
        mine = [best(whole, part)]
        mine += [best(tuned(folder, *few, f"seed={seed}", f"sampler_seed={seed}")[0], part) for seed in range(1, given.seeds)]
    every = each_trial * trials
    ratio = every / took.search
    print(
        f"by hand a trial takes {each_trial:.2f} s of processor time, and all of them {every:,.0f} s: {ratio:.0f} times as long"
    )
    alike, line = said(apart)
    print(f"accuracy by hand less dlrun's, same settings and rows: {line}", flush=True)
    loop = one_by_one(part, given.seeds)
    differences: dict[str, list[float]] = {name: [] for name in part}
    for (name, seed), theirs in loop.items():
        differences[name].append(mine[seed][name] - theirs)
        print(f"{name}, seed {seed}: best of {BUDGET} trials {mine[seed][name]:.4f}, one by one {theirs:.4f}")
    for name, values in differences.items():
        print(f"{name}: {said(values)[1]}")
    overall, line = said([value for values in differences.values() for value in values])
    print(f"all: {line}")
    limits = {
        f"{took.processor:.0f} s for the command, at most {MOST_SECONDS:.0f}": took.processor > MOST_SECONDS,
        f"{ratio:.1f} times as fast, at least {RATIO:.0f}": ratio < RATIO,
        "plain torch and dlrun differ": not alike.low <= 0 <= alike.high,
        "worse on validation rows than one by one": overall.low <= -1 / ROWS or overall.high < 0,
    }
    broken = [line for line, is_broken in limits.items() if is_broken]
    for line in broken:
        print(f"limit broken: {line}")
    return bool(broken)


if __name__ == "__main__":
    sys.exit(main())
