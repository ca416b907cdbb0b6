"""``dlrun [train]``: compose the settings with Hydra and hand them to the job.

hydra.main does the composing, printing (--cfg, --info), completion and sweeping. Around it stand four things that it leaves
open: flags in any order, errors in dlrun's words, exit codes that survive, and no files but those of the runs.
"""

import gc
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn

from dlrun import isolation, registry
from dlrun.cli import completion
from dlrun.cli.arguments import JSON, Arguments, check_settings, parse
from dlrun.cli.main import VERBS, report
from dlrun.cli.terminal.screen import waiting, write_line
from dlrun.errors import DlrunError, InputError, RunError, check_working_folder

if TYPE_CHECKING:
    from omegaconf import DictConfig

USAGE = """\
usage: dlrun [train] [group=option ...] [key=value ...] [flags]

Trains one configuration, prints its metrics on training, validation and test rows, and keeps the run.
With -m it trains every combination of the values given with commas, but for those that are finished already
(reuse=false trains those too). With --json one JSON document is printed at the end, and nothing before.
dlrun --help lists groups and flags.

Examples:
  dlrun dataset=iris model.hidden=[32,32] activation=gelu
  dlrun optimizer=adamw optimizer.lr=0.003 optimizer.weight_decay=0.1 seed=7
  dlrun 'regularizer=[l1,dropout]' regularizer.l1.weight=0.001
  dlrun experiment=xor activation=identity
  dlrun -m loss=mse,mae,huber seed=0,1,2
"""

FULL_ERROR = "HYDRA_FULL_ERROR"
SHOWS = ("--cfg", "--info", "--shell-completion", "--hydra-help")  # flags that print something instead of training


def run(words: Sequence[str]) -> int:
    """Do what a command line without a verb asks for.

    Args:
        words: flags and overrides in any order.

    Returns:
        The exit code; the worst one of all jobs.

    Raises:
        DlrunError: the settings cannot be composed.
    """
    arguments = parse(words)
    if "--shell-completion" in arguments.flags and any(word.startswith("query=") for word in arguments.overrides):
        return _complete(arguments)
    if "--shell-completion" in arguments.flags and not arguments.overrides:
        raise InputError(
            f"--shell-completion: takes install=bash, install=zsh or install=fish; for bash, type {completion.INSTALL}"
        )
    return start(arguments)


def _complete(arguments: Arguments) -> int:
    """Answer a shell that asks what a word may become; about what is typed so far nothing is said."""
    if not completion.answer(list(VERBS)):
        with suppress(DlrunError):
            start(arguments)
    return 0


