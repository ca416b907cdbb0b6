"""``dlrun doctor``: check that what is kept is what was written."""

from collections.abc import Sequence

from dlrun.cli.stored import split
from dlrun.errors import InputError, StoreError, plural, printable
from dlrun.results import claims, database
from dlrun.results.store import Store
from dlrun.results.sweeps import Sweep, sweep_folders

USAGE = """\
usage: dlrun doctor store [--release] [output_dir=PATH]

Checks the database, every run with all that belongs to it, and every sweep; a line for each problem. --release gives up what
processes of other computers claim to be training: type it when they are gone.

Examples:
  dlrun doctor store
  dlrun doctor store --release
"""


def run(words: Sequence[str]) -> int:
    """Check the store. Returns the exit code: 1 when there is a problem."""
    store, rest, flags = split(words, "doctor", switches=("--release",))
    if rest != ["store"]:
        raise InputError(f"doctor {' '.join(rest)}".rstrip() + ": takes store; type dlrun doctor store")
    if "--release" in flags:
        with store.writing() as runs:
            print(f"claims of {plural(claims.release(runs.connection), 'process', 'processes')} released")
    found = _problems(store)
    for line in found:
        print(printable(line))
    print(f"{store.path}: {plural(len(found), 'problem')}" if found else f"{store.path}: all is well")
    return 1 if found else 0


def _problems(store: Store) -> list[str]:
    found = database.problems(store.root)
    try:
        store.records(complain=found.append, whole=True)
        for folder in sweep_folders(store):
            try:
                Sweep.open(folder)
            except StoreError as error:
                found += error.problems
        with store.reading() as runs:
            if runs is not None:
                found += [
                    f"{path}: belongs to no run; the next command that trains removes it" for path in runs.blobs.stray_files()
                ]
    except StoreError as error:
        found += [line for line in error.problems if line not in found]
    return found
