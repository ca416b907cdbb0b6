"""How far the kernel's functions are from their exact values, over all 2^32 floats: python tests/floats.py [NAME ...]

Prints the table of docs/engine.md in a quarter of an hour. Exact is what libm has in double precision, whose error is about 2^-29
of a float's last place. Denormals are zeros, as where the kernel trains.
"""

import ctypes
import os
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

import torch

from dlrun.native import build

SOURCE = Path(__file__).parent / "native" / "functions.c"


def compiled(folder: Path) -> ctypes.CDLL | None:
    """functions.c as a library; None where there is no kernel for this machine."""
    compiler, processors = build.compiler(), build.PROCESSORS.get(build.machine())
    if compiler is None or processors is None:
        return None
    library = folder / "functions.so"
    command = [compiler, *build.FLAGS, f"-march={processors[-1]}", f"-I{build.HERE}", "-shared", str(SOURCE), "-lm"]
    subprocess.run([*command, "-o", str(library)], check=True)
    found = ctypes.CDLL(os.fspath(library))
    found.worst_error.restype, found.function_name.restype = ctypes.c_double, ctypes.c_char_p
    return found


def names(functions: ctypes.CDLL) -> list[str]:
    """The functions, in the order of their numbers."""
    found = []
    while (name := functions.function_name(len(found))) is not None:
        found.append(name.decode())
    return found


def worst(functions: ctypes.CDLL, name: str, step: int = 1, first: int = 0, last: int = 1 << 32) -> tuple[float, float]:
    """The largest error over every ``step``th float, by their bits, in units in the last place, and the float where it is."""
    at = ctypes.c_float()
    bits = (ctypes.c_uint64(each) for each in (first + step // 2, last, step))
    return functions.worst_error(names(functions).index(name), *bits, ctypes.byref(at)), at.value


def near(value: float, count: int = 1 << 13) -> tuple[int, int]:
    """The bits of the first and behind the last of the floats around one."""
    (bits,) = struct.unpack("<I", struct.pack("<f", value))
    return max(bits - count, 0), min(bits + count, 1 << 32)


if __name__ == "__main__":
    torch.set_flush_denormal(True)
    with tempfile.TemporaryDirectory() as folder:
        functions = compiled(Path(folder))
    if functions is None:
        raise SystemExit("there is no kernel for this machine")
    print("| function | largest error, in units in the last place | at |\n|---|---:|---:|")
    for name in sys.argv[1:] or names(functions):
        error, at = worst(functions, name)
        print(f"| {name} | {error:.2f} | {at:.9g} |", flush=True)
