"""The command lines of verbs that look after the store: words, flags and output_dir=PATH."""

from collections.abc import Sequence

from dlrun.errors import InputError, nearest
from dlrun.results.store import Store


def split(
    words: Sequence[str], verb: str, *, valued: Sequence[str] = (), switches: Sequence[str] = ()
) -> tuple[Store, list[str], dict[str, str]]:
    """The store that is meant, the words that are no flags, and the flags with their values.

    Raises:
        InputError: a flag that the verb does not know, or one without its value.
    """
    rest, others = list(words), []
    flags: dict[str, str] = {}
    folder = None
    while rest:
        word = rest.pop(0)
        name, equals, value = word.partition("=")
        if name == "output_dir":
            folder = value
        elif not word.startswith("-"):
            others.append(word)
        elif name in valued and (equals or rest):
            value = value if equals else rest.pop(0)
            flags[name] = f"{flags[name]},{value}" if name in flags else value  # --by a --by b
        elif word in switches:
            flags[word] = ""
        else:
            known = (*valued, *switches)
            takes = f"takes {', '.join(known)} and output_dir=PATH" if known else "takes no flags but output_dir=PATH"
            raise InputError(f"{word}: dlrun {verb} {takes}{nearest(name, known)}")
    return Store.at(folder), others, flags
