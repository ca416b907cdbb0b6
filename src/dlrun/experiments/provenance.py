"""Where a sweep was started and what data it began with, so that it goes on with the same.

Both stand in the settings of a sweep: ``folder``, the working folder, and ``data``, a fingerprint for each dataset.
"""

import json
import os
import shlex
from collections.abc import Iterator
from contextlib import chdir, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

from dlrun.engine.components import Component
from dlrun.errors import DataError
from dlrun.results.sweeps import Sweep

if TYPE_CHECKING:
    from dlrun.experiments.sweep import Grid

FOLDER, DATA = "folder", "data"


def provenance(grid: "Grid") -> dict[str, Any]:
    """What a sweep writes down before it trains."""
    return {FOLDER: os.getcwd(), DATA: {_key(part): fingerprint for part, fingerprint in _datasets(grid)}}


@contextmanager
def where_it_began(sweep: Sweep | None) -> Iterator[None]:
    """Read relative paths as the sweep did when it began; from the working folder where that folder is not there any more."""
    folder = "" if sweep is None else sweep.settings.get(FOLDER)
    with chdir(folder) if isinstance(folder, str) and os.path.isdir(folder) else nullcontext():
        yield


def check_same_data(sweep: Sweep, grid: "Grid") -> None:
    """Refuse to go on with other data than the sweep began with: its runs would be replaced by those on the new data.

    Raises:
        DataError: naming each dataset that has changed.
    """
    began = sweep.settings.get(DATA)
    if not isinstance(began, dict):  # begun by a version that did not write it down
        return
    changed = [part for part, fingerprint in _datasets(grid) if began.get(_key(part), fingerprint) != fingerprint]
    if changed:
        names = [f"dataset.path={part.values['path']}" if "path" in part.values else f"dataset={part.name}" for part in changed]
        command = shlex.join(str(word) for word in sweep.settings.get("words", []))
        raise DataError(
            f"{', '.join(dict.fromkeys(names))}: is not the data that sweep {sweep.folder.name} began with (read in "
            f"{sweep.settings.get(FOLDER)}); put that back, or start a new sweep: dlrun {command}"
        )


def _datasets(grid: "Grid") -> Iterator[tuple[Component, str]]:
    for group in grid.cohorts:
        yield group.specs[0].dataset, group.cohort.data.fingerprint


def _key(part: Component) -> str:
    return json.dumps([part.target, dict(part.values)], sort_keys=True, default=str)
