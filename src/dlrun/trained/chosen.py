"""The runs that words mean: ids, folders of runs, a sweep, settings that runs have.

    8bc176b3 0f3a             runs by the beginnings of their ids
    talk/8bc176b3d366         the folder of a run, wherever it lies
    monday activation=relu    the runs of a sweep with this setting; latest is the last sweep
    dataset=wine model=mlp    any runs with these settings

Settings have to leave one configuration, whose runs differ in seed and fold alone.
"""

import os
from collections.abc import Sequence
from pathlib import Path

from dlrun.comparison.factors import distinct, filled, shown
from dlrun.errors import InputError, plural
from dlrun.report.stored import Stored, of_words
from dlrun.results.find import find, is_run, one
from dlrun.results.folders import RunFolder
from dlrun.results.folders import is_run as is_run_folder
from dlrun.results.record import MEASURED, RunRecord
from dlrun.results.store import Store
from dlrun.trained.ensemble import Ensemble
from dlrun.trained.run import Run

_REPEATS = ("seed", "dataset.fold")  # what may differ within one configuration
_MOST_SHOWN = 8


def chosen(store: Store, words: Sequence[str], device: str = "cpu") -> tuple[Ensemble, list[str]]:
    """The runs that words mean, and what is to know of them.

    Raises:
        InputError: they mean no run that can predict, or several configurations.
        StoreError: there is no such run or sweep.
    """
    where = [word for word in words if "=" in word and not os.path.isdir(word)]
    names = [word for word in words if word not in where]
    if names and all(is_run_folder(Path(name)) or is_run(store, name) for name in names):
        if where:
            raise InputError(f"{' '.join(where)}: goes with the name of a sweep; the runs are named already, leave it out")
        return Ensemble(tuple(named(store, name, device) for name in dict.fromkeys(names))), []
    if not words:
        raise InputError(
            "which run? give the id or the folder of a run, or a sweep and what its runs have: latest activation=relu"
        )
    stored = of_words(store, names or where)
    wanted = {each.record.id for each in find(stored.store, where)[0]} if names and where else None
    records = [record for record in stored.records if wanted is None or record.id in wanted]
    said = " ".join(words)
    if not records:
        raise InputError(f"{said}: no run of it has that; dlrun runs lists what there is")
    _one_configuration(said, records, stored)
    able = [record for record in records if record.status in MEASURED]
    if not able:
        raise InputError(f"{said}: none of its {plural(len(records), 'run')} was measured; dlrun status says what became of them")
    notes = [*stored.notes]
    if len(able) < len(records):
        notes.append(f"{plural(len(records) - len(able), 'run')} of {len(records)} diverged or failed, and take no part")
    runs = sorted(able, key=lambda record: (record.seed, record.fold or 0))
    return Ensemble(tuple(Run(record, stored.store.folder(record.id), stored.store, device) for record in runs)), notes


def named(store: Store, name: str, device: str = "cpu") -> Run:
    """The run with an id, its beginning, or a folder.

    Raises:
        StoreError: there is no such run, or it is damaged.
    """
    folder = Path(name)
    if os.path.isdir(folder):
        kept = RunFolder(folder)
        return Run(kept.read_record(), folder, kept, device)
    record = one(store, name, ", and no folder; give an id or the folder of a run")
    return Run(record, store.folder(record.id), store, device)


def _one_configuration(said: str, records: Sequence[RunRecord], stored: Stored) -> None:
    """Raise InputError where runs differ in more than seed and fold."""
    factors = filled([stored.factors[record.id] for record in records])
    keys = dict.fromkeys(key for each in factors for key in each if key not in _REPEATS)
    varying = {key: list({distinct(each.get(key, "")): each.get(key, "") for each in factors}.values()) for key in keys}
    varying = {key: values for key, values in varying.items() if len(values) > 1}
    if varying:
        shows = [f"{key}={','.join(map(shown, values[:_MOST_SHOWN]))}" for key, values in varying.items()]
        first = {key: factors[0].get(key, "") for key in varying}  # of one run: not every combination needs to be there
        example = " ".join(f"{key}={shown(value)}" for key, value in first.items() if value != "")
        raise InputError(f"{said}: has runs of several configurations ({'; '.join(shows)}); choose one, such as {example}")
