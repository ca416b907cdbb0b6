"""dlrun's config loader: Hydra's, with files that are read once, trees that are composed once, and checks on what was composed.

    words -> options     composed by Hydra from files; kept as a tree, since most jobs of a process choose the same options
          -> values      set in a copy of the tree, each checked first
          -> rules       what files of others may say (see untrusted)

It stands wherever Hydra wants a config loader: in ``hydra._internal.hydra.Hydra``, in sweepers, launchers and their workers.
"""

import copy
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra._internal.config_loader_impl import ConfigLoaderImpl, get_overrides_dirname
from hydra._internal.config_repository import CachingConfigRepository
from hydra._internal.utils import create_config_search_path
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from dlrun import registry
from dlrun.config.checks.keys import SettingError, value_problem
from dlrun.config.checks.untrusted import Rules
from dlrun.config.composing.sources import Repository, Stamp
from dlrun.errors import InputError, raise_all

_SEARCHPATH = "hydra.searchpath"
_MOST = 64  # trees kept; a sweep over more options composes each once all the same

TreeKey = tuple[object, ...]
Tree = tuple[DictConfig, dict[Path, Stamp]]
_trees: dict[TreeKey, Tree] = {}  # of dlrun's own folder; other folders have theirs in the loader


class Loader(ConfigLoaderImpl):
    """A config loader.

    Args:
        search_path: where configs are looked for.
        rules: what files that are not dlrun's own may say; anything when None.
    """

    repository: Repository

    def __init__(self, search_path: ConfigSearchPath, rules: Rules | None = None) -> None:
        super().__init__(search_path)
        self.repository = Repository(search_path)
        self.rules = rules
        self._trees: dict[TreeKey, Tree] = {}

    def load_configuration(
        self,
        config_name: str | None,
        overrides: list[str],
        run_mode: RunMode,
        from_shell: bool = True,
        validate_sweep_overrides: bool = True,
    ) -> DictConfig:
        """Compose a config, and check it.

        Raises:
            InputError: a value cannot be set, or a file says what it must not.
            HydraException: the options cannot be composed.
        """
        config = super().load_configuration(config_name, overrides, run_mode, from_shell, validate_sweep_overrides)
        if self.rules is not None:
            self.rules.check(config, overrides, compose_own)
        return config

    def check_values(self, content: Any) -> None:
        """Refuse what the file of an option says when it is read without composing.

        Raises:
            InputError: it reads the environment, and is not dlrun's own.
        """
        if self.rules is not None and not self.is_own:
            self.rules.check_values(content)

    def _load_configuration_impl(
        self,
        config_name: str | None,
        overrides: list[str],
        run_mode: RunMode,
        from_shell: bool = True,
        validate_sweep_overrides: bool = True,
    ) -> DictConfig:
        self.ensure_main_config_source_available()
        parsed, repository = self._parse_overrides_and_create_caching_repo(config_name, overrides)
        if validate_sweep_overrides:
            self.validate_sweep_overrides_legal(parsed, run_mode, from_shell)
        fixed = [override for override in parsed if not override.is_sweep_override()]
        options = [override for override in fixed if _chooses(override, repository)]
        config = self._tree(config_name, [str(override.input_line) for override in options], run_mode)
        values = [override for override in fixed if override not in options]
        if run_mode == RunMode.MULTIRUN:
            values = [override for override in values if not _is_of_another_option(override, config)]
        self._set(values, config)
        _note(config, config_name, parsed)
        return config

    def _tree(self, config_name: str | None, words: list[str], run_mode: RunMode) -> DictConfig:
        """A copy of what Hydra composes of words that choose options."""
        path = self.config_search_path.get_path()
        sources = tuple((element.provider, element.path) for element in path)
        key = (config_name, tuple(words), run_mode, sources)
        known = _trees if self.is_own else self._trees
        tree = known.get(key)
        if tree is None or any(_stamp(file) != stamp for file, stamp in tree[1].items()):
            self.repository.read.clear()
            config = super()._load_configuration_impl(config_name, words, run_mode, validate_sweep_overrides=False)
            tree = known[key] = config, dict(self.repository.read)
            while len(known) > _MOST:
                known.pop(next(iter(known)))
        return copy.deepcopy(tree[0])

    def _set(self, values: Sequence[Override], config: DictConfig) -> None:
        """Set values in a composed config.

        Raises:
            SettingError: with all of those that it does not take.
        """
        problems = []
        for override in values:
            try:
                self._apply_overrides_to_config([override], config)
            except (HydraException, OmegaConfBaseException, ValueError, TypeError, AttributeError) as error:
                problems.append(value_problem(override, config, error))
        raise_all(problems, SettingError)

    def has(self, option: str) -> bool:
        """Whether an option, given as ``group/name``, is on the search path, with the folders that were typed."""
        typed = [word for word in (self.rules.words if self.rules else ()) if word.lstrip("+").startswith(f"{_SEARCHPATH}=")]
        _, repository = self._parse_overrides_and_create_caching_repo(None, typed)
        return bool(repository.config_exists(option))

    def main_folder(self) -> Path | None:
        """The folder of the primary config."""
        path = next((element.path for element in self.config_search_path.get_path() if element.provider == "main"), None)
        return Path(path.removeprefix("file://")) if path and not path.startswith("pkg:") else None

    def choices_of_a_run(self) -> dict[str, str]:
        """The option of each group, where the primary config is a run's: that has no list of defaults."""
        folder = self.main_folder()
        if folder is None or not (folder / "result.json").is_file():
            return {}
        from dlrun.results.folders import RunFolder

        kept = RunFolder(folder).read_record().choices
        return {group: name for group, name in kept.items() if group in registry.groups() and name in registry.options(group)}

    @property
    def is_own(self) -> bool:
        """Whether no folder but dlrun's is on the search path."""
        root = str(registry.root())
        return all(
            source.scheme() != "file" or os.path.realpath(source.path) == os.path.realpath(root) for source in self.get_sources()
        )

    def _process_config_searchpath(self, config_name: str | None, parsed_overrides: list[Override], repo: Any) -> None:
        primary = repo.load_config(config_path=config_name) if config_name is not None else None
        typed = any(override.get_key_element() == _SEARCHPATH for override in parsed_overrides)
        if primary is not None and not typed and OmegaConf.select(primary.config, _SEARCHPATH):
            raise InputError(
                f"{_SEARCHPATH}: stands in {config_name}.yaml; a file cannot add folders, type {_SEARCHPATH}=[FOLDER]"
            )
        super()._process_config_searchpath(config_name, parsed_overrides, repo)


