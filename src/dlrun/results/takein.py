"""Taking runs and sweeps of other folders into a store: run folders, output roots of an older dlrun, other stores."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from dlrun.errors import StoreError
from dlrun.results import folders
from dlrun.results.database import FILE
from dlrun.results.files import read
from dlrun.results.folders import RunFolder
from dlrun.results.formats import RunFiles
from dlrun.results.store import Store
from dlrun.results.sweeps import OLD, Cell, Sweep, sweep_folders

BATCH = 500  # runs a transaction


def take_in(store: Store, source: Path, complain: Callable[[str], None]) -> tuple[int, int]:
    """Take the runs and sweeps of a folder into a store; those that are there already stay as they are.

    Args:
        source: a run's folder, an output root of an older dlrun (with runs/ and sweeps/), or that of another store.
        complain: gets a line for each run or sweep that is damaged; it is left out.

    Returns:
        How many runs and sweeps were taken in.

    Raises:
        StoreError: there is nothing of the kind in ``source``, or the store cannot be written.
    """
    if not (folders.is_run(source) or (source / "runs").is_dir() or (source / FILE).is_file()):
        raise StoreError(f"{source}: is neither the folder of a run nor an output folder (with runs/ or {FILE})")
    store.prepare()
    there = set(store.ids())
    waiting: list[RunFiles] = []
    count = 0
    for files in _runs(source, there, complain):
        waiting.append(files)
        count += 1
        if len(waiting) == BATCH:
            store.write_cohort(waiting)
            waiting = []
    if waiting:
        store.write_cohort(waiting)
    known = {path.name for path in sweep_folders(store)}
    sweeps = [sweep for sweep in _sweeps(source, complain) if sweep.folder.name not in known]
    for sweep in sweeps:
        Sweep(store.sweeps / sweep.folder.name, sweep.name, sweep.cells, sweep.command, sweep.settings, sweep.created).add()
    return count, len(sweeps)


def _runs(source: Path, there: set[str], complain: Callable[[str], None]) -> Iterator[RunFiles]:
    if (source / FILE).is_file():
        other = Store(source.absolute())
        for record in other.records(complain=complain):
            if record.id not in there:
                try:
                    yield other.files(record.id)
                except StoreError as error:
                    complain(str(error))
        return
    for folder in [source] if folders.is_run(source) else sorted((source / "runs").iterdir()):
        if not folders.is_run(folder) or folder.name.startswith("."):
            continue
        try:
            kept = RunFolder(folder)
            if kept.read_record().id not in there:
                yield kept.files()
        except StoreError as error:
            complain(str(error))


def _sweeps(source: Path, complain: Callable[[str], None]) -> Iterator[Sweep]:
    try:
        yield from (Sweep.open(folder) for folder in sweep_folders(Store(source.absolute())))
    except StoreError as error:
        complain(str(error))
    for path in sorted(source.glob(f"sweeps/*/{OLD}")):
        try:
            yield _older(path)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            complain(f"{path}: is damaged ({error})")


def _older(path: Path) -> Sweep:
    content: dict[str, Any] = json.loads(read(path))
    cells = [
        Cell(
            str(cell["id"]),
            tuple(map(str, cell["overrides"])),
            int(cell["seed"]),
            cell["fold"],
            cell["status"],
            str(cell["reason"]),
            dict(cell.get("factors", {})),
        )
        for cell in content["runs"]
    ]
    return Sweep(
        path.parent, str(content["name"]), cells, str(content["command"]), dict(content["settings"]), str(content["created"])
    )
