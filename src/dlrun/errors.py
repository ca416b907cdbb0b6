"""What can go wrong, and the exit code that tells it.

    DlrunError                     1
    |- InputError                  2   a config, a file or a command line that cannot work
    |  |- MismatchError            2   components that do not fit together (allow_mismatch=true measures some of them)
    |  `- DataError                2   a dataset that cannot be read or split
    |- RunError                    1   a run failed while it trained
    |- GateError                   3   a gate said no: the figures are there, and they are not good enough
    `- StoreError                  2   the output folder cannot be written or read

Every message says what was received, what is allowed and what to type instead.
"""

from collections.abc import Iterable, Sequence
from difflib import get_close_matches


class DlrunError(Exception):
    """The root: everything that dlrun raises on purpose. ``exit_code`` is what the process returns."""

    exit_code = 1


class InputError(DlrunError):
    """Bad input. ``problems`` holds every problem found, one line each, so that all can be mended at once."""

    exit_code = 2

    def __init__(self, *problems: str) -> None:
        self.problems: tuple[str, ...] = problems
        super().__init__("\n".join(problems))


class MismatchError(InputError):
    """Components that do not fit together, such as a softmax head before cross_entropy."""


class DataError(InputError):
    """A dataset that cannot be read, parsed or split."""


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
    match = get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f"; did you mean '{match[0]}'?" if match else ""
