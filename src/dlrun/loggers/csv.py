"""Two CSV files for spreadsheets: what each epoch measured, and what runs were and came to.

epochs.csv   run, epoch, metric, value
runs.csv     experiment, run, status, reason, seed, fold, kind (setting or metric), name, value
"""

import csv
from pathlib import Path
from typing import IO, Any

from dlrun.errors import InputError
from dlrun.loggers.base import Logged, RunLogger
from dlrun.suggestions.values import show

_EPOCHS = ("run", "epoch", "metric", "value")
_RUNS = ("experiment", "run", "status", "reason", "seed", "fold", "kind", "name", "value")


class Csv(RunLogger):
    """Appends to ``epochs.csv`` and ``runs.csv``; numbers are written so that they are read back without loss.

    Args:
        path: the folder of both, relative to the working folder.

    Raises:
        InputError: it cannot be written.
    """

    def __init__(self, *, path: str = "logs") -> None:
        self._files: list[IO[str]] = []
        self._epochs, self._runs = (self._open(Path(path), *file) for file in (("epochs.csv", _EPOCHS), ("runs.csv", _RUNS)))

    def log(self, run: Logged) -> None:
        """A line for each number."""
        record = run.record
        self._epochs.writerows(
            (record.id, epoch, name, repr(value)) for epoch, values in run.epochs() for name, value in values.items()
        )
        about = (self.title, record.id, record.status, record.reason, record.seed, "" if record.fold is None else record.fold)
        self._runs.writerows((*about, "setting", key, show(value)) for key, value in run.settings.items())
        self._runs.writerows((*about, "metric", name, repr(value)) for name, value in run.final().items())
        if not run.settings and not run.final():
            self._runs.writerow((*about, "", "", ""))
        for file in self._files:
            file.flush()

    def close(self) -> None:
        """Close both."""
        for file in self._files:
            file.close()

    def _open(self, folder: Path, name: str, columns: tuple[str, ...]) -> Any:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            file = (folder / name).open("a", encoding="utf-8", newline="")
        except OSError as error:
            raise InputError(f"logger.csv.path={folder}: cannot be written ({error.strerror})") from error
        self._files.append(file)
        writer = csv.writer(file, lineterminator="\n")
        if not file.tell():
            writer.writerow(columns)
        return writer
