"""The rows of a file, some thousands at a time, for a model that was trained on others.

A CSV file is read as the training file was (its separator, header and encoding, where the run's settings name them; found out
otherwise), a Parquet file by its types, images as large as those of the training. How cells become features is the business of
the run's encoding.

Shapes: n rows, C channels, S pixels a side.
"""

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dlrun.data.image_files import SUFFIXES, Pixels, below, is_image, pixels
from dlrun.data.table.text.delimited import Delimited
from dlrun.data.table.text.quoted import column_texts, marked
from dlrun.data.table.text.textfile import examine, located, open_file
from dlrun.data.table.values.cells import listed, shown
from dlrun.errors import DataError, nearest, plural

PIECE = 1 << 13  # rows read together
_HOW = ("separator", "header", "skip", "footer", "encoding")  # settings of dataset=csv that say how a file is written
_IMAGES = "dlrun.data.sources.folder.images"
_NUMBERS = 1 << 22  # of images read together
_PARQUET, _NUMPY = b"PAR1", b"\x93NUMPY"


@dataclass(frozen=True)
class Piece:
    """Some rows.

    Args:
        columns: values of n rows by the name of the column; where rows are arrays they are under "" [n, ...].
        places: of each row, for messages: the line of a text file, or the number of the row from 1.
        noun: what ``places`` are.
    """

    columns: Mapping[str, Any]
    places: Sequence[int]
    noun: str

    def __len__(self) -> int:
        return len(self.places)

    def where(self, row: int) -> str:
        """A row for a message: ``line 7``."""
        return f"{self.noun} {self.places[row]:,}"


class NewRows(ABC):
    """A file of rows.

    Attributes:
        name: of the file, fit for a message.
        names: of its columns; none for an array.
        arrays: whether its rows are arrays.
        beside: columns that always stand beside what is predicted.
        notes: what is to know of the file, complete once all pieces were read.
    """

    name: str
    names: Sequence[str]
    arrays: bool = False
    beside: Sequence[str] = ()
    notes: Sequence[str] = ()

    @abstractmethod
    def pieces(self, names: Sequence[str]) -> Iterator[Piece]:
        """The rows in their order, with these columns.

        Raises:
            DataError: the file is damaged; with the line.
        """

    def missing(self, wanted: Sequence[str], why: str) -> str:
        """What to say of the columns of ``wanted`` that the file does not have, in one line; an empty string when it has all."""
        lacking = [name for name in wanted if name not in self.names]
        if not lacking:
            return ""
        hint = nearest(lacking[0], self.names) if len(lacking) == 1 else ""
        those = "a column is" if len(lacking) == 1 else f"{len(lacking):,} columns are"
        return f"{self.name}: {those} missing that {why}: {listed(lacking, 20)}; the file has {listed(self.names, 20)}{hint}"


def opened(path: str, how: Mapping[str, Any], wanted: Collection[str]) -> NewRows:
    """A file of rows: CSV (gzip too), Parquet, or an array of NumPy (.npy); for a run on images, an image file or a folder.

    Args:
        path: the file.
        how: the dataset's settings of the run.
        wanted: the columns that are looked for, by which a row of names is known.

    Raises:
        DataError: there is no such file, or none that can be read.
    """
    try:
        place = located(path)
        if how.get("_target_") == _IMAGES and (place.is_dir() or is_image(place)):
            return _Images(place, int(how["size"]), colour=bool(how["colour"]))
        with open_file(place) as stream:
            beginning = stream.read(len(_NUMPY))
        if beginning.startswith(_PARQUET):
            return _Parquet(place)
        if beginning == _NUMPY:
            return _Array(place)
        return _Csv(place, how, wanted)
    except DataError as error:  # those of datasets name their setting
        raise DataError(*(problem.replace("dataset.path=", "", 1) for problem in error.problems)) from error


