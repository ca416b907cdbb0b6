"""Tables that were read, kept for whoever asks for them again: the runs of a sweep, and the next call in the same process."""

import math
import os
import time
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

from dlrun import memory
from dlrun.data.dataset import Data
from dlrun.data.table.text.textfile import open_file
from dlrun.errors import DataError

Key = tuple[object, ...]

_MOST = 4  # tables
_kept: OrderedDict[Key, tuple[Data | DataError, float]] = OrderedDict()


def once(key: Key, load: Callable[[], Data], *, patience: float = math.inf) -> Data:
    """What ``load`` gives or raises, the first time that ``key`` is asked for; after a failure again in ``patience`` seconds."""
    found, since = _kept.pop(key, (None, 0.0))
    if found is None or (isinstance(found, DataError) and time.monotonic() - since > patience):
        try:
            found = load()
        except DataError as error:
            found = DataError(*error.problems)  # without the frames that the error has come through, and their tables
        memory.give_back()
        since = time.monotonic()
    _kept[key] = (found, since)
    while len(_kept) > _MOST:
        _kept.popitem(last=False)
    if isinstance(found, DataError):
        raise DataError(*found.problems)
    return found


def file_key(kind: str, place: Path, how: object) -> Key:
    """What tells apart files, their states and the ways to read them.

    Raises:
        DataError: it is no regular file, or cannot be opened.
    """
    with open_file(place) as file:
        facts = os.fstat(file.fileno())
    return (kind, os.path.realpath(place), facts.st_dev, facts.st_ino, facts.st_size, facts.st_mtime_ns, repr(how))
