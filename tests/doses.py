"""How often faults are injected, and what came of it: a line a fault at the end of ``make faults DOSE=300``.

``@pytest.mark.fault("killed workers")`` says which fault a test injects. ``@pytest.mark.dose(2)`` runs it twice in the usual
tests, each time with another ``number`` to seed the chance, and DLRUN_FAULTS times in ``make faults``; with ``of_300=30`` a tenth
as often. A test that injects a fault more than once counts them: ``injected(17)``.
"""

import os
from collections.abc import Callable
from typing import Any

import pytest

DOSE = int(os.environ.get("DLRUN_FAULTS", "0"))  # 0: the short doses of the usual tests
FAULT, INJECTED = "fault", "injected"


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "fault(name): which fault a test injects; make faults runs these")
    config.addinivalue_line("markers", "dose(usual, of_300=300): how often, in the usual tests and with DLRUN_FAULTS=300")


def dose(usual: int, of_300: int = 300) -> int:
    """How often a fault is injected that DLRUN_FAULTS=300 injects so often."""
    return max(1, DOSE * of_300 // 300) if DOSE else usual


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    for mark in metafunc.definition.iter_markers("dose"):
        metafunc.parametrize("number", range(dose(*mark.args, **mark.kwargs)))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        mark = item.get_closest_marker("fault")
        if mark is not None:
            item.user_properties.append((FAULT, mark.args[0]))


@pytest.fixture
def injected(record_property: Callable[[str, Any], None]) -> Callable[[int], None]:
    """``injected(17)``: the test has injected its fault so often."""
    return lambda count: record_property(INJECTED, count)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """What ``make faults`` prints."""
    if not DOSE:
        return
    counts: dict[str, list[int]] = {}  # fault -> injected, failures, skipped
    for outcome, reports in terminalreporter.stats.items():
        for report in reports:
            known = dict(getattr(report, "user_properties", ()))
            if FAULT not in known or outcome not in ("passed", "failed", "error", "skipped"):
                continue
            count = counts.setdefault(known[FAULT], [0, 0, 0])
            count[0] += known.get(INJECTED, 1) * (outcome != "skipped")
            count[1] += outcome in ("failed", "error")
            count[2] += outcome == "skipped"
    terminalreporter.section("faults")
    width = max(map(len, counts), default=0)
    for fault, (number, failures, skipped) in sorted(counts.items()):
        more = f", {skipped} tests skipped" if skipped else ""
        terminalreporter.line(f"{fault:<{width}}  dose {number:>5}  failures {failures}{more}")
