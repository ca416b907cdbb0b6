"""``dlrun doctor``: check that dlrun works here, and that what is kept is what was written."""

import os
import platform
import shutil
from collections.abc import Callable, Sequence
from importlib import metadata
from typing import Any

from dlrun import __version__
from dlrun.cli.stored import JSON, split
from dlrun.cli.terminal.screen import show_json
from dlrun.errors import InputError, StoreError, plural, printable
from dlrun.native.load import described
from dlrun.results import claims, database
from dlrun.results.store import Store
from dlrun.results.sweeps import Sweep, sweep_folders

USAGE = """\
usage: dlrun doctor [store] [--release] [--json] [output_dir=PATH]

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


Content = dict[str, Any]
Say = Callable[[str], None]


def run(words: Sequence[str]) -> int:
    """Check. Returns the exit code: 1 when there is a problem."""
    store, rest, flags = split(words, "doctor", switches=("--release", JSON))
    if rest not in ([], ["store"]):
        raise InputError(f"doctor {' '.join(rest)}".rstrip() + ": takes store, or nothing; type dlrun doctor")
    say: Say = (lambda _: None) if JSON in flags else print
    found: Content = {}
    if "--release" in flags:
        with store.writing() as runs:
            found["released"] = claims.release(runs.connection)
        say(f"claims of {plural(found['released'], 'process', 'processes')} released")
    if not rest:
        found["installation"] = _installation(store, say)
    found["store"] = _store(store, say)
    found["well"] = all(part["well"] for part in found.values() if isinstance(part, dict))
    if JSON in flags:
        show_json(found)
    return 0 if found["well"] else 1


def _store(store: Store, say: Say) -> Content:
    found = _problems(store)
    for line in found:
        say(printable(line))
    say(f"{store.path}: {plural(len(found), 'problem')}" if found else f"{store.path}: all is well")
    return {"path": str(store.path), "problems": found, "well": not found}


def _installation(store: Store, say: Say) -> Content:
    """What there is here, as it is found out."""
    from dlrun.cli.terminal.screen import waiting

    system, versions = f"{platform.system()} {platform.machine()}", {name: metadata.version(name) for name in LIBRARIES}
    say(f"dlrun {__version__}, Python {platform.python_version()}, {system}")
    say(", ".join(f"{name} {version}" for name, version in versions.items()))
    with waiting("loading torch"):
        import torch

        from dlrun import memory
        from dlrun.experiments.self_test import self_test
    way = described()
    say(f"trains with {way}")
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    unused, machine = memory.free_bytes(), memory.machine_bytes()
    of_memory = f"{memory.gigabytes(unused)} of {memory.gigabytes(machine)} memory free"
    say(f"{plural(cores, 'core')}, {of_memory}, {f'GPU {gpu}' if gpu else 'no GPU'}")
    extras = _extras()
    for name, lacking in extras.items():
        lacks = f"lacks {', '.join(lacking)}; pip install 'dlrun[{name}]'"
        say(f"extra {name}: {lacks if lacking else 'installed'}")
    folder = next(path for path in (store.root.absolute(), *store.root.absolute().parents) if path.exists())
    free = shutil.disk_usage(folder).free
    full = free < LEAST_DISK
    much = ": too little for a sweep; output_dir=PATH takes another disk" if full else ""
    say(f"{folder}: {memory.gigabytes(free)} free{much}")
    tested = self_test()
    digits = "to the bit" if tested.exact else "to four digits"
    wrong = f"has other figures than it must (validation loss {tested.loss:.6g})"
    say(f"self-test by {tested.way}: {f'has the known figures, {digits}' if tested.works else wrong}")
    return {
        "versions": {"dlrun": __version__, "python": platform.python_version(), **versions},
        "system": system,
        "trains_with": way,
        "gpu": gpu,
        "cores": cores,
        "memory": {"free_bytes": unused, "bytes": machine},
        "extras": {name: {"installed": not lacking, "lacks": lacking} for name, lacking in extras.items()},
        "disk": {"folder": str(folder), "free_bytes": free, "enough": not full},
        "self_test": {"way": tested.way, "exact": tested.exact, "works": tested.works},
        "well": not full and tested.works,
    }


def _extras() -> dict[str, list[str]]:
    """What each extra needs that is not installed."""
    from packaging.requirements import Requirement

    lacking: dict[str, list[str]] = {
        name: [] for name in metadata.metadata("dlrun").get_all("Provides-Extra") or () if name != "dev"
    }
    for requirement in map(Requirement, metadata.requires("dlrun") or ()):
        for name, libraries in lacking.items():
            if requirement.marker is not None and requirement.marker.evaluate({"extra": name}):
                libraries += [] if _is_installed(requirement.name) else [requirement.name]
    return lacking


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
