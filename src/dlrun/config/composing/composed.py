"""What Hydra composed for one job: its config in plain containers, and the option of each group.

Where a config file lists several options for a group that takes one, Hydra merges them, and the last wins. Here that is refused,
by looking at the defaults list that the config was composed from.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from dlrun import registry
from dlrun.config.composing.options import mentions
from dlrun.errors import DlrunError, InputError
from dlrun.results.seeded import Seeded

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from dlrun.config.composing.loader import Loader

Config = dict[str, Any]


@dataclass(frozen=True)
class Composed:
    """One job: its resolved config in plain containers, the option chosen in each group, and the overrides that made it.

    Attributes:
        mentioned: the words in the config's interpolations: keys that are read by others.
        left_out: overrides of components that the job does not select.
        error: why there is no config: an option's file is broken.
    """

    config: Mapping[str, Any]
    choices: Mapping[str, str]
    overrides: tuple[str, ...]
    mentioned: frozenset[str] = frozenset()
    left_out: tuple[str, ...] = ()
    error: DlrunError | None = None

    def repeat(self, seed: int, overrides: Sequence[str]) -> "Composed":
        """The same job with another seed, which no other setting refers to; ``overrides`` are its words."""
        return Composed(Seeded.of(self.config, seed), self.choices, tuple(overrides), self.mentioned, self.left_out)


@dataclass(frozen=True)
class Base:
    """What Hydra composed: resolved, as it was before, and the keys that its interpolations mention."""

    config: Config
    raw: Config
    choices: dict[str, str]
    mentioned: frozenset[str]

    def job(self, overrides: Sequence[str]) -> Composed:
        """The job that this is without further settings."""
        return Composed(self.config, self.choices, tuple(overrides), self.mentioned)


def read(config: "DictConfig", settings: "DictConfig", loader: "Loader | None") -> Base:
    """Take a composed config out of Hydra's containers.

    Args:
        config: what was composed; Hydra's own part may be in it.
        settings: Hydra's own part.
        loader: what it was composed with, to look for several options in one place; None does not look.

    Raises:
        InputError: a config file lists several options for a group that takes one, or one of a set twice.
    """
    task = OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
    raw = cast(Config, OmegaConf.to_container(task))
    choices = {str(group): str(name) for group, name in settings.runtime.choices.items() if not str(group).startswith("hydra/")}
    if loader is not None:
        kept = loader.choices_of_a_run()
        choices = {group: name for group, name in kept.items() if group == "experiment" or raw.get(group) is not None} | choices
    if loader is not None and (open_groups := _without_choice(raw, choices, typed(settings))):
        choices |= _Defaults(loader, settings).chosen(open_groups)
    return Base(_resolved(task, raw), raw, choices, frozenset(mentions(raw)))


def of_job(config: "DictConfig") -> Composed:
    """The job that Hydra hands to an application, in plain containers.

    Raises:
        InputError: a config file lists several options in the place of one.
    """
    settings = cast("DictConfig", HydraConfig.get())
    hydra = GlobalHydra.instance()
    loader: Any = hydra.config_loader() if hydra.is_initialized() else None  # none in a launcher's worker
    return read(config, settings, loader).job(typed(settings))


def typed(settings: "DictConfig", whose: str = "task") -> list[str]:
    """The overrides that a config was composed with, as they were typed: an interpolation in one is not resolved."""
    return [str(word) for word in OmegaConf.to_container(settings.overrides[whose]) or ()]


def launcher(settings: "DictConfig") -> dict[str, Any]:
    """The settings of the launcher, of which some are nested, in plain containers."""
    return cast(dict[str, Any], OmegaConf.to_container(settings.launcher, resolve=True))


def _resolved(task: "DictConfig", raw: Config) -> Config:
    """The config with its interpolations resolved.

    Raises:
        OmegaConfBaseException: one refers to what is not there; ``full_key`` is the key that does.
    """
    try:
        return cast(Config, OmegaConf.to_container(task, resolve=True))
    except OmegaConfBaseException as error:
        error.full_key = next(_unresolved(task, raw), error.full_key)
        raise


def _unresolved(task: "DictConfig", node: Any, path: str = "") -> Iterator[str]:
    """The keys whose interpolations cannot be resolved."""
    if isinstance(node, dict):
        for key, value in node.items():
            yield from _unresolved(task, value, f"{path}.{key}" if path else str(key))
    elif isinstance(node, list):
        for place, value in enumerate(node):
            yield from _unresolved(task, value, f"{path}.{place}")
    elif isinstance(node, str) and "${" in node:
        try:
            OmegaConf.select(task, path)
        except OmegaConfBaseException:
            yield path


def _without_choice(raw: Config, choices: Mapping[str, str], words: Sequence[str]) -> list[str]:
    """Groups of whose option Hydra does not know, since it keeps none of a list, and that no word has chosen."""
    chosen = {word.partition("=")[0] for word in words}
    return [group for group in registry.groups() if raw.get(group) and group not in choices and group not in chosen]


class _Defaults:
    """The defaults list of a composed config."""

    def __init__(self, loader: "Loader", settings: "DictConfig") -> None:
        self._repository = loader.repository
        words = [*typed(settings, "hydra"), *typed(settings)]
        self._found = loader.compute_defaults_list(settings.job.config_name, words, RunMode.RUN).defaults

    def chosen(self, groups: Sequence[str]) -> dict[str, str]:
        """The option of each group that a list of one names.

        Raises:
            InputError: a list names several, or the same twice.
        """
        lists = {group: self._list(group) for group in groups}
        problems = []
        for group, (where, names) in lists.items():
            twice = [name for name in dict.fromkeys(names) if names.count(name) > 1]
            if registry.is_set(group):
                problems += [f"{where}: {group}: {name} is named twice; name it once" for name in twice]
            elif len(names) > 1:
                problems.append(
                    f"{where}: {group}=[{','.join(names)}]: takes one option; to run each, take the list out and write "
                    f"hydra: {{mode: MULTIRUN, sweeper: {{params: {{{group}: [{', '.join(names)}]}}}}}}, "
                    f"or type -m {group}={','.join(names)}"
                )
        if problems:
            raise InputError(*problems)
        return {group: names[0] for group, (_, names) in lists.items() if names and not registry.is_set(group)}

    def _list(self, group: str) -> tuple[str, list[str]]:
        """The list of options that the last file with one has for a group, and the file; nothing where none has one."""
        places = [str(default.config_path) for default in self._found if default.config_path]
        written = {str(default.config_path) for default in self._found if str(default.config_path).startswith(f"{group}/")}
        for place in reversed(dict.fromkeys(places)):
            if place.startswith((f"{group}/", "hydra/")):
                continue  # an option that builds on others of its group
            loaded = self._repository.load_config(place)
            for entry in loaded.defaults_list if loaded is not None and loaded.defaults_list else ():
                names = getattr(entry, "value", None)
                if str(getattr(entry, "group", "")).lstrip("/") != group or not isinstance(names, list):
                    continue
                if names and {f"{group}/{name}" for name in names} <= written:
                    return f"{place}.yaml", [str(name) for name in names]
        return "", []
