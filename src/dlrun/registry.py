"""The conf tree as a registry: one folder a group, one YAML file an option. There is no second list of names.

The leading comment block of a file says what the option is: its first line is the summary, and a ``# @package`` line is Hydra's.
Reading the registry needs neither torch nor Hydra, so that names can be listed and checked in milliseconds.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from dlrun.errors import InputError, nearest, raise_all

CLAIM = "claim"  # the group whose options are no part of a config: statements that dlrun claims tests
_PACKAGED = Path(__file__).parent / "conf"
_SOURCE = Path(__file__).parents[2] / "conf"
_added: list[Path] = []
MISSING = object()  # where None is a value
NODES = 100_000  # of one file, at most
LEVELS = 50  # of lists and keys within each other in one file, at most
MOST_TOLD = 12  # files told at once
NUMBER = re.compile(
    r"""^(?:[-+]?[0-9][0-9_]*\.[0-9_]*(?:[eE][-+]?[0-9]+)?
        |[-+]?[0-9][0-9_]*[eE][-+]?[0-9]+
        |[-+]?\.[0-9][0-9_]*(?:[eE][-+]?[0-9]+)?
        |[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$""",
    re.VERBOSE,
)
"""A float of YAML 1.2, as Hydra reads it: 1e-3 is one."""


def root() -> Path:
    """The folder of dlrun's own config: inside an installed package, or at the top of the source tree."""
    return _PACKAGED if _PACKAGED.is_dir() else _SOURCE


def add_folder(folder: Path | str) -> None:
    """Search ``folder`` too, after dlrun's own: a user's options join the groups, and cannot replace built-in ones.

    Raises:
        InputError: the folder has an option with a name of dlrun's, which would be ignored.
    """
    path = Path(folder).resolve()
    if path == root().resolve() or path in _added:
        return
    raise_all([f"{path / file}: {file.stem} is dlrun's name; rename the file" for file in _taken(path)][:MOST_TOLD])
    _added.append(path)


def _taken(folder: Path) -> Iterator[Path]:
    """Options of a folder that dlrun has too, with another content."""
    for group in sorted(entry.name for entry in root().iterdir() if entry.is_dir()):
        for file in sorted((folder / group).glob("*.yaml")):
            own = root() / group / file.name
            if own.is_file() and own.read_bytes() != file.read_bytes():
                yield file.relative_to(folder)


def folders() -> list[Path]:
    """Every config folder, in the order of search."""
    return [root(), *_added]


def groups() -> list[str]:
    """The names of all groups, sorted; Hydra's own settings are none of them."""
    found = {
        entry.name
        for folder in folders()
        if folder.is_dir()
        for entry in folder.iterdir()
        if entry.is_dir() and entry.name != "hydra" and any(entry.glob("*.yaml"))
    }
    return sorted(found)


def options(group: str) -> list[str]:
    """The names of all options of ``group``, sorted; empty for an unknown group."""
    return sorted({file.stem for file in _files(group)})


def is_set(group: str) -> bool:
    """Whether a group takes a list of options: their files say ``# @package group.name``, so that each has its own key."""
    return any(file.read_text(encoding="utf-8").startswith(f"# @package {group}.") for file in _files(group))


def is_apart(group: str, option: str) -> bool:
    """Whether the keys of an option stand below its name, as those of sets do: ``logger.csv.path``."""
    return option in options(group) and path(group, option).read_text(encoding="utf-8").startswith(f"# @package {group}.{option}")


def defaults() -> dict[str, list[str]]:
    """The options that each group has when nothing else is said, from the defaults list of config.yaml."""
    entries = [entry for entry in read(root() / "config.yaml").get("defaults", []) if isinstance(entry, dict)]
    chosen = {
        group: [names] if isinstance(names, str) else list(names or []) for entry in entries for group, names in entry.items()
    }
    return {group: chosen.get(group, []) for group in groups()}


@cache
def root_keys() -> tuple[str, ...]:
    """The keys of config.yaml that stand alone, such as seed, sorted."""
    return tuple(sorted(read(root() / "config.yaml").keys() - {"defaults", "hydra"}))


def check_group(group: str) -> None:
    """Make sure that a group exists.

    Raises:
        InputError: it does not; the message names the nearest one.
    """
    if not options(group):
        raise InputError(f"{group}: no such group; the groups are {', '.join(groups())}{nearest(group, groups())}")


def path(group: str, name: str) -> Path:
    """The YAML file of an option.

    Raises:
        InputError: there is no such group or option; the message names the nearest one.
    """
    check_group(group)
    known = options(group)
    if name not in known:
        raise InputError(f"{group}={name}: no such option; {group} takes {', '.join(known)}{nearest(name, known)}")
    return next(file for folder in folders() if (file := folder / group / f"{name}.yaml").is_file())


def content(group: str, name: str) -> Mapping[str, Any]:
    """What an option's file holds, read once while the file stays as it is; nothing where there is no such file.

    Raises:
        InputError: the file is not a YAML mapping.
    """
    for folder in folders():
        file = folder / group / f"{name}.yaml"
        try:
            changed = file.stat().st_mtime_ns
        except OSError:
            continue
        return _content(file, changed)
    return {}


@cache
def _content(file: Path, changed: int) -> Mapping[str, Any]:
    return read(file)


def leaves(node: Mapping[Any, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    """The values of nested mappings by their dotted keys; an empty mapping is a value."""
    for key, value in node.items():
        at = f"{path}.{key}" if path else str(key)
        if isinstance(value, Mapping) and value:
            yield from leaves(value, at)
        else:
            yield at, value


def value_at(node: Any, key: str, missing: Any = None) -> Any:
    """What stands under a key such as ``optimizer.lr``, or in a list under its place; ``missing`` where nothing does."""
    for part in key.split("."):
        if isinstance(node, Mapping) and part in node:
            node = node[part]
        elif isinstance(node, list) and part.isdigit() and int(part) < len(node):
            node = node[int(part)]
        else:
            return missing
    return node


def header(group: str, name: str) -> list[str]:
    """The leading comment block of an option's file, without the comment signs."""
    return list(_header(path(group, name)))


def summary(group: str, name: str) -> str:
    """The first line of an option's header: what it is, and where it comes from."""
    return next(_header(path(group, name)), "")


def comments(group: str, name: str) -> dict[str, str]:
    """What the header says about single keys: its lines of the form ``key: meaning`` (``key, key: meaning``), with those that
    continue them: they are indented, or come behind a comma. ``The keys are those of group=name.`` takes over another's.
    """
    return _explained(group, name)[1]


def notes(group: str, name: str) -> list[str]:
    """The lines of the header that are about no single key, the summary first."""
    return _explained(group, name)[0]


def _explained(group: str, name: str) -> tuple[list[str], dict[str, str]]:
    known = load_option(group, name)
    lines: list[str] = []
    said: dict[str, str] = {}
    current: list[str] = []
    for line in header(group, name):
        match = re.match(r"(\w+(?:, \w+)*): +(.*)", line)
        keys = match[1].split(", ") if match else []
        another = re.fullmatch(r"The keys are those of (\w+)=(\w+)\.", line)
        if match and known.keys() >= set(keys):
            current = keys
            said |= dict.fromkeys(keys, match[2])
        elif current and (line.startswith(" ") or re.search(r"\S,$", said[current[0]])):
            said |= {key: f"{said[key]} {line.strip()}" for key in current}
        else:
            current = []
            lines.append(line)
            if another and another[2] != name and another[2] in options(another[1]):
                said = comments(another[1], another[2]) | said
    return lines, {key: meaning for key, meaning in said.items() if key in known}


def load_option(group: str, name: str) -> dict[str, Any]:
    """An option's content as a plain dictionary, read the way Hydra reads it (so 1e-3 is a number); interpolations stay text.

    Raises:
        InputError: there is no such option, or its file is not a YAML mapping.
    """
    return read(path(group, name))


def read(file: Path) -> dict[str, Any]:
    """The keys and values of a YAML file, read the way Hydra reads it; it makes no objects, and cannot grow.

    Raises:
        InputError: it is not there, or is not a YAML mapping.
    """
    import yaml

    try:
        if root() not in file.parents:
            check_size(file)
        content = yaml.load(file.read_text(encoding="utf-8"), Loader=loader())
    except OSError as error:
        raise InputError(f"{file}: cannot be read ({error.strerror})") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{file}: is not valid YAML ({' '.join(str(error).split())})") from None
    if not isinstance(content, dict | None):
        raise InputError(f"{file}: must hold keys and values, not a {type(content).__name__}")
    return content or {}


def scalar(text: str) -> Any:
    """What a single word of a YAML file is: a number, a truth value, None, or the text itself."""
    import yaml

    try:
        found = yaml.load(text, Loader=loader())
    except yaml.YAMLError:
        return text
    return text if isinstance(found, list | dict) else found


def check_size(file: Path) -> None:
    """Refuse a YAML file with more nodes, or more levels, than any config has. Each alias counts as what it stands for.

    Raises:
        InputError: there are more than ``NODES`` nodes (or an alias contains itself), or more than ``LEVELS`` levels.
    """
    import yaml

    try:
        nodes, levels = _size(yaml.compose(file.read_text(encoding="utf-8", errors="replace"), yaml.SafeLoader), {})
    except yaml.YAMLError:
        return  # whoever reads the file reports it
    except RecursionError:
        nodes, levels = 0, LEVELS + 1
    if nodes > NODES:
        raise InputError(f"{file}: its aliases stand for more than {NODES:,} nodes, or for themselves; write it without aliases")
    if levels > LEVELS:
        raise InputError(f"{file}: has more than {LEVELS} levels of lists and keys within each other; write it with fewer")


def check_times(file: Path, texts: Collection[str] = ()) -> None:
    """Refuse a YAML file with a time that is no text: ``1:30`` is the number 90 to YAML 1.1.

    Args:
        file: the file.
        texts: keys whose values are taken letter by letter.

    Raises:
        InputError: naming each of them.
    """
    text = file.read_text(encoding="utf-8", errors="replace")
    if not re.search(r"\d:\d", text):
        return
    import yaml

    try:
        found = dict.fromkeys(_times(yaml.compose(text, yaml.SafeLoader), texts))
    except yaml.YAMLError:
        return  # whoever reads the file reports it
    raise_all([f"{file}: {time} is the number {yaml.safe_load(time)} to YAML; write '{time}'" for time in found])


def _times(node: Any, texts: Collection[str]) -> Iterator[str]:
    """The times below ``node``, but for those under the keys ``texts``."""
    if isinstance(getattr(node, "value", None), str):
        if ":" in node.value and node.tag == "tag:yaml.org,2002:int":
            yield node.value
        return
    for child in node.value if node is not None else ():
        if not isinstance(child, tuple):
            yield from _times(child, texts)
        elif child[0].value not in texts:
            yield from _times(child[1], texts)


def _size(node: Any, known: dict[int, tuple[int, int]]) -> tuple[int, int]:
    """The number of nodes and of levels from ``node`` downwards (itself included) when every alias is written out."""
    if id(node) not in known:
        known[id(node)] = NODES, 1  # while it is counted: an alias of itself
        children = node.value if isinstance(getattr(node, "value", None), list) else []
        sizes = [_size(part, known) for child in children for part in (child if isinstance(child, tuple) else (child,))]
        known[id(node)] = 1 + sum(nodes for nodes, _ in sizes), 1 + max((levels for _, levels in sizes), default=0)
    return known[id(node)]


def _files(group: str) -> Iterator[Path]:
    if re.fullmatch(r"\w+", group):
        for folder in folders():
            yield from (folder / group).glob("*.yaml")


def _header(file: Path) -> Iterator[str]:
    with file.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            if not line.startswith("#"):
                return
            text = "".join(filter(str.isprintable, line[1:].removeprefix(" ").rstrip()))  # no escape sequences
            if text and not text.startswith("@package"):
                yield text


@cache
def loader() -> Any:
    """YAML's safe loader with the floats of YAML 1.2, and dates left as text, as in OmegaConf."""
    import yaml

    class Loader(yaml.SafeLoader):
        yaml_implicit_resolvers = {  # noqa: RUF012 - the attribute through which PyYAML is configured
            first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith((":float", ":timestamp"))]
            for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
        }

    Loader.add_implicit_resolver("tag:yaml.org,2002:float", NUMBER, list("-+0123456789."))
    return Loader
