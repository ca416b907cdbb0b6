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
from hydra.core.utils import JobRuntime, configure_log, setup_globals
from hydra.types import RunMode, TaskFunction
from hydra.version import VersionBase, setbase
from omegaconf import DictConfig

from dlrun import registry
from dlrun.config.checks.keys import SettingError, of_another_option
from dlrun.config.checks.untrusted import Rules
from dlrun.config.checks.words import Caller, first, is_choice, parsed, word_problems
from dlrun.config.composing.explain import UNREADABLE, cause, of_choices
from dlrun.config.composing.grammar import plain
from dlrun.config.composing.loader import Loader
from dlrun.errors import DlrunError, InputError, raise_all

TOGETHER = ("hydra/sweeper=cohort", "hydra/launcher=cohort")
PRIMARY = "config"  # the name of the primary config when none is given
_AT_MOST = 12  # problems told at once
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


def compose(loader: Loader, name: str, words: Sequence[str], caller: Caller) -> DictConfig | None:
    """What words make, with the first of the values that each sweeps over; None where the file of a first option is broken.

    Args:
        loader: where configs are found.
        name: the primary config.
        words: overrides.
        caller: who composes them.

    Raises:
        InputError: with every problem of the words, of the keys that they set, and of the files that they choose.
    """
    found = word_problems(words, caller, loader.has)
    blamed = {problem.override for problem in found if not problem.unless_swept}
    sound = parsed([word for word in words if word not in blamed])
    choices = [override for override in sound if is_choice(override)]
    sound = [override for override in sound if override in choices or not of_another_option(override, choices)]
    config: DictConfig | None = None
    error: DlrunError | None = None

    def composes(words: Sequence[str]) -> bool:
        try:
            loader.load_configuration(name, list(words), RunMode.RUN)
        except UNREADABLE:
            return False
        return True

    try:
        config = loader.load_configuration(name, [word for override in sound if (word := first(override))], RunMode.RUN)
    except UNREADABLE as raised:
        error = of_choices(raised, [override for override in choices if first(override)], composes)
        error.__cause__ = cause(raised)
    sweeps = caller.sweeps or (config is not None and config.hydra.mode == RunMode.MULTIRUN)
    lines = [problem.line for problem in found if not (sweeps and problem.unless_swept)]
    if isinstance(error, DlrunError) and not isinstance(error, SettingError):
        if not lines and any(override.is_sweep_override() for override in choices):
            return None  # it costs its own runs alone
        if not lines:
            raise error
    raise_all([*dict.fromkeys([*lines, *(error.problems if isinstance(error, InputError) else ())])][:_AT_MOST])
    return config


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
        """Run a job, or sweep where that is asked for: by the caller or by a file (``hydra.mode``).

        Args:
            words: overrides.
            task: what is called with each job's config.
            sweeps: whether it is a sweep, whatever files say.

        Raises:
            InputError: the words cannot be composed.
        """
        words = [*words, *(["hydra.mode=MULTIRUN"] if sweeps else [])]
        if self.config_loader.choices_of_a_run():  # its config says nothing to Hydra
            words = [*(word for word in TOGETHER if word.partition("=")[0] not in {w.partition("=")[0] for w in words}), *words]
        config = compose(self.config_loader, self.name, words, Caller(sweeps))
        words = plain(words)
        if config is None or any(override.is_sweep_override() for override in parsed(words)):
            config = self.config_loader.load_configuration(self.name, words, RunMode.MULTIRUN)
        self._begun = config
        (self.multirun if config.hydra.mode == RunMode.MULTIRUN else self.run)(self.name, task, words)

    def compose_config(
        self,
        config_name: str | None,
        overrides: list[str],
        run_mode: RunMode,
        with_log_configuration: bool = False,
        from_shell: bool = True,
        validate_sweep_overrides: bool = True,
    ) -> DictConfig:
        """What ``begin`` has composed, or else what is asked for."""
        begun, self._begun = self._begun, None
        if begun is None:
            return super().compose_config(
                config_name, overrides, run_mode, with_log_configuration, from_shell, validate_sweep_overrides
            )
        configure_log(begun.hydra.hydra_logging, begun.hydra.verbose)
        return begun

    def show(self, flags: Mapping[str, str], words: Sequence[str]) -> None:
        """Print what a flag asks for: ``--cfg``, ``--info``, ``--hydra-help`` or ``--shell-completion``, with their values.

        Raises:
            InputError: the words cannot be composed.
        """
        if not flags.keys().isdisjoint(("--cfg", "--info")):
            compose(self.config_loader, self.name, words, Caller(sweeps=False))
        words = plain(words)
        if "--cfg" in flags:
            self.show_cfg(self.name, [*words], flags["--cfg"], flags.get("--package"), "--resolve" in flags)
        elif "--info" in flags:
            self.show_info(flags["--info"], self.name, [*words])
        elif "--hydra-help" in flags:
            parser = get_args_parser()
            self.hydra_help(self.name, parser, parser.parse_args([*words]))
        else:
            self.shell_completion(self.name, [*words])
