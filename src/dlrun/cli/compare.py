"""``dlrun compare``: the comparison of runs that the store has, without training anything."""

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from dlrun.cli.stored import JSON, format_of, split
from dlrun.comparison.effects import described
from dlrun.comparison.groups import check_margin, typed_words
from dlrun.errors import InputError, printable
from dlrun.report.files import as_csv, as_html, as_json, as_latex, as_markdown
from dlrun.report.sections import Section
from dlrun.report.stored import Stored, compare, of_words
from dlrun.results.store import Store

USAGE = """\
usage: dlrun compare [SWEEP ... | WHERE ...] [--metric M] [--by FACTORS] [--reference R] [--margin X]
                     [--format table|csv|md|latex|html|json] [--json] [--higher | --lower] [--importance]
                     [output_dir=PATH]

Compares runs that are kept: those of sweeps (the latest when none is named; several are put together), or those with
settings, such as dataset=moons. Nothing is trained.

  --metric M      rmse, validation/accuracy, seconds, dead_units[0]: any metric, on any split, and any diagnostic
  --by FACTORS    compare by these alone, such as activation or activation,optimizer.lr, each value a mean over all others
  --reference R   what every group is compared with: best (of yours), or what names one group, such as relu or [relu,sgd]
  --margin X      the largest difference that does not matter, in the metric's unit
  --format F      table for the terminal, else csv (every figure), md, latex, html or json (--json, for short)
  --importance    how much each factor matters where the runs are no balanced grid, by a random forest; of a grid the shares of
                  the variance stand below the table anyway
  --higher, --lower   which is better, of a diagnostic of which that is not known

Examples:
  dlrun compare
  dlrun compare --metric validation/rmse --reference relu
  dlrun compare monday tuesday --by optimizer --format md
  dlrun compare dataset=moons status=done --format csv
"""
WRITTEN: dict[str, Callable[[Sequence[Section]], str]] = {
    "csv": as_csv,
    "md": as_markdown,
    "latex": as_latex,
    "html": as_html,
    "json": as_json,
}
FORMATS = ("table", *WRITTEN)


def run(words: Sequence[str]) -> int:
    """Print the comparison. Returns the exit code: 1 when some runs are damaged."""
    store, rest, flags = split(
        words,
        "compare",
        valued=("--metric", "--by", "--reference", "--margin", "--format"),
        lists=("--by",),
        switches=("--higher", "--lower", "--importance", JSON),
    )
    form = format_of(flags, FORMATS)
    _, sections = compared(store, rest, flags)
    _print([_with_importance(part) for part in sections] if "--importance" in flags else sections, form)
    return 0


def compared(store: Store, words: Sequence[str], flags: Mapping[str, str]) -> tuple[Stored, list[Section]]:
    """The runs that words speak of (sweeps, settings, or the id of a run), and their comparison; what is to know of them is told.

    Args:
        flags: --metric, --by, --reference, --margin, --higher and --lower, as far as they are given.

    Raises:
        InputError: no run was measured, or a flag cannot be had.
        StoreError: there is no such run or sweep.
    """
    if {"--higher", "--lower"} <= flags.keys():
        raise InputError("--higher --lower: give one of the two")
    margin = _number(flags.get("--margin"))
    stored = of_words(store, words)
    sections = compare(
        stored,
        metric=flags.get("--metric"),
        by=[name for name in flags.get("--by", "").split(",") if name],
        reference=typed_words(flags["--reference"]) if flags.get("--reference") else None,
        margin=margin,
        higher_is_better=True if "--higher" in flags else False if "--lower" in flags else None,
    )
    for note in stored.notes:
        print(f"warning: {printable(note)}", file=sys.stderr)
    if not sections:
        raise InputError("none of these runs was measured; dlrun status says what became of them")
    return stored, sections


def _with_importance(part: Section) -> Section:
    """The section with a forest's importances, where it is no balanced grid."""
    from dlrun.experiments.importance import importance

    found = importance([item.group for item in part.compared], part.metric) if part.effects is None else None
    return part if found is None else replace(part, effects=found, notes=(*part.notes, *described(found)))


def _print(sections: Sequence[Section], form: str) -> None:
    from dlrun.cli.terminal.screen import console

    if form == "table":
        from dlrun.cli.terminal.sweep_table import show_over_datasets, show_section

        for section in sections:
            show_section(section, console())
        show_over_datasets(sections, console())
        return
    print(WRITTEN[form](sections), end="")


def _number(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        margin = float(text)
        check_margin(margin)
    except (ValueError, InputError):
        raise InputError(f"--margin {text}: takes a number above 0, in the metric's unit, such as 0.01") from None
    return margin
