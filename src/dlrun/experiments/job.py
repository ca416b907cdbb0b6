"""One run from one composed config: what ``dlrun [overrides]`` does."""

import sys
from typing import TYPE_CHECKING, Any

from dlrun.experiments.execute import train
from dlrun.experiments.plan import Datasets, plan
from dlrun.experiments.spec import RunSpec, from_config
from dlrun.results.store import Store

if TYPE_CHECKING:
    from omegaconf import DictConfig


def main(config: "DictConfig") -> int:
    """Train the run that a composed config describes, keep it, and print its table. Returns the exit code.

    Raises:
        InputError: the config or its data cannot work; nothing was written.
        StoreError: the output folder cannot be written.
    """
    spec, logger = read(config)
    for warning in spec.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    (planned,) = plan([spec], Datasets())
    store = Store.at(spec.config.get("output_dir"))
    store.prepare()

    from dlrun.cli.display import run_table
    from dlrun.cli.progress import RunProgress

    with RunProgress(spec.name or planned.cohort.data.name, enabled=bool(logger.get("progress", True))) as progress:
        (files,) = train(planned, report=progress.update)
    folder = store.write_run(files)
    if logger.get("table", True):
        run_table(files.record, folder)
    return 0 if files.record.status in ("done", "stopped") else 1


def read(config: "DictConfig") -> tuple[RunSpec, dict[str, Any]]:
    """The run that a composed config describes, and what its logger shall show."""
    from hydra.core.hydra_config import HydraConfig
    from omegaconf import OmegaConf

    settings = HydraConfig.get()
    plain = OmegaConf.to_container(config, resolve=True)
    assert isinstance(plain, dict)
    content = {str(key): value for key, value in plain.items()}
    choices = {group: str(choice) for group, choice in settings.runtime.choices.items() if not group.startswith("hydra/")}
    return from_config(content, choices, list(settings.overrides.task)), dict(content.get("logger") or {})
