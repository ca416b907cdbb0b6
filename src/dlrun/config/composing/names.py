"""Names of columns as they were typed: ``dataset.target=1.10`` is the column 1.10, and not the number 1.1.

Hydra and YAML read a word that looks like a number, a truth value or null as such, and forget how it was written. For the keys
that take names of columns this is undone where the word is still known: on a command line and in a caller's overrides (``exact``)
before Hydra composes them, and in a config file (``restore``) when it has been read. Only words that the reading changes are
touched; 7 is the text 7 either way.

    typed                   read by Hydra or YAML      here
    1.10, 1e3, 1_000        1.1, 1000.0, 1000          '1.10', '1e3', '1_000'
    true, yes (in YAML)     True                       'true', 'yes'
    007, 12:30 (in YAML)    7, 750                     '007', '12:30'
    null in a list          None                       'null'
    "${a}" in quotes        another setting            the text ${a}
"""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from antlr4 import CommonTokenStream, InputStream  # type: ignore[import-untyped]
from hydra.core.override_parser.overrides_visitor import HydraErrorListener
from hydra.core.override_parser.types import Quote, QuotedString
from hydra.errors import HydraException
from hydra.grammar.gen.OverrideLexer import OverrideLexer
from hydra.grammar.gen.OverrideParser import OverrideParser
from omegaconf import DictConfig, ListConfig, OmegaConf

from dlrun import registry

GROUP = "dataset"
ONE = ("target", "positive", "split_column", "group", "time", "weight")  # keys that take one name (``target`` a list too)
KEYS = ("columns", "drop", "categorical", "missing", *ONE)  # of datasets: they take names
_ROOT = ("reference",)  # takes what names a group of runs, the name of a column among it
_PLACES = frozenset((*(f"{GROUP}.{key}" for key in KEYS), *_ROOT))
_NUMERIC = frozenset({"range", "interval", "int", "float", "bool", "glob", "tag"})  # functions that take no names
_READ: dict[int, Callable[[str], object]] = {
    OverrideLexer.INT: int,
    OverrideLexer.FLOAT: float,
    OverrideLexer.BOOL: lambda text: text.lower() == "true",
}
_INTERPOLATION = re.compile(r"(\\*)\$\{")


def exact(word: str) -> str:
    """An override in which names that Hydra would change are quoted; others, and what Hydra cannot read, stay as they are."""
    key = word.lstrip("+").partition("=")[0]
    if key not in _PLACES and key != GROUP:
        return word
    try:
        edits = sorted(_edits(_tree(word), "" if key == GROUP else key, inside=False))
    except HydraException:
        return word
    for start, stop, text in reversed(edits):
        word = word[:start] + text + word[stop:]
    return word


def _tree(word: str) -> Any:
    """The parse tree of an override in Hydra's grammar."""
    listener = HydraErrorListener()
    lexer = OverrideLexer(InputStream(word))
    parser = OverrideParser(CommonTokenStream(lexer))
    for part in (lexer, parser):
        part.removeErrorListeners()
        part.addErrorListener(listener)
    tree: Any = parser.override()  # type: ignore[no-untyped-call]
    return tree


def _edits(node: Any, place: str, *, inside: bool) -> Iterator[tuple[int, int, str]]:
    """What to replace below a node of the tree: from where to where, and by which text.

    Args:
        place: the key whose value the node is part of; empty where it is the mapping of a whole group.
        inside: whether the node is within a list.
    """
    if isinstance(node, OverrideParser.PrimitiveContext):
        if place in _PLACES and (text := _replaced(node, inside=inside)) is not None:
            yield node.start.start, node.stop.stop + 1, text
        return
    if isinstance(node, OverrideParser.FunctionContext) and node.getChild(0).getText() in _NUMERIC:
        return
    if isinstance(node, OverrideParser.DictKeyValuePairContext):
        place = f"{GROUP}.{node.getChild(0).getText()}" if not place else ""
    inside = inside or isinstance(node, OverrideParser.ListContainerContext)
    named = False  # the element behind the name of an argument, as in sort(1,2,reverse=true), is no name of a column
    for child in node.getChildren() if hasattr(node, "getChildren") else ():
        if not named:
            yield from _edits(child, place, inside=inside)
        named = isinstance(child, OverrideParser.ArgNameContext)


def _replaced(node: Any, *, inside: bool) -> str | None:
    """What a primitive has to be typed as to stay the text that it is; None when it is that already."""
    tokens = [child.symbol for child in node.getChildren()]
    tokens = [token for place, token in enumerate(tokens) if token.type != OverrideLexer.WS or 0 < place < len(tokens) - 1]
    if len(tokens) != 1:
        return None
    (token,) = tokens
    if token.type == OverrideLexer.QUOTED_VALUE:
        escaped = _INTERPOLATION.sub(lambda found: found[0] if len(found[1]) % 2 else f"{found[1] * 2}\\${{", token.text)
        return escaped if escaped != token.text else None
    if token.type == OverrideLexer.NULL:
        changed = inside
    elif token.type in _READ:
        changed = str(_READ[token.type](token.text)) != token.text
    else:
        return None
    return str(QuotedString(token.text, Quote.single).with_quotes()) if changed else None


def restore(config: Any, file: Path) -> None:
    """Give a config that was read from a YAML file the names of columns back, as they are written there."""
    import yaml

    text = file.read_text(encoding="utf-8", errors="replace")
    if not OmegaConf.is_dict(config) or not any(key in text for key in (*KEYS, *_ROOT)):
        return
    root = yaml.compose(text, registry.loader())
    package = re.search(r"^# *@package +(\S+)", text, re.MULTILINE)
    below = file.parent.name if package is None or package[1] == "_group_" else package[1]
    _restore(config, root, GROUP if below == GROUP else "")


def _restore(config: DictConfig, node: Any, place: str) -> None:
    for key_node, value in node.value:
        key = str(key_node.value)
        content = config._get_node(key)
        if {f"{place}.{key}" if place else key, key} & _PLACES and not (place and key in _ROOT):
            text = _written(value)
            if text is not None:
                config[key] = text
            elif isinstance(content, ListConfig):
                for number, item in enumerate(value.value):
                    if (text := _written(item, inside=True)) is not None:
                        content[number] = text
        elif isinstance(content, DictConfig) and isinstance(value.value, list) and not content._is_none():
            _restore(content, value, GROUP if key == GROUP else "")


def _written(node: Any, *, inside: bool = False) -> str | None:
    """A plain scalar that YAML reads as something that is written otherwise; None for all else."""
    kind = node.tag.rpartition(":")[2]
    if node.id != "scalar" or node.style is not None or kind not in ("int", "float", "bool", "null"):
        return None
    text = str(node.value)
    if kind == "null":
        return text if inside else None
    loader = registry.loader()("")
    return text if str(loader.construct_object(node)) != text else None
