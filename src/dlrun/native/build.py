"""Compiles the kernel: one shared library for the processor that it is built on.

    python -m dlrun.native.build        (which building the package does too, see hatch_build.py)

The kernel is C with vector extensions, which gcc and clang have. Without a compiler, or for another processor, there is no
library and everything trains on torch.
"""

import os
import platform
import shutil
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

HERE = Path(__file__).parent
SOURCE = HERE / "kernel.c"

# No -ffast-math: rounding is part of what is promised. Fusing is written out in the source (see vector.h).
FLAGS = ("-std=gnu11", "-O3", "-fPIC", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math", "-Wall", "-Wno-psabi")
MACHINES = {"x86_64": "-march=x86-64-v3", "amd64": "-march=x86-64-v3", "aarch64": "-march=armv8-a", "arm64": "-march=armv8-a"}
ZIG = {"x86_64": "x86_64_v3", "aarch64": "generic"}  # its names of the same processors


def library(machine: str | None = None) -> Path:
    """Where the library of these sources lies for a machine, by default this one: a name that no other sources give."""
    digest = sha256(repr(FLAGS).encode())
    for source in sorted(HERE.glob("*.[ch]")):
        digest.update(source.read_bytes())
    return HERE / f"kernel-{(machine or platform.machine()).lower()}-{digest.hexdigest()[:12]}.so"


def compiler() -> str | None:
    """The C compiler: the one that the environment variable CC names, else clang or gcc; None without one."""
    named = os.environ.get("CC")
    return next(filter(None, map(shutil.which, [named] if named else ["clang", "gcc", "cc"])), None)


def build(*flags: str, to: Path | None = None) -> Path | None:
    """Compile the kernel for this machine: where the library lies, or None where there is no compiler for it.

    Args:
        flags: for the compiler, beside its own.
        to: where to put it. By default where ``library`` says, if it is not there already; those of other sources are removed.

    Raises:
        subprocess.CalledProcessError: the compiler refuses the source; what it says is in ``stderr``.
    """
    found, target = compiler(), MACHINES.get(platform.machine().lower())
    if found is None or target is None or sys.platform == "win32":
        return None
    place = to or library()
    if to is None and place.exists():
        return place
    _compile([found, *FLAGS, target, *flags], place)
    if to is None:
        for other in set(HERE.glob("kernel-*.so")) - {place}:
            other.unlink(missing_ok=True)
    return place


def cross(machine: str, glibc: str, python: str = sys.executable) -> Path:
    """Compile the kernel for Linux on ``x86_64`` or ``aarch64``, for that glibc and newer ones: where the library lies.

    Args:
        python: of an environment in which the package ziglang is.

    Raises:
        subprocess.CalledProcessError: ziglang is not there, or refuses the source; what it says is in ``stderr``.
    """
    zig = [python, "-m", "ziglang", "cc", "-target", f"{machine}-linux-gnu.{glibc}", f"-mcpu={ZIG[machine]}", "-s"]
    return _compile([*zig, *FLAGS], library(machine))


def _compile(command: list[str], place: Path) -> Path:
    beside = place.with_suffix(f".{os.getpid()}")  # so that nobody loads half a library
    subprocess.run([*command, "-shared", str(SOURCE), "-o", str(beside)], check=True, capture_output=True)
    return beside.replace(place)


if __name__ == "__main__":
    print(build() or "no C compiler for this machine: everything trains on torch")
