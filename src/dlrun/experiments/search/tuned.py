"""What came of a search: the trials of each configuration, what was chosen, and how to compare it further."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dlrun import registry
from dlrun.comparison.factors import Factor, label
from dlrun.comparison.measures import best_so_far, lower_is_better
from dlrun.config.composing.composed import Composed
from dlrun.config.composing.grammar import word
from dlrun.config.composing.spaces import Dimension
from dlrun.experiments.experiment import Result
from dlrun.experiments.search.samplers import Trial, Values
from dlrun.report.sections import Place
from dlrun.results.record import MEASURED, RunRecord
from dlrun.results.sweeps import Cell

Words = tuple[str, ...]
PRUNED = "pruned"


@dataclass
class Tuned:
    """A configuration while it is tuned.

    Args:
        words: what it is asked for by, without what is searched over.
        space: what is searched over.
        at: where it stands: the data and the metric.
        factors: what tells it from others.
        study: its name in the storage.
        default: it with the settings that nothing was tuned in.
        trials: in their order.
    """

    words: Words
    space: Sequence[Dimension]
    at: Place
    factors: Mapping[str, Factor]
    study: str
    default: Composed
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
        return best_so_far((trial.quality for trial in self.trials), self.at.metric)

    def settings(self, number: int) -> Words:
        """The words that give a trial's settings."""
        return tuple(part.setting(value) for part, value in zip(self.space, self.trials[number].values, strict=True))

    @property
    def lost(self) -> int:
        """How many trials have no value, and were not pruned."""
        return sum(trial.quality is None and trial.status != PRUNED for trial in self.trials)

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
                {
                    "values": list(trial.values),
                    "quality": trial.quality,
                    "status": trial.status,
                    "reason": trial.reason,
                    "rungs": {str(epoch): quality for epoch, quality in trial.rungs.items()},
                    "epochs": trial.epochs,
                }
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


def trial_of(values: Values, cells: Sequence[Cell], records: Mapping[str, RunRecord], metric: str) -> Trial:
    """What came of the runs of a trial: it is as good as their mean, and lost where one of them is."""
    found = [records.get(cell.id) for cell in cells]
    runs, epochs = tuple(cell.id for cell in cells), sum(record.epochs for record in found if record is not None)
    lost = next((record for record in found if record is None or record.status not in MEASURED), None)
    if lost is not None or None in found:
        cell = next((cell for cell, record in zip(cells, found, strict=True) if record is lost), cells[0])
        status = "diverged" if lost is not None and lost.status == "diverged" else "failed"
        return Trial(values, None, status, lost.reason if lost is not None else cell.reason, runs, epochs=epochs)
    qualities = [record.metrics.get(f"validation/{metric}") for record in found if record is not None]
    known = [quality for quality in qualities if quality is not None and math.isfinite(quality)]
    if len(known) < len(qualities):
        return Trial(values, None, "undefined", f"validation/{metric} has no value", runs, epochs=epochs)
    return Trial(values, math.fsum(known) / len(known), runs=runs, epochs=epochs)


def notes(each: Tuned) -> Iterator[str]:
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


def contest(first: Tuned, second: Tuned | None) -> list[str]:
    """The words of a sweep of two: the best of one configuration, and the best of another, or its own defaults.

    Settings that differ are zipped. A setting that one of the two does not have stands for the other alone.
    """
    mine = _assigned(first, first.best)
    theirs = _assigned(first, None) if second is None else _assigned(second, second.best)
    against = first if second is None else second
    words, zipped = [], []
    for key in dict.fromkeys((*mine, *theirs)):
        one = mine.get(key) or _usual(first, key) or theirs[key]
        other = theirs.get(key) or _usual(against, key) or one
        words.append(f"{key}={one}" if one == other else f"{key}={one},{other}")
        zipped += [key] if one != other else []
    return [*words, *([f"zip=[{','.join(zipped)}]"] if len(zipped) > 1 else [])]


def _assigned(each: Tuned, number: int | None) -> dict[str, str]:
    """The values of the words of a configuration, with the settings of a trial."""
    words = (*each.words, *(() if number is None else each.settings(number)))
    return {key: value for key, _, value in (text.partition("=") for text in words)}


def _usual(each: Tuned, key: str) -> str:
    """The value that a setting has without being typed; empty where there is no such setting."""
    if "." not in key and key in each.default.choices:
        return str(each.default.choices[key])
    value = registry.value_at(each.default.config, key, registry.MISSING)
    return "" if value is registry.MISSING else word(value)
