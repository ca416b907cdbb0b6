"""What can go wrong, and the exit code that tells it.

    DlrunError                     1
    |- InputError                  2   a config, a file or a command line that cannot work
    |  |- MismatchError            2   components that do not fit together (allow_mismatch=true measures some of them)
    |  |- DataError                2   a dataset that cannot be read or split
    |  `- UnusableError            2   a component, a data file or an option's file that fails; a sweep trains its other runs
    |- RunError                    1   a run failed while it trained
    |- GateError                   3   a gate said no: the figures are there, and they are not good enough
    `- StoreError                  2   the output folder cannot be written or read

Every message says what was received, what is allowed and what to type instead.
"""

import os
import re
from collections.abc import Iterable, Sequence
from difflib import SequenceMatcher, get_close_matches
from typing import Any

# C0 and C1 controls, marks that change the direction of writing, line and paragraph separators, halves of surrogate pairs
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


class DlrunError(Exception):
    """The root: everything that dlrun raises on purpose. ``exit_code`` is what the process returns."""

    exit_code = 1


class InputError(DlrunError):
    """Bad input. ``problems`` holds every problem found, one line each, so that all can be mended at once."""

    exit_code = 2

    def __init__(self, *problems: str) -> None:
        self.problems: tuple[str, ...] = problems
        super().__init__("\n".join(problems))

    def __reduce__(self) -> Any:  # from another process it comes with its problems, not with the text of all
        return type(self), self.problems


class MismatchError(InputError):
    """Components that do not fit together, such as a softmax head before cross_entropy."""


class DataError(InputError):
    """A dataset that cannot be read, parsed or split."""


class UnusableError(InputError):
    """Something that a run names cannot be used: a component fails its check, a file cannot be read. Other runs can train."""


class RunError(DlrunError):
    """A run that could not be built or failed while it trained."""


class GateError(DlrunError):
    """A check that was asked for did not hold."""

    exit_code = 3


class StoreError(InputError):
    """The output folder cannot be written, or what lies there cannot be read."""


def raise_all(problems: Sequence[str], error: type[InputError] = InputError) -> None:
    """Raise ``error`` with every problem in ``problems``; do nothing when there are none."""
    if problems:
        raise error(*problems)


def nearest(word: str, known: Iterable[str]) -> str:
    """``"; did you mean 'adam'?"`` for the known name closest to ``word``, or an empty string."""
    match = closest(word, known)
    return f"; did you mean '{match}'?" if match is not None else ""


def closest(word: str, known: Iterable[str]) -> str | None:
    """The known name closest to ``word``, if one is close. Case and ``_`` say little."""
    names = {_bare(name): name for name in known}
    typed = _bare(word)
    matches = get_close_matches(typed, list(names), n=5, cutoff=0.5)
    match = max(matches, key=lambda name: _likeness(typed, name), default=None)
    return None if match is None else names[match]


def plural(count: int, one: str, many: str = "") -> str:
    """``1 run``, ``2 runs``, ``1,000 runs``."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def printable(text: str) -> str:
    r"""``text`` for a terminal or a log: control characters are spelled out (``\x1b``), so that none of them acts.

    Text that comes from data, from results or from a received config goes through it before it is printed.
    """
    return _CONTROL.sub(lambda match: ascii(match[0])[1:-1], text)


def _bare(name: str) -> str:
    return name.lower().replace("_", "").replace("-", "")


def _likeness(word: str, other: str) -> float:
    """How alike two names are; letters that have changed places count half, since that is a common slip."""
    return SequenceMatcher(None, word, other).ratio() + SequenceMatcher(None, sorted(word), sorted(other)).ratio()


def check_working_folder() -> None:
    """Raise a StoreError where the working folder was removed: libraries that torch loads end the process there."""
    try:
        os.getcwd()
    except OSError as error:
        raise StoreError("the working folder is not there any more; type cd and a folder that is") from error


def of_system(error: OSError) -> DlrunError:
    """What the system refused, in one line: which file or folder, and why."""
    try:
        check_working_folder()
    except StoreError as gone:
        return gone
    where = error.filename if isinstance(error.filename, str | bytes) else ""
    reason = error.strerror or str(error)
    return StoreError(f"{os.fsdecode(where)}: cannot be used ({reason})" if where else reason)
