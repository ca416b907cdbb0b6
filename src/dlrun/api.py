"""dlrun from Python: train one configuration or a sweep, compare, and predict with what was trained.

    run = dlrun.run("dataset=wine", "activation=gelu", seed=3)         one run, kept like any other
    run.metrics["test/accuracy"], run.history, run.predict(X)
    table = dlrun.sweep("activation=relu,tanh", seed=range(10))         a DataFrame with a row for each run
    dlrun.compare(table)                                                groups, intervals, corrected tests, verdicts
    dlrun.load("8bc176b3d366").predict(X)                               later, or elsewhere

Settings are those of the command line. Positional ones are in its grammar; keyword values are Python's (a key with a dot goes
into ``**{"optimizer.lr": 0.01}``). What goes wrong is an exception of ``dlrun.errors``.
"""

import os
import warnings
from collections.abc import Callable, Sequence
from os import PathLike
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

import pandas as pd

from dlrun.comparison.factors import shown
from dlrun.comparison.foreign import rows_of_frame
from dlrun.comparison.groups import comparison
from dlrun.comparison.longtable import of_sweep, reported
from dlrun.comparison.measures import lower_is_better
from dlrun.comparison.table import Row, factors_that_vary, resplit, shared_rows
from dlrun.components.metrics import METRICS
from dlrun.errors import DlrunError, InputError, RunError, check_working_folder
from dlrun.report.columns import columns, legend, undefined
from dlrun.report.sections import check_metric, column
from dlrun.report.tables import full_table
from dlrun.results.folders import is_run
from dlrun.results.store import Store
from dlrun.results.sweeps import Sweep
from dlrun.trained import Ensemble, Run
from dlrun.trained.chosen import chosen, named

Folder = str | PathLike[str]
Modules = Sequence[str | ModuleType]
Jobs = TypeVar("Jobs")


def run(
    *overrides: str,
    config_dir: Folder | None = None,
    imports: Modules = (),
    progress: bool = True,
    **settings: Any,
) -> Run:
    """Train one configuration, and keep it, as the command ``dlrun`` does.

    Args:
        overrides: settings as on the command line, such as ``"dataset=iris"`` or ``"model.hidden=[32,32]"``.
        config_dir: a folder with options of your own.
        imports: modules (or their names) whose components the options may name; importing is trusting.
        progress: whether to show on stderr how it is doing.
        settings: settings with Python values; ``**{"optimizer.lr": 0.01}`` for a key with a dot.

    Returns:
        The run, however it ended; see its ``status``.

    Raises:
        InputError: a setting cannot work; every problem is told.
        RunError: a component raised while it trained.
        KeyboardInterrupt: it was stopped; what it had reached is kept.

    Example:
        >>> run = dlrun.run("dataset=xor", "activation=tanh", seed=3, **{"optimizer.lr": 0.01})   # doctest: +SKIP
        >>> run.metrics["test/accuracy"]                                                          # doctest: +SKIP
    """
    check_working_folder()  # before torch is imported
    from dlrun.cli.terminal.experiment import RunDisplay
    from dlrun.config.composing.from_python import single, words
    from dlrun.experiments.experiment import INTERRUPTED, RunExperiment

    _trust(imports)
    job = _composed(single, words(overrides, settings), config_dir)
    experiment = RunExperiment(job, [RunDisplay({"progress": progress, "table": False}, warns=False)])
    experiment.prepare()
    for warning in experiment.warnings:
        warnings.warn(warning, stacklevel=2)
    try:
        result = experiment.run()
    except DlrunError:
        raise
    except Exception as error:
        raise RunError(f"{type(error).__name__}: {error}") from error
    assert result.record is not None
    if result.code >= INTERRUPTED:
        raise KeyboardInterrupt(f"run {result.record.id} is kept in {result.folder}")
    return Run(result.store.read_record(result.record.id), result.folder, result.store)


