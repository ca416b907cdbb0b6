"""The codes that a trained model makes of rows, and how far they can be trusted.

Shapes: n rows, D numbers of an input, E numbers of a code.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dlrun import streams
from dlrun.errors import DataError
from dlrun.trained.ensemble import Ensemble
from dlrun.trained.of_file import FileRows
from dlrun.trained.run import Run

Floats = NDArray[np.float64]
Rows = NDArray[Any]
NEIGHBOURS = 5
MOST = 2000  # rows whose neighbours are looked at, since their distances are all held


@dataclass(frozen=True)
class Encoded:
    """Codes of rows.

    Args:
        codes: [n, E].
        beside: further columns, [n] each.
        trust, trust_pca: the trustworthiness of the codes, and of as many principal components; None where there is none.
        measured: of which rows.
        why: it has no trustworthiness.
        notes: what is to know of the rows.
    """

    codes: Floats
    beside: Mapping[str, NDArray[Any]]
    trust: float | None
    trust_pca: float | None
    measured: str
    why: str
    notes: Sequence[str] = field(default=())

    def table(self) -> pd.DataFrame:
        """A line for each row: its number, what stands beside, and its code."""
        numbers = {f"code {place + 1}": self.codes[:, place] for place in range(self.codes.shape[1])}
        return pd.DataFrame({"row": np.arange(len(self.codes)), **self.beside, **numbers})


def of_file(run: Run, path: str, keep: Sequence[str] = ()) -> Encoded:
    """Codes of the rows of a file.

    Raises:
        DataError: the file cannot be read or has no rows, or lacks columns.
    """
    rows = FileRows(Ensemble((run,)), path, keep)
    beside, inputs = [], []
    for kept, x in rows.inputs():
        beside.append(kept)
        inputs.append(x)
    if not inputs or not sum(map(len, inputs)):
        raise DataError(f"{rows.file.name}: has no rows")
    x = np.concatenate(inputs)
    columns = {name: np.concatenate([kept[name] for kept in beside]) for name in keep}
    return _encoded(run, x, columns, x, x, f"{rows.file.name}, beside components of its own rows", rows.notes)


def of_own_rows(run: Run) -> Encoded:
    """Codes of all rows of the run's own data, in their order.

    Raises:
        DataError: the data is another now, or cannot be read any more.
    """
    from dlrun.experiments.load import data_of

    data, part = data_of(run.config, run.record)
    subset = np.full(len(data), "none", dtype=object)
    for name in ("train", "validation", "test"):
        subset[getattr(part, name)] = name
    measured = "test" if len(part.test) else "training"
    rows = part.test if len(part.test) else part.train
    said = f"{len(rows):,} {measured} rows, components of training rows"
    return _encoded(run, data.x, {"subset": subset}, data.x[part.train], data.x[rows], said, ())


def _encoded(
    run: Run, x: Rows, beside: Mapping[str, NDArray[Any]], fitted: Rows, rows: Rows, said: str, notes: Sequence[str]
) -> Encoded:
    codes = run.encode_rows(x)
    trust = _trust(run, fitted, rows, codes.shape[1])
    return Encoded(codes, beside, *trust[:2], said, trust[2], notes)


def _trust(run: Run, fitted: Rows, rows: Rows, size: int) -> tuple[float | None, float | None, str]:
    """The trustworthiness of codes of rows and of principal components of ``fitted``, or why there is none."""
    if rows.dtype.kind != "f":
        return None, None, "rows of words and of users have no distances"
    rows = rows[streams.permutations(streams.keys([0], "data"), len(rows))[0][:MOST]]
    neighbours = min(NEIGHBOURS, (len(rows) - 1) // 2)
    if neighbours < 1:
        return None, None, f"it takes at least 3 rows, and there are {len(rows)}"
    from sklearn.decomposition import PCA
    from sklearn.manifold import trustworthiness

    inputs, codes = run.prepared(rows), run.encode_rows(rows)
    if not np.isfinite(codes).all():
        return None, None, "codes are not finite"
    of_codes = float(trustworthiness(inputs, codes, n_neighbors=neighbours))
    learnt = run.prepared(fitted)
    if size > min(learnt.shape):
        return of_codes, None, ""
    components = PCA(size, svd_solver="full").fit(learnt).transform(inputs)
    return of_codes, float(trustworthiness(inputs, components, n_neighbors=neighbours)), ""