def compose_own(name: str | None, words: Sequence[str]) -> DictConfig:
    """What these words make of dlrun's own config, or (None) of Hydra's alone."""
    loader = Loader(create_config_search_path(str(registry.root())))
    return loader.load_configuration(name, list(words), RunMode.MULTIRUN)


def _chooses(override: Override, repository: CachingConfigRepository) -> bool:
    """Whether an override decides which files are composed."""
    if override.key_or_group == _SEARCHPATH:
        return True
    return not isinstance(override.value(), dict) and repository.group_exists(override.key_or_group)


def _is_of_another_option(override: Override, config: DictConfig) -> bool:
    """Whether a word sets a key that the group's selected option lacks: in a sweep, those of its jobs that have it take it.

    The config of a sweep itself has the options that are selected when nothing is swept: ``optimizer=sgd,rmsprop
    optimizer.momentum=0.9`` would be refused because adam has no momentum.
    """
    group, *rest = override.key_or_group.split(".")
    if not rest or override.package is not None or override.is_add() or override.is_force_add() or override.is_delete():
        return False
    if group not in registry.groups():
        return False
    node: Any = config
    for part in (group, *rest):
        if not OmegaConf.is_dict(node) or part not in node.keys():  # noqa: SIM118 - `in` resolves what stands there
            return True
        node = OmegaConf.select(node, part) if part != rest[-1] else None
    return False


def _note(config: DictConfig, config_name: str | None, parsed: Sequence[Override]) -> None:
    """What Hydra notes in a config about the words that it was composed from."""
    hydra = config.hydra
    task = [override for override in parsed if not override.is_hydra_override()]
    hydra.overrides.hydra = [override.input_line for override in parsed if override.is_hydra_override()]
    hydra.overrides.task = [override.input_line for override in task]
    hydra.runtime.cwd = os.getcwd()
    with open_dict(hydra):
        for key in hydra.job.env_copy:
            hydra.job.env_set[key] = os.environ[key]
    how = hydra.job.config.override_dirname
    hydra.job.override_dirname = get_overrides_dirname(
        overrides=task, kv_sep=how.kv_sep, item_sep=how.item_sep, exclude_keys=how.exclude_keys
    )
    hydra.job.config_name = config_name


def _stamp(file: Path) -> Stamp | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size
