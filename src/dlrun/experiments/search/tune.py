"""Tuning: a sampler proposes settings for each configuration, batch by batch; the trials of all train together.

    configurations -> (propose -> train -> note) for each batch -> the best on validation rows
                   -> those and the defaults with fresh seeds -> compared on test rows

A batch follows from the trials before it alone, and finished runs are taken from the store: a command that was killed goes on
where it was when it is given again, with the same trials. What the best trial got on validation rows is partly luck, so it is not
what is reported (see experiments/tuning).
"""

import math
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from hashlib import sha256
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

from dlrun.comparison.factors import Factor, label
from dlrun.comparison.longtable import TUNED
from dlrun.config.composing.composed import Composed
from dlrun.config.composing.from_python import Compose
from dlrun.config.composing.spaces import Dimension, space
from dlrun.config.repeats import is_seed
from dlrun.data.preparation import unsaid_folds
from dlrun.errors import InputError, plural, raise_all
from dlrun.experiments.events import Listener, Listeners
from dlrun.experiments.experiment import How, Reports, Result, SweepExperiment
from dlrun.experiments.search import samplers
from dlrun.experiments.search.samplers import Trial, Values
from dlrun.experiments.search.studies import Studies, default_url
from dlrun.experiments.search.tuned import Tuned, Tuning, Words, trial_of
from dlrun.experiments.search.tuned import notes as noted
from dlrun.experiments.sections import place
from dlrun.experiments.settle import seeds_of
from dlrun.experiments.signals import Interruption
from dlrun.report.sections import Place
from dlrun.results.store import Store
from dlrun.results.sweeps import Cell, Sweep

TUNING = "tuning"  # in the settings of a sweep: the trials of each configuration


@dataclass(frozen=True)
class Search:
    """How to search.

    Args:
        budget: trials of each configuration.
        batch: how many of them are proposed, and trained, at once.
        sampler: see samplers.SAMPLERS.
        sampler_seed: of what is drawn.
        fresh: seeds with which the best settings and the defaults are reported.
        storage: an Optuna storage for the trials; one in the output folder when empty.

    Raises:
        InputError: a number is out of range, or there is no such sampler.
    """

    budget: int = 32
    batch: int = 16
    sampler: str = "tpe"
    sampler_seed: int = 0
    fresh: int = 10
    storage: str = ""

    def __post_init__(self) -> None:
        samplers.check(self.sampler)
        least = {"budget": 1, "batch": 1, "sampler_seed": 0, "fresh": 2}
        raise_all(
            [f"{key}={getattr(self, key)}: must be at least {low}" for key, low in least.items() if getattr(self, key) < low]
        )


