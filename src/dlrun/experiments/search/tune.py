"""Tuning: a sampler proposes settings for each configuration, batch by batch; the trials of all train together.

    configurations -> (propose -> train -> note) for each batch -> the best on validation rows
                   -> those and the defaults with fresh seeds -> compared on test rows

A batch follows from the trials before it alone, and finished runs are taken from the store: a command that was killed goes on
where it was when it is given again, with the same trials. What the best trial got on validation rows is partly luck, so it is not
what is reported (see experiments/tuning).
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from dlrun.comparison.factors import Factor, label
from dlrun.comparison.longtable import TUNED
from dlrun.comparison.measures import lower_is_better
from dlrun.config.composing.composed import Composed
from dlrun.config.composing.from_python import Compose
from dlrun.config.composing.spaces import Dimension, space
from dlrun.config.repeats import is_seed
from dlrun.errors import InputError, plural, raise_all
from dlrun.experiments.events import Listener, Listeners
from dlrun.experiments.experiment import How, Reports, Result, SweepExperiment
from dlrun.experiments.planning.folds import every_fold
from dlrun.experiments.search import samplers
from dlrun.experiments.search.samplers import Trial, Values
from dlrun.experiments.search.studies import Studies, default_url
from dlrun.experiments.sections import place
from dlrun.experiments.settle import seeds_of
from dlrun.experiments.signals import Interruption
from dlrun.report.sections import Place
from dlrun.results.record import MEASURED, RunRecord
from dlrun.results.store import Store
from dlrun.results.sweeps import Cell, Sweep

TUNING = "tuning"  # in the settings of a sweep: the trials of each configuration
Words = tuple[str, ...]


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


@dataclass
class Tuned:
    """A configuration while it is tuned.

    Args:
        words: what it is asked for by, without what is searched over.
        space: what is searched over.
        at: where it stands: the data and the metric.
        factors: what tells it from others.
        study: its name in the storage.
        trials: in their order.
    """

    words: Words
    space: Sequence[Dimension]
    at: Place
    factors: Mapping[str, Factor]
    study: str
    trials: list[Trial] = field(default_factory=list)

    @property
    def maximize(self) -> bool:
        """Whether more of the metric is better."""
        return not lower_is_better(self.at.metric)

    @property
    def best(self) -> int | None:
        """The number of the best trial; None where none has a value."""
        known = [number for number, trial in enumerate(self.trials) if trial.quality is not None]
        sign = -1 if self.maximize else 1
        return min(known, key=lambda number: sign * (self.trials[number].quality or 0.0), default=None)

    def curve(self) -> list[float]:
        """The best quality after each trial; NaN while there is none."""
        found, best = [], math.nan
        for trial in self.trials:
            if trial.quality is not None:
                best = trial.quality if math.isnan(best) else (max if self.maximize else min)(best, trial.quality)
            found.append(best)
        return found

    def settings(self, number: int) -> Words:
        """The words that give a trial's settings."""
        return tuple(part.setting(value) for part, value in zip(self.space, self.trials[number].values, strict=True))

    def counts(self) -> dict[str, int]:
        """How many trials ended in which way."""
        statuses = [trial.status for trial in self.trials]
        return {status: statuses.count(status) for status in dict.fromkeys(statuses)}

    def content(self) -> dict[str, Any]:
        """All of it in JSON's types."""
        best = self.best
        return {
            "dataset": self.at.dataset,
            "metric": f"validation/{self.at.metric}",
            "factors": dict(self.factors),
            "words": list(self.words),
            "space": [part.text() for part in self.space],
            "study": self.study,
            "best": None if best is None else {"trial": best, "settings": list(self.settings(best))},
            "trials": [
                {"values": list(trial.values), "quality": trial.quality, "status": trial.status, "reason": trial.reason}
                for trial in self.trials
            ],
        }


