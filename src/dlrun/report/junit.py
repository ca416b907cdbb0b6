"""Results as JUnit XML, which the services that run checks display."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from xml.etree import ElementTree

from dlrun.report.tables import clean


@dataclass(frozen=True)
class Case:
    """A test case.

    Args:
        group: what it belongs to, such as a dataset; ``classname`` in the file.
        name: what was tested.
        text: figures, in words.
        failure: why it failed; empty when it passed.
        kind: of the failure, in one word.
        seconds: how long it took; None where that says nothing.
    """

    group: str
    name: str
    text: str = ""
    failure: str = ""
    kind: str = "failure"
    seconds: float | None = None


def to_junit(name: str, suites: Mapping[str, Sequence[Case]]) -> str:
    """The suites by their names, each with its cases, as one document."""
    root = ElementTree.Element("testsuites", name=name)
    for heading, cases in suites.items():
        failures = sum(bool(case.failure) for case in cases)
        suite = ElementTree.SubElement(
            root, "testsuite", name=clean(heading), tests=str(len(cases)), failures=str(failures), errors="0"
        )
        for case in cases:
            element = ElementTree.SubElement(suite, "testcase", classname=clean(case.group), name=clean(case.name))
            if case.seconds is not None:
                element.set("time", f"{case.seconds:.3f}")
            if case.failure:
                ElementTree.SubElement(element, "failure", message=clean(case.failure), type=case.kind).text = clean(case.text)
            else:
                ElementTree.SubElement(element, "system-out").text = clean(case.text)
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n"
