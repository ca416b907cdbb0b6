"""Config files as Hydra reads them: each is read once in a process, and checked when it is not dlrun's own.

``Repository`` stands where Hydra's ConfigRepository does. It keeps what it has read as long as a file's time and size stay the
same, and hands out copies, since composing changes what it merges.
"""

import copy
import os
from functools import cache
from pathlib import Path

from hydra._internal.config_repository import ConfigRepository
from hydra._internal.core_plugins.file_config_source import FileConfigSource
from hydra._internal.core_plugins.importlib_resources_config_source import ImportlibResourcesConfigSource
from hydra.core.config_search_path import ConfigSearchPath, SearchPathElement
from hydra.core.object_type import ObjectType
from hydra.plugins.config_source import ConfigResult, ConfigSource

from dlrun import registry
from dlrun.config.composing import names

Stamp = tuple[int, int]
_results: dict[tuple[str, str], tuple[Stamp, ConfigResult]] = {}  # full path of the source, path of the config


class Folder(FileConfigSource):
    """A folder of YAML files. Files that are not dlrun's own may come from anybody, and are checked before they are read."""

    def load_config(self, config_path: str) -> ConfigResult:
        """Read a file.

        Raises:
            InputError: it is larger or deeper than a config can be, or holds a time where YAML reads a number.
            ConfigLoadError: it is not there.
        """
        file = self.file(config_path)
        own = registry.root() in file.parents
        if not own and file.is_file():
            registry.check_size(file)
            registry.check_times(file, names.KEYS)
        result = super().load_config(config_path)
        if not own:
            names.restore(result.config, file)
        return result

    def file(self, config_path: str) -> Path:
        """The file of a config."""
        return Path(os.path.realpath(os.path.join(self.path, self._normalize_file_name(config_path))))

    def stamp(self, config_path: str) -> Stamp:
        """What changes when the file of a config does."""
        found = self.file(config_path).stat()
        return found.st_mtime_ns, found.st_size


class Package(ImportlibResourcesConfigSource):
    """YAML files of an installed package, which stay as they are while the process runs."""

    def is_config(self, config_path: str) -> bool:
        """Whether there is such a file."""
        return _exists(self.path, self._normalize_file_name(config_path), folder=False)

    def is_group(self, config_path: str) -> bool:
        """Whether there is such a folder."""
        return _exists(self.path, config_path, folder=True)


@cache
def _exists(package: str, path: str, *, folder: bool) -> bool:
    source = ImportlibResourcesConfigSource("", f"pkg://{package}")
    return source.is_group(path) if folder else source.is_config(path)


class Repository(ConfigRepository):
    """Hydra's repository of configs over the sources above."""

    def __init__(self, config_search_path: ConfigSearchPath) -> None:
        self.read: dict[Path, Stamp] = {}
        """The files that were read, and how they were; copies of a repository share it."""
        super().__init__(config_search_path)

    def __deepcopy__(self, memo: dict[int, object]) -> "Repository":
        """A copy that can be given other sources. Hydra makes one for each composition; sources themselves do not change."""
        copied = copy.copy(self)
        copied.sources = [*self.sources]
        return copied

    def initialize_sources(self, config_search_path: ConfigSearchPath) -> None:
        """Make the sources of a search path."""
        super().initialize_sources(config_search_path)
        elements = config_search_path.get_path()
        self.sources = [_source(source, element) for source, element in zip(self.sources, elements, strict=True)]

    def load_config(self, config_path: str) -> ConfigResult | None:
        """A config, as a copy of what was read; None when there is none."""
        source = self._find_object_source(config_path, ObjectType.CONFIG)
        if not isinstance(source, Folder | Package):
            return super().load_config(config_path)
        stamp = (0, 0)
        if isinstance(source, Folder):
            stamp = self.read[source.file(config_path)] = source.stamp(config_path)
        key = source.full_path(), config_path
        known = _results.get(key)
        if known is None or known[0] != stamp:
            loaded = super().load_config(config_path)
            if loaded is None:
                return None
            known = _results[key] = stamp, loaded
        result = copy.copy(known[1])
        result.provider = source.provider
        result.config, result.defaults_list = copy.deepcopy((result.config, result.defaults_list))
        return result


def _source(made: ConfigSource, element: SearchPathElement) -> ConfigSource:
    """A source of this module in the place of one of Hydra's that reads files."""
    assert element.path is not None
    assert element.provider is not None
    ours = {"file": Folder, "pkg": Package}.get(made.scheme())  # by scheme, since Hydra's search for plugins makes classes anew
    return made if ours is None else ours(element.provider, element.path)