@dataclass(frozen=True)
class Tuning:
    """What came of it.

    Args:
        code: the exit code.
        skipped: configurations that cannot be trained, with the reason.
        result: of the runs that report; None where it was interrupted before, or nothing could be tuned.
    """

    code: int
    folder: Path
    tuned: Sequence[Tuned]
    skipped: Mapping[str, str]
    storage: str
    result: Result | None = None
    stopped: bool = False

    def content(self) -> dict[str, Any]:
        """All of it in JSON's types."""
        return {
            "sweep": str(self.folder),
            "storage": self.storage,
            "skipped": dict(self.skipped),
            "configurations": [each.content() for each in self.tuned],
        }


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
        folds = len(grid.cells) // len(jobs)
        spaces = [self._space(job, words) for job, words in zip(jobs, configurations, strict=True)]
        self._check_found(configurations, jobs, spaces)
        specs = [grid.specs.get(cell.id) for cell in grid.cells[::folds]]
        told = [spec.factors if spec else cell.factors for spec, cell in zip(specs, grid.cells[::folds], strict=True)]
        varied = {key for key in {key for each in told for key in each} if len({each.get(key) for each in told}) > 1}
        found = []
        for words, dimensions, spec, cell, factors in zip(configurations, spaces, specs, grid.cells[::folds], told, strict=True):
            mine = {key: value for key, value in factors.items() if key in varied}
            if spec is None:
                self._skipped[label(mine)] = cell.reason
                continue
            at = place(spec)[0]
            name = " ".join((at.dataset, *([label(mine)] if mine else []), self._digest(cell.id, dimensions)))
            found.append(Tuned(words, dimensions, at, mine, name))
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
        jobs = every_fold(self._compose([[*mine, f"seed={seed}"] for mine in words for seed in self._seeds]))
        experiment = self._experiment(jobs)
        result = experiment.run()
        self._sweep = result.sweep
        if self._interruption():
            return True
        records = {record.id: record for record in result.store.records(experiment.grid.specs)}
        several = len(jobs) // len(proposed)
        for number, (each, values) in enumerate(proposed):
            cells = experiment.grid.cells[number * several : (number + 1) * several]
            each.trials.append(_trial(values, cells, records, each.at.metric))
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
            notes.setdefault(each.at, []).extend(_notes(each))
            best = each.best
            if best is None:
                continue
            for tuned, mine in ((True, [*each.words, *each.settings(best)]), (False, [*each.words])):
                words += [[*mine, f"seed={seed}"] for seed in range(start, start + self._search.fresh)]
                told += [{TUNED: tuned}] * self._search.fresh
        if not words:
            return None
        composed = self._compose(words)
        pairs = [(job, more) for job, more in zip(composed, told, strict=True)]
        jobs = every_fold(composed)
        folds = len(jobs) // len(pairs)
        experiment = self._experiment(jobs, Reports([more for _, more in pairs for _ in range(folds)], notes))
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


def _trial(values: Values, cells: Sequence[Cell], records: Mapping[str, RunRecord], metric: str) -> Trial:
    """What came of the runs of a trial: it is as good as their mean, and lost where one of them is."""
    found = [records.get(cell.id) for cell in cells]
    runs = tuple(cell.id for cell in cells)
    lost = next((record for record in found if record is None or record.status not in MEASURED), None)
    if lost is not None or None in found:
        cell = next((cell for cell, record in zip(cells, found, strict=True) if record is lost), cells[0])
        status = "diverged" if lost is not None and lost.status == "diverged" else "failed"
        return Trial(values, None, status, lost.reason if lost is not None else cell.reason, runs)
    qualities = [record.metrics.get(f"validation/{metric}") for record in found if record is not None]
    known = [quality for quality in qualities if quality is not None and math.isfinite(quality)]
    if len(known) < len(qualities):
        return Trial(values, None, "undefined", f"validation/{metric} has no value", runs)
    return Trial(values, math.fsum(known) / len(known), runs=runs)


def _notes(each: Tuned) -> Iterator[str]:
    """What was chosen, in a line."""
    name, best = label(each.factors) if each.factors else each.at.dataset, each.best
    if best is None:
        yield f"{name}: no trial of {len(each.trials)} has a validation {each.at.metric}; none is reported"
        return
    trial = each.trials[best]
    said = (
        f"{name}: {' '.join(each.settings(best))}, trial {best + 1} of {len(each.trials)}, "
        f"by validation {each.at.metric} {trial.quality or 0.0:.4g}"
    )
    lost = [f"{count} {status}" for status, count in each.counts().items() if status != "done"]
    edges = [_edge(part, value) for part, value in zip(each.space, trial.values, strict=True)]
    yield "; ".join([said, *lost, *(f"warning: {line}" for line in edges if line)])


def _edge(part: Dimension, value: Any) -> str:
    """Whether a value lies in the last twentieth of what was searched, so that a better one may lie beyond."""
    if part.options or part.whole:
        return ""
    low, high, here = (math.log(number) if part.log else number for number in (part.low, part.high, value))
    share = (here - low) / (high - low)
    if 0.05 <= share <= 0.95 or (share < 0.05 and part.low == 0):
        return ""
    where, beyond = ("lower", "smaller") if share < 0.5 else ("upper", "larger")
    return f"{part.key} is near the {where} end of {part.text().partition('=')[2]}; search {beyond} ones"
