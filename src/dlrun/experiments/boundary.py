"""What trained models with two inputs predict over the plane, for a drawing."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dlrun.components.tasks import TASKS
from dlrun.config.resolver import UntrustedError
from dlrun.config.spec import from_config
from dlrun.data.dataset import Data
from dlrun.errors import DlrunError
from dlrun.experiments.load import revive
from dlrun.experiments.planning.cohorts import Datasets
from dlrun.report.charts.boundary import GRID, Boundary
from dlrun.report.evidence import Evidence
from dlrun.report.tables import clean
from dlrun.results.formats import TARGETS
from dlrun.results.record import RunRecord
from dlrun.results.store import Store

MARGIN = 0.1  # of the range of the points, on each side
SPREAD = 2.5  # standard deviations of the training rows, where the data is not there any more
MOST_POINTS = 300


def boundaries(evidence: Evidence, runs: Mapping[str, str], refused: Callable[[str], None]) -> list[Boundary]:
    """What runs with two inputs predict, on one grid for all; those that cannot predict are left out.

    Args:
        runs: what each is called -> its id.
        refused: called with the reason where a run needs code that was not imported; once for each reason.
    """
    reasons: set[str] = set()
    store, datasets = evidence.store, Datasets()
    forms = {run: evidence.form(run) for run in runs.values()}
    points = {run: _points(store, evidence.records[run], datasets) for run in runs.values()}
    every = [found for found, _ in points.values() if len(found)]
    low, high = _range(every, [*forms.values()])
    half = (high - low) / GRID / 2
    xs, ys = (np.linspace(low[axis] + half[axis], high[axis] - half[axis], GRID) for axis in (0, 1))
    grid = np.stack([axis.ravel() for axis in np.meshgrid(xs, ys)], 1)
    found = []
    for name, run in runs.items():
        record, form = evidence.records[run], forms[run]
        try:
            predictor = revive(store.config(run), record, form, store.weights(run), "cpu")
            value = predictor(grid)
            classes = tuple(clean(str(each)) for each in form.get("classes", ()))
            shown = value[:, 0] if value.shape[1] == 1 or not classes else value.argmax(1)
            names = [clean(str(each)) for each in form.get("features", ("x1", "x2"))]
            at, labels = points[run]
            found.append(
                Boundary(name, (names[0], names[1]), classes, xs, ys, shown.reshape(GRID, GRID).astype(np.float64), at, labels)
            )
        except UntrustedError as error:
            reasons.update(error.problems)
        except DlrunError:  # its weights are not kept, or cannot be read
            continue
    for reason in sorted(reasons):
        refused(reason)
    return found


def _points(store: Store, record: RunRecord, datasets: Datasets) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Test rows and their classes; none where the data cannot be read any more, or is another now."""
    nothing = np.empty((0, 2)), np.empty(0, np.int64)
    with suppress(DlrunError, OSError):
        config: dict[str, Any] = dict(store.config(record.id))
        config["dataset"] = dict(config["dataset"]) | {"task": record.data.get("task")}
        data: Data = datasets.of(from_config(config, record.choices, record.overrides))
        targets = store.arrays(record.id, TARGETS)
        rows = targets.get("test_rows", targets.get("validation_rows"))
        if rows is None or data.fingerprint != record.data.get("fingerprint"):
            return nothing
        kept = rows[:MOST_POINTS].astype(np.int64)
        x = data.x[kept].astype(np.float64)
        labels = (
            data.y[kept].reshape(len(kept), -1)[:, 0].astype(np.int64) if TASKS[data.task].classes else np.zeros(len(kept), int)
        )
        whole = np.isfinite(x).all(1)
        return x[whole], labels[whole]
    return nothing


def _range(points: list[NDArray[np.float64]], forms: list[Mapping[str, Any]]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The corners of what is drawn, from points, else from what the inputs were scaled by."""
    if points:
        every = np.concatenate(points)
        low, high = every.min(0), every.max(0)
        margin = MARGIN * np.maximum(high - low, 1e-9)
        return low - margin, high + margin
    shift = np.array([form["shift"] for form in forms], np.float64).mean(0)
    scale = SPREAD / np.array([form["factor"] for form in forms], np.float64).mean(0)
    return shift - scale, shift + scale
