"""Words that are no ``key=value``: what they may have been meant for."""

import re
import shlex
from collections.abc import Callable, Sequence

from dlrun import registry
from dlrun.errors import nearest

_SWEEPS = ("multirun", "sweep", "multi-run", "multi_run")
_QUOTES = dict.fromkeys("“”„‟″＂«»", '"') | dict.fromkeys("‘’‚‛′", "'")
_PASTED = str.maketrans(
    _QUOTES | dict.fromkeys("‐‑‒–—―−", "-") | dict.fromkeys("，", ",") | {"＝": "=", "：": ":", "…": "...", "\u00a0": " "}
    | dict.fromkeys("\u200b\u200c\u200d\ufeff\u2060", "")
)  # fmt: skip


def plain_characters(word: str) -> str:
    """A word with the quotes, dashes and spaces of a text processor replaced by those of a keyboard."""
    return word.translate(_PASTED)


def repaired(word: str, parses: Callable[[str], bool]) -> tuple[str, str]:
    """What is wrong with a word that is not in the grammar, and the word to type; empty strings where that is not known.

    Args:
        word: the word.
        parses: whether another one is in the grammar.
    """
    key, _, value = word.partition("=")
    typed = plain_characters(word)
    if typed != word:
        words = [typed, typed.strip("\"'"), typed.replace('"', "").replace("'", "")]
        if known := next((each for each in words if parses(each)), ""):
            return "holds quotes, dashes or spaces of a text processor", known
    for wrong, mended in (
        ("ends with a comma", value.rstrip(", ")),
        ("has a comma too many", re.sub(r",(\s*,)+", ",", value.strip(", "))),
        ("has an equals sign too many", value.lstrip("=")),
        ("has a quote without its other half", value.replace('"', "").replace("'", "")),
    ):
        if mended and mended != value and parses(f"{key}={mended}"):
            return wrong, f"{key}={mended}"
    if (closing := _unclosed(value)) and parses(f"{word}{closing}"):
        return "has a bracket without its other half", f"{word}{closing}"
    quoted = f'{key}="{value}"'
    if re.fullmatch(r"[+]{0,2}[\w.]+", key) and value[:1] not in ("", "=", "[", "{", '"', "'") and '"' not in value:
        return "", quoted if parses(quoted) else ""
    return "", ""


def _unclosed(value: str) -> str:
    """The brackets that would close those that are open; nothing when they do not match."""
    pairs, open_ones = {"[": "]", "{": "}", "(": ")"}, []
    for character in value:
        if character in pairs:
            open_ones.append(pairs[character])
        elif character in pairs.values() and (not open_ones or open_ones.pop() != character):
            return ""
    return "".join(reversed(open_ones))


def stray(word: str, rest: list[str], verbs: Sequence[str] = (), before: str = "") -> str:
    """What is wrong with a word that is no setting, and what to type.

    Args:
        word: the word.
        rest: what follows; the next is taken from it when the word names a key.
        verbs: words that the line could have begun with.
        before: the setting before it.
    """
    typed = plain_characters(word)
    if typed != word and typed.startswith("-"):
        return f"{word}: begins with a dash of a text processor; type {typed}"
    if word.lower() in _SWEEPS:
        return f"{word}: a sweep is asked for with a flag; type dlrun -m, then the settings"
    if typed != word and "=" in typed:
        return f"{word}: holds characters of a text processor; type {shlex.quote(typed)}"
    if ":" in word and "=" not in word and _is_key(word.partition(":")[0]):
        key, _, value = word.partition(":")
        return f"{word}: a setting is written key=value; type {key}={value or _next(rest)}"
    if _is_key(word):
        return f"{word}: a setting is written key=value; type {word}={_next(rest)}"
    group, equals, value = before.partition("=")
    if equals and word in registry.options(group):
        return f"{word}: values of a sweep are joined by commas; type -m {group}={value.rstrip(',')},{word}"
    groups = [group for group in registry.groups() if word in registry.options(group)]
    if registry.CLAIM in groups and len(groups) == 1:
        return f"{word}: is the name of a claim; type dlrun claims {word}"
    groups = [group for group in groups if group != registry.CLAIM]
    if groups:
        ways = [shlex.quote(f"{group}=[{word}]") if registry.is_set(group) else f"{group}={word}" for group in groups]
        return f"{word}: a setting is written key=value; type {' or '.join(ways)}"
    known = [name for group in registry.groups() for name in registry.options(group)]
    if verbs:
        hint = nearest(word, [*verbs, *registry.groups()]) or nearest(word, known)
        return f"{word}: no such verb; the verbs are {', '.join(verbs)}, and a setting is written key=value{hint}"
    return f"{word}: a setting is written key=value, and a verb comes first{nearest(word, known)}"


def _is_key(word: str) -> bool:
    """Whether it is a key of the config, or begins like one."""
    group, dot, _ = word.partition(".")
    return group in registry.groups() if dot else word in (*registry.groups(), *registry.root_keys())


def _next(rest: list[str]) -> str:
    return rest.pop(0) if rest and "=" not in rest[0] and not rest[0].startswith("-") else "NAME"
