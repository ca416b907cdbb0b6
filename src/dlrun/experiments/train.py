"""Carrying a plan out: train a cohort, and turn what came of it into run folders."""

import platform
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import cache, partial
from importlib.metadata import version
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dlrun import __version__
from dlrun.components.tasks import TASKS
from dlrun.config import own_code
from dlrun.config.repeats import once
from dlrun.config.spec import RunSpec
from dlrun.data import balance
from dlrun.data.dataset import Data
from dlrun.data.preprocessing import Scalings
from dlrun.data.splits import Splits, is_drawn
from dlrun.engine.batches import SUBSETS
from dlrun.engine.checkpoint import Checkpoint, Keeper, UnfitCheckpointError
from dlrun.engine.progress import Progress
from dlrun.engine.trainer import MOST_PREDICTED, Outcome, fit
from dlrun.experiments.checkpoints import Keep, loaded, saved
from dlrun.experiments.planning.cohorts import Planned
from dlrun.isolation import DiedError, RaisedError, reason
from dlrun.results.formats import PREDICTIONS, TARGETS, RunFiles, smallest
from dlrun.results.identity import run_ids
from dlrun.results.record import RunRecord, Status, utc_now
from dlrun.results.store import Store
from dlrun.threads import thread_count

FINISHED = ("done", "stopped", "diverged", "failed")  # what need not be trained again
Report = Callable[[Progress], None]


def identity(spec: RunSpec, fingerprint: str) -> str:
    """The id of a run: what it computes, on what data, by which version, of the user's own code too."""
    return _identities(spec, fingerprint)(spec.seed)


@once
def _identities(spec: RunSpec, fingerprint: str) -> Callable[[int], str]:
    own = source(spec)
    return run_ids(_computed(spec), fingerprint, f"{__version__} {own}" if own else __version__)


@once
def source(spec: RunSpec) -> str:
    """The digest of the user's own code that takes part in a run; empty where none does."""
    return own_code.digest(spec.config)


def _computed(spec: RunSpec) -> dict[str, Any]:
    """The config without what has no effect: a model is its layers, whatever words described them."""
    unused = {key for key in spec.unused if "." not in key}
    config = {key: value for key, value in spec.config.items() if key not in unused}
    for key in spec.unused:
        group, _, name = key.partition(".")
        if name and group in config:
            config[group] = {other: value for other, value in config[group].items() if other != name}
    trainer = config.get("trainer") or {}
    if trainer.get("until", 0) is None:  # as runs that were kept before there was such a key
        config["trainer"] = {key: value for key, value in trainer.items() if key != "until"}
    if spec.module is None:
        model = {key: value for key, value in config["model"].items() if key in ("init", "head", "embedding")}
        config["model"] = model | {"layers": [asdict(layer) for layer in spec.layers]}
    metric = TASKS[spec.preparation.task].metrics.get(spec.metric)
    if metric is not None and metric.takes_taus and "tau" not in spec.row.loss.values:
        config["measured"] = spec.metric  # it is measured for this run alone since it was asked for
    return config


def train(
    planned: Planned,
    *,
    report: Report | None = None,
    interrupted: Callable[[], bool] = lambda: False,
    keep: Keep | None = None,
) -> list[RunFiles]:
    """Train a cohort; the files of every run, in the cohort's order, ready to be written.

    Args:
        report: hears of every evaluation.
        interrupted: whether to stop, asked before every step.
        keep: gets the checkpoints.
    """
    started = time.perf_counter()
    trained = partial(fit, planned.cohort, report=report, interrupted=interrupted, keeper=_keeper(planned, keep))
    checkpoint, log = loaded(planned.checkpoint), []
    try:
        outcomes = trained(checkpoint=checkpoint)
    except UnfitCheckpointError as error:
        checkpoint, log = None, [f"warning: training began anew, since its checkpoint does not fit: {error}"]
        outcomes = trained()
    before = 0.0 if checkpoint is None else checkpoint.seconds
    shared = _Shared(planned, before + time.perf_counter() - started, log)
    return [shared.files(number, outcome) for number, outcome in enumerate(outcomes)]


