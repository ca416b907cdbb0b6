"""Images of the user's own: a folder with a folder for each class, or image files whose classes a CSV file says.

Shapes: N images, C channels (1 grey, 3 colour), S pixels a side.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated

import numpy as np

from dlrun.components.hyperparameters import Interval
from dlrun.components.tasks import BINARY, MULTICLASS
from dlrun.data.dataset import Data
from dlrun.data.image_files import SUFFIXES, Pixels, below, pixels
from dlrun.data.sources.draws import check_size
from dlrun.data.sources.kept import once
from dlrun.data.table.positive import with_positive
from dlrun.data.table.text.delimited import Delimited
from dlrun.data.table.text.textfile import examine, located
from dlrun.data.table.values.cells import listed, shown
from dlrun.errors import DataError, plural

Side = Annotated[int, Interval(4, 1024)]
_MOST_CLASSES = 1000


def images(
    *,
    path: str | None = None,
    labels: str | None = None,
    size: Side = 32,
    colour: bool = False,
    positive: str | int | None = None,
) -> Data:
    """Image files, resized: x [N, C, S, S] of values from 0 to 1, the class of each by its folder or by a CSV file.

    Files that cannot be read are left out, and named.

    Args:
        path: the folder.
        labels: a CSV file with names; its first column has files below ``path``, its second one their classes. Without it each
            folder in ``path`` is a class, of all images below it.
        size: S; images are resized to it, whatever their sides.
        colour: red, green and blue instead of grey.
        positive: the one of two classes that is number 1; the second in alphabetical order by default.

    Raises:
        DataError: Pillow is not installed, there are no images, or one class of them.
    """
    if path is None:
        raise DataError("dataset.path: which folder? type dataset.path=FOLDER, which has a folder of images for each class")
    place = located(path)
    if not place.is_dir():
        raise DataError(f"dataset.path={shown(path, 100)}: is a file; give the folder of the images")
    known = None if labels is None else _labels(located(labels, "labels"))
    files = sorted(_found(place, known))
    if not files:
        where = "in folders of it, one for each class" if known is None else "that dataset.labels names"
        raise DataError(f"dataset.path={shown(path, 100)}: has no image files ({', '.join(SUFFIXES)}) {where}")
    facts = tuple((name, label, _state(place / name)) for name, label in files)
    return with_positive(once(("images", facts, size, colour), lambda: _read(place, files, size, colour=colour)), positive)


def _found(place: Path, known: Mapping[str, str] | None) -> Iterator[tuple[str, str]]:
    """Image files below a folder, by their paths from there, with their classes."""
    if known is not None:
        missing = [name for name in known if not (place / name).is_file()]
        if missing:
            raise DataError(
                f"dataset.labels: names {len(missing):,} files that are not in {shown(place, 100)}: {listed(missing)}"
            )
        yield from known.items()
        return
    yield from ((file.as_posix(), file.parts[0]) for file in below(place) if len(file.parts) > 1)


def _labels(path: Path) -> dict[str, str]:
    """What a CSV file says of image files."""
    table = Delimited(examine(path, None))
    if len(table.names) < 2:
        raise DataError(f"dataset.labels: {table.file.name} has one column; it needs two, files and their classes")
    found: dict[str, str] = {}
    for piece in table.pieces():
        cells = piece.parse(table.dialect, dtype=str, na_filter=False, usecols=[0, 1])
        found |= {str(name).strip(): str(label).strip() for name, label in zip(cells[0], cells[1], strict=True)}
    return found


def _state(path: Path) -> tuple[int, int]:
    facts = path.stat()
    return facts.st_size, facts.st_mtime_ns


def _read(place: Path, files: Sequence[tuple[str, str]], size: int, *, colour: bool) -> Data:
    check_size(len(files), 3 if colour else 1, size, size)
    read: list[Pixels] = []
    classes: list[str] = []
    broken: list[str] = []
    for name, label in files:
        found = pixels(place / name, size, colour=colour)
        if isinstance(found, str):
            broken.append(f"{shown(name, 60)} ({found})")
        else:
            read.append(found)
            classes.append(label)
    named = shown(place.name or str(place))
    distinct = sorted(set(classes))
    if not 2 <= len(distinct) <= _MOST_CLASSES:
        lost = f"; {len(broken):,} files cannot be read: {listed(broken, 3)}" if broken else ""
        raise DataError(f"{named}: has images of {len(distinct):,} classes, and 2 to {_MOST_CLASSES:,} are needed{lost}")
    notes = [f"{named}: {len(read):,} images of {len(distinct):,} classes ({listed(distinct)}), resized to {size} x {size}"]
    if broken:
        those = plural(len(broken), "file cannot be read and is", "files cannot be read and are")
        notes.append(f"{named}: {those} left out: {', '.join(broken[:8])}")
    y = np.array([distinct.index(label) for label in classes])
    task = BINARY if len(distinct) == 2 else MULTICLASS
    return Data(
        named,
        np.stack(read) / 255,
        y if task.exclusive else y[:, None].astype(np.float64),
        task.name,
        task.exclusive_classes(len(distinct)),
        ("red", "green", "blue") if colour else ("grey",),
        ("class",),
        tuple(distinct),
        notes=tuple(notes),
    )
