"""The verdicts as a page of Markdown: a table of all, then each claim with its figures, and charts in characters."""

import math
from collections import Counter
from collections.abc import Sequence

from dlrun.claims.claim import Claim
from dlrun.claims.examine import Bar, Chart, Outcome
from dlrun.claims.finding import Finding
from dlrun.comparison.figures import number
from dlrun.errors import plural

WIDTH = 44  # characters of a bar
INTRODUCTION = """\
# Claims about training, tested

Each claim is a file of `conf/claim`: a statement, the sweeps that test it, and checks on their paired statistics. `dlrun claims`
trains the sweeps, over as many seeds as the file says, and gives a verdict:

- **supported**: every check holds, at the 5% level, over paired seeds ([statistics.md](statistics.md));
- **refuted**: a check found the opposite, or groups that are equivalent within the margin, the largest difference that does not
  matter;
- **inconclusive**: these seeds do not decide it;
- **incomplete**: runs failed, or training was ended (`timeout_s`) before they did.

A verdict is about these datasets, models and settings, over random splits and initial weights. No claim was tried until it
passed; after a first run from seed 0 seven were changed once: dying_relu, batch_norm and cnn (the learning rate left nothing
to compare, or training was too short), quantiles (bounds below the sampling error of the test rows), momentum, double_softmax
and stable_bce (what was measured did not ask for what the statement says); dice has fewer epochs and seeds than at first, to
save time. Where one side is called better, both have their usual settings or the same values to choose from (`tune_over`:
chosen on validation rows, reported with new seeds). A trend is supported where the mean rank correlation over seeds is shown
to be above 0.5. All checks of a claim have to hold, which needs no correction for their number; one that does not hold refutes
the claim if that is so at 5% divided by their number.

`dlrun show claim/NAME` shows what a file says, `dlrun claims NAME` tests it, and `--first-seed 5000` does so with other seeds.
"""


def figure(finding: Finding) -> str:
    """The figure that decides, in four digits."""
    return number(finding.figure)


def interval(finding: Finding) -> str:
    """``0.12 to 0.34``; empty where there is none."""
    return f"{number(finding.low)} to {number(finding.high)}" if math.isfinite(finding.low + finding.high) else ""


def counted(outcomes: Sequence[Sequence[Outcome]]) -> str:
    """``40 claims: 30 supported, 4 refuted, 6 inconclusive; the same verdict from seeds 0 and 1000 for 38``."""
    counts = Counter(found[0].word for found in outcomes)
    told = ", ".join(f"{counts[word]} {word}" for word in ("supported", "refuted", "inconclusive", "incomplete") if counts[word])
    line = f"{plural(len(outcomes), 'claim')}: {told}"
    if outcomes and len(outcomes[0]) > 1:
        complete = [found for found in outcomes if all(outcome.word != "incomplete" for outcome in found)]
        same = sum(len({outcome.word for outcome in found}) == 1 for found in complete)
        seeds = " and ".join(str(outcome.first_seed) for outcome in outcomes[0])
        line += f"; the same verdict from seeds {seeds} for {same} of {len(complete)}"
        line += "" if complete == [*outcomes] else f", {len(outcomes) - len(complete)} are incomplete from one of them"
    return line


def page(outcomes: Sequence[Sequence[Outcome]]) -> str:
    """The page.

    Args:
        outcomes: for each claim one for each of the first seeds.
    """
    seeds = [str(outcome.first_seed) for outcome in outcomes[0]]
    runs = sum(outcome.runs for found in outcomes for outcome in found)
    options = f" --first-seed {','.join(seeds)}" if seeds != ["0"] else ""
    lines = [
        INTRODUCTION,
        f"This page was written by `dlrun claims{options} --report`: {counted(outcomes)} ({runs:,} runs).",
        "",
        "|".join(["", " # ", " claim ", " statement ", " kind ", *(f" from seed {seed} " for seed in seeds), ""]),
        "|" + "---|" * (4 + len(seeds)),
    ]
    for found in outcomes:
        claim = found[0].claim
        words = [outcome.word if outcome.word == "supported" else f"**{outcome.word}**" for outcome in found]
        cells = [str(claim.number), f"[{claim.name}](#{_anchor(claim)})", _cell(claim.statement), claim.kind, *words]
        lines.append(f"| {' | '.join(cells)} |")
    for found in outcomes:
        lines += ["", described(found[0].claim), "", *_results(found)]
    return "\n".join(lines) + "\n"


def described(claim: Claim) -> str:
    """What is said of a claim whatever its runs find: that is what a page must not be older than."""
    lines = [f"## {claim.number}. {claim.name}", "", claim.statement, ""]
    if claim.runs:
        lines += ["```console", *(f"$ {command}" for command in claim.commands()), "```", ""]
    lines += [f"- {_cell(check.what)}" for check in claim.checks]
    lines += ["", f"If it were refuted: {claim.refuted}"]
    lines += ["", claim.note] if claim.note else []
    return "\n".join(lines)


def _anchor(claim: Claim) -> str:
    return f"{claim.number}-{claim.name}"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _results(found: Sequence[Outcome]) -> list[str]:
    lines = []
    for outcome in found:
        lines += [f"From seed {outcome.first_seed}: **{outcome.word}**, {plural(outcome.runs, 'run')}.", ""]
        lines += ["| check | verdict | figure | 95% interval | n | |", "|---|---|---|---|---|---|"]
        for finding in outcome.findings:
            cells = (_cell(finding.what), finding.word, figure(finding), interval(finding), str(finding.n or ""), finding.text)
            lines.append(f"| {' | '.join(cells)} |")
        lines.append("")
    for chart in found[0].charts:
        lines += ["```text", *drawn(chart), "```", ""]
    return lines[:-1]


def drawn(chart: Chart) -> list[str]:
    """A chart of means with their intervals: a line for each group, on a common scale."""
    known = [value for bar in chart.bars for value in (bar.mean, bar.low, bar.high) if math.isfinite(value)]
    width = max((len(bar.label) for bar in chart.bars), default=0)
    title = f"{chart.title} (mean and 95% interval)"
    if not known:
        return [title]
    low, high = min(known), max(known)
    scale = (WIDTH - 1) / (high - low) if high > low else 0.0
    lines = [_line(bar, width, low, scale) for bar in chart.bars]
    return [title, *lines, f"{'':<{width}}  {number(low):<{WIDTH // 2}}{number(high):>{WIDTH // 2}}"]


def _line(bar: Bar, width: int, low: float, scale: float) -> str:
    if not math.isfinite(bar.mean):
        return f"{bar.label:<{width}}  no value"
    cells = [" "] * WIDTH
    ends = (bar.low, bar.high) if math.isfinite(bar.low + bar.high) else (bar.mean, bar.mean)
    start, stop, middle = (round((value - low) * scale) for value in (*ends, bar.mean))
    cells[start : stop + 1] = ["-"] * (stop + 1 - start)
    cells[middle] = "o"
    return f"{bar.label:<{width}}  {''.join(cells)}  {number(bar.mean)}"