def _keeper(planned: Planned, keep: Keep | None) -> Keeper | None:
    """What takes the checkpoints of a cohort; None where there shall be none."""
    seconds = planned.specs[0].trainer.checkpoint_s
    if keep is None or not seconds:
        return None

    def taken(checkpoint: Checkpoint) -> None:
        runs = [identity(spec, planned.cohort.data.fingerprint) for spec in planned.specs]
        keep(saved(planned.cohort, runs, checkpoint))

    return Keeper(seconds, taken)


class _Shared:
    """What the files of a cohort's runs have in common, found once: where they are equal they are one object.

    Args:
        seconds: that training all of them took.
        log: lines for the log of each.
    """

    def __init__(self, planned: Planned, seconds: float, log: Sequence[str]) -> None:
        cohort, data = planned.cohort, planned.cohort.data
        self._specs, self._runs, self._finished = planned.specs, cohort.runs, utc_now()
        self._log = [*data.notes, *planned.notes, *log]
        self._data, self._seconds, self._device = data, seconds, cohort.settings.place
        splits = Splits.of(cohort.splits)
        self._rows = splits.order().astype(np.int32)
        self._sizes: list[tuple[int, int, int]] = np.stack(splits.sizes(), 1).tolist()
        self._scalings = Scalings.of(cohort.preprocessing).to_json()
        self._y = smallest(data.y)
        fits = self._y[0].size * self._rows.shape[1] <= MOST_PREDICTED
        self._true = self._y[self._rows] if fits and cohort.settings.predictions else None
        form = {"shape": data.shape, "outputs": cohort.settings.outputs, "targets": data.targets, "classes": data.classes}
        names = {"features": data.features} if data.encoding is None else {}
        names |= {"vocabulary": data.vocabulary} if data.vocabulary else {}
        counts = {"most_words": data.most_words, "users": data.users}
        self._form = form | names | {name: count for name, count in counts.items() if count}
        self._encoding = {} if data.encoding is None else {"encoding.json": data.encoding.to_json()}
        self._known: dict[tuple[Any, ...], dict[str, Any]] = {}

    def files(self, number: int, outcome: Outcome) -> RunFiles:
        """What is kept of a run."""
        spec, split = self._specs[number], self._runs[number].split
        record = RunRecord(
            id=identity(spec, self._data.fingerprint),
            status=outcome.status,
            reason=outcome.reason,
            name=spec.name,
            overrides=spec.overrides,
            seed=spec.seed,
            fold=spec.fold,
            metrics=outcome.metrics,
            diagnostics=outcome.diagnostics,
            parameters=outcome.parameters,
            epochs=outcome.epochs,
            seconds=self._seconds / len(self._specs),
            data=self._of_data(split),
            versions=versions(source(spec)),
            cohort=self._of_cohort(outcome),
            choices=spec.choices,
            factors=spec.factors,
            finished=self._finished,
        )
        return RunFiles(
            record=record,
            config=spec.config,
            history=outcome.history,
            weights=outcome.weights,
            log=[*(f"warning: {warning}" for warning in spec.warnings), *self._log],
            extra={"preprocessing.json": self._scalings[split] | self._form | self._fitted(number, outcome), **self._encoding},
            arrays=self._arrays(split, outcome),
        )

    def _fitted(self, number: int, outcome: Outcome) -> dict[str, Any]:
        """What else was fitted on the rows of a run: weights of classes on training rows, thresholds on validation rows."""
        asked, loss = self._specs[number].row.loss.values, self._runs[number].loss.values
        weights = {"loss": {name: loss[name] for name in asked if loss[name] != asked[name]}} if balance.asks(asked) else {}
        return weights if outcome.cut is None else weights | {"threshold": outcome.cut}

    def _of_data(self, split: int) -> dict[str, Any]:
        data, sizes = self._data, tuple(self._sizes[split])
        if sizes not in self._known:
            about = {"name": data.name, "task": data.task, "fingerprint": data.fingerprint, "rows": len(data), **_classes(data)}
            fixed = [subset for subset in SUBSETS if not is_drawn(data, subset)]
            self._known[sizes] = about | {"sizes": dict(zip(SUBSETS, sizes, strict=True))} | ({"fixed": fixed} if fixed else {})
        return self._known[sizes]

    def _of_cohort(self, outcome: Outcome) -> dict[str, Any]:
        how = (outcome.steps, outcome.engine)
        if how not in self._known:
            self._known[how] = {
                "runs": len(self._specs),
                "seconds": self._seconds,
                "steps": outcome.steps,
                "device": self._device,
                "engine": outcome.engine,
                "threads": thread_count(),
            }
        return self._known[how]

    def _arrays(self, split: int, outcome: Outcome) -> dict[str, dict[str, NDArray[Any]]]:
        """What was predicted for validation and test rows, and apart from it what runs of a split share: rows and targets."""
        if not outcome.predictions:
            return {}
        train, validation, _ = self._sizes[split]
        places = {"validation": slice(train, train + validation), "test": slice(train + validation, None)}
        targets = {}
        for subset in outcome.predictions:
            rows = targets[f"{subset}_rows"] = self._rows[split, places[subset]]
            if self._true is not None:
                targets[subset] = self._true[split, places[subset]]
            elif self._y[0].size * len(rows) <= MOST_PREDICTED:
                targets[subset] = self._y[rows]
        return {PREDICTIONS: outcome.predictions, TARGETS: targets}


