"""A Parquet file as a TableBuilder: what its columns are, it says itself."""

import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from dlrun.data.table.arrow import cells_of_array, kind_of_type
from dlrun.data.table.aside import LABELS, Aside
from dlrun.data.table.builder import TableBuilder
from dlrun.data.table.columns import Column
from dlrun.data.table.tabular import chosen
from dlrun.data.table.text.foreign import foreign
from dlrun.data.table.text.textfile import GZIP, open_file
from dlrun.data.table.values.cells import Kind, listed, shown
from dlrun.errors import DataError

_BATCH = 1 << 16  # rows of a Parquet file read together
_BEGINNING = 1 << 16  # bytes that tell which format a file has
_INDEX = re.compile(r"__index_level_\d+__")  # as pandas calls an index without a name


def read_parquet(
    place: Path,
    tested: Path | None,
    targets: Sequence[str],
    columns: Sequence[str] | None,
    drop: Sequence[str],
    texts: Sequence[str],
    marks: Sequence[str],
    aside: Aside,
) -> tuple[TableBuilder, Mapping[str, str]]:
    """Read a file; the table, and why columns were not read.

    Args:
        place: of the file.
        tested: of another one with the same columns, whose rows are for testing.
        targets, columns, drop, texts, marks, aside: as the user gives them.
    """
    pyarrow = _pyarrow()
    name, roles = shown(place.name), {column: key for key, column in aside}
    with open_file(place) as stream:
        try:
            file = _opened(stream, name)
            schema = file.schema_arrow
            asked = [*targets, *(columns or ()), *texts, *roles]
            unread = {key: "an index without a name" for key in schema.names if _INDEX.fullmatch(key) and key not in asked}
            used = [*chosen(name, schema.names, targets, columns, [*drop, *unread], texts, aside), *targets, *roles]
            as_texts = {*texts, *(column for column, key in roles.items() if key in LABELS)}
            kinds = {key: "categorical" if key in as_texts else kind_of_type(schema.field(key).type) for key in used}
            unread |= _unusable(
                {key: schema.field(key).type for key in used if kind_of_type(schema.field(key).type) is None}, asked
            )
            used = [key for key in used if key not in unread]
            forms = [
                Column(key, kinds[key], columns is not None or key in texts, day_first=True, role=roles.get(key, ""))
                for key in used
            ]
            plain = [form for form in forms if not form.role]
            features, learnt, beside = plain[: -len(targets)], plain[-len(targets) :], forms[len(plain) :]
            rows = file.metadata.num_rows
            if tested is None:
                builder = TableBuilder(name, features, learnt, rows, marks, beside=beside)
                _add(builder, file, used, kinds)
            else:
                with open_file(tested) as other:
                    more = _opened(other, shown(tested.name))
                    builder = TableBuilder(name, features, learnt, rows + more.metadata.num_rows, marks, beside=beside)
                    _add(builder, file, used, kinds)
                    _check_tested(shown(tested.name), more.schema_arrow, name, schema, used)
                    builder.settle()
                    builder.test_from(shown(tested.name))
                    _add(builder, more, used, kinds)
        except (pyarrow.ArrowException, OSError) as error:
            raise DataError(f"{name}: is no Parquet file, or a damaged one ({shown(error, 100)})") from error
    builder.settle()
    builder.file = name
    return builder, unread


def _pyarrow() -> Any:
    try:
        import pyarrow.parquet
    except ImportError as error:
        raise DataError("dataset=parquet: needs pyarrow, which is not installed; run: pip install 'dlrun[parquet]'") from error
    return pyarrow


def _opened(stream: Any, name: str) -> Any:
    """A ParquetFile whose columns have names of their own."""
    from pyarrow.parquet import ParquetFile

    _refuse_other_formats(stream.read(_BEGINNING), name)
    stream.seek(0)
    file = ParquetFile(stream)
    twice = [key for key, count in Counter(file.schema_arrow.names).items() if count > 1]
    if twice:
        raise DataError(f"{name}: {listed(twice)}: more than one column has this name; give each its own")
    return file


def _add(builder: TableBuilder, file: Any, used: Sequence[str], kinds: Mapping[str, Kind | None]) -> None:
    start = 1
    for batch in file.iter_batches(_BATCH, columns=list(used)):
        cells = {key: cells_of_array(batch.column(key), kinds[key] or "numeric") for key in used}
        builder.add(cells, range(start, start + len(batch)))
        start += len(batch)


def _check_tested(name: str, schema: Any, first: str, wanted: Any, used: Sequence[str]) -> None:
    """Raise a DataError where a file with rows for testing has other columns than the first one."""
    problems = []
    for key in used:
        if key not in schema.names:
            problems.append(f"dataset.test_path: {name} lacks the column {shown(key)}, which {first} has")
        elif kind_of_type(schema.field(key).type) != kind_of_type(wanted.field(key).type):
            types = schema.field(key).type, wanted.field(key).type
            problems.append(f"dataset.test_path: {shown(key)} is of type {types[0]} in {name}, and of type {types[1]} in {first}")
    if problems:
        raise DataError(*problems)


def _unusable(types: Mapping[str, Any], asked: Collection[str]) -> dict[str, str]:
    """Why columns of types that cannot be used are left out. Those that are asked for by name raise a DataError."""
    wanted = [
        f"column {shown(name)}: is of type {shown(kind)}, which cannot be used; store it as numbers or texts"
        for name, kind in types.items()
        if name in asked
    ]
    if wanted:
        raise DataError(*wanted)
    return {name: f"of type {shown(kind)}" for name, kind in types.items()}


def _refuse_other_formats(block: bytes, name: str) -> None:
    """Raise DataError for the beginning of a file in another format than Parquet; a damaged Parquet file passes."""
    if block.startswith(b"PAR1"):
        return
    message = foreign(block)
    if not block:
        message = "is empty"
    elif block.startswith(GZIP):
        message = "is compressed by gzip; unpack it first"
    elif not message and b"\0" not in block:
        message = "is no Parquet file but one of text; type dataset=csv"
    if message:
        raise DataError(f"{name}: {message}")
