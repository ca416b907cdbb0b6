"""``dlrun smoke``: every experiment of a folder, for a few steps."""

import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlrun import registry
from dlrun.cli.arguments import IMPORT, JSON, Arguments, parse
from dlrun.cli.stored import flags_of
from dlrun.cli.train import start
from dlrun.errors import DlrunError, InputError, StoreError, check_working_folder, nearest, plural, printable

if TYPE_CHECKING:
    from dlrun.config.composing.composed import Composed
    from dlrun.experiments.experiment import How
    from dlrun.results.record import RunRecord

USAGE = """\
usage: dlrun smoke [EXPERIMENT ...] [--config-dir FOLDER] [--junit FILE] [--json] [--import MODULE] [key=value ...]

Trains experiments for at most 2 epochs and 20 steps (trainer=smoke), all together, and says of each whether it works: those of
FOLDER/experiment, or dlrun's own without --config-dir, or those that are named. What is broken, cannot be combined, raises or
diverges is named with its file and its reason, and the others train all the same. Nothing is kept; with output_dir=PATH it is.

  --junit FILE    write the results as JUnit XML too
  --json          print them as JSON

Exit codes: 0 all work, 1 one does not.

Examples:
  dlrun smoke
  dlrun smoke --config-dir conf --import components --junit smoke.xml
  dlrun smoke xor dataset.rows=50
"""

GROUP = "experiment"
SHORT = ("trainer=smoke", "trainer.epochs=2", "trainer.max_steps=20", "baseline=[]")
INTERRUPTED = 128


@dataclass
class Tried:
    """An experiment: its name and file, what its runs came to, and why it does not work; empty when it does."""

    name: str
    file: Path
    why: str = ""
    records: "list[RunRecord]" = field(default_factory=list)
    log: str = ""

    @property
    def seconds(self) -> float:
        """How long its runs trained."""
        return sum(record.seconds for record in self.records)

    @property
    def result(self) -> str:
        """The main test metric of its first run, in words."""
        metrics = self.records[0].metrics if self.records else {}
        measured = (
            f"{name} {value:.4g}"
            for name, value in metrics.items()
            if value is not None and name.startswith("test/") and "loss" not in name
        )
        return next(measured, "")

    def content(self) -> dict[str, Any]:
        """It as ``--json`` prints it."""
        ids = [record.id for record in self.records]
        facts = {"runs": ids, "seconds": self.seconds, "reason": self.why}
        return {"experiment": self.name, "file": str(self.file), "passed": not self.why, **facts}


def run(words: Sequence[str]) -> int:
    """Train the experiments. Returns the exit code."""
    check_working_folder()
    rest, flags = flags_of(words, valued=("--junit",), switches=(JSON,))
    arguments = parse(rest, takes=("--config-dir", "--config-path", IMPORT))
    names = [word for word in arguments.overrides if "=" not in word]
    settings = [word for word in arguments.overrides if "=" in word]
    folder = arguments.flags.get("--config-dir")
    if folder is not None:
        registry.add_folder(folder)
    tried = {name: Tried(name, registry.path(GROUP, name)) for name in _chosen(names, folder)}
    with tempfile.TemporaryDirectory(prefix="dlrun-smoke-") as scratch:
        keys = {word.lstrip("+~").partition("=")[0] for word in settings}
        short = [word for word in (*SHORT, f"output_dir={scratch}") if word.partition("=")[0] not in keys]
        code = start(_sweep(arguments, [*tried], [*short, *settings]), settle=_Smoke(tried))
    if code >= INTERRUPTED:
        return code
    _show(list(tried.values()), flags)
    return int(any(each.why for each in tried.values()))


