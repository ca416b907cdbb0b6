"""``dlrun note``: write a note on a run."""

from collections.abc import Sequence

from dlrun.cli.stored import split
from dlrun.errors import InputError
from dlrun.results.find import one

USAGE = """\
usage: dlrun note RUN TEXT [output_dir=PATH]

Keeps a note with a run, in place of any it had; an empty text removes it. RUN is an id or its beginning. dlrun runs shows notes.

Examples:
  dlrun note 8bc176b3 "the one in the talk"
"""


def run(words: Sequence[str]) -> int:
    """Set the note of a run. Returns the exit code."""
    store, rest, _ = split(words, "note")
    if len(rest) != 2:
        raise InputError('note: takes a run and a text, such as dlrun note 8bc176b3 "the one in the talk"')
    store.annotate(one(store, rest[0]).id, rest[1])
    return 0
