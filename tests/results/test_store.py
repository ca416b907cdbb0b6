import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from dlrun.errors import StoreError
from dlrun.results.formats import RunFiles
from dlrun.results.store import Store

Work = Callable[[Callable[[], object]], int]

RUN = "0123456789ab"
Make = Callable[..., RunFiles]


def test_a_run_is_read_back_as_it_was_written(store: Store, make_run: Make):
    run = make_run()
    folder = store.write_run(run)
    assert folder == store.root / "runs" / RUN
    assert sorted(path.name for path in folder.iterdir()) == [
        "config.yaml",
        "history.csv",
        "model.safetensors",
        "overrides.yaml",
        "preprocessing.json",
        "result.json",
        "run.log",
    ]
    read = store.read_record(RUN)
    assert read.metrics == {"test/r2": 0.5}
    assert set(read.digests) == {"model.safetensors", "preprocessing.json"}
    np.testing.assert_array_equal(store.weights(RUN)["layers.0.weight"], run.weights["layers.0.weight"])
    assert store.extra(RUN, "preprocessing.json") == {"mean": [0.1, 0.2]}
    assert store.text(RUN, "config.yaml") == "seed: 3\n"
    assert store.text(RUN, "run.log") == "started\nended\n"
    assert store.finished(RUN) == read
    assert list((store.runs / ".new").iterdir()) == []


def test_history_keeps_each_number_in_the_fewest_digits(store: Store, make_run: Make):
    values = np.random.default_rng(0).standard_normal(500).astype(np.float32) * np.float32(1e-3)
    double = [0.1, 1 / 3, float("nan"), float("inf"), *[1e-300] * 496]
    run = RunFiles(make_run().record, history={"single": values, "double": double, "rare": [None, 1.5] * 250})
    store.write_run(run)
    history = store.history(RUN)
    np.testing.assert_array_equal(history["single"].astype(np.float32), values)
    np.testing.assert_array_equal(history["double"], double)
    assert np.isnan(history["rare"][0])
    assert history["rare"][1] == 1.5
    lines = store.text(RUN, "history.csv").splitlines()
    assert lines[1] == f"{values[0]!s},0.1,"
    assert max(len(line.split(",")[0]) for line in lines) <= 14


def test_a_run_that_was_skipped_has_no_weights(store: Store, make_run: Make):
    store.write_run(RunFiles(make_run(status="skipped", reason="no").record))
    assert not (store.folder(RUN) / "model.safetensors").exists()
    assert store.history(RUN) == {}
    with pytest.raises(StoreError, match="cannot be read"):
        store.weights(RUN)


def test_arrays_that_are_not_contiguous_are_written_right(store: Store, make_run: Make):
    array = np.arange(12.0).reshape(3, 4).T[::2]
    store.write_run(RunFiles(make_run().record, weights={"w": array, "scalar": np.float32(2.0).reshape(())}))
    np.testing.assert_array_equal(store.weights(RUN)["w"], array)


def test_a_cohort_is_written_and_listed(store: Store, make_run: Make):
    ids = [f"{index:012x}" for index in range(20)]
    assert len(store.write_cohort([make_run(run, seed=index) for index, run in enumerate(ids)])) == 20
    assert [record.id for record in store.records()] == ids
    assert [record.seed for record in store.records([ids[3], "f" * 12, ids[1]])] == [3, 1]


def test_another_attempt_replaces_the_first_whole(store: Store, make_run: Make):
    store.write_run(make_run())
    (store.folder(RUN) / "checkpoint.safetensors").write_bytes(b"old")
    store.write_run(RunFiles(make_run(status="failed", reason="second").record), durable=False)
    assert store.read_record(RUN).reason == "second"
    assert not (store.folder(RUN) / "checkpoint.safetensors").exists()
    assert list((store.runs / ".new").iterdir()) == []


@pytest.mark.parametrize(
    "override", ["a=1", "model.hidden=[5,5]", "x='a: b'", "#", "-", "ключ=значение", "a=\x00\x7f\x85\n", "~loss", "a=\U0001f600"]
)
def test_overrides_survive_yaml(store: Store, make_run: Make, override: str):
    store.write_run(RunFiles(make_run().record, overrides=[override, "b=2"]))
    assert yaml.safe_load(store.text(RUN, "overrides.yaml")) == [override, "b=2"]


@pytest.mark.parametrize("run", ["../../etc", "/etc", "", "ABCDEF012345", "0123456789ab/..", "0123456789ab\n", "a\x00b"])
def test_only_ids_name_folders(store: Store, run: str):
    with pytest.raises(StoreError, match="an id is"):
        store.folder(run)


@pytest.mark.parametrize("name", ["../x.json", "/x.json", ".hidden", "a/b", ""])
def test_only_plain_names_name_files(store: Store, make_run: Make, name: str):
    with pytest.raises(StoreError, match="plain name"):
        store.write_run(RunFiles(make_run().record, extra={name: 1}))


