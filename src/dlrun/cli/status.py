"""``dlrun status``: how far a sweep is, read from the store; works while it trains."""

from collections.abc import Sequence

from dlrun.cli.arguments import JSON
from dlrun.cli.resume import chosen
from dlrun.cli.terminal.labels import reasons
from dlrun.errors import plural, printable
from dlrun.results.store import Store
from dlrun.results.sweeps import Sweep

USAGE = """\
usage: dlrun status [SWEEP] [--json] [output_dir=PATH]

Tells how many runs of a sweep are done, stopped, diverged, failed, skipped, interrupted or pending, whether a process is at it,
and what went wrong. SWEEP is a folder, its name, the name that the sweep was given, or latest (also when left out).

Examples:
  dlrun status
  dlrun status 2026-01-31_120000_sweep
"""


def run(words: Sequence[str]) -> int:
    """Print the status of a sweep. Returns the exit code: 1 when runs failed or diverged, or a strict sweep lacks some."""
    sweep, switches = chosen(words, "status", (JSON,))
    damaged: list[str] = []
    sweep.refresh(Store(sweep.folder.parent.parent), damaged.append)
    lacking, owner = sweep.settings.get("lacking"), sweep.owner()
    if switches:
        from dlrun.cli.as_json import of_sweep
        from dlrun.cli.terminal.screen import show_json

        more = {"owner": owner or None, "checkpoints": _kept(sweep), "lacking": lacking or None, "damaged": damaged}
        show_json({"sweep": of_sweep(sweep), **more})
    else:
        _show(sweep, owner, damaged, lacking)
    counts = sweep.counts()
    return 1 if lacking or damaged or "failed" in counts or "diverged" in counts else 0


def _show(sweep: Sweep, owner: str, damaged: Sequence[str], lacking: str | None) -> None:
    from rich.text import Text

    from dlrun.cli.terminal.screen import console

    out, counts = console(), sweep.counts()
    out.print(Text(printable(str(sweep.folder)), style="bold"), soft_wrap=True)
    out.print(Text(f"{plural(len(sweep.cells), 'run')}: " + ", ".join(f"{count} {status}" for status, count in counts.items())))
    out.print(Text(printable(f"training now: {owner}") if owner else "no process is training it"))
    for line in _kept(sweep):
        out.print(Text(printable(line)))
    if any(status in counts for status in ("pending", "interrupted")) and not owner:
        out.print(Text(printable(f"carry on with: dlrun resume {sweep.folder}")), soft_wrap=True)
    for line in (*damaged, *reasons(sweep.cells)):
        out.print(Text(printable(line), style="yellow"), soft_wrap=True)
    if lacking:
        out.print(Text(printable(f"strict=true: {lacking}"), style="yellow"), soft_wrap=True)


def _kept(sweep: Sweep) -> list[str]:
    """How far the runs that have not ended are kept in checkpoints."""
    left = [cell.id for cell in sweep.cells if cell.id and cell.status in ("pending", "interrupted")]
    if not left:
        return []
    found = Store(sweep.folder.parent.parent).latest_checkpoints(left)
    return [
        f"{plural(len(checkpoint.training), 'run')} kept in epoch {epoch + 1:,} (checkpoint of {made})"
        for checkpoint, made in found
        if isinstance(epoch := checkpoint.facts.get("epoch"), int)
    ]
