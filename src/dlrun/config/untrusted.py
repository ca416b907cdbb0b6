"""What a config file may say to Hydra. Files may come from anybody; the command line is the user's own.

The settings of runs are free, but for two. ``output_dir`` says where files are written, and ``oc.env`` copies the environment,
which may hold secrets, into results that are passed on: both have to be typed. Beside the settings of runs, Hydra's config has
some that run code or reach beyond the output folder: callbacks, launchers, logging classes, environment variables, folders. Hydra
acts on them as soon as it has composed them. ``guarded`` stands in between: what a file of the user's folders says to Hydra must
be what dlrun's own config (or Hydra's) says with the same words typed, but for how to sweep. And a file with
more nodes or levels than a config can have is refused before it is read.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.utils import create_config_search_path
from hydra.errors import ConfigCompositionException, HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict, resolvers

from dlrun import registry
from dlrun.config import names
from dlrun.config.hydra_settings import is_hydras
from dlrun.errors import InputError

_FREE = ("mode", "sweeper.params", "overrides", "runtime", "help", "hydra_help", "job.override_dirname", "job.config_name")
_TOLD = 5  # settings told at once

Load = Callable[..., DictConfig]


@contextmanager
def guarded(overrides: Sequence[str], *, acts: bool = True, typed: bool = True) -> Iterator[None]:
    """While this lasts, what Hydra composes is checked before it is used.

    Args:
        overrides: those of the command line.
        acts: whether Hydra will do what the config says; False when it only shows it.
        typed: whether the user typed them; False when they come from a sweep's folder.
    """
    original: Load = ConfigLoaderImpl.load_configuration
    environment = _Environment(overrides) if typed else _Environment((), received=True)
    search, read_file = ConfigLoaderImpl._process_config_searchpath, OmegaConf.load
    reference = Reference(original, [word for word in overrides if is_hydras(word)])

    def load(
        loader: ConfigLoaderImpl, config_name: str | None, overrides: list[str], run_mode: RunMode, *args: Any, **kwargs: Any
    ) -> DictConfig:
        def compose(words: Sequence[str]) -> DictConfig:
            return original(loader, config_name, list(words), run_mode, *args, **kwargs)

        config = _master(compose, overrides) if run_mode == RunMode.MULTIRUN else compose(overrides)
        if acts and _is_foreign(config):
            environment.received = True
            reference.check(config)
            _check_output(config, overrides)
        return config

    def process(loader: ConfigLoaderImpl, name: str | None, parsed: Any, repository: Any) -> None:
        primary = repository.load_config(config_path=name) if name is not None else None
        typed = any(override.get_key_element() == "hydra.searchpath" for override in parsed)
        if primary is not None and not typed and OmegaConf.select(primary.config, "hydra.searchpath"):
            raise InputError(
                f"hydra.searchpath: stands in {name}.yaml; a file cannot add folders, type hydra.searchpath=[FOLDER]"
            )
        search(loader, name, parsed, repository)

    def read(file: Any) -> Any:
        path = Path(getattr(file, "name", file))
        if registry.root() not in path.parents:
            registry.check_size(path)
            registry.check_times(path, names.KEYS)
        config = read_file(file)
        if registry.root() not in path.parents:
            names.restore(config, path)
        return config

    with (
        _instead(ConfigLoaderImpl, "load_configuration", load),
        _instead(ConfigLoaderImpl, "_process_config_searchpath", process),
        _instead(OmegaConf, "load", staticmethod(read)),
        environment.guarded(),
    ):
        yield


def _master(compose: Callable[[Sequence[str]], DictConfig], words: Sequence[str]) -> DictConfig:
    """The config of a sweep itself. Settings of components that it does not select are kept for the jobs that may.

    Hydra checks what is not swept against the options that are selected when nothing is swept: ``optimizer=sgd,rmsprop
    optimizer.momentum=0.9`` would be refused because adam has no momentum.
    """
    kept: list[str] = []
    while True:
        try:
            config = compose([word for word in words if word not in kept])
        except ConfigCompositionException as error:
            match = re.search(r"Could not override '([^'.]+)\.([^']+)'", str(error))
            key = f"{match[1]}.{match[2]}" if match and match[1] in registry.groups() else ""
            found = [word for word in words if word.partition("=")[0] == key and word not in kept]
            if not found:
                raise
            kept += found
            continue
        if kept:
            with open_dict(config.hydra):
                config.hydra.overrides.task = [word for word in words if not is_hydras(word)]
        return config


@contextmanager
def _instead(owner: type, name: str, ours: Any) -> Iterator[None]:
    """Let a class have another method for a while. Hydra offers no place of its own between composing and acting."""
    theirs = vars(owner)[name]
    setattr(owner, name, ours)
    try:
        yield
    finally:
        setattr(owner, name, theirs)


class Reference:
    """What Hydra's part of the config is when no file but dlrun's and Hydra's own has a say, for the words that were typed."""

    def __init__(self, load: Load, typed: Sequence[str]) -> None:
        self._load, self._typed = load, [word for word in typed if not word.lstrip("+").startswith("hydra.searchpath")]
        self._known: dict[str | None, dict[str, Any]] = {}

    def check(self, config: DictConfig) -> None:
        """Raise InputError for what another file has changed."""
        found = _leaves(config)
        wrong = [key for key in found.keys() | self._of("config").keys() if not self._same(key, found, "config")]
        wrong = sorted(key for key in wrong if not self._same(key, found, None))
        if wrong:
            more = f" and {len(wrong) - _TOLD} more" if len(wrong) > _TOLD else ""
            raise InputError(
                f"{', '.join(f'hydra.{key}' for key in wrong[:_TOLD])}{more}: set by a config file, and a file may come from "
                "anybody; take it out, and type on the command line what you want of it"
            )

    def _same(self, key: str, found: Mapping[str, Any], name: str | None) -> bool:
        missing = object()
        return bool(found.get(key, missing) == self._of(name).get(key, missing))

    def _of(self, name: str | None) -> dict[str, Any]:
        """The settings in dlrun's own config, or (None) in Hydra's alone."""
        if name not in self._known:
            loader = ConfigLoaderImpl(create_config_search_path(str(registry.root())))
            try:
                config = self._load(loader, config_name=name, overrides=self._typed, run_mode=RunMode.MULTIRUN)
            except HydraException as error:
                raise InputError(f"{' '.join(self._typed)}: names what only a file of yours has ({_line(error)})") from error
            self._known[name] = _leaves(config)
        return self._known[name]


