"""A process that ends at any write, or hears that one failed: nothing that was there is lost, and the next process goes on.

The calls that open, write, flush, rename, make and remove below the working folder are counted in the process, by a library that
stands before that of the system (interpose.c), so those of SQLite are among them. The first of them goes wrong, then the second,
and so on until a process comes through; in the usual tests some of them alone.
"""

import errno
import shutil
from collections.abc import Callable, Iterable
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from dlrun.results.database import problems
from dlrun.results.folders import RunFolder
from dlrun.results.store import Store
from doses import DOSE
from kept import results, stamps

SHORT = ("trainer=smoke", "dataset=moons", "dataset.rows=40", "baseline=[]")
BEFORE = ("seed=9", *SHORT)  # a run that was there before
COMMANDS: dict[str, tuple[str, ...]] = {
    "sweep": ("-m", "model.hidden=[3],[4]", "seed=0,1", *SHORT, "trainer.checkpoint_s=1e-9", "folders=true"),
    "run": ("seed=0", *SHORT, "trainer.checkpoint_s=1e-9"),
    "run again": BEFORE,
    "export": ("export", "{run}", "--to", "exported"),
    "import": ("import", "sent"),
    "note": ("note", "{run}", "a note"),
    "report": ("report", "{run}", "-o", "{folder}/page.html"),
    "plot": ("plot", "{run}", "curves", "-o", "{folder}/drawn/curves.svg"),
    "trace": ("trace", "seed=0", *SHORT, "-o", "{folder}/trace.txt"),
    "init": ("init", "{folder}/begun"),
}
NAMED = ("*.*", "drawn/*", "begun/**/*")  # what the last four write
ERRORS = (errno.EIO, errno.ENOSPC)  # by turns
STEP = max(1, 300 // DOSE) if DOSE else 1  # every write with DLRUN_FAULTS=300, every tenth with 30
EVERY = [(name, fails, count(STEP, STEP)) for name in COMMANDS for fails in (False, True)]
SOME = [("sweep", False, [150]), ("sweep", True, [186])]

ARM = "import ctypes\nctypes.CDLL({library!r}).fault_arm({folder!r}.encode(), {nth}, {failing}, {marker!r}.encode())\n"


def _named(value: object) -> str:
    return value if isinstance(value, str) else {False: "ends", True: "fails"}[value] if isinstance(value, bool) else ""


@pytest.fixture
def base(lab: Any) -> Path:
    """A copy of the working folder with a run that has ended, and the folder of one that came from elsewhere."""
    assert lab.run(*BEFORE)[0] == 0
    assert lab.run(*BEFORE, "seed=8", "output_dir=other")[0] == 0
    (sent,) = (lab.folder / "other" / "runs").iterdir()
    shutil.copytree(sent, lab.folder / "sent")
    shutil.rmtree(lab.folder / "other")
    copy = lab.folder.parent / "base"
    shutil.copytree(lab.folder, copy)
    return copy


@pytest.mark.fault("a write that fails, or ends the process")
@pytest.mark.parametrize(("name", "fails", "writes"), EVERY if DOSE else SOME, ids=_named)
def test_any_write(
    lab: Any,
    base: Path,
    interposer: str | None,
    name: str,
    fails: bool,
    writes: Iterable[int],
    injected: Callable[[int], None],
) -> None:
    if interposer is None:
        pytest.skip("takes Linux and a C compiler")
    (run,) = stamps(lab.root)
    words = [word.format(run=run, folder=lab.folder) for word in COMMANDS[name]]
    assert lab.run(*words)[0] == 0
    clean, named = figures(lab.root), written(lab.folder)
    marker, hook = lab.folder.parent / "struck", lab.modules / "sitecustomize.py"
    struck = 0
    for nth in writes:
        for entry in lab.folder.iterdir():
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
        shutil.copytree(base, lab.folder, dirs_exist_ok=True)
        failing = ERRORS[nth // STEP % 2] if fails else 0
        hook.write_text(ARM.format(library=interposer, folder=str(lab.folder), nth=nth, failing=failing, marker=str(marker)))
        code, _, err = lab.end(lab.start(*words))
        hook.unlink()
        check(lab.root, run)
        assert written(lab.folder).items() <= named.items(), nth
        assert "Traceback" not in err, (nth, err)
        if not marker.exists():
            assert code == 0, err
            break
        marker.unlink()
        struck += 1
        assert code in ((0, 1, 2) if fails else (9,)), (nth, err)
        if code in (1, 2):
            assert "error: " in err, (nth, err)
        if code == 0:
            assert figures(lab.root) == clean, nth
        again, _, err = lab.run(*words)
        assert again == 0, (nth, err)
        check(lab.root, run)
        assert figures(lab.root) == clean, nth
        assert written(lab.folder) == named, nth
        assert not leftovers(lab.folder), nth
        assert not lab.claims(), nth
        assert not lab.checkpoints(), nth
    injected(struck)
    assert struck


def figures(root: Path) -> dict[str, Any]:
    """Run id -> what it has in a sweep that nothing befell."""
    return {run: (record["status"], record["metrics"]) for run, record in results(root).items()}


def written(folder: Path) -> dict[str, bytes]:
    """The files that were asked for by name, or in a folder by name -> their last bytes, by which a whole one is known."""
    paths = [path for name in NAMED for path in folder.glob(name) if path.is_file() and not path.name.startswith(".")]
    return {str(path.relative_to(folder)): path.read_bytes()[-8:] for path in paths}


def check(root: Path, run: str) -> None:
    """All that is there is whole, and the run that was there before is there."""
    said: list[str] = []
    store = Store(root)
    assert run in {record.id for record in store.records(complain=said.append, whole=True)}
    assert not said
    assert not problems(root)
    for folder in store.runs.glob("[!.]*"):
        RunFolder(folder).files()


def leftovers(folder: Path) -> list[Path]:
    """What was being written."""
    return [path for path in folder.rglob("*") if path.name.startswith(".") or path.name.endswith("-journal")]
