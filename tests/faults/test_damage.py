"""Bits that flip, and ends that are missing, in all that is kept: what is damaged is reported and not used, and nothing wrong is.

A sweep that has ended and one that was interrupted, with two checkpoints, lie in the database, or beside it in files.
"""

import os
import random
import shutil
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from dlrun.cli.main import main
from dlrun.engine import checkpoint, lanes
from dlrun.results import blobs
from dlrun.results.store import Store
from doses import DOSE
from kept import results

Call = Callable[..., tuple[int, str, str]]

SHORT = ("trainer=smoke", "dataset=moons", "dataset.rows=80", "trainer.max_steps=null", "trainer.epochs=6", "baseline=[]")
ENDED = ("-m", "activation=tanh", "seed=range(0,3)", *SHORT)
STOPPED = ("-m", "seed=range(0,4)", *SHORT)
KEPT = 9  # checkpoints that are taken before it is stopped
CUT = 4096
FEW = 3  # cuts of a file in the usual tests


@dataclass(frozen=True)
class Kept:
    """An output root, and what belongs into it when all has ended."""

    root: Path
    whole: dict[str, Any]


@pytest.fixture(scope="module", params=["database", "files"])
def kept(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Kept:
    """The interrupted sweep and the other one; with ``files``, what is large lies beside the database."""
    folder = tmp_path_factory.mktemp("kept")
    keep, written = Store.keep_checkpoint, 0

    def counted(store: Store, each: Any) -> None:
        nonlocal written
        keep(store, each)
        written += 1
        if written == KEPT:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.MonkeyPatch.context() as patch:
        if request.param == "files":
            patch.setattr(blobs, "LARGE", 2000)
        for words in (ENDED, STOPPED):
            assert main([*words, f"output_dir={folder / 'whole'}"]) == 0
        patch.setattr(checkpoint, "MOST_COST", float("inf"))
        patch.setattr(lanes, "PRODUCTS", 1)
        patch.setattr(Store, "keep_checkpoint", counted)
        assert main([*ENDED, f"output_dir={folder / 'stopped'}", "trainer.checkpoint_s=0"]) == 0
        assert main([*STOPPED, f"output_dir={folder / 'stopped'}", "trainer.checkpoint_s=1e-9"]) == 130
    return Kept(folder / "stopped", figures(folder / "whole"))


def figures(root: Path) -> dict[str, Any]:
    """Run id -> how it ended, its metrics and its weights."""
    store = Store(root)
    return {
        run: (record["status"], record["metrics"], {name: values.tobytes() for name, values in store.weights(run).items()})
        for run, record in results(root).items()
    }


def files_of(root: Path) -> list[Path]:
    """What the store consists of."""
    return [root / "dlrun.sqlite", *sorted((root / "weights").glob("*"))]


def go_on(call: Call, root: Path, whole: dict[str, Any]) -> None:
    """Resume the sweep: it ends with the right figures, or says in a line what is damaged."""
    code, out, err = call("resume", f"output_dir={root}")
    assert "Traceback" not in out + err
    if code == 2:
        assert "\nerror: " in f"\n{err}"  # at once, or where it goes on and comes to what is damaged
        return
    found = figures(root)
    others = found.keys() - whole.keys()  # the words of the sweep were changed, and mean other runs
    assert not others or "not those that the sweep began with" in err, err
    assert all(found[run] == whole[run] for run in found.keys() & whole.keys())
    assert code == 0 or "failed" in out or "diverged" in out, err


@pytest.mark.fault("a bit that flips in a store or a checkpoint")
@pytest.mark.dose(1, of_300=250)
def test_a_bit_that_flips(call: Call, kept: Kept, tmp_path: Path, number: int) -> None:
    rng, root = random.Random(number), tmp_path / "root"
    shutil.copytree(kept.root, root)
    file = rng.choices(files := files_of(root), [path.stat().st_size for path in files])[0]
    content = bytearray(file.read_bytes())
    content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    file.write_bytes(content)
    go_on(call, root, kept.whole)


@pytest.mark.fault("a store or a checkpoint that is cut, empty or missing")
def test_an_end_that_is_missing(call: Call, kept: Kept, tmp_path: Path, injected: Callable[[int], None]) -> None:
    sizes = [(number, size) for number, path in enumerate(files_of(kept.root)) for size in range(0, path.stat().st_size, CUT)]
    chosen = sizes if DOSE else sizes[:: len(sizes) // FEW]
    for at, (number, size) in enumerate(chosen):
        root = tmp_path / str(at)
        shutil.copytree(kept.root, root)
        with files_of(root)[number].open("r+b") as file:
            file.truncate(size)
        go_on(call, root, kept.whole)
        shutil.rmtree(root)
    injected(len(chosen))