def _chosen(names: Sequence[str], folder: str | None) -> list[str]:
    known = registry.options(GROUP)
    for name in names:
        if name not in known:
            raise InputError(f"smoke {name}: no such experiment; there are {', '.join(known)}{nearest(name, known)}")
    if names:
        return [*dict.fromkeys(names)]
    if folder is None:
        return known
    found = [name for name in known if Path(folder).resolve() in registry.path(GROUP, name).resolve().parents]
    if not found:
        raise InputError(f"--config-dir {folder}: has no experiments; they are the YAML files of {Path(folder, GROUP)}")
    return found


def _sweep(arguments: Arguments, names: Sequence[str], settings: Sequence[str]) -> Arguments:
    return Arguments({**arguments.flags, "--multirun": ""}, [f"{GROUP}={','.join(names)}", *settings], arguments.imports)


class _Smoke:
    """Carries the sweep out, and notes what came of each experiment."""

    def __init__(self, tried: dict[str, Tried]) -> None:
        self._tried = tried

    def __call__(self, jobs: Sequence[Sequence[str]], compose: Any, how: "How") -> int:
        sound = []
        for job in compose([list(job) for job in jobs]):
            if job.error:
                self._of(job.overrides).why = "; ".join(job.error.problems)
            else:
                sound.append(job)
        return self._train(sound, how) if sound else 0

    def _of(self, overrides: Sequence[str]) -> Tried:
        return self._tried[next(word.partition("=")[2] for word in overrides if word.startswith(f"{GROUP}="))]

    def _train(self, jobs: "Sequence[Composed]", how: "How") -> int:
        from dlrun.cli.terminal.experiment import SmokeDisplay
        from dlrun.experiments.experiment import SweepExperiment
        from dlrun.results.record import MEASURED

        experiment = SweepExperiment(jobs, how, [SmokeDisplay({"table": False})])
        try:
            experiment.prepare()
            result = experiment.run()
        except StoreError:
            raise
        except DlrunError as error:
            if len(jobs) > 1:  # nothing of all can be trained: each has its own reason
                return max(self._train([job], how) for job in jobs)
            self._of(jobs[0].overrides).why = str(error)
            return 0
        assert result.sweep is not None
        for cell in result.sweep.cells:
            mine = self._of(cell.overrides)
            if cell.status not in MEASURED:
                mine.why = mine.why or (cell.reason if cell.status == "skipped" else f"{cell.status}: {cell.reason}")
                mine.log = mine.log or (result.store.log(cell.id) if cell.id else "")
            mine.records += result.store.records([cell.id]) if cell.id else []
        return result.code if result.code >= INTERRUPTED else 0


def _show(tried: Sequence[Tried], flags: dict[str, str]) -> None:
    from rich.table import Table
    from rich.text import Text

    from dlrun.cli.terminal.screen import console, show_json, write_line
    from dlrun.results.files import write_named

    failed = [each for each in tried if each.why]
    if "--junit" in flags:
        write_named(Path(flags["--junit"]), _junit(tried).encode())
    if JSON in flags:
        show_json({"passed": not failed, "experiments": [each.content() for each in tried]})
        return
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    for heading in ("experiment", "runs", "seconds", "result"):
        table.add_column(heading, justify="right" if heading in ("runs", "seconds") else "left")
    for each in tried:
        result = Text("does not work", style="red") if each.why else Text(printable(each.result))
        table.add_row(Text(printable(each.name)), str(len(each.records)), f"{each.seconds:.2f}", result)
    out = console()
    out.print(table)
    for each in failed:
        place = "" if each.why.startswith(str(each.file)) else f"{each.file}: "
        write_line(f"{place}{each.why}", sys.stderr, mark="error: ")
    works = len(tried) - len(failed)
    out.print(f"{plural(len(tried), 'experiment')}: {works} work" + (f", {len(failed)} do not" if failed else ""))


def _junit(tried: Sequence[Tried]) -> str:
    from dlrun.report.junit import Case, to_junit

    cases = [Case(str(each.file), each.name, each.log or each.result, each.why, "failure", each.seconds) for each in tried]
    return to_junit("dlrun smoke", {"experiments": cases})