def sweep(
    *overrides: str,
    config_dir: Folder | None = None,
    imports: Modules = (),
    progress: bool = True,
    **settings: Any,
) -> pd.DataFrame:
    """Train every combination, all at once, and keep them as a sweep, as ``dlrun -m`` does. Finished runs are taken over.

    Args:
        overrides: settings as on the command line, such as ``"activation=relu,tanh"`` or ``"optimizer.lr=range(1,4)"``.
        config_dir, imports, progress: as for ``run``.
        settings: settings with Python values; a list, a range or an array holds values to try.

    Returns:
        The long table, a row for each run: id, status, seed, fold, reason; then the factors, a column for each group and for each
        setting that is not its option's own, numbers as numbers; then what was measured (``test/r2``, ...). Rows of baselines
        have one in the column ``baseline``, and no id. ``attrs["folder"]`` is the sweep's folder.

    Raises:
        InputError: a setting cannot work, or no combination is possible; every problem is told.
        RunError: with ``strict=True``, when combinations were skipped, or settings left out of some runs; the others are kept.
        KeyboardInterrupt: it was stopped; ``dlrun resume`` carries on with it.

    Example:
        >>> table = dlrun.sweep("dataset=moons", activation=["relu", "tanh"], seed=range(10))   # doctest: +SKIP
        >>> dlrun.compare(table)                                                                # doctest: +SKIP
    """
    check_working_folder()  # before torch is imported
    from dlrun.cli.arguments import Arguments
    from dlrun.cli.terminal.experiment import SweepDisplay
    from dlrun.config.composing.from_python import several, words
    from dlrun.experiments.experiment import How, SweepExperiment
    from dlrun.isolation import own_process

    _trust(imports)
    line = words(overrides, settings, swept=True)
    jobs, launcher = _composed(several, line, config_dir)
    command = Arguments({"--multirun": "", **_flags(config_dir)}, line, _names(imports)).command()
    with own_process():
        display = SweepDisplay({"progress": progress, "table": False}, warns=False)
        experiment = SweepExperiment(jobs, How(command, launcher), [display])
        experiment.prepare()
        for warning in experiment.warnings:
            warnings.warn(warning, stacklevel=2)
        result = experiment.run()
    if result.code > 128:
        raise KeyboardInterrupt(f"carry on with: dlrun resume {result.folder}")
    if lacking := experiment.grid.lacking():
        raise RunError(f"strict=true: {lacking}; the runs are kept in {result.folder}")
    assert result.sweep is not None
    beside = [row for part in result.sections for item in part.compared for row in item.group.rows if not row.id]
    return of_sweep(result.sweep, result.store, beside)


def settle(
    *overrides: str,
    alpha: float = 0.05,
    max_seeds: int = 1000,
    config_dir: Folder | None = None,
    imports: Modules = (),
    progress: bool = True,
    **settings: Any,
) -> pd.DataFrame:
    """Add seeds to a sweep until its comparisons are settled, as ``dlrun settle`` does.

    Args:
        overrides, settings: of the sweep, without seeds or with the first ones; also ``margin``, ``reference`` and ``metric``.
        alpha: the probability that any verdict is false.
        max_seeds: the most seeds of a configuration.
        config_dir, imports, progress: as for ``run``.

    Returns:
        A row for each configuration: dataset, metric, configuration, runs, mean, verdict (reference, better, worse, equivalent or
        not settled), against what, the seeds that it took, the difference and its interval (low, high), and lost runs in words.
        ``attrs`` has ``settled``, and the sweep's ``folder``.

    Raises:
        InputError: a setting cannot work, or there is one configuration alone.
        KeyboardInterrupt: it was stopped; the same call goes on.

    Example:
        >>> dlrun.settle("dataset=moons", activation=["relu", "tanh"], margin=0.005)   # doctest: +SKIP
    """
    check_working_folder()  # before torch is imported
    from dlrun.cli.arguments import Arguments
    from dlrun.cli.terminal.experiment import SettleDisplay
    from dlrun.config.composing.from_python import unbounded, words
    from dlrun.experiments.experiment import INTERRUPTED, How
    from dlrun.experiments.settle import SettleExperiment
    from dlrun.isolation import own_process

    _trust(imports)
    line = words(overrides, settings, swept=True)
    jobs, compose, launcher = _composed(unbounded, line, config_dir)
    command = Arguments(_flags(config_dir), line, _names(imports)).command()
    with own_process():
        display = SettleDisplay({"progress": progress, "table": False}, warns=False)
        how = How(["settle", "--alpha", str(alpha), "--max-seeds", str(max_seeds), *command], launcher)
        found = SettleExperiment(jobs, compose, how, [display], alpha=alpha, most=max_seeds).run()
    if found.code >= INTERRUPTED:
        raise KeyboardInterrupt("the same call goes on")
    content = found.content()
    table = pd.DataFrame(
        {"dataset": part["dataset"], "metric": part["metric"], **row}
        for part in content["datasets"]
        for row in part["configurations"]
    )
    table.attrs |= {"settled": found.settled, "folder": content["sweep"]}
    return table


