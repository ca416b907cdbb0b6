"""Compiles the kernel: a shared library for each kind of processor that this machine may have.

    python -m dlrun.native.build        (which building the package does too, see hatch_build.py)

The kernel is C with vector extensions, which gcc and clang have. Without a compiler, or for another processor, there is no
library and everything trains on torch.
"""

import os
import platform
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from hashlib import sha256
from pathlib import Path

HERE = Path(__file__).parent
SOURCES = (HERE / "kernel.c", HERE / "pairs.c")

# No -ffast-math: rounding is part of what is promised. Fusing is written out in the source (see vector.h).
FLAGS = ("-std=gnu11", "-O3", "-fPIC", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math", "-Wall", "-Wno-psabi")
PROCESSORS = {"x86_64": ("x86-64-v4", "x86-64-v3"), "aarch64": ("armv8-a",)}  # by machine, what can do more first
MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}  # other names of the same
ZIG = {"x86-64-v4": "x86_64_v4", "x86-64-v3": "x86_64_v3", "armv8-a": "generic"}  # its names of processors


def machine() -> str:
    """What this machine is, as PROCESSORS has it."""
    name = platform.machine().lower()
    return MACHINES.get(name, name)


@cache
def version(name: str | None = None) -> str:
    """A name of the kernel of a machine, by default this one, that no other sources give. All processors have the same bits."""
    digest = sha256(repr(FLAGS).encode())
    for source in sorted(HERE.glob("*.[ch]")):
        digest.update(source.read_bytes())
    return f"kernel-{name or machine()}-{digest.hexdigest()[:12]}"


def libraries(name: str | None = None, folder: Path = HERE) -> dict[str, Path]:
    """Where the libraries for a machine lie, by processor."""
    return {processor: folder / f"{version(name)}-{processor}.so" for processor in PROCESSORS.get(name or machine(), ())}


def compiler() -> str | None:
    """The C compiler: the one that the environment variable CC names, else clang or gcc; None without one."""
    named = os.environ.get("CC")
    return next(filter(None, map(shutil.which, [named] if named else ["clang", "gcc", "cc"])), None)


def build(folder: Path = HERE) -> list[Path]:
    """Compile the kernel for this machine: where the libraries lie, none where there is no compiler for it.

    Args:
        folder: where to put those that are not there already. Where the package lies, those of other sources are removed.

    Raises:
        subprocess.CalledProcessError: the compiler refuses the source; what it says is in ``stderr``.
    """
    found, wanted = compiler(), libraries(folder=folder)
    if found is None or not wanted or sys.platform == "win32":
        return []
    missing = {place: [found, *FLAGS, f"-march={processor}"] for processor, place in wanted.items() if not place.exists()}
    _compile(missing)
    if folder == HERE:
        for other in set(HERE.glob("kernel-*.so")) - {*wanted.values()}:
            other.unlink(missing_ok=True)
    return [*wanted.values()]


def cross(name: str, glibc: str, python: str = sys.executable) -> list[Path]:
    """Compile the kernel for Linux on ``x86_64`` or ``aarch64``, for that glibc and newer ones: where the libraries lie.

    Args:
        python: of an environment in which the package ziglang is.

    Raises:
        subprocess.CalledProcessError: ziglang is not there, or refuses the source; what it says is in ``stderr``.
    """
    zig = [python, "-m", "ziglang", "cc", "-target", f"{name}-linux-gnu.{glibc}", "-s", *FLAGS]
    wanted = libraries(name)
    _compile({place: [*zig, f"-mcpu={ZIG[processor]}"] for processor, place in wanted.items()})
    return [*wanted.values()]


def _compile(commands: dict[Path, list[str]]) -> None:
    """Compile libraries side by side."""

    def compile_one(place: Path, command: list[str]) -> None:
        beside = place.with_suffix(f".{os.getpid()}")  # so that nobody loads half a library
        subprocess.run([*command, "-shared", *map(str, SOURCES), "-o", str(beside)], check=True, capture_output=True)
        beside.replace(place)

    with ThreadPoolExecutor() as pool:
        list(pool.map(compile_one, commands.keys(), commands.values()))


if __name__ == "__main__":
    print("\n".join(map(str, build())) or "no C compiler for this machine: everything trains on torch")