class _Csv(NewRows):
    def __init__(self, place: Path, how: Mapping[str, Any], wanted: Collection[str]) -> None:
        given = {key: how.get(key) for key in _HOW}
        file = examine(place, given["encoding"])
        separator = {"\\t": "\t", "tab": "\t", "space": " "}.get(given["separator"] or "", given["separator"])
        self._table = Delimited(
            file,
            separator=separator,
            header=given["header"],
            skip=given["skip"] or 0,
            footer=given["footer"] or 0,
            targets=tuple(wanted) if given["header"] is None else (),
        )
        self.name, self.names = file.name, self._table.names

    @property
    def notes(self) -> Sequence[str]:  # type: ignore[override]
        """What was left out."""
        return self._table.remarks

    def pieces(self, names: Sequence[str]) -> Iterator[Piece]:
        """As texts, a missing value an empty one."""
        places = [self._table.names.index(name) for name in names]
        for piece in self._table.pieces(PIECE):
            text = marked(piece.text, self._table.dialect.separator, self._table.dialect.quote)
            marks = piece if text is None else replace(piece, text=text)
            cells = marks.parse(self._table.dialect, dtype=object, na_filter=False, usecols=sorted(set(places)))
            texts = {name: column_texts(cells[place].to_numpy(dtype=object)) for name, place in zip(names, places, strict=True)}
            yield Piece(texts, piece.lines, "line")


class _Parquet(NewRows):
    def __init__(self, place: Path) -> None:
        try:
            import pyarrow
            from pyarrow.parquet import ParquetFile
        except ImportError as error:
            raise DataError(
                f"{shown(place.name)}: needs pyarrow, which is not installed; run: pip install 'dlrun[parquet]'"
            ) from error
        self.name = shown(place.name)
        try:
            self._file = ParquetFile(place)
        except (pyarrow.ArrowException, OSError) as error:
            raise DataError(f"{self.name}: is a damaged Parquet file ({shown(error, 100)})") from error
        self.names = self._file.schema_arrow.names

    def pieces(self, names: Sequence[str]) -> Iterator[Piece]:
        """As the types of the file say."""
        import pyarrow

        start = 1
        try:
            for batch in self._file.iter_batches(PIECE, columns=list(names)):
                table = pyarrow.Table.from_batches([batch]).replace_schema_metadata()  # no column becomes an index of pandas
                frame = table.to_pandas(integer_object_nulls=True)
                yield Piece({name: frame[name] for name in names}, range(start, start + len(frame)), "row")
                start += len(frame)
        except (pyarrow.ArrowException, OSError) as error:
            raise DataError(f"{self.name}: is a damaged Parquet file ({shown(error, 100)})") from error


class _Array(NewRows):
    arrays = True

    def __init__(self, place: Path) -> None:
        self.name, self.names = shown(place.name), ()
        try:
            self._rows = np.load(place, mmap_mode="r", allow_pickle=False)
        except (ValueError, OSError) as error:
            raise DataError(f"{self.name}: is no array that can be read ({shown(error, 100)})") from error

    def pieces(self, names: Sequence[str]) -> Iterator[Piece]:
        """Without columns."""
        for start in range(0, len(self._rows), PIECE):
            rows = np.array(self._rows[start : start + PIECE])
            yield Piece({"": rows}, range(start + 1, start + 1 + len(rows)), "row")


class _Images(NewRows):
    """Image files, each a row; those that cannot be read are left out. The class of one is the folder that it lies in."""

    arrays, beside, names = True, ("file",), ("file", "class")

    def __init__(self, place: Path, size: int, *, colour: bool) -> None:
        self.name, self._size, self._colour = shown(place.name or str(place)), size, colour
        self._home, self._files = (place, below(place)) if place.is_dir() else (place.parent, [Path(place.name)])
        self._broken: list[str] = []
        if not self._files:
            raise DataError(f"{self.name}: has no image files ({', '.join(SUFFIXES)})")

    @property
    def notes(self) -> Sequence[str]:  # type: ignore[override]
        """The files that cannot be read."""
        those = plural(len(self._broken), "file cannot be read and is", "files cannot be read and are")
        return [f"{those} left out: {', '.join(self._broken[:8])}"] if self._broken else []

    def pieces(self, names: Sequence[str]) -> Iterator[Piece]:
        """Values from 0 to 1 [n, C, S, S]."""
        many = max(1, _NUMBERS // (self._size**2 * (3 if self._colour else 1)))
        for start in range(0, len(self._files), many):
            read: dict[int, Pixels] = {}
            for number, file in enumerate(self._files[start : start + many], start):
                found = pixels(self._home / file, self._size, colour=self._colour)
                if isinstance(found, str):
                    self._broken.append(f"{shown(str(file), 60)} ({found})")
                else:
                    read[number] = found
            if read:
                files = [self._files[number] for number in read]
                columns = {
                    "": np.stack(list(read.values())) / 255,
                    "file": pd.Series([file.as_posix() for file in files], dtype=object),
                    "class": pd.Series([file.parts[0] if len(file.parts) > 1 else "" for file in files], dtype=object),
                }
                yield Piece(columns, [number + 1 for number in read], "image")
