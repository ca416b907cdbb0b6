"""What a gate found, as Markdown, JSON, JUnit's XML, or a table for the terminal."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass

from dlrun.comparison.figures import number
from dlrun.comparison.noninferiority import Judged, Margin
from dlrun.report.junit import Case, to_junit
from dlrun.report.tables import markdown_text, to_markdown
from dlrun.results.record import to_json

HEADS = ("group", "n", "difference", "worse by at most", "allowed", "p", "verdict")


@dataclass(frozen=True)
class Checked:
    """The gate of one dataset.

    Args:
        title: the dataset, with what tells it from others.
        reference: the label of the group that all are held against.
        judged: one for each group.
    """

    title: str
    metric: str
    reference: str
    margin: Margin
    alpha: float
    judged: Sequence[Judged]

    @property
    def passed(self) -> bool:
        """Whether every group passed."""
        return all(item.passed for item in self.judged)

    @property
    def heading(self) -> str:
        """What was tested, in a line."""
        return f"{self.title}: {self.metric} not worse than {self.reference} by more than {self.margin}"

    def rows(self) -> list[tuple[str, ...]]:
        """A row for each group, a cell for each of ``HEADS``."""
        return [
            (
                item.group.label,
                str(item.n),
                number(item.difference),
                number(item.worst if math.isfinite(item.worst) else None),
                number(item.allowed),
                "" if item.p is None else f"{item.p:.3g}",
                "passed" if item.passed else f"failed: {item.why}",
            )
            for item in self.judged
        ]


def as_markdown(gates: Sequence[Checked]) -> str:
    """A table for each dataset."""
    texts = []
    for gate in gates:
        rows = gate.rows()
        cells = [(name, [row[place] for row in rows], 0 < place < len(HEADS) - 1) for place, name in enumerate(HEADS)]
        texts.append(f"## {markdown_text(gate.heading)}\n\n{to_markdown(cells)}")
    return "\n".join(texts)


def as_json(gates: Sequence[Checked]) -> str:
    """Whether all passed, and every figure; null where there is none."""
    found = {
        "passed": all(gate.passed for gate in gates),
        "gates": [
            {
                "dataset": gate.title,
                "metric": gate.metric,
                "reference": gate.reference,
                "margin": str(gate.margin),
                "alpha": gate.alpha,
                "groups": [
                    {
                        "group": item.group.label,
                        "factors": dict(item.group.factors),
                        "passed": item.passed,
                        "n": item.n,
                        **{name: _finite(getattr(item, name)) for name in ("difference", "allowed", "worst", "p")},
                        "why": item.why,
                    }
                    for item in gate.judged
                ],
            }
            for gate in gates
        ],
    }
    return json.dumps(json.loads(to_json(found)), indent=1, ensure_ascii=False) + "\n"


def as_junit(gates: Sequence[Checked]) -> str:
    """A test suite for each dataset, a test case for each group."""
    return to_junit("dlrun gate", {gate.heading: _cases(gate) for gate in gates})


def _cases(gate: Checked) -> list[Case]:
    found = []
    for item, cells in zip(gate.judged, gate.rows(), strict=True):
        text = ", ".join(f"{name} {cell}" for name, cell in zip(HEADS[1:-1], cells[1:-1], strict=True) if cell)
        found.append(Case(gate.title, item.group.label, text, "" if item.passed else item.why, "inferior"))
    return found


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