def compare(
    runs: "pd.DataFrame | Folder | Sequence[pd.DataFrame | Folder]",
    *,
    metric: str | None = None,
    reference: str | Sequence[str] = "best",
    margin: float | None = None,
    higher_is_better: bool | None = None,
    output_dir: Folder | None = None,
) -> pd.DataFrame:
    """Compare groups of runs that differ in seed and fold alone, seed by seed.

    Args:
        runs: what ``sweep`` returned (or a part of it, or several put together), or a sweep's folder, its name or ``"latest"``;
            a list puts several of these together.
        metric: what to compare, such as ``"r2"``, ``"test/r2"`` or ``"seconds"``; the task's main one on test rows if not given.
        reference: the group to compare with: ``"best"``, or what names one, such as ``"relu"``, ``"activation=relu"`` or
            ``["relu", "sgd"]``.
        margin: the largest difference that does not matter, in the metric's unit: it lets groups be called equivalent.
        higher_is_better: has to be given only for a metric that is none of dlrun's.
        output_dir: where a sweep that is named is looked for.

    Returns:
        A row for each group, best first: n, mean, sd and confidence interval of the metric, the difference to the reference with
        its interval, effect size, corrected p, and a verdict in words. Groups are compared within each dataset and each
        of its settings; a loss, pinball or coverage, within each loss and its settings. ``attrs["notes"]`` has the lines that
        the command prints under its table.

    Raises:
        InputError: there is no such metric, group or sweep; a seed is no whole number, or twice in a group.

    Example:
        >>> dlrun.compare(table, metric="rmse", reference="activation=relu")[["activation", "n", "verdict"]]   # doctest: +SKIP
    """
    if metric is not None and not isinstance(metric, str):
        raise InputError(f"metric={metric!r}: must be the name of one metric, such as r2 or test/r2; compare by each in turn")
    several: list[Any] = [*runs] if isinstance(runs, list | tuple) else [runs]
    if not several:
        raise InputError("compare: got an empty list; give what dlrun.sweep returned, or the names of sweeps")
    tables_of_runs = [reported(_table(each, output_dir)) for each in several]
    parts: dict[tuple[str, ...], list[Row]] = {}
    rows = rows_of_frame(pd.concat(tables_of_runs, ignore_index=True) if len(several) > 1 else tables_of_runs[0], metric)
    scale = ("dataset", "loss") if _is_of_the_loss(metric) else ("dataset",)
    about = [key for key in factors_that_vary(rows) if key.partition(".")[0] in scale]
    for row in rows:
        parts.setdefault(tuple(shown(row.factors.get(key, "")) for key in about), []).append(row)
    tables, notes = [], []
    for data, mine in parts.items():
        name = _metric(mine, metric)
        if name is None:
            continue
        better = not lower_is_better(name) if higher_is_better is None else higher_is_better
        subset = name.partition("/")[0]
        found_rows = comparison(
            mine,
            name,
            higher_is_better=better,
            reference=reference,
            margin=margin,
            ratio=shared_rows(mine, subset),
            new_rows=resplit(mine, subset),
        )
        notes += [*legend(found_rows, columns(found_rows, name)), *undefined(found_rows, [name])]
        table = full_table(found_rows, name)
        part = pd.DataFrame(table.rows, columns=list(table.columns))
        for place, key in enumerate(about):
            part.insert(place, key, data[place])
        tables.append(part)
    if not tables:
        raise InputError("compare: there is no run that was measured")
    compared = pd.concat(tables, ignore_index=True)
    compared.attrs["notes"] = [*dict.fromkeys(notes)]
    return compared


