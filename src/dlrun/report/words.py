"""A comparison in sentences: the question, the answer, how it was come by, and the command of each row."""

from collections.abc import Iterable, Mapping, Sequence
from math import isfinite
from shlex import quote

from dlrun.comparison.groups import Compared
from dlrun.comparison.longtable import TUNED
from dlrun.comparison.statistics import Verdict
from dlrun.comparison.table import BASELINE, Group
from dlrun.errors import plural
from dlrun.report.charts.base import name_of
from dlrun.report.columns import columns, legend
from dlrun.report.sections import Section
from dlrun.report.tables import clean
from dlrun.results.record import RunRecord

MOST_NAMES = 8
_SENTENCES = {
    "better": "Better than it: {}.",
    "worse": "Worse than it: {}.",
    "equivalent": "Equivalent to it: {}.",
    "not enough evidence": "Not enough evidence to tell from it: {}.",
    "no result": "Without a result: {}.",
}
_NOT_OF_A_RUN = ("seed=", "name=", "dataset.fold=", "output_dir=", "hydra.", "logger=")


def question(section: Section) -> str:
    """What the comparison asks: ``Which activation gives the best test accuracy on moons?``."""
    groups = [item.group for item in section.compared if not item.group.is_baseline]
    keys = groups[0].factors if groups else {}
    factors = [clean(key) for key in keys if key not in (BASELINE, TUNED)]
    what = section.metric.replace("/", " ")
    if len(groups) < 2:
        return f"What {clean(what)} does it reach on {clean(section.title)}?"
    asked = f"Which {factors[0]}" if len(factors) == 1 else f"Which combination of {listed(factors)}"
    chosen = ", tuned or by default," if TUNED in keys else ""
    return f"{asked}{chosen} gives the best {clean(what)} on {clean(section.title)}?"


def answer(section: Section) -> list[str]:
    """What the comparison says, in sentences."""
    measured = [item for item in section.compared if section.metric in item.group.summaries]
    if not measured:
        return ["No run was measured."]
    head = next((item for item in section.compared if item.reference), measured[0])
    s = head.group.summaries[section.metric]
    name = clean(section.metric.replace("/", " "))
    interval = f", 95% CI {s.low:.4g} to {s.high:.4g}" if isfinite(s.low) and isfinite(s.high) else ""
    others = [item for item in section.compared if item is not head]
    several = head.reference != "named" and any(not item.group.is_baseline for item in others)
    best = "" if measured[0] is head else " of yours"  # a baseline may be better
    first = f"has the best mean {name}{best}" if several else f"has a mean {name}"
    found = [f"{name_of(head.group)} {first}: {s.mean:.4g} ({plural(s.n, 'run')}{interval})."]
    found += _said([(item, item.verdict) for item in others])
    new = [(item, item.on_new_rows.verdict) for item in others if item.on_new_rows]
    if any(item.verdict and item.verdict.word != verdict.word for item, verdict in new):
        found += [f"On new rows: {sentence[0].lower()}{sentence[1:]}" for sentence in _said(new)]
    found += _first([f"Stuck runs of {name_of(item.group)}: {item.stuck.short()}." for item in section.compared if item.stuck])
    found += _first([f"{name_of(item.group)} {item.lost.said()}." for item in section.compared if item.lost])
    return found


def _first(sentences: Sequence[str]) -> list[str]:
    """A sentence for each group, as long as there are few."""
    more = len(sentences) - MOST_NAMES
    return [
        *sentences[:MOST_NAMES],
        *([f"The same holds for {plural(more, 'more group')}; the table has them."] if more > 0 else []),
    ]


def _said(verdicts: Sequence[tuple[Compared, Verdict | None]]) -> list[str]:
    """A sentence for each verdict, with the groups that have it."""
    words: dict[str, list[str]] = {}
    for item, verdict in verdicts:
        words.setdefault(verdict.word if verdict else "no result", []).append(name_of(item.group))
    return [sentence.format(listed(words[word])) for word, sentence in _SENTENCES.items() if word in words]


