"""The command lines of verbs that look after the store: words, flags and output_dir=PATH."""

from collections.abc import Mapping, Sequence

from dlrun.cli.arguments import JSON
from dlrun.errors import InputError, nearest
from dlrun.results.store import Store

__all__ = ["JSON", "flags_of", "format_of", "split"]


def split(
    words: Sequence[str], verb: str, *, valued: Sequence[str] = (), switches: Sequence[str] = (), lists: Sequence[str] = ()
) -> tuple[Store, list[str], dict[str, str]]:
    """The store that is meant, the words that are no flags, and the flags with their values.

    Args:
        valued: flags that take a value; of one that is given twice the last one counts.
        switches: flags without one.
        lists: those of ``valued`` whose values are put together with commas when they are given twice.

    Raises:
        InputError: a flag that the verb does not know, or one without its value.
    """
    rest, flags = flags_of(words, valued=valued, switches=switches, lists=lists)
    others, folder = [], None
    for word in rest:
        name, _, value = word.partition("=")
        if name == "output_dir":
            folder = value
        elif not word.startswith("-"):
            others.append(word)
        else:
            known = (*valued, *switches)
            takes = f"takes {', '.join(known)} and output_dir=PATH" if known else "takes no flags but output_dir=PATH"
            raise InputError(f"{word}: dlrun {verb} {takes}{nearest(name, known)}")
    return Store.at(folder), others, flags


def format_of(flags: Mapping[str, str], known: Sequence[str]) -> str:
    """The value of ``--format``, for which ``--json`` stands too; the first one when it is not given.

    Raises:
        InputError: there is no such format, or two are asked for.
    """
    form = flags.get("--format", "json" if JSON in flags else known[0])
    if form not in known:
        raise InputError(f"--format {form}: takes one of {', '.join(known)}{nearest(form, known)}")
    if JSON in flags and form != "json":
        raise InputError(f"--format {form} {JSON}: only one of these at a time")
    return form


def flags_of(
    words: Sequence[str], *, valued: Sequence[str], switches: Sequence[str] = (), lists: Sequence[str] = ()
) -> tuple[list[str], dict[str, str]]:
    """The other words in their order, and the flags with their values; see ``split``.

    Raises:
        InputError: a flag without its value.
    """
    rest, others = list(words), []
    flags: dict[str, str] = {}
    while rest:
        word = rest.pop(0)
        name, equals, value = word.partition("=")
        if name in valued:
            if not equals and (not rest or rest[0].startswith("--")):
                raise InputError(f"{name}: takes a value")
            value = value if equals else rest.pop(0)
            flags[name] = f"{flags[name]},{value}" if name in lists and name in flags else value
        elif word in switches:
            flags[word] = ""
        else:
            others.append(word)
    return others, flags
