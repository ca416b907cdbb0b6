"""A line of JSON for each event, for programs that watch."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from dlrun.engine.progress import Progress
from dlrun.errors import InputError
from dlrun.experiments.events import Listener
from dlrun.results.record import RunRecord, plain, utc_now

if TYPE_CHECKING:
    from dlrun.experiments.experiment import Result
    from dlrun.experiments.sweep import Grid


class Lines(Listener):
    """Appends ``{"event": "run_ended", "time": ..., ...}`` to a file.

    Args:
        path: the file, relative to the working folder.

    Raises:
        InputError: it cannot be written.
    """

    def __init__(self, *, path: str = "events.jsonl") -> None:
        try:
            self._file: IO[str] = Path(path).open("a", encoding="utf-8")  # noqa: SIM115 (closed by close)
        except OSError as error:
            raise InputError(f"logger.path={path}: cannot be written ({error.strerror})") from error

    def note(self, text: str) -> None:
        """``{"event": "note", "text": ...}``."""
        self._write("note", text=text)

    def warning(self, text: str, runs: int) -> None:
        """``{"event": "warning", "text": ..., "runs": 2}``."""
        self._write("warning", text=text, runs=runs)

    def begun(self, grid: "Grid | None", title: str) -> None:
        """``{"event": "begun", "title": ..., "runs": 100}``."""
        self._write("begun", title=title, runs=1 if grid is None else len(grid.cells))

    def progress(self, progress: Progress) -> None:
        """``{"event": "progress", "epoch": 3, "epochs": 100, "train/loss": 0.2}``; after every epoch."""
        self._write("progress", epoch=progress.epoch, epochs=progress.epochs, **{"train/loss": progress.loss})

    def run_ended(self, records: Sequence[RunRecord]) -> None:
        """``{"event": "run_ended", "id": ..., "status": "done", "factors": {...}, "metrics": {...}}``, a line for each run."""
        for record in records:
            self._write(
                "run_ended",
                id=record.id,
                status=record.status,
                reason=record.reason,
                seed=record.seed,
                fold=record.fold,
                factors=record.factors,
                metrics=record.metrics,
            )

    def finished(self, result: "Result") -> None:
        """``{"event": "finished", "code": 0, "folder": ...}``."""
        self._write("finished", code=result.code, folder=str(result.folder))

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _write(self, event: str, **facts: Any) -> None:
        line = {"event": event, "time": utc_now(), **plain(facts, "", [])}
        self._file.write(json.dumps(line, allow_nan=False) + "\n")
        self._file.flush()
