"""Where dlrun composes configs: one entry for the command, for its sweeps, and for Python.

Hydra keeps its state in singletons of the process. ``apart`` puts aside what a caller has there; ``composing`` lets one thread at
a time do so. ``Application`` is Hydra's own application object, for what it prints, completes, runs and sweeps.
"""

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hydra._internal.hydra import Hydra
from hydra._internal.utils import create_config_search_path, get_args_parser
from hydra.core.config_search_path import ConfigSearchPath, SearchPathQuery
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.singleton import Singleton
from hydra.core.utils import JobRuntime, setup_globals
from hydra.types import RunMode, TaskFunction
from hydra.version import VersionBase, setbase
from omegaconf import DictConfig

from dlrun import registry
from dlrun.config.grammar import parse
from dlrun.config.loader import Loader
from dlrun.config.untrusted import Rules

PRIMARY = "config"  # the name of the primary config when none is given
_lock = threading.RLock()


@contextmanager
def composing() -> Iterator[None]:
    """While this lasts, no other thread composes, and what a caller has set up in Hydra is put aside."""
    with _lock, apart():
        yield


@contextmanager
def apart() -> Iterator[None]:
    """Leave alone what a caller has set up in Hydra: its state is put aside, and back in its place afterwards."""
    kinds = (GlobalHydra, HydraConfig, JobRuntime, VersionBase)
    known: dict[type, Any] = Singleton._instances
    before: dict[type, Any] = {kind: known.pop(kind) for kind in kinds if kind in known}
    try:
        setup_globals()
        setbase("1.3")
        JobRuntime.instance().set("name", "dlrun")
        yield
    finally:
        for kind in kinds:
            known.pop(kind, None)
        known.update(before)


def search_path(main: Path | str | None = None, added: Path | str | None = None) -> ConfigSearchPath:
    """Where configs are looked for: ``main`` (dlrun's own folder when None), dlrun's own folder, ``added``."""
    root = str(registry.root())
    path = create_config_search_path(str(main or root))
    own = SearchPathQuery(provider="schema")
    if all(element.path != root for element in path.get_path()):
        path.prepend(provider="dlrun", path=f"file://{root}", anchor=own)
    if added is not None:
        path.prepend(provider="command-line", path=f"file://{added}", anchor=own)
    return path


class Application(Hydra):
    """Hydra's application object around dlrun's loader.

    Args:
        path: see ``search_path``.
        rules: what files may say.
        name: the primary config.
    """

    config_loader: Loader

    def __init__(self, path: ConfigSearchPath, rules: Rules, name: str = PRIMARY) -> None:
        super().__init__(task_name="dlrun", config_loader=Loader(path, rules))
        self.name = name
        self._begun: DictConfig | None = None

    def begin(self, words: Sequence[str], task: TaskFunction, *, sweeps: bool) -> None:
        """Run a job, or sweep where that is asked for: by the caller or by a file (``hydra.mode``). It is composed once.

        Args:
            words: overrides.
            task: what is called with each job's config.
            sweeps: whether it is a sweep, whatever files say.

        Raises:
            InputError: a word holds several values, and nothing asks for a sweep.
            HydraException: the words cannot be composed.
        """
        words = [*words, *(["hydra.mode=MULTIRUN"] if sweeps else [])]
        several = [word for word in words if parse([word], self.config_loader)[0].is_sweep_override()]
        mode = RunMode.MULTIRUN if sweeps or several else RunMode.RUN
        config = super().compose_config(self.name, words, mode, with_log_configuration=True, validate_sweep_overrides=sweeps)
        if config.hydra.mode != RunMode.MULTIRUN and several:
            self.config_loader.validate_sweep_overrides_legal(parse(several), RunMode.RUN, from_shell=True)
        self._begun = config
        (self.multirun if config.hydra.mode == RunMode.MULTIRUN else self.run)(self.name, task, words)

    def compose_config(self, *args: Any, **kwargs: Any) -> DictConfig:
        """What ``begin`` has composed, or else what is asked for."""
        begun, self._begun = self._begun, None
        return begun if begun is not None else super().compose_config(*args, **kwargs)

    def show(self, flags: Mapping[str, str], words: Sequence[str]) -> None:
        """Print what a flag asks for: ``--cfg``, ``--info``, ``--hydra-help`` or ``--shell-completion``, with their values."""
        if "--cfg" in flags:
            self.show_cfg(self.name, [*words], flags["--cfg"], flags.get("--package"), "--resolve" in flags)
        elif "--info" in flags:
            self.show_info(flags["--info"], self.name, [*words])
        elif "--hydra-help" in flags:
            parser = get_args_parser()
            self.hydra_help(self.name, parser, parser.parse_args([*words]))
        else:
            self.shell_completion(self.name, [*words])
