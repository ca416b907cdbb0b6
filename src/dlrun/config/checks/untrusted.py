"""What a config file may say. Files may come from anybody; the command line is the user's own.

The settings of runs are free, but for two. ``output_dir`` says where files are written, and ``oc.env`` copies the environment,
which may hold secrets, into results that are passed on: both have to be typed. Beside the settings of runs, Hydra's config has
some that run code or reach beyond the output folder: callbacks, launchers, logging classes, environment variables, folders. Hydra
acts on them as soon as it has composed them. What a file of the user's folders says to Hydra must therefore be what dlrun's own
config (or Hydra's) says with the same words typed, but for how to sweep.

All of this is looked up in the composed config before anything is resolved or acted on. ``Loader`` does so for all it composes.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import GrammarParseError
from omegaconf.grammar.gen.OmegaConfGrammarParser import OmegaConfGrammarParser as Grammar
from omegaconf.grammar_parser import parse

from dlrun import registry
from dlrun.config.composing.hydra_settings import is_hydras
from dlrun.errors import InputError

_FREE = ("mode", "sweeper.params", "overrides", "runtime", "help", "hydra_help", "job.override_dirname", "job.config_name")
_TOLD = 5  # settings told at once
_ENVIRONMENT = "oc.env"
_OUTPUT = "DLRUN_OUTPUT_DIR"  # the variable that dlrun's own config reads
_READING = ("oc.decode", "oc.create")  # resolvers that read interpolations in the texts that they are given

Compose = Callable[[str | None, Sequence[str]], DictConfig]


@dataclass(frozen=True)
class Rules:
    """The rules for one command line or call.

    Args:
        words: its overrides.
        acts: whether Hydra will do what the config says; False when it only shows it.
        resumed: whether the words come from a sweep's folder instead of the user.
    """

    words: tuple[str, ...]
    acts: bool = True
    resumed: bool = False

    def check(self, config: DictConfig, overrides: Sequence[str], compose_own: Compose) -> None:
        """Refuse a composed config in which a file says what it must not.

        Args:
            config: what was composed, with Hydra's part.
            overrides: the words it was composed from.
            compose_own: composes words from dlrun's own config, or (None) from Hydra's alone.

        Raises:
            InputError: naming what was said.
        """
        received = self.acts and _is_foreign(config)
        if received or self.resumed:
            self.check_values(OmegaConf.to_container(config, resolve=False))
        if received:
            _check_hydra(config, [word for word in self.words if is_hydras(word)], compose_own)
            _check_output(config, overrides)

    def check_values(self, content: Any) -> None:
        """Refuse interpolations that read the environment, in whatever way, but for variables that were typed.

        Args:
            content: nested plain containers, not resolved.

        Raises:
            InputError: naming the interpolation.
        """
        allowed = {_OUTPUT, *(() if self.resumed else (name for word in self.words for name, _ in _read(word)))}
        for key, text in _texts(content):
            for name, interpolation in _read(text):
                if name not in allowed:
                    raise InputError(f"{key}={interpolation}: {self._why}")

    @property
    def _why(self) -> str:
        if self.resumed:
            return (
                "stands in the sweep's folder, which may come from anybody; type its command again, and finished runs are reused"
            )
        return "stands in a config file, which may come from anybody; type the setting on the command line"


def _texts(content: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Every text with an interpolation in nested containers, with its dotted key."""
    if isinstance(content, Mapping | list):
        for key, value in content.items() if isinstance(content, Mapping) else enumerate(content):
            yield from _texts(value, f"{path}.{key}" if path else str(key))
    elif isinstance(content, str) and "${" in content:
        yield path, content


def _read(text: str) -> Iterator[tuple[str, str]]:
    """The environment variables that a text reads, each with its interpolation.

    The name is empty where it follows from other settings, and where a resolver's own name does, or where one reads a text with
    interpolations in it: all of these could come to read the environment.
    """
    try:
        tree = parse(text) if "${" in text else None
    except GrammarParseError:  # nobody can resolve it
        return
    waiting: list[Any] = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, Grammar.InterpolationResolverContext):
            _, name_node, _, arguments, *_ = node.getChildren()  # ${ name : arguments }
            resolver = name_node.getText()
            given = arguments.getText() if isinstance(arguments, Grammar.SequenceContext) else ""
            if "${" in resolver or (resolver in _READING and "$" in given):
                yield "", f"${{{resolver}:{given}}}"
            elif resolver == _ENVIRONMENT:
                name = arguments.getChild(0).getText() if given else ""
                yield ("" if "$" in name else name.strip().strip("'\"")), f"${{{resolver}:{given}}}"
        if hasattr(node, "getChildren"):
            waiting += node.getChildren()


def _check_hydra(config: DictConfig, typed: Sequence[str], compose_own: Compose) -> None:
    """Refuse settings of Hydra's own that another file than dlrun's and Hydra's own has changed."""
    words = [word for word in typed if not word.lstrip("+").startswith("hydra.searchpath")]
    found, missing = _leaves(config), object()

    def differing(keys: Sequence[str], name: str | None) -> list[str]:
        try:
            reference = _leaves(compose_own(name, words))
        except HydraException as error:
            raise InputError(f"{' '.join(words)}: names what only a file of yours has ({_line(error)})") from error
        keys = keys or [*found.keys() | reference.keys()]
        return sorted(key for key in keys if found.get(key, missing) != reference.get(key, missing))

    wrong = differing([], "config")
    if wrong and (wrong := differing(wrong, None)):
        more = f" and {len(wrong) - _TOLD} more" if len(wrong) > _TOLD else ""
        raise InputError(
            f"{', '.join(f'hydra.{key}' for key in wrong[:_TOLD])}{more}: set by a config file, and a file may come from "
            "anybody; take it out, and type on the command line what you want of it"
        )


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