def load(run: Folder, *, output_dir: Folder | None = None, imports: Modules = (), device: str = "cpu") -> Run:
    """A run that was trained before.

    Args:
        run: its id (or the beginning of it), or its folder, wherever that lies now.
        output_dir: where an id is looked for; as for the command when not given.
        imports: modules of your own that its components come from.
        device: where ``predict`` computes.

    Raises:
        StoreError: there is no such run, or it is damaged.

    Example:
        >>> dlrun.load("outputs/runs/8bc176b3d366").predict(X)   # doctest: +SKIP
    """
    _trust(imports)
    store = Store.at(output_dir)
    return named(store, os.fspath(run), device)


def ensemble(*words: "Folder | Run", output_dir: Folder | None = None, imports: Modules = (), device: str = "cpu") -> "Ensemble":
    """Several runs as one, which predicts their mean: what ``dlrun predict`` takes.

    Args:
        words: runs, their ids or folders; or the name of a sweep (``latest`` is one) and settings that leave one configuration,
            such as ``"activation=relu"``; or settings alone.
        output_dir, imports, device: as for ``load``.

    Raises:
        InputError: they mean no run, or several configurations; or runs that did not learn the same.
        StoreError: there is no such run or sweep.

    Example:
        >>> both = dlrun.ensemble("latest", "activation=relu")     # doctest: +SKIP
        >>> both.predict(X), both.spread(X)                        # doctest: +SKIP
    """
    _trust(imports)
    runs = [word for word in words if isinstance(word, Run)]
    if runs and len(runs) < len(words):
        raise InputError("ensemble: takes runs, or words that name some; give one of the two")
    if runs:
        return Ensemble(tuple(runs))
    found, notes = chosen(Store.at(output_dir), [os.fspath(word) for word in words if not isinstance(word, Run)], device)
    for note in notes:
        warnings.warn(note, stacklevel=2)
    return found


# What they share


def _table(runs: pd.DataFrame | Folder, output_dir: Folder | None) -> pd.DataFrame:
    """The long table of a sweep that is named, or the table itself."""
    if isinstance(runs, pd.DataFrame):
        return runs
    if not isinstance(runs, str | PathLike):
        raise InputError(f"compare: got {type(runs).__name__}; give a table, the name of a sweep, or a list of these")
    found = Sweep.find(Store.at(output_dir), runs)
    return of_sweep(found, Store(found.folder.parent.parent))


def _composed(compose: Callable[[Sequence[str], Path | None], Jobs], line: Sequence[str], config_dir: Folder | None) -> Jobs:
    """Compose the words of a caller."""
    folder = None if config_dir is None else Path(config_dir).absolute()
    if folder is not None and not folder.is_dir():
        raise InputError(f"config_dir={config_dir}: is not a folder")
    if folder is not None and is_run(folder):
        raise InputError(f"config_dir={config_dir}: is the folder of a run; dlrun.load reads it; give a folder of options")
    return compose(line, folder)


def _flags(config_dir: Folder | None) -> dict[str, str]:
    return {} if config_dir is None else {"--config-dir": str(Path(config_dir).absolute())}


def _names(imports: Modules) -> list[str]:
    return [module.__name__ if isinstance(module, ModuleType) else module for module in imports]


def _trust(imports: Modules) -> None:
    from dlrun import own_modules

    for name in _names(imports):
        own_modules.trust(name)


def _metric(rows: Sequence[Row], wanted: str | None) -> str | None:
    """The measured metric that is wanted, with its subset, or the main one of the rows' task; None when nothing was measured."""
    measured = dict.fromkeys(name for row in rows for name, value in row.metrics.items() if value is not None)
    mains = [*dict.fromkeys(next(iter(known)) for known in METRICS.values())] if wanted is None else [wanted]
    found = next((name for main in mains if (name := column(main, measured)) is not None), None)
    if found is None and wanted is not None:
        check_metric(wanted, rows)
    return found


def _is_of_the_loss(metric: str | None) -> bool:
    """Whether a metric is another quantity under another loss: the loss itself, and what takes its quantile levels."""
    name = (metric or "").rpartition("/")[2]
    return name == "loss" or any(name in known and known[name].takes_taus for known in METRICS.values())
