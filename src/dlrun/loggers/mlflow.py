"""MLflow: a run for each run, those of a sweep below one of the sweep, in an SQLite file or on a server.

Needs the extra ``dlrun[mlflow]`` (mlflow-skinny, with SQLAlchemy and Alembic for SQLite). A full MLflow shows them:
``mlflow ui --backend-store-uri sqlite:///mlflow.db``.
"""

import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from dlrun.loggers.base import Logged, RunLogger, needs, plain_name
from dlrun.suggestions.values import show

if TYPE_CHECKING:
    from dlrun.experiments.experiment import Result
    from dlrun.experiments.sweep import Grid

Item = TypeVar("Item")
_METRICS, _PARAMS = 1000, 100  # that MLflow takes in one call
_LONGEST = 6000  # characters of a parameter
_ENDED = {"done": "FINISHED", "stopped": "FINISHED", "interrupted": "KILLED"}  # others FAILED


class MLflow(RunLogger):
    """Logs with MLflow's client.

    Args:
        uri: where to, such as ``sqlite:///mlflow.db`` or the address of a server; a path is that of an SQLite file.
        experiment: the name of MLflow's experiment.

    Raises:
        InputError: mlflow is not installed.
    """

    def __init__(self, *, uri: str = "mlflow.db", experiment: str = "dlrun") -> None:
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
        try:
            import alembic  # noqa: F401
            import sqlalchemy  # noqa: F401
            from mlflow.entities import Metric, Param, RunTag
            from mlflow.tracking import MlflowClient
        except ImportError as error:
            raise needs("mlflow", error) from error
        self._metric, self._param, self._tag = Metric, Param, RunTag
        self._uri = uri if "://" in uri else f"sqlite:///{Path(uri).absolute()}"
        self._make, self._name = MlflowClient, experiment
        self._client: Any = None
        self._parent = ""

    def begun(self, grid: "Grid | None", title: str) -> None:
        """Open the store; of a sweep begin the run that its runs are below."""
        super().begun(grid, title)
        if self._client is None:
            self._client = self._make(tracking_uri=self._uri)
            found = self._client.get_experiment_by_name(self._name)
            self._experiment = found.experiment_id if found is not None else self._client.create_experiment(self._name)
        if grid is not None and not self._parent:
            self._parent = self._client.create_run(self._experiment, run_name=title).info.run_id
            self._client.set_tag(self._parent, "dlrun.runs", str(len(grid.cells)))

    def log(self, run: Logged) -> None:
        """A run with its metrics by epoch (``NAME``) and in the end (``final/NAME``), settings as parameters, status as tags."""
        record, client = run.record, self._client
        tags = {
            "dlrun.id": record.id,
            "dlrun.status": record.status,
            "dlrun.reason": record.reason,
            "dlrun.seed": str(record.seed),
        }
        if self._parent:
            tags["mlflow.parentRunId"] = self._parent
        made = client.create_run(self._experiment, tags={key: value for key, value in tags.items() if value}, run_name=run.name)
        now = int(time.time() * 1000)
        numbers = [(plain_name(name), value, epoch) for epoch, values in run.epochs() for name, value in values.items()]
        numbers += [(f"final/{plain_name(name)}", value, record.epochs) for name, value in run.final().items()]
        for part in _parts([self._metric(name, value, now, step) for name, value, step in numbers], _METRICS):
            client.log_batch(made.info.run_id, metrics=part)
        settings = [(plain_name(key), show(value)) for key, value in run.settings.items()]
        for chosen in _parts([self._param(key, value[:_LONGEST]) for key, value in settings], _PARAMS):
            client.log_batch(made.info.run_id, params=chosen)
        client.set_terminated(made.info.run_id, _ENDED.get(record.status, "FAILED"))

    def finished(self, result: "Result") -> None:
        """End the run of the sweep: failed where any of its runs is lost."""
        if self._parent:
            self._client.set_tag(self._parent, "dlrun.folder", str(result.folder))
            self._client.set_terminated(self._parent, "KILLED" if result.code >= 128 else "FAILED" if result.code else "FINISHED")
            self._parent = ""

    def close(self) -> None:
        """What did not finish was stopped."""
        if self._parent:
            self._client.set_terminated(self._parent, "KILLED")
            self._parent = ""


def _parts(items: Sequence[Item], size: int) -> Iterator[Sequence[Item]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
