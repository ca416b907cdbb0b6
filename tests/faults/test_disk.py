"""A disk that is full, files that may not grow, folders that cannot be written: a clear error, and nothing is lost."""

import resource
import subprocess
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from dlrun.errors import StoreError
from dlrun.results.formats import RunFiles
from dlrun.results.store import Store

pytestmark = pytest.mark.fault("a disk that is full or may not be written")

SHORT = ("dataset=moons", "trainer=smoke", "baseline=[]")
SWEEP = ("-m", "model.hidden=[3],[4],[5]", "seed=range(0,20)", *SHORT)
RUNS = 60


def small_files(limit: int) -> Callable[[], None]:
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))


@pytest.fixture
def disk(lab: Any) -> Iterator[Path]:
    """A file system of its own as the output folder, where this user may mount one: 300k to 380k hold one cohort."""
    lab.root.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=340k", "tmpfs", lab.root], capture_output=True, check=False)
    if mounted.returncode != 0:
        pytest.skip("mounting takes root")
    yield lab.root
    subprocess.run(["umount", "-l", lab.root], check=True)


def remount(disk: Path, options: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", disk], check=True)


def test_a_full_disk(lab: Any, disk: Path) -> None:
    code, out, err = lab.run(*SWEEP)
    assert (code, out) == (2, "")
    (sweep,) = lab.sweeps()
    told = [line for line in err.splitlines() if line.startswith("error: ")]
    assert told[0].endswith(": cannot be written (No space left on device)")
    assert told[-1] == f"error: mend that, and carry on with: dlrun resume {sweep}"
    assert "Traceback" not in err
    before = lab.stamps()
    assert 0 < len(before) < RUNS
    assert {record["status"] for record in lab.records().values()} == {"done"}
    assert f"{RUNS} runs: {len(before)} done, {RUNS - len(before)} pending" in lab.run("status")[1]

    remount(disk, "size=20m")
    code, out, err = lab.run("resume")
    assert (code, f"{RUNS} runs: {RUNS} done" in out) == (0, True), err
    after = lab.stamps()
    assert all(after[run] == stamp for run, stamp in before.items())
    lab.check_clean()

    remount(disk, "ro")
    for words in (SWEEP, ("dataset=moons",), ("resume",)):
        code, out, err = lab.run(*words)
        assert (code, out) == (2, "")
        assert err.startswith(f"error: output_dir={disk}: cannot be written (Read-only file system); choose another folder")
    assert lab.run("status")[0] == 0  # reading goes on
    assert lab.stamps() == after


def test_files_that_may_not_grow(lab: Any) -> None:
    code, out, err = lab.run(*SWEEP, limit=small_files(1500))  # not even the database can be made
    assert (code, out) == (2, "")
    assert "dlrun.sqlite: cannot be read or written (disk I/O error)" in err
    assert not list(lab.root.glob("sweeps/*"))
    assert not lab.stamps()
    code, out, err = lab.run("dataset=moons", "model.hidden=[64,64]", "trainer=smoke", "baseline=[]", limit=small_files(10_000))
    assert code == 2
    assert "cannot be read or written (disk I/O error)" in err
    assert not list(lab.root.glob("runs/[0-9a-f]*"))
    assert lab.run(*SWEEP)[0] == 0
    lab.check_clean()


def test_a_cohort_that_cannot_be_written_while_the_next_trains(lab: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    write = Store.write_cohort

    def full(store: Store, runs: Sequence[RunFiles], **how: Any) -> None:
        monkeypatch.setattr(Store, "write_cohort", write)  # the others find room
        raise StoreError("no room")

    with monkeypatch.context() as patch:
        patch.setattr(
            Future, "done", lambda future: bool(future.exception()) or True
        )  # the next cohort trains when it has failed
        monkeypatch.setattr(Store, "write_cohort", full)
        code, out, err = lab.run("-m", "model.hidden=[3],[4]", "seed=0,1", *SHORT)
    assert (code, out, "error: no room\nerror: mend that" in err) == (2, "", True)
    assert not lab.records()
    assert lab.run("resume")[0] == 0
    lab.check_clean()


@pytest.mark.parametrize("words", [("seed=1",), ("-m", "seed=1,2")], ids=["run", "sweep"])
def test_an_output_folder_that_is_none(lab: Any, words: tuple[str, ...]) -> None:
    (lab.folder / "file").touch()
    for path in ("file", "file/deeper", "/proc/nothing"):
        code, out, err = lab.run(*words, "trainer=smoke", f"output_dir={path}")
        assert (code, out) == (2, "")
        assert err.splitlines()[-1].startswith("error: output_dir=")
        assert "epoch" not in err
    assert [path.name for path in lab.folder.iterdir()] == ["file"]
