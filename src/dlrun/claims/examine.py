"""From a claim to its verdict: its sweeps are trained like any other, and its checks are answered from what the store has.

A claim is supported if each of its checks is: that errs only where a check that does not hold passes, so it needs no correction
(Berger 1982). It is refuted if any check is, with an error that is divided by their number; otherwise it is inconclusive. Where
runs failed or did not end it is incomplete, whatever the others say.
"""

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from dlrun.claims.claim import Claim
from dlrun.claims.finding import Evidence, Finding, Word
from dlrun.claims.fitted import Trained
from dlrun.claims.functions import call
from dlrun.claims.quantities import quantity
from dlrun.comparison.longtable import TUNED
from dlrun.comparison.power import ALPHA
from dlrun.comparison.table import Row
from dlrun.config.composing.from_python import several
from dlrun.errors import InputError, RunError
from dlrun.experiments.events import Listener
from dlrun.experiments.experiment import INTERRUPTED, How, Result, SweepExperiment
from dlrun.experiments.tuning import CURVES
from dlrun.report.stored import of_sweeps
from dlrun.results.record import MEASURED, RunRecord
from dlrun.results.store import Store

WITHOUT = frozenset({"failed", "interrupted", "pending"})  # the statuses of runs that a verdict has to do without
MOST_BARS = 24  # groups of a chart


class StoppedError(RunError):
    """The training of a claim was interrupted; ``exit_code`` is that of the signal."""


@dataclass(frozen=True)
class Bar:
    """A group of a chart: the mean of a quantity and its 95% interval; NaN where it has none."""

    label: str
    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Chart:
    """A quantity of all groups of a dataset."""

    title: str
    bars: tuple[Bar, ...]


@dataclass(frozen=True)
class Outcome:
    """A claim with its verdict.

    Args:
        findings: the answer to each check, in their order.
        charts: the quantities of the checks.
        runs: how many runs they rest on.
        failed: how many runs failed or did not end.
        seconds: that it took, with the training of what was not finished before.
    """

    claim: Claim
    word: Word
    findings: tuple[Finding, ...]
    charts: tuple[Chart, ...]
    first_seed: int
    seeds: int
    runs: int
    failed: int
    seconds: float

    @property
    def deciding(self) -> Finding:
        """The check that decides: the first one that has the claim's verdict, of an incomplete claim the first one."""
        return next((finding for finding in self.findings if finding.word == self.word), self.findings[0])

    def content(self) -> dict[str, Any]:
        """All of it in JSON's types."""
        return {
            "claim": self.claim.name,
            "number": self.claim.number,
            "kind": self.claim.kind,
            "statement": self.claim.statement,
            "verdict": self.word,
            "checks": [finding.content() for finding in self.findings],
            "first_seed": self.first_seed,
            "seeds": self.seeds,
            "runs": self.runs,
            "failed": self.failed,
            "seconds": round(self.seconds, 2),
        }


def examine(
    claim: Claim,
    listeners: Sequence[Listener] = (),
    *,
    first_seed: int = 0,
    seeds: int | None = None,
    settings: Sequence[str] = (),
    folder: Path | None = None,
) -> Outcome:
    """Train what a claim asks for, as far as it is not finished, and judge it.

    Args:
        first_seed: where the seeds of its sweeps begin.
        seeds: how many; the claim's own number when None.
        settings: further words for all of its sweeps, such as ``output_dir=PATH``.
        folder: of options of the user's own.

    Raises:
        InputError: a sweep or a check cannot work.
        StoppedError: a signal ended the training; what had ended is kept.
    """
    began = time.perf_counter()
    try:
        trained = [_train(claim, [*words, *settings], folder, listeners) for words in claim.sweeps(first_seed, seeds)]
        evidence, records = _evidence(claim, trained)
        findings = _answers(claim, evidence)
        charts = _charts(claim, evidence)
    except InputError as error:
        raise InputError(*(f"claim/{claim.name}: {problem}" for problem in error.problems)) from error
    count = claim.seeds if seeds is None else seeds
    failed = sum(row.status in WITHOUT for rows in evidence.rows.values() for row in rows)
    seconds = time.perf_counter() - began
    word: Word = "incomplete" if failed else verdict(findings)
    return Outcome(claim, word, findings, charts, first_seed, count, len(records), failed, seconds)


def verdict(findings: Sequence[Finding]) -> Word:
    """What follows from the answers to all checks."""
    words = {finding.word for finding in findings}
    return "refuted" if "refuted" in words else "inconclusive" if "inconclusive" in words else "supported"