def test_damaged_files_are_found(store: Store, make_run: Make):
    folder = store.write_run(make_run())
    weights = folder / "model.safetensors"
    good = weights.read_bytes()
    rng = np.random.default_rng(0)
    for _ in range(100):
        bad = bytearray(good)
        bad[rng.integers(len(bad))] ^= 1 << int(rng.integers(8))
        weights.write_bytes(bad)
        with pytest.raises(StoreError, match="is damaged"):
            store.weights(RUN)
    for size in (0, 4, len(good) - 1):
        weights.write_bytes(good[:size])
        with pytest.raises(StoreError, match="is damaged"):
            store.weights(RUN)
    (folder / "history.csv").write_text("epoch,loss\n1\n")
    with pytest.raises(StoreError, match=r"history\.csv: is damaged"):
        store.history(RUN)
    (folder / "result.json").write_text('{"id": "0123')
    complaints: list[str] = []
    assert store.finished(RUN) is None
    assert store.records(complain=complaints.append) == []
    assert "is damaged" in complaints[0]


def test_a_run_that_is_not_there(store: Store):
    assert store.finished(RUN) is None
    with pytest.raises(StoreError, match="not found in"):
        store.read_record(RUN)
    assert Store(store.root / "nowhere").records() == []


def test_the_root_is_the_argument_then_the_environment_then_outputs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DLRUN_OUTPUT_DIR", raising=False)
    assert Store.at().root == tmp_path / "outputs"
    monkeypatch.setenv("DLRUN_OUTPUT_DIR", str(tmp_path / "env"))
    assert Store.at().root == tmp_path / "env"
    assert Store.at("given").root == tmp_path / "given"


def test_a_place_that_cannot_be_written_is_named_before_anything_trains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"output_dir=.*file/out: cannot be written") as error:
        Store.at(tmp_path / "file" / "out").prepare()
    assert error.value.exit_code == 2
    read_only = Store.at(tmp_path / "ro")
    read_only.prepare()
    monkeypatch.setattr(os, "open", lambda *_, **__: _fail(errno.EROFS))
    with pytest.raises(StoreError, match="Read-only file system"):
        read_only.prepare()


def _fail(number: int) -> Any:
    raise OSError(number, os.strerror(number))


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC])
def test_every_call_that_fails_says_so_and_keeps_the_earlier_attempt(
    store: Store, make_run: Make, monkeypatch: pytest.MonkeyPatch, number: int
):
    store.write_run(make_run(reason="first"))
    real = {name: getattr(os, name) for name in ("open", "write", "fsync", "rename", "mkdir")}
    for nth in range(100):
        calls = iter(range(10_000))

        def faulty(name: str) -> Callable[..., Any]:
            def call(*args: Any, **kwargs: Any) -> Any:
                return _fail(number) if next(calls) == nth else real[name](*args, **kwargs)  # noqa: B023

            return call

        said = ""
        with monkeypatch.context() as patch:
            for name in real:
                patch.setattr(os, name, faulty(name))
            try:
                store.write_run(make_run(reason="second"))
            except StoreError as error:
                said = str(error)
            clean = next(calls) <= nth
        assert store.weights(RUN)
        if clean:
            break
        assert os.strerror(number) in said or store.read_record(RUN).reason == "second"
        store.write_run(make_run(reason="first"), durable=False)
    assert nth > 20
    assert said == ""
    assert store.read_record(RUN).reason == "second"


def test_one_run_of_a_cohort_that_cannot_be_written_does_not_stop_the_others(
    store: Store, make_run: Make, monkeypatch: pytest.MonkeyPatch
):
    real = os.mkdir

    def mkdir(path: Any, *args: Any) -> None:
        if "000000000001" in str(path):
            _fail(errno.ENOSPC)
        real(path, *args)

    monkeypatch.setattr(os, "mkdir", mkdir)
    with pytest.raises(StoreError, match=r"000000000001: cannot be written \(No space left"):
        store.write_cohort([make_run(f"{index:012x}") for index in range(4)])
    with pytest.raises(StoreError, match=r"000000000004: cannot be written \(model: object has no place in JSON"):
        store.write_cohort([make_run(f"{index:012x}", diagnostics={"model": object()} if index == 4 else {}) for index in (4, 5)])
    assert store.ids() == ["000000000000", "000000000002", "000000000003", "000000000005"]


