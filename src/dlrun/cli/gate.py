"""``dlrun gate``: is everything not worse than a reference by more than a margin? For scripts and continuous integration."""

from collections.abc import Callable, Sequence

from dlrun.cli.stored import JSON, format_of, split
from dlrun.comparison.groups import named, typed_words
from dlrun.comparison.noninferiority import Margin, judge
from dlrun.comparison.power import ALPHA
from dlrun.comparison.table import shared_rows
from dlrun.errors import GateError, InputError
from dlrun.report.gate import HEADS, Checked, as_json, as_junit, as_markdown
from dlrun.report.sections import Section
from dlrun.report.stored import compare, of_words

USAGE = """\
usage: dlrun gate --reference R --margin X [--metric M] [--candidate C] [--alpha 0.05] [--format table|md|json|junit] [--json]
                  [SWEEP ... | WHERE ...] [output_dir=PATH]

Exit code 0 when every group of runs that are kept (or the one that --candidate names) is shown to be not worse than the
reference by more than the margin, by a one-sided paired test; 3 when that is not shown, be it for too few seeds. Nothing is
trained. SWEEP and WHERE are those of dlrun compare: the latest sweep when nothing is named.

  --reference R   names a group: relu, activation=relu, [relu,sgd], or a baseline such as linear
  --margin X      how much worse is allowed: in the metric's unit (0.01), or in percent of the reference's mean (2%)
  --metric M      accuracy, validation/rmse, seconds; the task's main metric when not given
  --candidate C   names the one group that is tested
  --alpha A       the probability that a gate passes which should not
  --format F      table, md, json (--json, for short) or junit

Examples:
  dlrun gate --reference relu --margin 2%
  dlrun gate nightly --reference linear --candidate mlp --metric rmse --margin 0.5 --format junit > gate.xml
"""
WRITTEN: dict[str, Callable[[Sequence[Checked]], str]] = {"md": as_markdown, "json": as_json, "junit": as_junit}
FORMATS = ("table", *WRITTEN)
VALUED = ("--reference", "--margin", "--metric", "--candidate", "--alpha", "--format")


def run(words: Sequence[str]) -> int:
    """Print what was tested. Returns the exit code.

    Raises:
        GateError: a group is not shown to be good enough.
    """
    store, rest, flags = split(words, "gate", valued=VALUED, switches=(JSON,))
    lacking = [flag for flag in ("--reference", "--margin") if flag not in flags]
    if lacking:
        raise InputError(f"gate: needs {' and '.join(lacking)}, such as dlrun gate --reference relu --margin 2%")
    form = format_of(flags, FORMATS)
    margin, alpha = Margin.of(flags["--margin"]), _alpha(flags.get("--alpha", str(ALPHA)))
    sections = compare(of_words(store, rest), metric=flags.get("--metric"))
    if not sections:
        raise InputError("gate: none of these runs was measured; dlrun status says what became of them")
    gates = [_checked(section, flags["--reference"], flags.get("--candidate"), margin, alpha) for section in sections]
    if form == "table":
        _show(gates)
    else:
        print(WRITTEN[form](gates), end="")
    failed = [item.group.label for gate in gates for item in gate.judged if not item.passed]
    if failed:
        more = f" and {len(failed) - 3} more" if len(failed) > 3 else ""
        raise GateError(f"gate: not shown to be within {margin}: {', '.join(failed[:3])}{more}")
    return 0


def _checked(section: Section, reference: str, candidate: str | None, margin: Margin, alpha: float) -> Checked:
    table = [item.group for item in section.compared]
    against = named(table, typed_words(reference))
    tested = [group for group in table if group is not against and not group.is_baseline]
    if candidate is not None:
        tested = [named(table, typed_words(candidate))]
    if not tested or tested == [against]:
        raise InputError(f"gate: {section.title} has no group but {against.label}; there is nothing to test")
    rows = [row for group in table for row in group.rows]
    judged = judge(
        tested,
        against,
        section.metric,
        margin,
        higher_is_better=section.higher_is_better,
        alpha=alpha,
        ratio=shared_rows(rows, section.metric.rpartition("/")[0]),
    )
    return Checked(section.title, section.metric, against.label, margin, alpha, judged)


def _alpha(text: str) -> float:
    try:
        alpha = float(text)
    except ValueError:
        alpha = 0.0
    if not 0 < alpha < 0.5:
        raise InputError(f"--alpha {text}: takes a number between 0 and 0.5, such as 0.05")
    return alpha


def _show(gates: Sequence[Checked]) -> None:
    from rich.table import Table
    from rich.text import Text

    from dlrun.cli.terminal.screen import console
    from dlrun.errors import printable

    out = console()
    for gate in gates:
        title = Text(printable(gate.heading), style="bold")
        table = Table(title=title, title_justify="left", box=None, padding=(0, 2, 0, 0), pad_edge=False)
        for name in HEADS:
            table.add_column(
                Text(name, style="bold"), justify="left" if name in (HEADS[0], HEADS[-1]) else "right", overflow="fold"
            )
        for cells in gate.rows():
            table.add_row(*(Text(printable(cell)) for cell in cells))
        out.print(table)
