"""Composing configs for a caller in Python, beside whatever else that caller does with Hydra.

    words(["dataset=iris"], {"optimizer.lr": 0.1})  -> ["dataset=iris", "optimizer.lr=0.1"]
    single(words)                                   -> one job
    several(words)                                  -> the jobs of a sweep

Positional words are Hydra's grammar, as on the command line. Keyword values are Python's: a text is one text, whatever is in it.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import OmegaConf

from dlrun import registry
from dlrun.config.checks.untrusted import Rules
from dlrun.config.checks.words import Caller
from dlrun.config.composing.compose import Composer
from dlrun.config.composing.composed import Composed, launcher, read, typed
from dlrun.config.composing.explain import UNREADABLE, cause, explain
from dlrun.config.composing.grammar import items, plain, word, words_of
from dlrun.config.composing.grid import expand
from dlrun.config.composing.lists import takes_list
from dlrun.config.composing.loader import Loader
from dlrun.config.composing.names import exact
from dlrun.config.composing.session import PRIMARY, compose, composing, search_path
from dlrun.errors import DlrunError, InputError

Compose = Callable[[Sequence[Sequence[str]]], list[Composed]]


def words(given: Sequence[str], settings: Mapping[str, Any], *, swept: bool = False) -> list[str]:
    """Overrides as one would type them.

    Args:
        given: overrides in Hydra's grammar.
        settings: keys and values. In a sweep a list, a range or an array holds the values to try, each a run.
        swept: whether this is a sweep.

    Raises:
        InputError: something is no override, or a value cannot be part of a config.
    """
    problems = [f"{word!r}: a setting is written 'key=value'" for word in given if not isinstance(word, str) or "=" not in word]
    found = [*given]
    for key, value in settings.items():
        values = items(value) if swept else None
        if values is not None and not values:
            problems.append(f"{key}: holds no value to try")
            continue
        try:
            found.append(f"{key}={','.join(map(word, values)) if values is not None else word(value)}")
        except TypeError as error:
            problems.append(f"{key}: {error}; a setting is a number, a text, a list or a mapping of these")
    if problems:
        raise InputError(*problems)
    with composing():
        return [exact(word) for word in found]


def single(overrides: Sequence[str], folder: Path | None = None) -> Composed:
    """One job. ``folder`` holds options of the user's own.

    Raises:
        InputError: with every problem of the words and files; or the config asks for a sweep.
    """
    with _loader(overrides, folder) as loader:
        config = compose(loader, PRIMARY, overrides, Caller(sweeps=False, python=True))
        if config is None or config.hydra.mode == RunMode.MULTIRUN:
            raise InputError(f"{' '.join(overrides)}: asks for a sweep; call dlrun.sweep")
        HydraConfig.instance().set_config(config)
        return read(config, config.hydra, loader).job(typed(config.hydra))


def several(overrides: Sequence[str], folder: Path | None = None) -> tuple[list[Composed], Mapping[str, Any]]:
    """The jobs of a sweep, and the settings of its launcher.

    Raises:
        InputError: with every problem of the words and files; or the sweep cannot be enumerated.
    """
    with _sweep(overrides, folder) as (jobs, composer, launcher):
        return composer.compose(jobs), launcher


def unbounded(overrides: Sequence[str], folder: Path | None = None) -> tuple[list[list[str]], Compose, Mapping[str, Any]]:
    """The jobs of a sweep that will grow, as words; what composes such jobs; and the settings of its launcher.

    Raises:
        InputError: as for ``several``.
    """

    def compose_jobs(jobs: Sequence[Sequence[str]]) -> list[Composed]:
        with _sweep(overrides, folder) as (_, composer, _):
            return composer.compose(jobs)

    with _sweep(overrides, folder) as (jobs, _, launcher):
        return jobs, compose_jobs, launcher


@contextmanager
def _sweep(overrides: Sequence[str], folder: Path | None) -> Iterator[tuple[list[list[str]], Composer, Mapping[str, Any]]]:
    """The jobs of a sweep, what composes them while this lasts, and the settings of its launcher."""
    with _loader(overrides, folder) as loader:
        compose(loader, PRIMARY, overrides, Caller(sweeps=True, python=True))
        master = loader.load_configuration(PRIMARY, plain(overrides), RunMode.MULTIRUN, from_shell=False)
        HydraConfig.instance().set_config(master)
        params = OmegaConf.to_container(master.hydra.sweeper.get("params") or OmegaConf.create({}))
        swept = words_of(cast(dict[str, Any], params), takes_list)
        jobs = expand([*swept, *typed(master.hydra)], loader, zipped=master.get("zip"))
        yield jobs, Composer(loader, master), launcher(master.hydra)


@contextmanager
def _loader(overrides: Sequence[str], folder: Path | None) -> Iterator[Loader]:
    """A loader of dlrun's options and the user's; what goes wrong with it is explained."""
    if folder is not None:
        registry.add_folder(folder)
    with composing():
        try:
            yield Loader(search_path(added=folder), Rules(tuple(overrides)))
        except DlrunError:
            raise
        except UNREADABLE as error:
            raise explain(error, overrides) from cause(error)