def _train(claim: Claim, words: Sequence[str], folder: Path | None, listeners: Sequence[Listener]) -> Result:
    """The sweep that words describe; without baselines, unless they ask for some."""
    beside = any(word.startswith("baseline=") for word in words)
    line = [*words, *([] if beside else ["baseline=none"]), f"name=claim-{claim.name}"]
    jobs, launcher = several(line, folder)
    experiment = SweepExperiment(jobs, How(["--multirun", *line], launcher, grows=not beside), listeners)
    experiment.prepare()
    result = experiment.run()
    if result.code >= INTERRUPTED:
        error = StoppedError(f"claim {claim.name}: interrupted; type the same command again to go on")
        error.exit_code = result.code
        raise error
    return result


def _evidence(claim: Claim, results: Sequence[Result]) -> tuple[Evidence, Sequence[RunRecord]]:
    """The runs of all sweeps, with the quantities of all checks, and the baselines beside them."""
    stored = of_sweeps([result.sweep for result in results if result.sweep is not None]) if results else None
    trained = Trained(Store.at(), (), {}) if stored is None else Trained(stored.store, stored.records, stored.factors)
    rows: dict[str, list[Row]] = {}
    wanted = dict.fromkeys(check.quantity for check in claim.checks if check.quantity)
    for record in trained.records:
        row = _with(Row.of(record, trained.factors[record.id]), record, wanted, trained.store)
        rows.setdefault(str(record.choices["dataset"]), []).append(row)
    for row in stored.pending if stored else ():
        rows.setdefault(str(row.factors["dataset"]), []).append(row)
    for part in [part for result in results for part in result.sections]:
        rows[part.dataset] += [row for item in part.compared for row in item.group.rows if item.group.is_baseline]
    for mine in rows.values():
        mine += _untuned(mine, results)
    return Evidence(rows, lambda name: call(name, trained), trained.vector), trained.records


def _answers(claim: Claim, evidence: Evidence) -> tuple[Finding, ...]:
    """The answer to each check. One of several may refute the claim by chance, so that takes a smaller error."""
    findings = []
    for check in claim.checks:
        found = check.finding(evidence, ALPHA)
        if found.word == "refuted" and len(claim.checks) > 1:
            strict = check.finding(evidence, ALPHA / len(claim.checks))
            found = found if strict.word == "refuted" else replace(found, word="inconclusive")
        findings.append(found)
    return tuple(findings)


def _charts(claim: Claim, evidence: Evidence) -> tuple[Chart, ...]:
    """A chart of each quantity that checks are about, for each of their datasets."""
    charts = []
    asked = [
        (check.quantity, data)
        for check in claim.checks
        if check.quantity
        for data in ([check.data] if check.data else evidence.rows)
    ]
    for quantity_, data in dict.fromkeys(asked):
        bars = []
        for group in evidence.table(quantity_, data):
            found = group.summaries.get(quantity_)
            values = (found.mean, found.low, found.high) if found else (math.nan,) * 3
            bars.append(Bar(group.label, *values))
        charts.append(Chart(f"{data}: {quantity_}", tuple(bars[:MOST_BARS])))
    return tuple(charts)


def _untuned(rows: Sequence[Row], results: Sequence[Result]) -> list[Row]:
    """Copies of tuned runs for configurations of which the default was chosen: they are the untuned ones too."""
    curves = [part for result in results if result.sweep is not None for part in result.sweep.settings.get(CURVES, ())]
    keys = {TUNED, *(key for part in curves for key in part["keys"])}
    members: dict[Any, list[Row]] = {}
    for row in rows:
        if TUNED in row.factors:
            members.setdefault(tuple((key, value) for key, value in row.factors.items() if key not in keys), []).append(row)
    alone = [row for several in members.values() if all(row.factors[TUNED] is True for row in several) for row in several]
    return [replace(row, id=f"{row.id} untuned", factors={**row.factors, TUNED: False}) for row in alone]


def _with(row: Row, record: RunRecord, wanted: Mapping[str, Any], store: Store) -> Row:
    """The row, with the quantities that are wanted among its metrics."""
    if record.status not in MEASURED:
        return row
    values = {text: quantity(text, record, lambda: store.history(record.id)) for text in wanted}
    known = {text: value for text, value in values.items() if value is not None and math.isfinite(value)}
    return replace(row, metrics={**row.metrics, **known})
