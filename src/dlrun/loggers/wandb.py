"""Weights & Biases: a run for each run, those of a sweep in a group, written to a folder and sent nowhere.

Needs the extra ``dlrun[wandb]``. ``wandb sync wandb/offline-run-*`` sends them; ``logger.wandb.mode=online`` does so at once.
"""

from typing import Any, Literal

from dlrun.loggers.base import Logged, RunLogger, needs


class Wandb(RunLogger):
    """Logs each run when it has ended.

    Args:
        project: the name of the project.
        path: the folder in which ``wandb/`` is made.
        mode: offline (files alone) or online.

    Raises:
        InputError: wandb is not installed.
    """

    def __init__(self, *, project: str = "dlrun", path: str = ".", mode: Literal["offline", "online"] = "offline") -> None:
        try:
            import wandb
        except ImportError as error:
            raise needs("wandb", error) from error
        self._wandb: Any = wandb
        self._project, self._path, self._mode = project, path, mode

    def log(self, run: Logged) -> None:
        """Metrics by epoch as the history; final ones (``final/NAME``), status and reason as the summary; settings as config."""
        record = run.record
        settings = self._wandb.Settings(silent=True, console="off", x_disable_stats=True, x_disable_meta=True)
        made = self._wandb.init(
            project=self._project,
            id=record.id,
            name=run.name[:128],
            group=self.title if self.swept else None,
            tags=[record.status],
            config=run.settings,
            dir=self._path,
            mode=self._mode,
            resume="allow" if self._mode == "online" else None,
            reinit="create_new",
            save_code=False,
            settings=settings,
        )
        for epoch, values in run.epochs():
            made.log({"epoch": epoch, **values}, step=epoch)
        # names of their own, since the summary has the last values of the history
        final = {f"final/{name}": value for name, value in run.final().items()}
        made.summary.update({**final, "status": record.status, "reason": record.reason, "epochs": record.epochs})
        made.finish(exit_code=0 if run.fine else 1)