class _Environment:
    """The environment variables that configs may read with ``oc.env``.

    All of them where no file but dlrun's own has a say (``received`` is False), else those that were typed. The resolver itself
    refuses the others, however a file comes to ask for them.
    """

    def __init__(self, typed: Sequence[str], *, received: bool = False) -> None:
        self.received = received
        self._why = (
            "stands in the sweep's folder, which may come from anybody; type its command again, and finished runs are reused"
            if received
            else "stands in a config file, which may come from anybody; type the setting on the command line"
        )
        self._typed = {name for word in typed for name in re.findall(r"oc\.env:\s*(\w+)", word)} | {"DLRUN_OUTPUT_DIR"}

    @contextmanager
    def guarded(self) -> Iterator[None]:
        """While this lasts, what may not be read is refused."""
        OmegaConf.register_new_resolver("oc.env", self._read, replace=True)
        try:
            yield
        finally:
            OmegaConf.register_new_resolver("oc.env", resolvers.oc.env, replace=True)

    def _read(self, key: str, *default: Any) -> str | None:
        if self.received and key not in self._typed:
            raise InputError(f"${{oc.env:{key}}}: {self._why}")
        return resolvers.oc.env(key, *default)


def _check_output(config: DictConfig, typed: Sequence[str]) -> None:
    """Refuse an output folder that a file has set."""
    found = OmegaConf.to_container(config, resolve=False)
    own = registry.read(registry.root() / "config.yaml")["output_dir"]
    harmless = (own, OmegaConf.create({"value": own}).value)  # as it is, and resolved in the config of a run that was kept
    if isinstance(found, dict) and found.get("output_dir", own) not in harmless and not any(map(_sets_output, typed)):
        raise InputError(
            f"output_dir={found['output_dir']}: set by a config file, and a file may come from anybody; take it out, "
            "or type output_dir=PATH on the command line"
        )


def _sets_output(word: str) -> bool:
    return word.lstrip("+").startswith("output_dir=")


def _is_foreign(config: DictConfig) -> bool:
    """Whether any folder but dlrun's has a say."""
    return any(source.schema == "file" and Path(source.path) != registry.root() for source in config.hydra.runtime.config_sources)


def _leaves(config: DictConfig) -> dict[str, Any]:
    """Hydra's settings by their dotted keys, not resolved, without those that are free."""
    found: dict[str, Any] = {}

    def walk(node: Any, path: str) -> None:
        if path in _FREE:
            return
        if isinstance(node, dict) and node:
            for key, value in node.items():
                walk(value, f"{path}.{key}" if path else str(key))
        else:
            found[path] = node

    walk(OmegaConf.to_container(config.hydra, resolve=False), "")
    return found


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