def start(arguments: Arguments, **how: Any) -> int:
    """Begin a session for a command line that was taken apart; ``how`` says how its sweep is carried out (see Session)."""
    from dlrun.config.composing.names import exact

    check_working_folder()
    arguments = replace(arguments, overrides=[exact(word) for word in arguments.overrides])
    for flag in ("--config-path", "--config-dir"):
        if flag in arguments.flags:
            registry.add_folder(arguments.flags[flag])
    check_settings(arguments)
    session = Session(arguments, **how)
    previous = {number: signal.signal(number, _leave) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        return session.run()
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def session_of(task: Callable[..., Any]) -> "Session":
    """The session whose job Hydra was given.

    Raises:
        InputError: the task is another application's, which the cohort launcher cannot serve.
    """
    session = getattr(task, "__self__", None)
    if not isinstance(session, Session):
        raise InputError("hydra/launcher=cohort: serves dlrun alone; type hydra/launcher=basic")
    return session


class Session:
    """One call of Hydra, with what has to survive it: exit codes, and what was written before any job began.

    Args:
        arguments: the command line.
        plan_only: lay the sweep out and show it, train nothing.
        resume: the folder of the sweep to carry on with; a new one when None.
        retry_failed: train runs again that failed.
        settle: what carries the sweep out instead, of its jobs, what composes such, and how; returns the exit code.
    """

    def __init__(
        self,
        arguments: Arguments,
        *,
        plan_only: bool = False,
        resume: Path | None = None,
        retry_failed: bool = False,
        settle: Callable[..., int] | None = None,
    ) -> None:
        self.arguments, self.settle, self.as_json = arguments, settle, JSON in arguments.flags
        self.plan_only, self.resume, self.retry_failed = plan_only, resume, retry_failed
        self.full_error = os.environ.get(FULL_ERROR)
        self.process = os.getpid()
        self.code = 0
        self.jobs = 0
        self.made: list[Path] = []

    def run(self) -> int:
        """Compose, then print, complete, train or sweep as the flags say."""
        gc.disable()  # composing makes many small objects and hardly any garbage: a sixth faster without the collector
        try:
            with isolation.own_process():
                self._hydra()
        except SystemExit as stop:  # Hydra's own; those of jobs do not get here
            return 2 if stop.code else self.code
        except DlrunError:
            raise
        except Exception as error:
            if self.full_error == "1" and not self.jobs:
                import traceback

                traceback.print_exc()
                return 2
            from dlrun.config.composing.explain import explain

            raise explain(error, self.arguments.overrides) from error
        finally:
            gc.enable()
            if not self.jobs:
                self._clean()
        return self.code

    def _hydra(self) -> None:
        with waiting("composing the settings"):
            from hydra.core.global_hydra import GlobalHydra
            from omegaconf import OmegaConf

            from dlrun.config.checks.untrusted import Rules
            from dlrun.config.composing.session import PRIMARY, Application, apart, search_path

        OmegaConf.register_new_resolver("dlrun.sweep_folder", self.sweep_folder, use_cache=True, replace=True)
        flags, words = self.arguments.flags, self.arguments.overrides
        shows = not flags.keys().isdisjoint(SHOWS)
        # With a full error asked for, Hydra raises instead of printing and leaving: the error is for dlrun to tell.
        with apart(), _environment(FULL_ERROR, "1"):
            rules = Rules(tuple(words), acts=not shows, resumed=self.resume is not None)
            path = search_path(flags.get("--config-path"), flags.get("--config-dir"))
            application = Application(path, rules, flags.get("--config-name", PRIMARY))
            GlobalHydra.instance().initialize(application)
            if shows:
                application.show(flags, words)
            else:
                application.begin(words, self.job, sweeps="--multirun" in flags)

    def job(self, config: "DictConfig") -> None:
        """Train one composed configuration. A failure is told and counted, and the next job of a sweep goes on."""
        from hydra.core.hydra_config import HydraConfig
        from hydra.types import RunMode

        settings = HydraConfig.get()
        for source in settings.runtime.config_sources:
            if source.schema == "file":
                registry.add_folder(source.path)
        if settings.mode == RunMode.MULTIRUN:
            stream = sys.stderr if self.as_json else sys.stdout
            write_line(f"#{settings.job.num}: {' '.join(settings.overrides.task)}", stream)
        gc.enable()
        self.jobs += 1
        with _environment(FULL_ERROR, self.full_error):
            code = self._train(config)
        self.code = max(self.code, code)
        if code and os.getpid() != self.process:  # a launcher's worker: nothing but an exception gets home from there
            failure = RunError(f"job #{settings.job.num} failed, as told above")
            failure.exit_code = code
            raise failure

    def _train(self, config: "DictConfig") -> int:
        try:
            self._trust()
            return self._cross_validate(config) if _all_folds(config) else train_one(config, as_json=self.as_json)
        except (Exception, SystemExit) as error:
            failure = _as_failure(error, self.arguments)
            if self.full_error == "1":
                import traceback

                traceback.print_exception(error)
            else:
                report(failure)
        return failure.exit_code

    def _cross_validate(self, config: "DictConfig") -> int:
        """Train every fold of one configuration: a sweep of its own, with a table."""
        from dlrun.cli.sweep import carry_out
        from dlrun.config.composing.composed import of_job
        from dlrun.experiments.experiment import How

        job = of_job(config)
        flags = {flag: value for flag, value in self.arguments.flags.items() if flag != "--run"} | {"--multirun": ""}
        again = Arguments(flags, list(job.overrides), self.arguments.imports)
        return carry_out([job], How(again.command(), reuse=False), as_json=self.as_json)

    def _trust(self) -> None:
        """Import the user's modules, first where it does no harm if that ends the process: only now, since they import torch."""
        if self.arguments.imports:
            from dlrun import own_modules

            known = own_modules.trusted()
            if any(module not in known for module in self.arguments.imports):
                isolation.try_import([*dict.fromkeys((*known, *self.arguments.imports))])
            for module in self.arguments.imports:
                own_modules.trust(module)

    def sweep(self, loader: Any, config: "DictConfig", jobs: Sequence[Sequence[str]]) -> int:
        """Compose all jobs of a sweep and train them together (or show the plan). Called by the cohort launcher."""
        with waiting("loading torch"):
            from dlrun.cli.sweep import carry_out
            from dlrun.config.composing.compose import Composer
            from dlrun.config.composing.composed import launcher
            from dlrun.experiments.experiment import How

        self._trust()
        for name, value in (config.hydra.job.get("env_set") or {}).items():  # Hydra sets them for single runs alone
            _set(str(name), str(value))
        composer = Composer(loader, config)
        how = How(self.arguments.command(), launcher(config.hydra), self.resume, self.retry_failed, plan_only=self.plan_only)
        if self.settle is not None:
            self.code = self.settle(jobs, composer.compose, how)
        else:
            self.code = carry_out(composer.compose([list(job) for job in jobs]), how, as_json=self.as_json)
        return self.code

    def sweep_folder(self, root: str) -> str:
        """Where Hydra's sweeper may write; remembered, so that it can be removed when no job starts."""
        name = datetime.now(UTC).strftime("%Y-%m-%d_%H-%M-%S-%f")
        folder = Path(root, "sweeps", name)
        self.made = [path for path in (folder, folder.parent, folder.parent.parent) if not path.exists()]
        return str(folder)

    def _clean(self) -> None:
        for path in self.made:
            with suppress(OSError):  # not empty, or never made
                if path is self.made[0]:
                    (path / "multirun.yaml").unlink(missing_ok=True)
                path.rmdir()


def train_one(config: "DictConfig", *, as_json: bool = False) -> int:
    """Train the run that a composed config describes, keep it, and print its table or its JSON. Returns the exit code.

    Raises:
        InputError: the config or its data cannot work; nothing was written.
        StoreError: the output folder cannot be written.
    """
    with waiting("loading torch"):
        from dlrun.cli.as_json import JsonDisplay
        from dlrun.cli.terminal.experiment import RunDisplay
        from dlrun.config.composing.composed import of_job
        from dlrun.experiments.experiment import RunExperiment

    job = of_job(config)
    experiment = RunExperiment(job, [JsonDisplay() if as_json else RunDisplay(job.config.get("logger") or {})])
    experiment.prepare()
    return experiment.run().code


def _all_folds(config: "DictConfig") -> bool:
    from dlrun.data.preparation import unsaid_folds

    return unsaid_folds(config.get("dataset") or {}) > 0


def _as_failure(error: BaseException, arguments: Arguments) -> DlrunError:
    from omegaconf.errors import OmegaConfBaseException

    from dlrun.config.composing.explain import in_config

    if isinstance(error, DlrunError) and not (isinstance(error, isolation.RaisedError) and error.foreign):
        return error
    if isinstance(error, OmegaConfBaseException):
        return InputError(in_config(error, arguments.overrides))
    if isinstance(error, SystemExit):
        return RunError(f"the run called sys.exit({error.code})")
    return RunError(f"{isolation.reason(error)} (HYDRA_FULL_ERROR=1 shows where)")


@contextmanager
def _environment(name: str, value: str | None) -> Iterator[None]:
    before = os.environ.get(name)
    _set(name, value)
    try:
        yield
    finally:
        _set(name, before)


def _set(name: str, value: str | None) -> None:
    if value is None:
        os.environ.pop(name, None)
    else:
        os.environ[name] = value


def _leave(number: int, frame: FrameType | None) -> NoReturn:
    """A signal outside of training: end at once. Raised as an exception it might be caught, or hidden by another, on its way up
    through Hydra; and there is nothing to be put in order, since a process may be killed at any time.
    """
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):  # it may be in the middle of a write
            stream.flush()
    if sys.stderr.isatty():
        os.write(sys.stderr.fileno(), b"\033[?25h\n")  # the cursor, which a progress display hides
    os._exit(128 + number)
