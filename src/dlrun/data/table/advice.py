"""What a user may type instead: settings as they are typed in a shell, whatever is in the names and marks that they hold.

dataset.target=price                       a plain word
'dataset.target="1.10"'                    quoted for Hydra, and then for the shell
'dataset.drop=["two words",it]'            a list of both
"""

import re
import shlex
from collections.abc import Sequence

from dlrun.data.table.values.amounts import number
from dlrun.data.table.values.cells import text_of, truth
from dlrun.errors import closest, printable

_LONGEST_MARK = 40
_SEVERAL = ("columns", "drop", "categorical", "missing")  # keys that take a list
_WORD = re.compile(r"[a-z_][\w-]*", re.ASCII | re.IGNORECASE)
_READ = ("null", "true", "false", "nan", "inf", "infinity")  # words that Hydra reads as something else than text


def naming(key: str, *names: str, several: bool = False) -> str:
    """The setting ``dataset.key`` with these names of columns, as it is typed in a shell: ``dataset.drop=[id]``.

    A name that cannot be typed, such as one with a line break, is shown with its control characters spelled out.

    Args:
        several: whether the setting is a list even where it holds one name.
    """
    items = [name if _is_plain(name) else f'"{_escaped(name)}"' for name in names]
    several = several or len(items) != 1
    line = f"dataset.{key}=[{','.join(items)}]" if several else f"dataset.{key}={items[0]}"
    return line if all(map(_is_plain, names)) else shlex.quote(line)


def meant(key: str, name: str, names: Sequence[str]) -> str:
    """``"; type dataset.key=NAME"`` for that of ``names`` which may be meant; an empty text where none may.

    A name that is the same number is meant rather than one that is spelled nearly alike.
    """
    value = number(name)
    alike = [other for other in names if value is not None and number(other) == value]
    plain = [other for other in alike if other == text_of(value)]
    near = next(iter([*plain, *alike]), None) or closest(name, names)
    return f"; type {naming(key, near, several=key in _SEVERAL)}" if near is not None else ""


def _is_plain(name: str) -> bool:
    return _WORD.fullmatch(name) is not None and name.lower() not in _READ


def _escaped(name: str) -> str:
    """A text as it stands between double quotes in Hydra's grammar, its interpolations taken literally."""
    plain = printable(name)
    return re.sub(r'(\\*)("|\Z)', lambda found: found[1] * 2 + (found[2] and f"\\{found[2]}"), plain)


def setting(key: str, mark: str) -> str:
    """A setting of the dataset whose value is a punctuation mark, as it is typed in a shell."""
    if mark == "'":
        return f'"dataset.{key}=\\"\'\\""'
    return f"dataset.{key}=." if mark == "." else f"'dataset.{key}=\"{mark}\"'"


def marking(texts: Sequence[str]) -> str:
    """The setting by which these texts mean a missing value, as it is typed in a shell; an empty text if that takes escapes."""
    if any(not text.isprintable() or len(text) > _LONGEST_MARK or set(text) & set('"\\$') for text in texts):
        return ""
    plain = all(_WORD.fullmatch(text) and truth(text) is None for text in texts)
    items = texts if plain else [f'"{text}"' for text in texts]
    line = f"dataset.missing=[{','.join(items)}]"
    return line if plain else shlex.quote(line)