def _classes(data: Data) -> dict[str, Any]:
    """How many classes there are, and which of two probabilities are of."""
    positive = {"positive": data.classes[1]} if TASKS[data.task].two_classes and len(data.classes) == 2 else {}
    return positive | ({"classes": len(data.classes)} if data.classes else {})


def failure(spec: RunSpec, error: BaseException, data: Data | None = None) -> RunFiles:
    """What is kept of a run that raised: its reason in the record, its traceback in its own log; no ``data`` if that raised."""
    if isinstance(error, DiedError) and data is not None:
        error = error.named(own_code.own(spec.config))
    log = error.log if isinstance(error, RaisedError) else "".join(traceback.format_exception(error))
    record = _unmeasured(spec, "failed", reason(error), data)
    return RunFiles(record=record, config=spec.config, log=(log or record.reason).splitlines())


def unreached(spec: RunSpec, data: Data) -> RunFiles:
    """What is kept of a run that was asked to stop, and did not."""
    said = "it was asked to stop, and did not"
    return RunFiles(record=_unmeasured(spec, "interrupted", said, data), config=spec.config, log=[said])


def _unmeasured(spec: RunSpec, status: Status, reason: str, data: Data | None) -> RunRecord:
    fingerprint = "" if data is None else data.fingerprint
    return RunRecord(
        id=identity(spec, fingerprint),
        status=status,
        reason=reason,
        name=spec.name,
        overrides=spec.overrides,
        seed=spec.seed,
        fold=spec.fold,
        data={} if data is None else {"name": data.name, "task": data.task, "fingerprint": fingerprint, "rows": len(data)},
        versions=versions(source(spec)),
        cohort={"runs": 1, "threads": thread_count()},
        choices=spec.choices,
        factors=spec.factors,
        finished=utc_now(),
    )


def worth_keeping(files: Sequence[RunFiles], store: Store) -> list[RunFiles]:
    """Those that may be written: a run that was interrupted takes the place of none that has ended."""

    def ended(run: str) -> bool:
        record = store.finished(run)
        return record is not None and record.status in FINISHED

    return [item for item in files if item.record.status != "interrupted" or not ended(item.record.id)]


@cache
def versions(own: str = "") -> dict[str, str]:
    """What the figures depend on; ``own`` is the digest of the user's own code."""
    found = {"dlrun": __version__, "torch": version("torch"), "python": platform.python_version()}
    return found | {"source": own} if own else found
