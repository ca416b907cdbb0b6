"""``dlrun claims``: trains what statements about networks ask for, and gives a verdict on each."""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dlrun import registry
from dlrun.cli.arguments import JSON
from dlrun.cli.stored import flags_of
from dlrun.cli.terminal.screen import console, show_json, waiting, write_line
from dlrun.errors import InputError, check_working_folder, nearest, plural, printable
from dlrun.results.files import write_named

if TYPE_CHECKING:
    from dlrun.claims.claim import Claim
    from dlrun.claims.examine import Outcome

USAGE = """\
usage: dlrun claims [NAME ...] [--seeds N] [--first-seed S[,S ...]] [--report FILE] [--json] [--config-dir FOLDER]
                    [output_dir=PATH] [key=value ...]

Tests statements about activations, losses, optimizers and regularizers, all of them when none is named (dlrun ls claim lists
them): trains the runs of each, as far as they are not finished, compares them over paired seeds, and prints for each whether it
is supported, refuted or inconclusive, with the figure that decides and its 95% interval. A file of the group claim says what
is trained and compared: dlrun show claim/NAME.

  --seeds N       the seeds of every configuration, at least 5; each claim's own number when not given
  --first-seed S  where the seeds begin, 0 when not given; several repeat everything, and the table has a verdict for each
  --report FILE   also write a page of Markdown: statements, figures, charts, what a refutation would mean
  --json          print the results as JSON

Further settings, such as trainer.engine=torch, are those of all runs. A claim of which runs failed or did not end in timeout_s is
incomplete; the same command goes on.
Exit codes: 0 every claim has a verdict (also when that is refuted or inconclusive), 1 a run failed or did not end, 2 bad input,
130 and 143 interrupted.

Examples:
  dlrun claims
  dlrun claims xor vanishing_gradients --seeds 20
  dlrun claims --first-seed 0,1000 --report claims.md
"""
VALUED = ("--seeds", "--first-seed", "--report", "--config-dir")
FEWEST = 5  # seeds; with fewer no comparison has a verdict


def run(words: Sequence[str]) -> int:
    """Test the claims. Returns the exit code."""
    check_working_folder()
    rest, flags = flags_of(words, valued=VALUED, switches=(JSON,))
    settings = [word for word in rest if "=" in word and not word.startswith("-")]
    wrong = [word for word in rest if word.startswith("-")]
    if wrong:
        known = (*VALUED, JSON)
        raise InputError(f"{wrong[0]}: dlrun claims takes {', '.join(known)} and settings{nearest(wrong[0], known)}")
    if "--config-dir" in flags:
        registry.add_folder(flags["--config-dir"])
    seeds = _numbers("--seeds", flags.get("--seeds", ""), FEWEST)
    first = _numbers("--first-seed", flags.get("--first-seed", "0"), 0)
    if len(seeds) > 1:
        raise InputError(f"--seeds {flags['--seeds']}: takes one number")
    target = Path(flags["--report"]) if "--report" in flags else None
    if target is not None and target.suffix != ".md":
        raise InputError(f"--report {target}: is a page of Markdown; type --report {target.with_suffix('.md')}")
    with waiting("loading torch"):
        from dlrun.claims.claim import claims
        from dlrun.claims.examine import StoppedError
    chosen = claims([word for word in rest if word not in settings])
    outcomes: list[list[Outcome]] = []  # for each claim, one for each first seed
    code = 0
    try:
        outcomes.extend(_examined(chosen, first, seeds[0] if seeds else None, settings, flags.get("--config-dir")))
    except StoppedError as error:
        code = error.exit_code
        write_line(str(error))
    code = code or int(any(outcome.failed for found in outcomes for outcome in found))
    if JSON in flags:
        show_json([outcome.content() for found in outcomes for outcome in found])
    elif outcomes:
        _show(outcomes)
    if target is not None and outcomes and code in (0, 1):
        from dlrun.claims.page import page

        write_named(target, page(outcomes).encode())
    return code


def _examined(
    chosen: "Sequence[Claim]", first: Sequence[int], seeds: int | None, settings: Sequence[str], folder: str | None
) -> "Iterator[list[Outcome]]":
    """Test one claim after the other, in one process for code of the user's own."""
    from dlrun.claims.examine import examine
    from dlrun.cli.terminal.claims import ClaimDisplay
    from dlrun.isolation import own_process

    with own_process():
        for number, claim in enumerate(chosen, 1):
            display = ClaimDisplay(f"claim {number}/{len(chosen)}")
            yield [
                examine(
                    claim,
                    [display],
                    first_seed=start,
                    seeds=seeds,
                    settings=settings,
                    folder=None if folder is None else Path(folder),
                )
                for start in first
            ]


def _numbers(flag: str, text: str, least: int) -> list[int]:
    """Whole numbers with commas between them."""
    words = [word for word in text.split(",") if word]
    if not all(word.isdecimal() and int(word) >= least for word in words) or (text and not words):
        raise InputError(f"{flag} {text}: takes a whole number of at least {least}")
    return [int(word) for word in words]


def _show(outcomes: "Sequence[Sequence[Outcome]]") -> None:
    from rich.table import Table
    from rich.text import Text

    from dlrun.claims.page import counted, figure, interval

    out = console()
    several = len(outcomes[0]) > 1
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    verdicts = [f"from seed {outcome.first_seed}" for outcome in outcomes[0]] if several else ["verdict"]
    for heading in ("", "claim", *verdicts, "figure", "95% interval", "n", "seconds", "what decides"):
        side = "right" if heading in ("", "figure", "n", "seconds") else "left"
        table.add_column(Text(heading, style="bold"), justify=side, overflow="fold", no_wrap=heading in ("claim", *verdicts))  # type: ignore[arg-type]
    styles = {"supported": "green", "refuted": "red", "inconclusive": "yellow", "incomplete": "magenta"}
    for found in outcomes:
        one = found[0]
        words = [Text(outcome.word, style=styles[outcome.word]) for outcome in found]
        decides = one.deciding
        cells = (figure(decides), interval(decides), str(decides.n or ""), f"{sum(o.seconds for o in found):.1f}", decides.what)
        table.add_row(str(one.claim.number), one.claim.name, *words, *(Text(printable(cell)) for cell in cells))
    out.print(table)
    out.print(Text(counted(outcomes)))
    if not several and len(outcomes) == 1:
        for finding in outcomes[0][0].findings:
            out.print(Text(printable(f"{finding.word}: {finding.what} ({finding.text})")))
    out.print(Text(f"{plural(sum(outcome.runs for found in outcomes for outcome in found), 'run')}"))
    sys.stdout.flush()
