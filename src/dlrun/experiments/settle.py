"""Seeds until it is settled: a sweep that grows, batch by batch, by seeds for the configurations that still need them.

    jobs -> configurations and first seeds -> train -> look (comparison.race, for each dataset) -> more seeds -> ... -> races

The seeds of a batch follow from the runs before it alone, and finished runs are taken from the store. So a command that was
killed goes on where it was when it is given again, and comes to the same result.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import count, islice
from pathlib import Path
from typing import Any

from dlrun.comparison.groups import BEST, named, words_of
from dlrun.comparison.measures import lower_is_better
from dlrun.comparison.race import Race, Rules
from dlrun.comparison.sequential import LEAST
from dlrun.comparison.table import Row, groups
from dlrun.config.composing.composed import Composed
from dlrun.config.composing.from_python import Compose
from dlrun.config.repeats import is_seed
from dlrun.config.spec import RunSpec
from dlrun.errors import InputError, plural, raise_all
from dlrun.experiments.events import Listener, Listeners
from dlrun.experiments.experiment import How, SweepExperiment
from dlrun.experiments.sections import entries
from dlrun.experiments.signals import Interruption
from dlrun.experiments.sweep import Grid
from dlrun.report.sections import Entry, Place, column, told_apart
from dlrun.report.stored import SETTLED
from dlrun.results.sweeps import Cell, Sweep

ALPHA = 0.05
MOST = 1_000  # seeds of a configuration
NOT_SETTLED = 4  # the exit code

Words = tuple[str, ...]


@dataclass(frozen=True)
class Settlement:
    """What came of it.

    Args:
        code: 0 settled, 4 not settled, 1 a run failed or the time was over, 130 and 143 interrupted.
        races: the name of a dataset, with what tells it from others -> its race.
        runs: how many belong to the sweep.
        pairs: alpha was divided by their number.
        stopped: whether it was interrupted, or the time was over.
    """

    code: int
    folder: Path
    races: dict[str, Race]
    runs: int
    pairs: int
    alpha: float
    most: int
    stopped: bool = False

    @property
    def settled(self) -> bool:
        """Whether every configuration has its verdict."""
        return bool(self.races) and all(race.settled for race in self.races.values())

    def content(self) -> dict[str, Any]:
        """All of it in JSON's types; an interval that is not bounded has None for its ends."""
        return {
            "settled": self.settled,
            "alpha": self.alpha,
            "pairs": self.pairs,
            "max_seeds": self.most,
            "runs": self.runs,
            "sweep": str(self.folder),
            "datasets": [
                {
                    "dataset": title,
                    "metric": race.rules.metric,
                    "margin": race.rules.margin,
                    "configurations": [standing.content(race.rules.metric) for standing in race.standings],
                }
                for title, race in self.races.items()
            ],
        }


