"""Tuning: a sampler proposes settings for each configuration, batch by batch; the trials of all train together.

    configurations -> (propose -> train, from rung to rung -> note) for each batch -> the best on validation rows
                   -> those and the defaults with fresh seeds -> compared on test rows

A batch follows from the trials before it alone, and finished runs are taken from the store: a command that was killed goes on
where it was when it is given again, with the same trials. What the best trial got on validation rows is partly luck, so it is not
what is reported (see experiments/tuning).
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
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
from dlrun.config.settings import Trainer
from dlrun.data.preparation import unsaid_folds
from dlrun.errors import InputError, plural, raise_all
from dlrun.experiments.events import Listener, Listeners
from dlrun.experiments.experiment import How, Reports, Result, SweepExperiment
from dlrun.experiments.search import pruning, samplers
from dlrun.experiments.search.samplers import Trial, Values
from dlrun.experiments.search.settings import Search
from dlrun.experiments.search.studies import Mirror, default_url
from dlrun.experiments.search.tuned import PRUNED, Tuned, Tuning, Words, trial_of
from dlrun.experiments.search.tuned import notes as noted
from dlrun.experiments.sections import place
from dlrun.experiments.settle import seeds_of
from dlrun.experiments.signals import Interruption
from dlrun.report.sections import Place
from dlrun.report.stored import TUNING
from dlrun.results.store import Store
from dlrun.results.sweeps import Cell, Sweep


@dataclass
class _Attempt:
    """A trial that is trained from rung to rung.

    Args:
        bracket: trials with the same one are compared.
        path: the rungs that are left, the last of which is its end.
        past: the trial as it was at the rungs before.
    """

    each: Tuned
    values: Values
    bracket: tuple[str, int]
    path: tuple[int, ...]
    past: Trial

    @property
    def words(self) -> Words:
        """Of its next training."""
        settings = (part.setting(value) for part, value in zip(self.each.space, self.values, strict=True))
        return (*self.each.words, *settings, *([f"trainer.until={self.path[0]}"] if len(self.path) > 1 else []))


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
            self._check_rungs(job, dimensions)
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

    def _check_rungs(self, job: Composed, dimensions: Sequence[Dimension]) -> None:
        """Whether the epochs of a configuration's trials can be shared out.

        Raises:
            InputError: they are searched over, or limited otherwise.
        """
        if not self._search.prunes:
            return
        trainer, fixed = job.config.get("trainer") or {}, ("epochs", "evaluate_every", "max_steps", "until")
        searched = [part.key for part in dimensions if part.key in {f"trainer.{key}" for key in fixed}]
        limits = [f"trainer.{key}={trainer[key]}" for key in ("max_steps", "until") if trainer.get(key) is not None]
        raise_all(
            [f"pruner={self._search.pruner}: shares out epochs, and {key} is searched over" for key in searched]
            + [f"pruner={self._search.pruner}: shares out trainer.epochs, and {limit} limits them; type null" for limit in limits]
        )
        self._search.trials(*_epochs(job))

    def _digest(self, run: str, dimensions: Sequence[Dimension]) -> str:
        """What a study's name ends with: of all that its trials depend on. ``run`` is the id of one with the defaults."""
        how = self._search
        parts = [run, *(part.text() for part in dimensions), *map(str, self._seeds), how.sampler, how.sampler_seed]
        parts += [how.budget] if how.sampler == "grid" else [how.at_once, samplers.optuna().__version__]
        parts += [how.pruner, how.eta, how.min_epochs, how.at_once] if how.prunes else []
        return sha256("\n".join(map(str, parts)).encode()).hexdigest()[:8]

    def run(self) -> Tuning:
        """Tune, then report. Listeners hear in a line how far it is after each batch (``comparing``).

        Raises:
            InputError: the settings of a trial cannot work.
            StoreError: the output folder or the storage cannot be written.
        """
        storage = self._search.storage or default_url(self._store.root)
        self._store.prepare()
        with Mirror(storage, {"command": " ".join(self._how.command)}) as mirror:
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
                how.trials(*_epochs(each.default)),
                batch=how.at_once,
                sampler=how.sampler,
                seed=how.sampler_seed,
                maximize=each.maximize,
            )
        ]

    def _tried(self, proposed: Sequence[tuple[Tuned, Values]]) -> bool:
        """Train a batch from rung to rung, and note what came of it. Returns whether it was interrupted."""
        counts = Counter(each.study for each, _ in proposed)
        paths = {each.study: self._search.paths(counts[each.study], *_epochs(each.default)) for each, _ in proposed}
        brackets = {study: Counter(mine) for study, mine in paths.items()}
        attempts = []
        for each, values in proposed:
            path = paths[each.study].pop(0)
            left = pruning.ahead(path, brackets[each.study][path])
            attempts.append(_Attempt(each, values, (each.study, len(path)), left, Trial(values, None)))
        going = attempts
        while going:
            if not self._trained(going):
                return True
            going = self._compared(going)
        for attempt in attempts:
            attempt.each.trials.append(attempt.past)
        return False

    def _trained(self, going: Sequence[_Attempt]) -> bool:
        """Train trials up to their next rungs, the runs of all at once. Returns whether all were."""
        jobs = self._compose([[*attempt.words, f"seed={seed}"] for attempt in going for seed in self._seeds])
        experiment = self._experiment(jobs)
        result = experiment.run()
        self._sweep = result.sweep
        if self._interruption():
            return False
        records = {record.id: record for record in result.store.records(experiment.grid.specs)}
        cells = _by_job(jobs, experiment.grid.cells)
        for number, attempt in enumerate(going):
            mine = [cell for some in cells[number * len(self._seeds) : (number + 1) * len(self._seeds)] for cell in some]
            here, past = trial_of(attempt.values, mine, records, attempt.each.at.metric), attempt.past
            rungs = past.rungs | ({attempt.path[0]: here.quality} if len(attempt.path) > 1 and here.quality is not None else {})
            attempt.past = replace(here, rungs=rungs, epochs=past.epochs + here.epochs)
        return True

    def _compared(self, going: Sequence[_Attempt]) -> list[_Attempt]:
        """Those that go on from the rung where they are; others of their bracket are pruned."""
        brackets: dict[tuple[str, int], list[_Attempt]] = {}
        for attempt in going:
            if len(attempt.path) > 1:
                brackets.setdefault(attempt.bracket, []).append(attempt)
        found = []
        for mine in brackets.values():
            qualities = [attempt.past.quality for attempt in mine]
            kept = pruning.kept(qualities, eta=self._search.eta, maximize=mine[0].each.maximize)
            for number, attempt in enumerate(mine):
                at, *path = attempt.path
                if number in kept:
                    attempt.path = pruning.ahead(path, len(kept))
                    found.append(attempt)
                elif attempt.past.quality is not None:
                    reason = f"{len(kept)} of {len(mine)} trials were better after {plural(at, 'epoch')}"
                    attempt.past = replace(attempt.past, quality=None, status=PRUNED, reason=reason)
        return found

    def _experiment(self, jobs: Sequence[Composed], reports: Reports | None = None) -> SweepExperiment:
        how = self._how if self._sweep is None else replace(self._how, resume=self._sweep.folder)
        return SweepExperiment(jobs, replace(how, reports=reports), self._listeners)

    def _told(self) -> str:
        trials = sum(len(each.trials) for each in self._tuned)
        lost = sum(each.lost for each in self._tuned)
        best = {each.study: each.curve()[-1] for each in self._tuned}
        known = [each for each in self._tuned if not math.isnan(best[each.study])]
        pruned = sum(trial.status == PRUNED for each in self._tuned for trial in each.trials)
        said = plural(trials, "trial") + (f", {pruned} pruned" if pruned else "") + (f", {lost} without a value" if lost else "")
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


def _epochs(job: Composed) -> tuple[int, int]:
    """The epochs of a trial that is trained to its end, and those from one evaluation to the next."""
    trainer = job.config.get("trainer") or {}
    usual = Trainer()
    return int(trainer.get("epochs", usual.epochs)), int(trainer.get("evaluate_every", usual.evaluate_every))


def _folds(job: Composed) -> int:
    """How many runs a job is."""
    return max(1, unsaid_folds(job.config.get("dataset") or {}))


def _by_job(jobs: Sequence[Composed], cells: Sequence[Cell]) -> list[Sequence[Cell]]:
    """The cells of each job: one for each of its folds."""
    ends = [*accumulate(map(_folds, jobs), initial=0)]
    return [cells[start:end] for start, end in pairwise(ends)]
