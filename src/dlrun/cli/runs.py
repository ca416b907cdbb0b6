"""``dlrun runs``: list the runs that are kept, find some, delete some."""

import json
import sys
from collections.abc import Sequence

from dlrun.cli.arguments import JSON
from dlrun.cli.stored import split
from dlrun.cli.terminal.screen import show_json
from dlrun.errors import InputError, plural, printable
from dlrun.results.find import Found, find

USAGE = """\
usage: dlrun runs [WHERE ...] [--limit N] [--json] [output_dir=PATH]
       dlrun runs delete WHERE ... --yes [output_dir=PATH]

Lists runs, the latest first. WHERE is a setting or a result, such as dataset=moons, status=diverged, optimizer=adam,
optimizer.lr=0.01 or seed=3, or the beginning of an id; a run has to be as all of them say. Delete removes the runs for ever;
sweeps that they belong to have them pending again.

Examples:
  dlrun runs
  dlrun runs dataset=moons status=diverged
  dlrun runs optimizer.lr=0.01 --json --limit 100
  dlrun runs delete status=failed --yes
"""
LIMIT = 20


def run(words: Sequence[str]) -> int:
    """List or delete runs. Returns the exit code: 1 when some are damaged."""
    store, rest, flags = split(words, "runs", valued=("--limit",), switches=(JSON, "--yes"))
    deletes = rest[:1] == ["delete"]
    where = rest[1:] if deletes else rest
    if deletes and not where:
        raise InputError("runs delete: takes what to delete, such as status=failed or the beginning of an id")
    limit = flags.get("--limit", str(LIMIT))
    if not limit.isdecimal():
        raise InputError(f"--limit {limit}: takes a whole number, such as 100")
    found, damaged = find(store, where)
    for line in damaged:
        print(f"warning: {printable(line)}", file=sys.stderr)
    if deletes:
        if "--yes" not in flags:
            raise InputError(f"runs delete: would remove {plural(len(found), 'run')} for ever; type --yes to do so")
        print(f"{plural(store.delete(each.record.id for each in found), 'run')} deleted")
    elif JSON in flags:
        shown = found[: int(limit)] if "--limit" in flags else found
        show_json([json.loads(each.record.to_json()) | {"note": each.note} for each in shown])
    else:
        _table(found, int(limit))
    return 1 if damaged else 0


def _table(found: Sequence[Found], limit: int) -> None:
    from rich.table import Table

    from dlrun.cli.terminal.screen import console

    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    for heading in ("id", "finished", "status", "seed", "dataset", "result", "overrides", "note"):
        table.add_column(heading, no_wrap=heading != "overrides", overflow="fold")
    for each in found[:limit]:
        record = each.record
        measured = next(
            ((name, value) for name, value in record.metrics.items() if name.startswith("test/") and "loss" not in name), None
        )
        result = "" if measured is None or measured[1] is None else f"{measured[0]} {measured[1]:.4g}"
        cells = (record.id, record.finished, record.status, record.seed, record.choices.get("dataset", ""), result)
        table.add_row(*(printable(str(cell)) for cell in (*cells, " ".join(record.overrides), each.note)))
    out = console()
    if found:
        out.print(table)
    more = len(found) - limit
    out.print(plural(len(found), "run") + (f", {limit} of them shown; type --limit {len(found)} for all" if more > 0 else ""))
