"""From what is compared to what a report shows of it: charts, and words beside them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

from dlrun.comparison.across import described
from dlrun.comparison.figures import number
from dlrun.comparison.groups import Compared
from dlrun.comparison.longtable import TUNED
from dlrun.comparison.symptoms import SAID, symptoms
from dlrun.comparison.table import Group
from dlrun.errors import StoreError
from dlrun.report.charts.base import Chart, name_of, runs_first
from dlrun.report.charts.boundary import Boundary, boundary_chart
from dlrun.report.charts.compared import comparison_charts
from dlrun.report.charts.factors import sensitivity
from dlrun.report.charts.predicted import predicted_charts
from dlrun.report.charts.ranks import ranks_chart
from dlrun.report.charts.searched import search_chart, searches
from dlrun.report.charts.training import training_charts
from dlrun.report.evidence import Evidence, Predicted
from dlrun.report.html.page import OverDatasets, Part
from dlrun.report.predictions import hardest
from dlrun.report.sections import Section, ranked
from dlrun.report.stored import TUNING, Stored, compare
from dlrun.results.record import RunRecord

MOST_PREDICTED = 20  # runs whose predictions are put together
MOST_PANELS = 9  # decision boundaries
SHAPE_OF_A_PLANE = [2]

Boundaries = Callable[[Evidence, Mapping[str, str]], list[Boundary]]
"""What runs predict over their two inputs: (evidence, name -> run)."""


def parts(sections: Sequence[Section], stored: Stored, boundaries: Boundaries) -> list[Part]:
    """What the page has of each section."""
    evidence = Evidence(stored.store, stored.records)
    searched = _searched(stored)
    return [_part(section, evidence, boundaries, stored, searched) for section in sections]


def over_datasets(sections: Sequence[Section]) -> OverDatasets | None:
    """Groups that three sections or more have, ranked over them; None where there are none."""
    found = ranked(sections)
    if found is None:
        return None
    names = {item.group.label: name_of(item.group) for section in sections for item in section.compared}
    return OverDatasets(described(found), ranks_chart(found, names))


def _searched(stored: Stored) -> Stored | None:
    """The runs by which sweeps chose settings, where they did: those in no table."""
    cells = {cell.id: cell for sweep in stored.sweeps for cell in sweep.cells if cell.id and TUNED not in cell.factors}
    if not any(TUNED in cell.factors for sweep in stored.sweeps for cell in sweep.cells):
        return None
    records = stored.store.records(cells)
    return Stored(stored.store, records, {record.id: cells[record.id].factors or record.factors for record in records})


def _chosen_by(searched: Stored, section: Section) -> Iterator[Chart]:
    """What settings were chosen by: the metric on validation rows against them."""
    metric = f"validation/{section.metric.rpartition('/')[2]}"
    for part in compare(searched, metric=metric):
        if part.dataset == section.dataset:
            for chart in sensitivity(part.compared, part.metric):
                yield replace(chart, caption=f"{chart.caption} These runs chose the value; the table is of others.")


def _searches(stored: Stored, section: Section) -> Iterator[Chart]:
    """What ``dlrun tune`` got for its budget."""
    contents = {sweep.folder.name: sweep.settings[TUNING] for sweep in stored.sweeps if TUNING in sweep.settings}
    found = searches(contents, section.dataset, section.settings)
    if found:
        yield search_chart(found)


def _part(section: Section, evidence: Evidence, boundaries: Boundaries, stored: Stored, searched: Stored | None) -> Part:
    group = _best(section)
    predicted = _predicted(group, evidence)
    whose = "" if group is None else name_of(group)
    chosen_by = _chosen_by(searched, section) if searched else ()
    charts = (*_searches(stored, section), *chosen_by, *_charts(section, evidence, predicted, whose, boundaries))
    runs = [row.id for item in section.compared for row in item.group.rows if row.id in evidence.records]
    facts = _facts(evidence.records[runs[0]]) if len(runs) == 1 else {}
    return Part(section, evidence.records, charts, whose, hardest(predicted) if predicted else (), facts)


def _charts(
    section: Section, evidence: Evidence, predicted: Sequence[Predicted], whose: str, boundaries: Boundaries
) -> Iterator[Chart]:
    compared, metric = section.compared, section.metric
    if sum(not item.group.is_baseline for item in compared) > 1:
        yield from comparison_charts(compared, metric)
    yield from training_charts(evidence, compared, metric)
    flat = planes(compared, metric, evidence)
    if flat and (found := boundaries(evidence, flat)):
        yield boundary_chart(found)
    yield from predicted_charts(predicted, whose)


def _best(section: Section) -> Group | None:
    """The group whose predictions are shown: the first of the runs."""
    first = runs_first(section.compared, section.metric, 1)
    return first[0].group if first else None


def _predicted(group: Group | None, evidence: Evidence) -> list[Predicted]:
    return [] if group is None else evidence.predicted((row.id for row in group.rows), MOST_PREDICTED)


def planes(compared: Sequence[Compared], metric: str, evidence: Evidence) -> dict[str, str]:
    """The runs whose boundary is drawn, by the names of their groups: of each the first measured one, if it has two inputs."""
    found = {}
    for item in runs_first(compared, metric, MOST_PANELS):
        run = next((row.id for row in item.group.rows if row.id in evidence.records and row.metrics), None)
        if run is not None and evidence.form(run).get("shape") == SHAPE_OF_A_PLANE:
            found[name_of(item.group)] = run
    return found


def _facts(record: RunRecord) -> dict[str, str]:
    """What is known of a single run."""
    facts = {"id": record.id, "status": " ".join(filter(None, (record.status, record.reason))), "seed": str(record.seed)}
    facts |= {SAID[each.kind]: each.text for each in symptoms(record)}
    facts |= {"fold": str(record.fold)} if record.fold is not None else {}
    facts |= {"epochs": str(record.epochs), "parameters": f"{record.parameters:,}", "seconds": f"{record.seconds:.3g}"}
    facts |= {name: "not finite" if value is None else number(value) for name, value in record.metrics.items()}
    for name, value in record.diagnostics.items():
        several = value if isinstance(value, list) else [value]
        facts[name.replace("_", " ")] = ", ".join(number(each) if isinstance(each, int | float) else "" for each in several)
    return facts


def about(stored: Stored) -> dict[str, str]:
    """Where a report comes from: sweeps with their commands, data, versions."""
    found = {}
    for sweep in stored.sweeps:
        found[f"sweep {sweep.folder.name}"] = f"dlrun {sweep.command}" if sweep.command else sweep.name
    records = stored.records
    found["runs"] = (
        f"{len(records):,}, of {min(r.finished for r in records)} to {max(r.finished for r in records)}" if records else ""
    )
    data = {
        f"{r.data.get('name')} (fingerprint {r.data.get('fingerprint')}, {r.data.get('rows')} rows)" for r in records if r.data
    }
    found["data"] = ", ".join(sorted(data))
    versions = {", ".join(f"{name} {version}" for name, version in record.versions.items()) for record in records}
    found["versions"] = "; ".join(sorted(versions))
    devices = {str(record.cohort.get("device")) for record in records if record.cohort.get("device")}
    found["device"] = ", ".join(sorted(devices))
    return found


def charts_of(kind: str, sections: Sequence[Section], stored: Stored, boundaries: Boundaries) -> list[Chart]:
    """The charts of one kind, such as ``curves``; none where there is nothing for it.

    Raises:
        StoreError: the runs of a section cannot be read.
    """
    if kind == "ranks":
        over = over_datasets(sections)
        return [] if over is None else [over.chart]
    wants = boundaries if kind == "boundary" else lambda evidence, planes: []
    evidence = Evidence(stored.store, stored.records)
    found: list[Chart] = []
    for section in sections:
        group = _best(section)
        if group is None:
            raise StoreError("none of these runs was measured; dlrun status says what became of them")
        every = _charts(section, evidence, _predicted(group, evidence), name_of(group), wants)
        found += [chart for chart in (*_searches(stored, section), *every) if chart.name == kind]
    return found