def methods(section: Section, records: Mapping[str, RunRecord]) -> str:
    """A paragraph for a paper: what was trained on what, how it was measured and compared."""
    runs = [records[row.id] for item in section.compared for row in item.group.rows if row.id in records]
    if not runs:
        return ""
    first = runs[0]
    groups = [item.group for item in section.compared if not item.group.is_baseline]
    factors = [clean(key) for key in groups[0].factors if key != BASELINE]
    seeds = sorted({run.seed for run in runs})
    folds = {run.fold for run in runs if run.fold is not None}
    versions = ", ".join(f"{name} {clean(version)}" for name, version in first.versions.items() if name != "source")
    same = {key: clean(str(value)) for key, value in first.factors.items() if all(run.factors.get(key) == value for run in runs)}
    sizes = first.data.get("sizes", {})
    sentences = [
        f"We trained {plural(len(runs), 'network')} with {versions}"
        + (f": {plural(len(groups), 'configuration')} that differ in {listed(factors)}" if len(groups) > 1 else "")
        + f", {'each ' if len(groups) > 1 else ''}with {plural(len(seeds), 'seed')} ({spans(seeds)})"
        + (f" and {len(folds)} folds" if len(folds) > 1 else "")
        + ".",
        "A seed decides the split of the data, the initial weights, the order of the batches and the dropout.",
        f"The data, {clean(section.title)} ({first.data.get('rows')} rows, fingerprint {first.data.get('fingerprint')}), "
        + "was split into "
        + listed([f"{count} {subset}" for subset, count in sizes.items()])
        + " rows; whatever is fitted to prepare it was fitted on training rows alone.",
    ]
    if same:
        sentences.append(
            f"All runs had {listed([f'{key}={value}' for key, value in same.items() if value not in ('', '[]')], 12)}."
        )
    ended = {status: sum(run.status == status for run in runs) for status in dict.fromkeys(run.status for run in runs)}
    if set(ended) != {"done"}:
        sentences.append(f"Of the runs, {listed([f'{count} {status}' for status, count in ended.items()])}.")
    shown = columns(section.compared, section.metric, section.metrics)
    inference = [f"{line[0].upper()}{line[1:]}." for line in legend(section.compared, shown) if not line.startswith("+N")]
    return " ".join([*sentences, *inference])


def command(group: Group, records: Mapping[str, RunRecord]) -> str:
    """What to type to train the runs of a group again; empty for a baseline."""
    runs = [records[row.id] for row in group.rows if row.id in records]
    if not runs:
        return ""
    words = [word for word in runs[0].overrides if not word.lstrip("+").startswith(_NOT_OF_A_RUN)]
    seeds = sorted({run.seed for run in runs})
    several = len(runs) > 1
    seed = f"seed={spans(seeds)}" if several else f"seed={seeds[0]}"
    fold = [word for word in runs[0].overrides if word.startswith("dataset.fold=")] if not several else []
    return " ".join(["dlrun", *(["-m"] if several else []), *(quote(clean(word)) for word in (*words, *fold, seed))])


def spans(seeds: Sequence[int]) -> str:
    """Seeds as one types them: ``range(0,20)`` where they follow each other."""
    if len(seeds) > 2 and list(seeds) == list(range(seeds[0], seeds[-1] + 1)):
        return f"range({seeds[0]},{seeds[-1] + 1})"
    return ",".join(map(str, seeds))


def listed(names: Iterable[str], most: int = MOST_NAMES) -> str:
    """``a, b and c``; of many the first ones, and how many more."""
    every = [*names]
    if len(every) > most:
        return f"{', '.join(every[:most])} and {len(every) - most} more"
    return f"{', '.join(every[:-1])} and {every[-1]}" if len(every) > 1 else "".join(every)
