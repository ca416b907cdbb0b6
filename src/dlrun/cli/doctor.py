"""``dlrun doctor``: check that dlrun works here, and that what is kept is what was written."""

import os
import platform
import shutil
from collections.abc import Iterator, Sequence
from importlib import metadata

from dlrun import __version__
from dlrun.cli.stored import split
from dlrun.errors import InputError, StoreError, plural, printable
from dlrun.native.load import described
from dlrun.results import claims, database
from dlrun.results.store import Store
from dlrun.results.sweeps import Sweep, sweep_folders

USAGE = """\
usage: dlrun doctor [store] [--release] [output_dir=PATH]

Checks that dlrun works here: versions, what trains, the device, extras and how to install them, disk space, a run of a second
whose figures are known, and the store. With the word store that alone: the database, every run with all that belongs to it, and
every sweep. A line for each problem; exit code 1 when there is one. --release gives up what processes of other computers claim to
be training: type it when they are gone.

Examples:
  dlrun doctor
  dlrun doctor store
  dlrun doctor store --release
"""
LIBRARIES = ("torch", "hydra-core", "numpy", "scipy", "scikit-learn", "pandas")
LEAST_DISK = 1 << 28  # bytes; a sweep of some thousand runs


def run(words: Sequence[str]) -> int:
    """Check. Returns the exit code: 1 when there is a problem."""
    store, rest, flags = split(words, "doctor", switches=("--release",))
    if rest not in ([], ["store"]):
        raise InputError(f"doctor {' '.join(rest)}".rstrip() + ": takes store, or nothing; type dlrun doctor")
    if "--release" in flags:
        with store.writing() as runs:
            print(f"claims of {plural(claims.release(runs.connection), 'process', 'processes')} released")
    return max(0 if rest else _installation(store), _store(store))


def _store(store: Store) -> int:
    found = _problems(store)
    for line in found:
        print(printable(line))
    print(f"{store.path}: {plural(len(found), 'problem')}" if found else f"{store.path}: all is well")
    return 1 if found else 0


def _installation(store: Store) -> int:
    """Print what there is here. Returns 1 when something does not work."""
    from dlrun.cli.terminal.screen import waiting

    print(f"dlrun {__version__}, Python {platform.python_version()}, {platform.system()} {platform.machine()}")
    print(", ".join(f"{name} {metadata.version(name)}" for name in LIBRARIES))
    with waiting("loading torch"):
        import torch

        from dlrun import memory
        from dlrun.experiments.self_test import self_test
    print(f"trains with {described()}")
    gpu = f", GPU {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ", no GPU"
    cores = plural(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1, "core")
    print(f"{cores}, {memory.gigabytes(memory.free_bytes())} of {memory.gigabytes(memory.machine_bytes())} memory free{gpu}")
    for line in _extras():
        print(line)
    folder = next(path for path in (store.root.absolute(), *store.root.absolute().parents) if path.exists())
    free = shutil.disk_usage(folder).free
    full = free < LEAST_DISK
    print(
        f"{folder}: {memory.gigabytes(free)} free"
        + (": too little for a sweep; output_dir=PATH takes another disk" if full else "")
    )
    tested = self_test()
    digits = "to the bit" if tested.exact else "to four digits"
    said = (
        f"has the known figures, {digits}"
        if tested.works
        else f"has other figures than it must (validation loss {tested.loss:.6g})"
    )
    print(f"self-test by {tested.way}: {said}")
    return int(full or not tested.works)


def _extras() -> Iterator[str]:
    """A line for each extra: whether all that it needs is installed, and how to install it."""
    from packaging.requirements import Requirement

    needed: dict[str, list[str]] = {
        name: [] for name in metadata.metadata("dlrun").get_all("Provides-Extra") or () if name != "dev"
    }
    for requirement in map(Requirement, metadata.requires("dlrun") or ()):
        for name, libraries in needed.items():
            if requirement.marker is not None and requirement.marker.evaluate({"extra": name}):
                libraries.append(requirement.name)
    for name, libraries in needed.items():
        lacking = [library for library in libraries if not _is_installed(library)]
        yield f"extra {name}: " + (f"lacks {', '.join(lacking)}; pip install 'dlrun[{name}]'" if lacking else "installed")


def _is_installed(library: str) -> bool:
    try:
        metadata.version(library)
    except metadata.PackageNotFoundError:
        return False
    return True


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