class SettleExperiment:
    """A sweep that gets seeds until its comparisons are settled, or a configuration has ``most`` of them.

    Args:
        jobs: each the words of a run; what they differ in beside the seed are configurations, their seeds the first ones.
        compose: makes the configs of jobs.
        how: of the sweep.

    Raises:
        InputError: alpha or ``most`` is out of range, or there is one configuration alone.
    """

    def __init__(
        self,
        jobs: Sequence[Sequence[str]],
        compose: Compose,
        how: How,
        listeners: Sequence[Listener] = (),
        *,
        alpha: float = ALPHA,
        most: int = MOST,
    ) -> None:
        if not 0 < alpha < 0.5:
            raise InputError(f"--alpha {alpha}: must lie between 0 and 0.5, such as 0.05")
        if most < LEAST:
            raise InputError(f"--max-seeds {most}: must be at least {LEAST}, since nothing is settled with fewer seeds")
        self._configurations = [*dict.fromkeys(tuple(word for word in job if not is_seed(word)) for job in jobs)]
        if len(self._configurations) < 2:
            raise InputError("settle: takes two configurations or more, such as activation=relu,tanh")
        composed = compose(self._configurations)  # all at once: a setting that some of them lack is left out of these
        first = composed[0].config
        self._meant = {
            words: tuple(word for word in words if word not in job.left_out)
            for words, job in zip(self._configurations, composed, strict=True)
        }
        self._interruption = Interruption(first.get("timeout_s"))
        self._compose, self._how = compose, replace(how, grows=True, interruption=self._interruption)
        self._listeners, self._tell = listeners, Listeners(listeners)
        self._alpha, self._most = alpha, most
        if first.get("tune_over"):
            raise InputError(
                "settle: does not go with tune_over, which gives its seeds to what was chosen; tune first, then settle"
            )
        given = seeds_of(jobs) or [int(first.get("seed") or 0)]
        if len(given) > most:
            raise InputError(f"--max-seeds {most}: there are {len(given)} seeds to begin with; type --max-seeds {len(given)}")
        self._seeds = [*given, *islice(count(max(given) + 1), most - len(given))]
        self._first = max(LEAST, len(given))
        self._specs: dict[str, RunSpec] = {}
        self._of: dict[str, Words] = {}  # run -> its configuration
        self._races: dict[Place, Race] = {}
        self._titles: dict[Place, str] = {}
        self._pairs = 0

    def run(self) -> Settlement:
        """Train until it is settled. Listeners hear in a line how far it is after each batch (``comparing``).

        Raises:
            InputError: the settings cannot work, ``reference`` names no configuration, or the metric has no better side.
            StoreError: the output folder cannot be written.
        """
        wanted, done, stopped = self._configurations, 0, False
        sweep: Sweep | None = None
        while wanted and done < self._most and not stopped:
            batch = self._seeds[done : _next(done, self._most) if done else self._first]
            typed = self._meant if done else {words: words for words in wanted}  # the first batch warns of what is left out
            jobs = self._compose([[*typed[words], f"seed={seed}"] for words in wanted for seed in batch])
            how = self._how if sweep is None else replace(self._how, resume=sweep.folder)
            experiment = SweepExperiment(jobs, how, self._listeners)
            if sweep is None:
                _check(experiment.grid)
                experiment.prepare()
            result = experiment.run()
            sweep, done, stopped = result.sweep, done + len(batch), self._interruption()
            assert sweep is not None
            self._note(jobs, wanted, len(batch), experiment.grid.cells)
            self._specs |= experiment.grid.specs
            if not stopped:
                records = {record.id: record for record in result.store.records(self._specs)}
                self._look(entries(self._specs, records), experiment.grid)
                wanted = self._wanted()
                self._tell.comparing(f"{plural(done, 'seed')}: {self._told(len(wanted))}")
        assert sweep is not None
        found = self._result(sweep, stopped=stopped)
        sweep.keep(SETTLED, found.content())
        return found

    def _note(self, jobs: Sequence[Composed], wanted: Sequence[Words], seeds: int, cells: Sequence[Cell]) -> None:
        """Remember which configuration each run is of."""
        words = {job.overrides: wanted[number // seeds] for number, job in enumerate(jobs)}
        for cell in cells:
            if cell.id:
                asked = cell.overrides if cell.overrides in words else cell.overrides[:-1]  # without the fold
                self._of.setdefault(cell.id, words[asked])

    def _look(self, found: Sequence[Entry], grid: Grid) -> None:
        """Judge every dataset by all runs so far."""
        places: dict[Place, list[Row]] = {}
        for entry in found:
            places.setdefault(entry.place, []).append(entry.row)
        if not self._races:
            rules = {place: rule for place, rows in places.items() if (rule := self._rules(place, rows, grid)) is not None}
            configurations = {place: len({self._of[row.id] for row in places[place]}) for place in rules}
            self._pairs = sum(rule.pairs(configurations[place]) for place, rule in rules.items())
            self._races = {place: Race(rule, self._pairs) for place, rule in rules.items()}
        for place, race in self._races.items():
            race.look(places[place], self._seeds)
        about = told_apart(found)
        self._titles = {
            place: ", ".join((place.dataset, *(f"{key}={value}" for key, value in about[place].items()))) for place in self._races
        }

    def _rules(self, place: Place, rows: Sequence[Row], grid: Grid) -> Rules | None:
        """What is asked on a dataset; None where no run was measured."""
        metric = column(place.metric, {name for row in rows for name in row.metrics})
        if metric is None:
            return None
        return Rules(metric, not lower_is_better(metric), grid.reference, grid.margin, self._alpha)

    def _wanted(self) -> list[Words]:
        racing = {self._of[row.id] for race in self._races.values() for group in race.racing for row in group.rows}
        return [words for words in self._configurations if words in racing]

    def _told(self, racing: int) -> str:
        standings = [standing for race in self._races.values() for standing in race.standings if standing.found is not None]
        settled = sum(standing.settled for standing in standings)
        more = f", {plural(racing, 'configuration')} get more" if racing else ""
        return f"{settled} of {len(standings)} comparisons settled{more}"

    def _result(self, sweep: Sweep, *, stopped: bool) -> Settlement:
        races = {self._titles[place]: race for place, race in self._races.items()}
        code = self._interruption.exit_code
        found = Settlement(code, sweep.folder, races, len(sweep.cells), self._pairs, self._alpha, self._most, stopped)
        if not stopped:
            failed = any(cell.status == "failed" for cell in sweep.cells)
            found = replace(found, code=1 if failed else 0 if found.settled else NOT_SETTLED)
        return found


def _check(grid: Grid) -> None:
    """Whether all that is asked for can be had, before anything trains."""
    places: dict[Place, list[Row]] = {}
    for entry in entries(grid.specs, {}):
        places.setdefault(entry.place, []).append(entry.row)
    for place, rows in places.items():
        lower_is_better(place.metric)
        if words_of(grid.reference) != [BEST]:
            named(groups(rows, "", higher_is_better=True), grid.reference)


def seeds_of(jobs: Sequence[Sequence[str]]) -> list[int]:
    """The seeds that words name, in their order."""
    named = dict.fromkeys(word.partition("=")[2] for job in jobs for word in job if is_seed(word))
    raise_all([f"seed={seed}: must be a whole number, such as 0" for seed in named if not seed.isdecimal()])
    return [int(seed) for seed in named]


def _next(done: int, most: int) -> int:
    """How many seeds there are after the next batch: half as many again."""
    return min(most, done + done // 2)
