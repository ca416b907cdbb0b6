"""No test waits for a clock: one that does fails on a busy train_step, and is slow on an idle one.

A test waits for an event instead: a line that a process prints, a file that a component of the test's own writes, a pipe. It
measures work by the steps, the function calls (``work``) or the processor time of what it measures.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
ALLOWED = {  # file -> what it uses, and why that does not depend on how busy the machine is
    "faults/conftest.py": (
        {"time.sleep", "time.monotonic", "resource.getrusage"},
        "waiting for an event looks every 5 ms and gives up after ten minutes; processor time is the measure of a stop",
    ),
    "faults/test_kill.py": ({"time.process_time"}, "the processor time of a sweep says until when it can be killed"),
    "faults/test_signals.py": ({"time.sleep"}, "a component that hangs until it is stopped"),
    "data/test_data_files_large.py": ({"resource.getrusage"}, "memory is a promise, and is the process's own"),
    "data/test_data_files_sources.py": ({"time.sleep"}, "replaced by a function that returns at once"),
}
MODULES = {
    "time": "sleep time time_ns monotonic monotonic_ns perf_counter perf_counter_ns process_time process_time_ns thread_time",
    "os": "times wait3 wait4",
    "resource": "getrusage",
    "signal": "alarm setitimer sigtimedwait",
    "threading": "Timer",
    "asyncio": "sleep wait_for timeout",
    "timeit": "timeit repeat default_timer",
}
CLOCKS = {f"{module}.{name}" for module, names in MODULES.items() for name in names.split()}
NAMES = "|".join(re.escape(clock) for clock in sorted(CLOCKS))
SHORTEST = 300.0  # seconds: a process that hangs may be given up after minutes, never after seconds


def clocks(tree: ast.AST) -> Iterator[str]:
    """What a module uses that depends on a clock, in the texts of other programs too."""
    modules = {}  # what a name stands for
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            modules |= {alias.asname or alias.name: alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            yield from (name for alias in node.names if (name := f"{node.module}.{alias.name}") in CLOCKS)
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name | ast.Attribute):
            *_, module = ast.unparse(node.value).split(".")  # sweeps.time.sleep too
            if (name := f"{modules.get(module, module)}.{node.attr}") in CLOCKS:
                yield name
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield from re.findall(rf"\b(?:{NAMES})\b", node.value)
        elif isinstance(node, ast.keyword) and node.arg == "timeout" and is_short(node.value):
            yield f"timeout={ast.unparse(node.value)}"


def is_short(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, int | float) and node.value < SHORTEST


def test_no_test_waits_for_a_clock() -> None:
    found: dict[str, set[str]] = {}
    for path in sorted(TESTS.rglob("*.py")):
        if path != Path(__file__):
            used = set(clocks(ast.parse(path.read_text())))
            found |= {str(path.relative_to(TESTS)): used} if used else {}
    allowed = {file: used for file, (used, _) in ALLOWED.items()}
    assert {file: used - allowed.get(file, set()) for file, used in found.items() if not used <= allowed.get(file, set())} == {}
    assert {file: used - found.get(file, set()) for file, used in allowed.items() if not used <= found.get(file, set())} == {}


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("import time\ntime.sleep(1)", "time.sleep"),
        ("import time as clock\nassert clock.perf_counter() < 3", "time.perf_counter"),
        ("from time import monotonic", "time.monotonic"),
        ("import sweeps\nsweeps.time.sleep(1)", "time.sleep"),
        ("import threading\nthreading.Timer(2.0, print).start()", "threading.Timer"),
        ("SCRIPT = '''\nimport time\ntime.sleep(60)\n'''", "time.sleep"),
        ("child.communicate(timeout=60)", "timeout=60"),
        ("child.communicate(timeout=600)", ""),
        ("datetime.time(12, 30)", ""),
        ("timeless.sleepy = 1", ""),
    ],
)
def test_clocks_are_found(text: str, name: str) -> None:
    assert list(clocks(ast.parse(text))) == [name] * bool(name)
