"""How the columns of a user's table become numbers: kept with a run as JSON, so that new rows can be encoded alike.

    numeric       the number                                              1 feature
    boolean       0 or 1                                                  1 feature
    date          days since 1970-01-01, month, weekday, hour             those that vary in the file
    time          hours since midnight                                    1 feature
    categorical   1 for the row's category and 0 for the others           1 feature for each category of the file

Nothing here is fitted: categories are names, and all others are fixed rules. What depends on the rows that training may see
(filling missing values, scaling, blinding categories that training never met) is Preprocessing's.

Shapes: n rows, D features.
"""

import warnings
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from dlrun.data.table.matching import matched
from dlrun.data.table.values.amounts import GROUPINGS, Form
from dlrun.data.table.values.cells import Cells, Floats, Kind, Texts, read, shown
from dlrun.data.table.values.dates import DATE_PARTS, date_parts
from dlrun.data.table.values.typed import WANTS, mark_numbers, parser, typed, written
from dlrun.errors import DataError


@dataclass(frozen=True, kw_only=True)
class ColumnCode:
    """One column of the table.

    Attributes:
        name: its name in the table.
        kind: what its cells are.
        categories: of a categorical column; an empty text stands for a missing value.
        parts: of a date, those among days, month, weekday and hour that are features.
        day_first: whether dates such as 3/4/2024 begin with the day.
        thousands: what may group the digits of a number; an empty text for nothing.
        decimal: what stands before its decimals, where that is not the file's mark.
        amounts, sign: whether a sign may stand beside the digits, and which; see ``Form``.
        offset: subtracted from a number, or from the days of a date, whose digits would not fit into float32 otherwise.
    """

    name: str
    kind: Kind
    categories: tuple[str, ...] = ()
    parts: tuple[str, ...] = ()
    day_first: bool = True
    thousands: str = ""
    decimal: str = ""
    amounts: bool = False
    sign: str = ""
    offset: float = 0.0

    @property
    def form(self) -> Form:
        """How its numbers are written."""
        return Form(self.decimal, self.thousands, self.amounts, self.sign)

    @property
    def features(self) -> tuple[str, ...]:
        """The names of its features."""
        if self.kind == "categorical":
            return tuple(f"{self.name}={category or '(missing)'}" for category in self.categories)
        return tuple(f"{self.name}.{part}" for part in self.parts) if self.kind == "date" else (self.name,)


@dataclass(frozen=True)
class Encoding:
    """The columns that are features, in their order, and how their cells are read.

    Attributes:
        columns: the columns.
        decimal: what stands before the decimals of a number.
        missing: texts that mean a missing value, beside the usual ones.
    """

    columns: tuple[ColumnCode, ...]
    decimal: str = "."
    missing: tuple[str, ...] = ()

    @property
    def features(self) -> tuple[str, ...]:
        """D names; one that occurs again gets a number."""
        names: dict[str, None] = {}
        for feature in (feature for column in self.columns for feature in column.features):
            name, again = feature, 1
            while name in names:
                name, again = f"{feature} ({again + 1})", again + 1
            names[name] = None
        return tuple(names)

    @property
    def indicators(self) -> NDArray[np.bool_]:
        """Which features are 0 or 1 by their making, bool [D]: they are not scaled, as scaling would take their rarity away."""
        return np.array([column.kind in ("categorical", "boolean") for column in self.columns for _ in column.features])

    def to_json(self) -> dict[str, Any]:
        """Texts, numbers and lists that ``from_json`` reads back without loss."""
        plain = ColumnCode(name="", kind="numeric")
        columns = []
        for column in self.columns:
            values = asdict(column)
            columns.append(
                {
                    key: list(value) if isinstance(value, tuple) else value
                    for key, value in values.items()
                    if key in ("name", "kind") or value != getattr(plain, key)
                }
            )
        return {"columns": columns, "decimal": self.decimal, "missing": list(self.missing)}

    @staticmethod
    def from_json(content: Mapping[str, Any]) -> "Encoding":
        """What ``to_json`` wrote.

        Raises:
            DataError: a key is missing or holds something else.
        """
        try:
            columns = tuple(_column(values) for values in content["columns"])
            decimal, missing = content["decimal"], tuple(content["missing"])
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"encoding: {error}; the file is damaged or of another kind") from error
        if decimal not in (".", ",") or not all(isinstance(word, str) for word in missing):
            raise DataError("encoding: decimal must be '.' or ',', and missing a list of texts; the file is damaged")
        return Encoding(columns, decimal, missing)


