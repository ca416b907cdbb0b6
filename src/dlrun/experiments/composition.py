"""Composing configs for a caller in Python, beside whatever else that caller does with Hydra.

    words(["dataset=iris"], {"optimizer.lr": 0.1})  -> ["dataset=iris", "optimizer.lr=0.1"]
    single(words)                                   -> one job
    several(words)                                  -> the jobs of a sweep

Positional words are Hydra's grammar, as on the command line. Keyword values are Python's: a text is one text, whatever is in it.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.utils import create_config_search_path
from hydra.core.config_search_path import SearchPathQuery
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.types import Quote, QuotedString
from hydra.core.singleton import Singleton
from hydra.core.utils import JobRuntime, setup_globals
from hydra.types import RunMode
from hydra.version import VersionBase, setbase
from omegaconf import DictConfig, OmegaConf

from dlrun import registry
from dlrun.errors import InputError
from dlrun.experiments.compose import Composed, Composer
from dlrun.experiments.grid import expand
from dlrun.experiments.names import exact
from dlrun.experiments.received import guarded

_PLAIN = re.compile(r"[A-Za-z_][\w./-]*", re.ASCII)
_MEANING = ("null", "true", "false", "nan", "inf")  # words that YAML and Hydra read as something else than text


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
        values = _items(value) if swept else None
        if values is not None and not values:
            problems.append(f"{key}: holds no value to try")
            continue
        try:
            found.append(f"{key}={','.join(map(_word, values)) if values is not None else _word(value)}")
        except TypeError as error:
            problems.append(f"{key}: {error}; a setting is a number, a text, a list or a mapping of these")
    if problems:
        raise InputError(*problems)
    return [exact(word) for word in found]


def single(overrides: Sequence[str], folder: Path | None = None) -> Composed:
    """One job. ``folder`` holds options of the user's own.

    Raises:
        InputError: the config asks for a sweep, or sets what a file must not.
        Whatever Hydra raises for an override that cannot be composed.
    """
    with _loader(overrides, folder) as loader:
        config = loader.load_configuration("config", list(overrides), RunMode.RUN, from_shell=False)
        if config.hydra.mode == RunMode.MULTIRUN:
            raise InputError(f"{' '.join(overrides)}: asks for a sweep; call dlrun.sweep")
        return _composed(config)


def several(overrides: Sequence[str], folder: Path | None = None) -> tuple[list[Composed], Mapping[str, Any]]:
    """The jobs of a sweep, and the settings of its launcher.

    Raises:
        InputError: the sweep cannot be enumerated, or a file sets what it must not.
        Whatever Hydra raises for an override that cannot be composed.
    """
    with _loader(overrides, folder) as loader:
        master = loader.load_configuration("config", list(overrides), RunMode.MULTIRUN, from_shell=False)
        HydraConfig.instance().set_config(master)
        swept = [f"{key}={value}" for key, value in (master.hydra.sweeper.get("params") or {}).items()]
        jobs = expand([*swept, *map(str, master.hydra.overrides.task)], loader)
        return Composer(loader, master).compose(jobs), dict(master.hydra.launcher)


@contextmanager
def _loader(overrides: Sequence[str], folder: Path | None) -> Iterator[ConfigLoaderImpl]:
    """Hydra's loader with dlrun's options and the user's."""
    with apart(), guarded(overrides):
        setup_globals()
        setbase("1.3")
        JobRuntime.instance().set("name", "dlrun")
        path = create_config_search_path(str(registry.root()))
        if folder is not None:
            registry.add_folder(folder)
            path.prepend(provider="dlrun", path=f"file://{folder}", anchor=SearchPathQuery(provider="schema"))
        yield ConfigLoaderImpl(path)


@contextmanager
def apart() -> Iterator[None]:
    """Leave alone what a caller has set up in Hydra: its state is put aside, and back in its place afterwards."""
    kinds = (GlobalHydra, HydraConfig, JobRuntime, VersionBase)
    known: dict[type, Any] = Singleton._instances
    before: dict[type, Any] = {kind: known.pop(kind) for kind in kinds if kind in known}
    try:
        yield
    finally:
        for kind in kinds:
            known.pop(kind, None)
        known.update(before)


def _composed(config: DictConfig) -> Composed:
    HydraConfig.instance().set_config(config)
    task = OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
    content = OmegaConf.to_container(task, resolve=True)
    assert isinstance(content, dict)
    choices = {
        str(group): str(name) for group, name in config.hydra.runtime.choices.items() if not str(group).startswith("hydra/")
    }
    return Composed({str(key): value for key, value in content.items()}, choices, tuple(map(str, config.hydra.overrides.task)))


def _items(value: Any) -> list[Any] | None:
    """The values to try that something holds; None when it is one value itself."""
    if isinstance(value, str | bytes | Mapping) or not isinstance(value, Iterable):
        return None
    return list(value)


def _word(value: Any) -> str:
    """A Python value in Hydra's grammar."""
    if hasattr(value, "item") and getattr(value, "ndim", 0) == 0:  # a number of numpy's, or a tensor of one number
        value = value.item()
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, Path):
        value = str(value)
    if isinstance(value, str):
        plain = _PLAIN.fullmatch(value) and value.lower() not in _MEANING
        return value if plain else str(QuotedString(value, Quote.single).with_quotes())
    if isinstance(value, Mapping):
        return f"{{{','.join(f'{key}:{_word(item)}' for key, item in value.items())}}}"
    items = _items(value)
    if items is None:
        raise TypeError(f"{type(value).__name__} cannot be part of a config")
    return f"[{','.join(map(_word, items))}]"