KILLS = """
import os, sys
from pathlib import Path
import numpy as np
from dlrun.results.record import RunRecord
from dlrun.results.formats import RunFiles
from dlrun.results.store import Store

CALLS = ("open", "write", "close", "fsync", "rename", "mkdir", "unlink", "rmdir")
REAL = {name: getattr(os, name) for name in CALLS}
root = Path(sys.argv[1])

def run(reason):
    return RunFiles(RunRecord("0123456789ab", "done", reason), "a: 1", ["a=1"], {"epoch": [1]},
                    {"w": np.arange(3.0)}, "log", {"preprocessing.json": [1]})

def die_at(nth):
    left = [nth]
    def wrap(real):
        def call(*args, **kwargs):
            left[0] -= 1
            if left[0] < 0:
                os._exit(9)
            return real(*args, **kwargs)
        return call
    for name in CALLS:
        setattr(os, name, wrap(REAL[name]))

for earlier in (False, True):
    for nth in range(200):
        store = Store(root / f"{earlier}{nth}")
        store.prepare()
        if earlier:
            store.write_run(run("first"), durable=False)
        child = os.fork()
        if child == 0:
            store = Store(store.root)
            die_at(nth)
            store.write_run(run("second"))
            os._exit(0)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        before = store.finished("0123456789ab")
        if before is not None:  # what is there is whole
            store.weights("0123456789ab"), store.history("0123456789ab"), store.extra("0123456789ab", "preprocessing.json")
        store.prepare()
        after = store.finished("0123456789ab")
        assert before is None or after == before, (earlier, nth)
        assert not earlier or after is not None, nth  # no finished run is lost
        assert not any((store.runs / ".new").iterdir()), nth
        store.write_run(run("third"), durable=False)  # leftovers do not block the next
        assert store.read_record("0123456789ab").reason == "third"
        if code == 0:
            break
    assert code == 0 and nth > 20
"""


def _python(script: str, *args: str) -> subprocess.Popen[str]:
    source = str(Path(__file__).parents[2] / "src")
    environment = {**os.environ, "PYTHONPATH": source, "OPENBLAS_NUM_THREADS": "1"}
    return subprocess.Popen([sys.executable, "-c", script, *args], env=environment, stderr=subprocess.PIPE, text=True)


def test_killed_at_any_call(tmp_path: Path):
    process = _python(KILLS, str(tmp_path))
    _, errors = process.communicate()
    assert process.returncode == 0, errors


WRITER = """
import itertools, os, sys
from pathlib import Path
import numpy as np
from dlrun.results.record import RunRecord
from dlrun.results.formats import RunFiles
from dlrun.results.store import Store
from dlrun.results.sweeps import Cell, Sweep

store = Store(Path(sys.argv[1]))
store.prepare()
sweep = Sweep.create(store, "poll", [Cell(f"{i:012x}") for i in range(200)])
extra = {"preprocessing.json": list(range(2000))}
parent = os.getppid()
for attempt in itertools.takewhile(lambda _: os.getppid() == parent, itertools.count()):  # until the test has seen enough
    record = RunRecord("0123456789ab", "done", str(attempt))
    store.write_run(RunFiles(record, history={"a": np.arange(500.0)}, extra=extra), durable=False)
    sweep.settings["attempt"] = attempt
    sweep.save()
    sweep.write_comparison("a,b\\n" * 500, "")
"""


def test_a_reader_never_meets_half_a_file(tmp_path: Path):
    process = _python(WRITER, str(tmp_path))
    seen = set()
    try:
        while len(seen) < 100 and process.poll() is None:
            for path in (*tmp_path.glob("sweeps/*/sweep.json"), tmp_path / "runs/0123456789ab/result.json"):
                try:
                    content = json.loads(path.read_bytes())
                except FileNotFoundError:  # between two attempts, or not there yet
                    continue
                seen.add(content.get("reason", content.get("settings", {}).get("attempt")))
            for name, lines in (("runs/0123456789ab/history.csv", 501),):
                try:
                    assert len((tmp_path / name).read_text().splitlines()) == lines
                except FileNotFoundError:
                    continue
    finally:
        process.kill()
        _, errors = process.communicate()
    assert len(seen) >= 100, errors


def test_an_output_folder_that_is_a_link_is_not_written_through(store: Store, make_run: Make, tmp_path: Path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "canary").write_text("alive")
    store.folder(RUN).symlink_to(elsewhere)
    store.write_run(make_run())
    assert [path.name for path in elsewhere.iterdir()] == ["canary"]
    assert store.read_record(RUN).id == RUN


def test_writing_a_run_costs_less_than_training_it(store: Store, make_run: Make, work: Work):
    rng = np.random.default_rng(0)
    history = rng.random((50, 4), dtype=np.float32)
    runs = [
        RunFiles(
            make_run(f"{index:012x}").record,
            "a: 1\n" * 200,
            ["a=1"],
            dict(zip("abcd", history.T, strict=True)),
            {"theta": rng.random(61, dtype=np.float32)},
            "log\n",
        )
        for index in range(30)
    ]
    store.write_cohort(runs[:1])
    assert work(lambda: store.write_cohort(runs[1:])) < (len(runs) - 1) * 700


def test_a_run_needs_neither_pandas_nor_scipy_nor_torch():
    script = (
        "import sys; import dlrun.results.store, dlrun.results.sweeps, dlrun.results.identity, dlrun.report.tables; "
        "sys.exit(bool({'pandas', 'scipy', 'torch', 'omegaconf'} & set(sys.modules)))"
    )
    process = _python(script)
    process.communicate()
    assert process.returncode == 0