def _column(values: Mapping[str, Any]) -> ColumnCode:
    given: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}
    column = ColumnCode(**given)
    texts = (column.name, *column.categories)
    fits = column.kind in get_args(Kind) and set(column.parts) <= set(DATE_PARTS) and isinstance(column.day_first, bool)
    fits = fits and column.thousands in ("", *GROUPINGS) and column.decimal in ("", ".", ",") and isinstance(column.sign, str)
    if not fits or not all(isinstance(text, str) for text in texts) or not isinstance(column.offset, int | float):
        raise ValueError(f"column {shown(column.name)!r} does not describe a column")
    return column


def _row(place: int) -> str:
    return f"row {place + 1:,}"


def encode(frame: Any, encoding: Encoding, where: Callable[[int], str] = _row) -> Floats:
    """Rows of a table as features: float64 [n, D], NaN where a value is missing, ready for ``Preprocessing.inputs``.

    A category that the file did not have is none of the known ones: all of its column's features are 0. A warning says where
    hardly a row has a known one, and the others are several.

    Args:
        frame: a pandas DataFrame, or a mapping from the name of a column to its n values. Columns that are no features are
            left alone. Texts are read as in the file; numbers, truth values and dates may also come as such, true and false
            as 1 and 0, and categories that are numbers in any spelling; cells as a file's (Texts) too.
        encoding: from the run.
        where: what messages call a row, counted from 0.

    Raises:
        DataError: a column is missing or stands there twice, or a cell is of another kind; every such column is told.
    """
    problems, parts, strange = [], [], []
    for column in encoding.columns:
        if column.name not in frame:
            problems.append(f"column {shown(column.name)}: is missing; the model was trained with it")
            continue
        try:
            given = frame[column.name]
            kind, cells = ("categorical", given) if isinstance(given, Texts) else typed(given)
            if column.kind == "categorical":
                texts, remarks = matched(column, kind, cells, given, encoding)
                strange += remarks
                parts.append(_indicators(column, texts))
            else:
                parts.append(_measured(column, kind, cells, encoding, where))
        except DataError as error:
            problems += [f"column {shown(column.name)}: {message}" for message in error.problems]
    if len({len(part) for part in parts}) > 1:
        problems.append(f"the columns must have one length, not {sorted({len(part) for part in parts})}")
    if problems:
        raise DataError(*problems)
    for message in strange:
        warnings.warn(message, stacklevel=4)  # where predict is called
    return np.concatenate(parts, axis=1)


def _indicators(column: ColumnCode, texts: Texts) -> Floats:
    """1 in each row for its category: [n, categories]."""
    places = {category: place for place, category in enumerate(column.categories)}
    known = np.array([places.get(text, len(places)) for text in texts.distinct], dtype=np.int64)
    rows: Floats = np.eye(len(places) + 1)[known[texts.codes]][:, :-1]
    return rows


def _measured(column: ColumnCode, kind: Kind, cells: Cells, encoding: Encoding, where: Callable[[int], str]) -> Floats:
    """The features of a column of numbers, truth values or dates: [n, features of the column].

    Raises:
        DataError: a cell is neither of the column's kind nor missing.
    """
    marks = mark_numbers(encoding.missing)
    if isinstance(cells, Texts):
        parse = parser(column.kind, encoding.decimal, day_first=column.day_first, form=column.form)
        values, odd = read(cells, parse, frozenset(encoding.missing))
        values = np.where(np.isin(values, marks), np.nan, values)
    else:
        values = np.where(np.isin(cells, marks), np.nan, cells)
        odd = ~np.isnan(values) & ~_fits(column.kind, kind, values)
    if odd.any():
        row = int(odd.argmax())
        message = repr(shown(cells.distinct[cells.codes[row]])) if isinstance(cells, Texts) else written(kind, float(cells[row]))
        raise DataError(f"{where(row)} holds {message}, and it wants {WANTS[column.kind]}")
    if np.isinf(values).any():
        raise DataError(f"{where(int(np.isinf(values).argmax()))} holds an infinite number")
    if column.kind == "date":
        parts: Floats = date_parts(values)[:, [DATE_PARTS.index(part) for part in column.parts]]
        parts -= np.array([column.offset if part == "days" else 0.0 for part in column.parts])
        return parts
    return (values - column.offset)[:, None]


def _fits(wanted: Kind, kind: Kind, values: Floats) -> NDArray[np.bool_]:
    """Which values of one kind a column of another one takes: truth values are the numbers 0 and 1, and dates no numbers."""
    if wanted == "boolean" and kind == "numeric":
        return np.isin(values, (0.0, 1.0))
    return np.full(len(values), kind == wanted or (wanted, kind) == ("numeric", "boolean"))
