"""Datasets of openml.org, by their number. The first time needs the network; afterwards the files lie in a folder."""

import os
import warnings
from pathlib import Path

from dlrun.components.hyperparameters import Count
from dlrun.components.tasks import TableTask
from dlrun.data.dataset import Data
from dlrun.data.sources.files import Name, Names, named_aside, words
from dlrun.data.sources.kept import once
from dlrun.data.table.aside import Aside
from dlrun.data.table.tabular import of_frame
from dlrun.data.table.values.cells import listed, shown
from dlrun.errors import DataError

_PATIENCE = 60.0  # seconds until a download that failed is tried again


def openml(
    *,
    id: Count | None = None,
    target: Names = None,
    columns: Names = None,
    drop: Names = None,
    categorical: Names = None,
    missing: Names = None,
    cache: str | None = None,
    task: TableTask | None = None,
    positive: Name | None = None,
    split_column: Name | None = None,
    group: Name | None = None,
    time: Name | None = None,
    weight: Name | None = None,
) -> Data:
    """A dataset of openml.org, loaded by scikit-learn. Vanschoren et al. 2013, OpenML: networked science in machine learning.

    Args:
        id: its number there: 61 for openml.org/d/61.
        target: the column to be predicted; the one that openml.org names by default.
        columns, drop, categorical, missing, task, positive, split_column, group, time, weight: as for ``csv``;
            what its columns are, openml.org says.
        cache: where downloads are kept; ~/.cache/dlrun when None.

    Raises:
        DataError: it cannot be loaded, or something is wrong with it or a setting.
    """
    if id is None:
        raise DataError("dataset.id: which dataset? type dataset.id=NUMBER, such as 61 for openml.org/d/61")
    folder = Path(cache or os.path.join(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "dlrun"))
    aside = named_aside(split_column, group, time, weight)
    how = (id, target, columns, drop, categorical, missing, str(folder), task, positive, aside)

    def load() -> Data:
        return _load(id, target, columns, drop, categorical, missing, folder, task, positive, aside)

    return once(("openml", repr(how)), load, patience=_PATIENCE)


def _load(
    number: int,
    target: Names,
    columns: Names,
    drop: Names,
    categorical: Names,
    missing: Names,
    folder: Path,
    task: TableTask | None,
    positive: Name | None,
    aside: Aside,
) -> Data:
    from sklearn.datasets import fetch_openml

    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        try:
            found = fetch_openml(data_id=number, as_frame=True, data_home=str(folder), parser="auto", n_retries=1)
        except (OSError, EOFError, ValueError, KeyError) as error:
            raise DataError(
                f"dataset.id={number}: cannot be loaded from openml.org ({shown(error, 100)}); "
                f"the first time needs the network, afterwards {folder} has it"
            ) from error
    name = shown(found.details.get("name") or f"openml {number}")
    if target is None and len(found.target_names) != 1:
        several = f"names {listed(found.target_names)}" if found.target_names else "names none"
        raise DataError(f"dataset.target: which column is to be predicted? openml.org {several}; type dataset.target=COLUMN")
    remarks = [shown(warning.message, 200) for warning in said if "network error" not in str(warning.message)]
    return of_frame(
        name,
        found.frame,
        targets=words(found.target_names if target is None else target),
        columns=None if columns is None else words(columns),
        drop=words(drop),
        categorical=words(categorical),
        missing=words(missing),
        task=task,
        positive=positive,
        remarks=remarks,
        aside=aside,
    )