class TuneExperiment:
    """Each configuration of a sweep is tuned with the same budget.

    Args:
        jobs: the words of each configuration and of its seeds: those that every trial trains with.
        compose: makes the configs of jobs.
        how: of the sweep.
        searched: what was asked to be searched over, by the key.
        search: how.

    Raises:
        InputError: there is nothing to search over, or what cannot be.
    """

    def __init__(
        self,
        jobs: Sequence[Sequence[str]],
        compose: Compose,
        how: How,
        listeners: Sequence[Listener] = (),
        *,
        searched: Mapping[str, str],
        search: Search,
    ) -> None:
        samplers.optuna()
        self._compose, self._listeners, self._tell = compose, listeners, Listeners(listeners)
        self._searched, self._search = searched, search
        configurations = [*dict.fromkeys(tuple(word for word in job if not is_seed(word)) for job in jobs)]
        first = compose([configurations[0]])[0].config
        self._check(first)
        self._seeds = seeds_of(jobs) or [int(first.get("seed") or 0)]
        self._interruption = Interruption(first.get("timeout_s"))
        self._how = replace(how, grows=True, interruption=self._interruption)
        self._store = Store.at(first.get("output_dir"))
        self._skipped: dict[str, str] = {}
        self._tuned = self._laid_out(configurations)
        self._sweep: Sweep | None = None

    @staticmethod
    def _check(config: Mapping[str, Any]) -> None:
        problems = []
        if config.get("tune_over"):
            problems.append("tune: does not go with tune_over, which is the same for a sweep that lists its values")
        if not (config.get("dataset") or {}).get("validation", 1):
            problems.append("tune: chooses on validation rows, and dataset.validation=0 leaves none")
        raise_all(problems)

    def _laid_out(self, configurations: Sequence[Words]) -> list[Tuned]:
        """The configurations that can be trained, each with its space."""
        jobs = self._compose([[*words, f"seed={self._seeds[0]}"] for words in configurations])
        experiment = SweepExperiment(jobs, replace(self._how, plan_only=True), self._listeners)
        experiment.prepare()
        grid = experiment.grid
        spaces = [self._space(job, words) for job, words in zip(jobs, configurations, strict=True)]
        self._check_found(configurations, jobs, spaces)
        cells = [mine[0] for mine in _by_job(jobs, grid.cells)]
        told = [grid.specs[cell.id].factors if cell.id in grid.specs else cell.factors for cell in cells]
        varied = {key for key in {key for each in told for key in each} if len({each.get(key) for each in told}) > 1}
        found = []
        for job, words, dimensions, cell, factors in zip(jobs, configurations, spaces, cells, told, strict=True):
            mine = {key: value for key, value in factors.items() if key in varied}
            if cell.id not in grid.specs:
                self._skipped[label(mine)] = cell.reason
                continue
            at = place(grid.specs[cell.id])[0]
            name = " ".join((at.dataset, *([label(mine)] if mine else []), self._digest(cell.id, dimensions)))
            found.append(Tuned(words, dimensions, at, mine, name, job))
        return found

    def _space(self, job: Composed, words: Words) -> list[Dimension]:
        if job.error:
            return []
        given = [word.lstrip("+").partition("=")[0] for word in words]
        return space(job, self._searched, given)

    def _check_found(self, configurations: Sequence[Words], jobs: Sequence[Composed], spaces: Sequence[list[Dimension]]) -> None:
        """Whether each configuration has something to search over, and each setting that was named a configuration.

        Raises:
            InputError: naming those without.
        """
        known = {part.key for each in spaces for part in each}
        for key in self._searched:
            if key not in known:
                self._compose([[*words, f"{key}=0"] for words in configurations])  # raises, with what to type instead
                raise InputError(f"{key}={self._searched[key]}: no configuration has that setting")
        without = [words for words, each, job in zip(configurations, spaces, jobs, strict=True) if not each and not job.error]
        raise_all(
            [
                f"{' '.join(words) or 'these settings'}: nothing to search over; type what, such as "
                "'optimizer.lr=tag(log,interval(1e-4,1e-1))'"
                for words in without
            ]
        )

    def _digest(self, run: str, dimensions: Sequence[Dimension]) -> str:
        """What a study's name ends with: of all that its trials depend on. ``run`` is the id of one with the defaults."""
        how = self._search
        parts = [run, *(part.text() for part in dimensions), *map(str, self._seeds), how.sampler, how.sampler_seed]
        parts += [how.budget] if how.sampler == "grid" else [how.batch, samplers.optuna().__version__]
        return sha256("\n".join(map(str, parts)).encode()).hexdigest()[:8]

    def run(self) -> Tuning:
        """Tune, then report. Listeners hear in a line how far it is after each batch (``comparing``).

        Raises:
            InputError: the settings of a trial cannot work.
            StoreError: the output folder or the storage cannot be written.
        """
        storage = self._search.storage or default_url(self._store.root)
        self._store.prepare()
        with _Mirror(storage, {"command": " ".join(self._how.command)}) as mirror:
            stopped = False
            while not stopped and (proposed := self._proposed()):
                stopped = self._tried(proposed)
                if not stopped:
                    mirror.keep(self._tuned)
                    self._tell.comparing(self._told())
            result = None if stopped else self._reported()
        found = Tuning(
            self._interruption.exit_code, self._folder(), self._tuned, self._skipped, storage, result, self._interruption()
        )
        if self._sweep is not None:
            self._sweep.keep(TUNING, found.content())
        if not found.stopped:
            found = replace(found, code=1 if result is None else result.code)
        return found

    def _folder(self) -> Path:
        return self._store.root if self._sweep is None else self._sweep.folder

    def _proposed(self) -> list[tuple[Tuned, Values]]:
        """The next batch of every configuration."""
        how = self._search
        return [
            (each, values)
            for each in self._tuned
            for values in samplers.propose(
                each.space,
                each.trials,
                how.budget,
                batch=how.batch,
                sampler=how.sampler,
                seed=how.sampler_seed,
                maximize=each.maximize,
            )
        ]

    def _tried(self, proposed: Sequence[tuple[Tuned, Values]]) -> bool:
        """Train a batch and note what came of it. Returns whether it was interrupted."""
        words = [
            [*each.words, *(part.setting(value) for part, value in zip(each.space, values, strict=True))]
            for each, values in proposed
        ]
        jobs = self._compose([[*mine, f"seed={seed}"] for mine in words for seed in self._seeds])
        experiment = self._experiment(jobs)
        result = experiment.run()
        self._sweep = result.sweep
        if self._interruption():
            return True
        records = {record.id: record for record in result.store.records(experiment.grid.specs)}
        cells = _by_job(jobs, experiment.grid.cells)
        for number, (each, values) in enumerate(proposed):
            mine = [cell for some in cells[number * len(self._seeds) : (number + 1) * len(self._seeds)] for cell in some]
            each.trials.append(trial_of(values, mine, records, each.at.metric))
        return False

    def _experiment(self, jobs: Sequence[Composed], reports: Reports | None = None) -> SweepExperiment:
        how = self._how if self._sweep is None else replace(self._how, resume=self._sweep.folder)
        return SweepExperiment(jobs, replace(how, reports=reports), self._listeners)

    def _told(self) -> str:
        trials = sum(len(each.trials) for each in self._tuned)
        lost = sum(trial.quality is None for each in self._tuned for trial in each.trials)
        best = {each.study: each.curve()[-1] for each in self._tuned}
        known = [each for each in self._tuned if not math.isnan(best[each.study])]
        said = f"{plural(trials, 'trial')}" + (f", {lost} without a value" if lost else "")
        if known and len({each.at for each in known}) == 1:
            top = (max if known[0].maximize else min)(known, key=lambda each: best[each.study])
            said += f", best validation {top.at.metric} {best[top.study]:.4g}" + (
                f" with {label(top.factors)}" if top.factors else ""
            )
        return said

    def _reported(self) -> Result | None:
        """Train the best settings of each configuration, and the defaults, with seeds that chose nothing, and compare them."""
        start = max(self._seeds) + 1
        words: list[list[str]] = []
        told: list[dict[str, Factor]] = []
        notes: dict[Place, list[str]] = {}
        for each in self._tuned:
            notes.setdefault(each.at, []).extend(noted(each))
            best = each.best
            if best is None:
                continue
            for tuned, mine in ((True, [*each.words, *each.settings(best)]), (False, [*each.words])):
                words += [[*mine, f"seed={seed}"] for seed in range(start, start + self._search.fresh)]
                told += [{TUNED: tuned}] * self._search.fresh
        if not words:
            return None
        jobs = self._compose(words)
        more = [each for job, each in zip(jobs, told, strict=True) for _ in range(_folds(job))]
        experiment = self._experiment(jobs, Reports(more, notes))
        result = experiment.run()
        self._sweep = result.sweep
        return result


