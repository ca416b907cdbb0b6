"""Sections of a comparison: groups of different data have no common scale, so each dataset, prepared in one way, has its own.

    entries (a run each) -> places (what runs must share) -> sections (a table each)

Entries are made of the specs of a sweep that was just trained, or of what the store has. Nothing here needs torch.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

from dlrun.comparison.across import Across, across
from dlrun.comparison.across import described as ranks
from dlrun.comparison.effects import Effects, described, effects
from dlrun.comparison.factors import Factor
from dlrun.comparison.groups import BEST, Compared, comparison
from dlrun.comparison.measures import lower_is_better
from dlrun.comparison.symptoms import told
from dlrun.comparison.table import Row, factors_that_vary, resplit, shared_rows
from dlrun.components.metrics import METRICS
from dlrun.errors import InputError, nearest
from dlrun.report.columns import undefined
from dlrun.results.record import MEASURED, RunRecord

FILES = ("csv", "parquet")  # datasets that are called by their file's name
SUBSETS = ("test", "validation", "train")  # which of them is compared: the first that was measured
LOSS = "loss"


class Place(NamedTuple):
    """What runs must share to be compared: the data with all its settings, the task, the metric, and what that is measured by."""

    data: str
    task: str
    metric: str
    by: tuple[tuple[str, str], ...] = ()

    @property
    def dataset(self) -> str:
        """What the data is called."""
        return self.data.partition("\0")[0]


@dataclass(frozen=True, slots=True)
class Entry:
    """A run to be compared.

    Args:
        settings: of its data.
        experiment: its name; empty where none was chosen.
    """

    row: Row
    place: Place
    settings: Mapping[str, Any]
    experiment: str = ""

    @staticmethod
    def of(
        record: RunRecord, place: Place, settings: Mapping[str, Any], choices: Mapping[str, str], factors: Mapping[str, Factor]
    ) -> "Entry":
        """A run by its record; ``factors`` are what it is told by."""
        name = choices.get("experiment")
        return Entry(Row.of(record, factors), place, settings, "" if name in (None, "None") else str(name))


@dataclass(frozen=True)
class Section:
    """The comparison of the runs on one dataset.

    Args:
        dataset: what it is called.
        metric: the one that sorts and is tested; ``metrics`` stand beside it.
        notes: what is not in the table, and why.
        settings: what tells it from other sections of the same dataset.
        effects: how much each factor matters, where several vary.
        higher_is_better: of the metric.
        kept: whether the sweep's folder has all figures.
    """

    dataset: str
    metric: str
    metrics: tuple[str, ...]
    compared: tuple[Compared, ...]
    notes: tuple[str, ...] = ()
    settings: Mapping[str, str] = field(default_factory=dict)
    kept: bool = False
    effects: Effects | None = None
    higher_is_better: bool = True

    @property
    def title(self) -> str:
        """``moons, dataset.noise=0.1``."""
        return ", ".join((self.dataset, *(f"{key}={value}" for key, value in self.settings.items())))


Beside = Callable[[Place, Sequence[Row], Mapping[str, Factor]], tuple[Sequence[Row], Sequence[str]]]
"""What stands beside the runs of a place: rows and notes, of (place, its rows, the factors that all of them have)."""


@dataclass(frozen=True)
class Judged:
    """How runs are compared.

    Args:
        reference, margin: see ``comparison``; a reference without a value is told in a note.
        higher_is_better: of a metric that dlrun does not know to be better high or low; None for others.
    """

    reference: str | Sequence[str] = BEST
    margin: float | None = None
    higher_is_better: bool | None = None


def place_of(
    config: Mapping[str, Any], choices: Mapping[str, str], task: str, metric: str | None, default: str = "", data: str = ""
) -> tuple[Place, Mapping[str, Any]]:
    """The place of a run, and the settings of its data.

    Args:
        config: resolved.
        task: of its data.
        metric: what is compared; the task's main one when None.
        default: what the dataset is called where no option was chosen.
        data: what else tells data apart, such as a fingerprint.
    """
    settings = {key: value for key, value in config["dataset"].items() if key not in ("_target_", "fold")}
    name = str(choices.get("dataset", default))
    if name in FILES and isinstance(settings.get("path"), str):
        name = Path(settings["path"]).name
    metric = metric or next(iter(METRICS[task]))
    by = _measured_by(config, choices, task, metric)
    place = Place(f"{name}\0{sorted(map(str, settings.items()))}{data}", task, metric, by)
    return place, settings | ({"data": data} if data else {})


def _measured_by(config: Mapping[str, Any], choices: Mapping[str, str], task: str, metric: str) -> tuple[tuple[str, str], ...]:
    """The loss with its settings, where it is the metric; the quantile levels, where the metric takes them."""
    values = {key: value for key, value in (config.get(LOSS) or {}).items() if key not in _FACTS}
    name = metric.rpartition("/")[2]
    if name == LOSS:
        return (LOSS, str(choices.get(LOSS, ""))), *((f"loss.{key}", text(value)) for key, value in values.items())
    known = METRICS[task].get(name)
    return (("loss.tau", text(values.get("tau", 0.5))),) if known is not None and known.takes_taus else ()


_FACTS = ("_target_", "tasks", "head", "soft_targets", "prediction")  # what the file of a loss says beside its settings


def text(value: Any) -> str:
    """A value as one types it, null as a word."""
    return "null" if value is None else str(value)


def sections(
    entries: Sequence[Entry],
    judged: Judged,
    beside: Beside = lambda place, rows, common: ((), ()),
    *,
    kept: bool = False,
) -> list[Section]:
    """Compare runs, place by place, on the test rows (validation where there are none)."""
    members: dict[Place, list[Row]] = {}
    for entry in entries:
        members.setdefault(entry.place, []).append(entry.row)
    settings = told_apart(entries)
    found = [(place, section(place, rows, judged, beside)) for place, rows in members.items()]
    return [replace(part, settings=settings[place], kept=kept) for place, part in found if part is not None]


def section(place: Place, rows: Sequence[Row], judged: Judged, beside: Beside) -> Section | None:
    """Compare runs of one place with each other and with what stands beside them; None when the metric was not measured."""
    measured = {name for row in rows for name in row.metrics}
    main = column(place.metric, measured)
    if main is None:
        return None
    subset = main.rpartition("/")[0]
    others = tuple(
        f"{subset}/{name}"
        for name, known in METRICS[place.task].items()
        if subset and f"{subset}/{name}" in measured.difference([main]) and (known.default or known.takes_taus or known.fact)
    )
    varying = factors_that_vary(rows)
    common = {name: value for name, value in rows[0].factors.items() if name not in varying}
    more, notes = beside(place, rows, common)
    rows = [*rows, *more]
    better = judged.higher_is_better if judged.higher_is_better is not None else not lower_is_better(main)
    given: Any = {"higher_is_better": better, "metrics": others, "margin": judged.margin}
    given |= {"ratio": shared_rows(rows, subset), "new_rows": resplit(rows, subset)}
    notes = [*notes]
    try:
        compared = comparison(rows, main, reference=judged.reference, **given)
    except InputError as error:
        compared = comparison(rows, main, **given)
        notes += [f"{problem}, so the reference is the best" for problem in error.problems]
    notes += undefined(compared, (main, *others))
    found = effects([item.group for item in compared], main)
    notes += [] if found is None else described(found)
    if not varying:  # one group of runs, which needs a name
        compared = [_named(item, str(rows[0].factors.get("model", ""))) for item in compared]
    return Section(place.dataset, main, others, tuple(compared), tuple(notes), effects=found, higher_is_better=better)


def with_symptoms(several: Sequence[Section], records: Mapping[str, RunRecord]) -> list[Section]:
    """The same with what went wrong inside the networks of their runs, in notes."""
    found = []
    for part in several:
        labels = [(item.group.label, item.group.rows) for item in part.compared]
        runs = [(label, records[row.id]) for label, rows in labels for row in rows if row.id in records]
        found.append(replace(part, notes=(*part.notes, *told(runs))))
    return found


def over_datasets(several: Sequence[Section]) -> list[str]:
    """What can be said of the groups over datasets, in lines; none where fewer than three sections have the same ones."""
    found = ranked(several)
    return [] if found is None else ranks(found)


def ranked(several: Sequence[Section]) -> Across | None:
    """The groups over datasets, by their labels; None where fewer than three sections have the same ones."""
    means = [
        {
            item.group.label: item.group.summaries[part.metric].mean
            for item in part.compared
            if part.metric in item.group.summaries and not item.group.is_baseline
        }
        for part in several
    ]
    return across(means, [part.higher_is_better for part in several])


def column(metric: str, measured: Iterable[str]) -> str | None:
    """The column of a metric: as it is, or on the first subset that was measured by it; None where no run was."""
    known = {*measured}
    return next((name for name in (*(f"{subset}/{metric}" for subset in SUBSETS), metric) if name in known), None)


def check_metric(metric: str, rows: Iterable[Row]) -> None:
    """Whether any run was measured by a metric.

    Raises:
        InputError: none was; with what there is.
    """
    measured = dict.fromkeys(name for row in rows if row.status in MEASURED for name in row.metrics)
    if measured and column(metric, measured) is None:
        split = [name.rpartition("/") for name in measured]
        bare = dict.fromkeys(name for _, slash, name in split if slash and name != "rows")  # metrics before what else is measured
        bare |= dict.fromkeys(name for _, slash, name in split if not slash)
        shown = ", ".join(list(bare)[:12])
        raise InputError(f"metric={metric}: no run has it; there are {shown}{nearest(metric, [*bare, *measured])}")


def _named(item: Compared, model: str) -> Compared:
    factors: dict[str, Factor] = {"model": "" if item.group.is_baseline else model, **item.group.factors}
    return replace(item, group=replace(item.group, factors=factors))


def with_experiments(entries: Sequence[Entry]) -> list[Entry]:
    """The entries, with the name of its experiment in front of each, where experiments differ and tell no equal runs apart."""
    if len({entry.experiment for entry in entries}) < 2:
        return [*entries]
    names: dict[Any, set[str]] = {}
    keys = [tuple((name, str(value)) for name, value in entry.row.factors.items()) for entry in entries]
    for key, entry in zip(keys, entries, strict=True):
        names.setdefault(key, set()).add(entry.experiment)
    return [
        replace(entry, row=replace(entry.row, factors={"experiment": entry.experiment, **entry.row.factors}))
        if len(names[key]) == 1
        else entry
        for key, entry in zip(keys, entries, strict=True)
    ]


def told_apart(entries: Sequence[Entry]) -> dict[Place, dict[str, str]]:
    """What tells each place from others of the same dataset: settings of its data, its task, its metric, its experiment."""
    alike: dict[str, dict[Place, dict[str, str]]] = {}
    experiments: dict[Place, set[str]] = {}
    for entry in entries:
        at = entry.place
        experiments.setdefault(at, set()).add(entry.experiment)
        places = alike.setdefault(at.dataset, {})
        if at not in places:
            said = {f"dataset.{key}": text(value) for key, value in entry.settings.items() if key != "task"}
            places[at] = said | {"task": at.task, "metric": at.metric} | dict(at.by)
    several = len(set().union(*experiments.values())) > 1 if experiments else False
    found: dict[Place, dict[str, str]] = {}
    for places in alike.values():
        names = dict.fromkeys(name for said in places.values() for name in said)
        varying = [name for name in names if len({said[name] for said in places.values() if name in said}) > 1]
        found |= {at: {name: said[name] for name in varying if name in said} for at, said in places.items()}
    for at, (name, *others) in experiments.items():  # its name is in no table's rows
        if several and not others and name:
            found[at]["experiment"] = name
    return found
