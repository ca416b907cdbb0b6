"""TensorBoard: a folder of events for each run, with a curve for each metric, its settings and how it ended.

Needs the extra ``dlrun[tensorboard]``; ``tensorboard --logdir tensorboard`` shows them.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from dlrun.loggers.base import Logged, RunLogger, needs, plain_name
from dlrun.suggestions.values import show


class TensorBoard(RunLogger):
    """Writes ``PATH/EXPERIMENT/RUN/events...``, numbers in float64 as in the history. A run that is there is not written again.

    Args:
        path: the folder, relative to the working folder.

    Raises:
        InputError: tensorboard is not installed.
    """

    def __init__(self, *, path: str = "tensorboard") -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
            from torch.utils.tensorboard.summary import hparams
        except ImportError as error:
            raise needs("tensorboard", error) from error
        self._path = Path(path)
        self._writer: Callable[..., Any] = SummaryWriter
        self._hparams: Callable[..., Any] = hparams

    def log(self, run: Logged) -> None:
        """The events of a run: its metrics by epoch; hyperparameters, final metrics and status."""
        record = run.record
        folder = self._path / plain_name(self.title).replace("/", "_") / record.id
        if folder.exists():
            return
        writer = self._writer(str(folder))
        for epoch, values in run.epochs():
            for name, value in values.items():
                writer.add_scalar(name, value, epoch, new_style=True, double_precision=True)
        final = {f"final/{name}": value for name, value in run.final().items()}
        for name, value in final.items():
            writer.add_scalar(name, value, record.epochs, new_style=True, double_precision=True)
        said = {key: value if isinstance(value, bool | int | float | str) else show(value) for key, value in run.settings.items()}
        for summary in self._hparams({**said, "status": record.status}, final):
            writer.file_writer.add_summary(summary)
        writer.add_text("status", f"{record.status} {record.reason}".strip())
        writer.close()