class _Mirror:
    """Writes trials to a storage while the next ones train."""

    def __init__(self, url: str, about: Mapping[str, Any]) -> None:
        self._about = about
        self._writer = ThreadPoolExecutor(1, "dlrun-studies")
        self._studies = self._writer.submit(Studies, url)
        self._writing: Future[None] | None = None

    def __enter__(self) -> "_Mirror":
        self._studies.result()
        return self

    def __exit__(self, kind: Any, *_: object) -> None:
        try:
            if kind is None:
                self._settle()
        finally:
            self._writer.shutdown(wait=True, cancel_futures=kind is not None)

    def keep(self, tuned: Sequence[Tuned]) -> None:
        """Write what is new, when what was before is written."""
        self._settle()
        now = [(each, tuple(each.trials)) for each in tuned]
        self._writing = self._writer.submit(self._write, now)

    def _write(self, now: Sequence[tuple[Tuned, Sequence[Trial]]]) -> None:
        studies = self._studies.result()
        for each, trials in now:
            studies.keep(each.study, each.space, trials, maximize=each.maximize, about=self._about)

    def _settle(self) -> None:
        if self._writing is not None:
            self._writing.result()


def _folds(job: Composed) -> int:
    """How many runs a job is."""
    return max(1, unsaid_folds(job.config.get("dataset") or {}))


def _by_job(jobs: Sequence[Composed], cells: Sequence[Cell]) -> list[Sequence[Cell]]:
    """The cells of each job: one for each of its folds."""
    ends = [*accumulate(map(_folds, jobs), initial=0)]
    return [cells[start:end] for start, end in pairwise(ends)]
