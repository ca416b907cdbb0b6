import errno
import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from dlrun.errors import StoreError
from dlrun.results import blobs, database, folders
from dlrun.results.folders import RunFolder
from dlrun.results.formats import RunFiles, history_bytes, read_history_bytes, weights_bytes
from dlrun.results.store import Store

Work = Callable[[Callable[[], object]], int]

RUN = "0123456789ab"
Make = Callable[..., RunFiles]


def change(store: Store, statement: str, *values: Any) -> None:
    """What somebody else does to the database."""
    with sqlite3.connect(store.path) as connection:
        connection.execute(statement, values)


def test_a_run_is_read_back_as_it_was_written(store: Store, make_run: Make):
    run = make_run(name="näme \ud800", reason="why \0")
    store.write_cohort([run])
    read = store.read_record(RUN)
    assert read.metrics == {"test/r2": 0.5}
    assert (read.name, read.reason) == ("näme \\ud800", "why \0")
    assert set(read.digests) == {"model.safetensors", "preprocessing.json"}
    np.testing.assert_array_equal(store.weights(RUN)["layers.0.weight"], run.weights["layers.0.weight"])
    assert store.extra(RUN, "preprocessing.json") == {"mean": [0.1, 0.2]}
    assert store.config(RUN) == {"seed": 3, "model": {"hidden": [5]}}
    assert "warning: it is warm" in store.log(RUN)
    assert store.finished(RUN) == read
    assert sorted(path.name for path in store.root.iterdir()) == ["dlrun.sqlite", "sweeps"]


def test_a_single_run_is_a_folder_too(store: Store, make_run: Make):
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
    assert yaml.safe_load((folder / "config.yaml").read_text()) == store.config(RUN)
    assert json.loads((folder / "result.json").read_text())["metrics"] == {"test/r2": 0.5}
    kept = RunFolder(folder)
    for read in (kept.history, store.history):
        np.testing.assert_array_equal(read(RUN)["train/loss"].astype(np.float32), np.array([0.1, 0.2], np.float32))
    again = Store(store.root.with_name("again"))
    again.write_cohort([kept.files()])
    assert again.files(RUN).log == store.files(RUN).log
    assert again.read_record(RUN) == store.read_record(RUN)


def test_history_keeps_each_number(store: Store, make_run: Make):
    values = np.random.default_rng(0).standard_normal(500).astype(np.float32) * np.float32(1e-3)
    double = [0.1, 1 / 3, float("nan"), float("inf"), *[1e-300] * 496]
    store.write_run(RunFiles(make_run().record, history={"single": values, "double": double, "rare": [None, 1.5] * 250}))
    for history in (store.history(RUN), RunFolder(store.folder(RUN)).history()):
        np.testing.assert_array_equal(history["single"].astype(np.float32), values)
        np.testing.assert_array_equal(history["double"], double)
        assert np.isnan(history["rare"][0])
        assert history["rare"][1] == 1.5
    lines = (store.folder(RUN) / "history.csv").read_text().splitlines()
    assert lines[1] == f"{values[0]!s},0.1,"


def test_configs_share_their_sections(store: Store, make_run: Make):
    common = {"hidden": [5], "odd": {1: "a", None: float("inf")}}
    runs = [
        RunFiles(make_run(f"{number:012x}", seed=number).record, {"model": common, "seed": number, "lr": number / 2})
        for number in range(6)
    ]
    store.write_cohort([*runs, RunFiles(make_run("f" * 12, seed=9).record, {"seed": 3, "model": common})])
    found = store.configs([*(run.record.id for run in runs), "f" * 12, "e" * 12])
    assert {run.record.id: run.config for run in runs} == {key: value for key, value in found.items() if key != "f" * 12}
    assert list(found["0" * 12]) == ["model", "seed", "lr"], "in their order"
    assert found["f" * 12]["seed"] == 3, "a seed that is not the run's"
    assert found["0" * 12]["model"] is found["f" * 12]["model"]


def test_a_run_that_was_skipped_has_no_weights(store: Store, make_run: Make):
    store.write_run(RunFiles(make_run(status="skipped", reason="no").record))
    assert not (store.folder(RUN) / "model.safetensors").exists()
    assert store.history(RUN) == {}
    with pytest.raises(StoreError, match="has no weights"):
        store.weights(RUN)


def test_arrays_that_are_not_contiguous_are_written_right(store: Store, make_run: Make):
    array = np.arange(12.0).reshape(3, 4).T[::2]
    store.write_run(RunFiles(make_run().record, weights={"w": array, "scalar": np.float32(2.0).reshape(())}))
    np.testing.assert_array_equal(store.weights(RUN)["w"], array)


def test_a_cohort_is_written_and_listed(store: Store, make_run: Make):
    ids = [f"{index:012x}" for index in range(20)]
    store.write_cohort([make_run(run, seed=index) for index, run in enumerate(ids)])
    assert [record.id for record in store.records()] == ids
    assert [record.seed for record in store.records([ids[3], "f" * 12, ids[1]])] == [3, 1]


def test_another_attempt_replaces_the_first_whole(store: Store, make_run: Make):
    store.write_cohort([make_run(), make_run("f" * 12)])
    store.annotate(RUN, "the good one")
    store.write_run(make_run())
    (store.folder(RUN) / "checkpoint.safetensors").write_bytes(b"old")
    store.write_run(RunFiles(make_run(status="failed", reason="second").record))
    assert store.read_record(RUN).reason == "second"
    assert store.notes() == {RUN: "the good one"}
    assert not (store.folder(RUN) / "checkpoint.safetensors").exists()
    assert [path.name for path in store.runs.iterdir()] == [RUN]
    assert store.weights("f" * 12)
    store.delete([RUN, "f" * 12])
    assert not list(store.runs.iterdir())
    with sqlite3.connect(store.path) as connection:
        for table in ("runs", "parts", "blobs", "configs", "sections"):
            assert connection.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,), table


def test_large_weights_lie_beside_the_database(store: Store, make_run: Make, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(blobs, "LARGE", 1000)
    large = {"w": np.arange(1000.0)}
    store.write_cohort([RunFiles(make_run().record, weights=large), RunFiles(make_run("f" * 12).record, weights=large)])
    (file,) = (store.root / "weights").iterdir()
    np.testing.assert_array_equal(store.weights(RUN)["w"], large["w"])
    (store.root / "weights" / f"{'0' * 64}.safetensors").touch()  # of a process that was killed
    (store.root / "weights" / "mine").touch()
    store.prepare()
    assert sorted(path.name for path in (store.root / "weights").iterdir()) == sorted([file.name, "mine"])
    store.delete([RUN])
    assert file.exists(), "the other run has the same"
    file.write_bytes(b"damaged")
    with pytest.raises(StoreError, match=f"{file.name} holds is not what was written"):
        store.weights("f" * 12)
    store.delete(["f" * 12])
    assert not file.exists()


@pytest.mark.parametrize(
    "override", ["a=1", "model.hidden=[5,5]", "x='a: b'", "#", "-", "ключ=значение", "a=\x00\x7f\x85\n", "~loss", "a=\U0001f600"]
)
def test_overrides_survive_yaml(store: Store, make_run: Make, override: str):
    folder = store.write_run(RunFiles(make_run(overrides=(override, "b=2")).record))
    assert yaml.safe_load((folder / "overrides.yaml").read_text()) == [override, "b=2"]


@pytest.mark.parametrize("run", ["../../etc", "/etc", "", "ABCDEF012345", "0123456789ab/..", "0123456789ab\n", "a\x00b"])
def test_only_ids_name_folders(store: Store, run: str):
    with pytest.raises(StoreError, match="an id is"):
        store.folder(run)


@pytest.mark.parametrize("name", ["../x.json", "/x.json", ".hidden", "a/b", ""])
def test_only_plain_names_name_files(store: Store, make_run: Make, name: str):
    with pytest.raises(StoreError, match="plain name"):
        store.write_run(RunFiles(make_run().record, extra={name: 1}))


OTHER = "ffffffffffff"
EDITS = {
    "an edited metric": """runs SET record = replace(record, '"test/r2":0.5', '"test/r2":9.5')""",
    "the record of another run": f"runs SET record = (SELECT record FROM runs WHERE id = '{OTHER}')",
    "the row of another run": f"runs SET (record, digest) = (SELECT record, digest FROM runs WHERE id = '{OTHER}')",
    "another status": "runs SET status = 'failed'",
    "no status": "runs SET status = 'good'",
    "another seed": "runs SET seed = 4",
    "no JSON": "runs SET record = '{'",
    "bytes": "runs SET record = x'00ff'",
    "another id": "runs SET id = 'eeeeeeeeeeee'",
    "another config": "sections SET key = 'other' WHERE key = 'model'",
    "an edited section": "blobs SET content = replace(content, '5', '6') WHERE CAST(content AS TEXT) LIKE '%hidden%'",
    "an edited part": "blobs SET content = x'00' WHERE id = (SELECT blob FROM parts WHERE name = 'history')",
    "a part of another form": "blobs SET form = 1 WHERE id = (SELECT blob FROM parts WHERE name = 'model.safetensors')",
    "an edited digest": "blobs SET digest = x'00' WHERE id = (SELECT blob FROM parts WHERE name = 'preprocessing.json')",
    "a renamed part": "parts SET name = 'x' WHERE name = 'history'",
}


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS)
@pytest.mark.fault("a store that is edited or damaged")
def test_what_was_changed_by_others_is_reported_and_does_not_count(store: Store, make_run: Make, edit: str):
    """R1 of the known cases: an edited or foreign record."""
    store.write_cohort([make_run(), RunFiles(make_run(OTHER, metrics={"test/r2": 0.75}).record)])
    change(store, f"UPDATE {edit}" + (f" WHERE id = '{RUN}'" if edit.startswith("runs") else ""))
    said: list[str] = []
    found = store.records([RUN, OTHER], said.append, whole=True)
    assert [record.id for record in found] == [OTHER]
    if "another id" not in edit and "eeee" not in edit:
        (line,) = said
        assert line.startswith(f"run {RUN}: is damaged (")
        assert line.endswith("; it counts as not trained")
    store.write_cohort([make_run()])  # trained again, it is whole
    assert store.records([RUN], said.append, whole=True)[0].metrics == {"test/r2": 0.5}
    assert store.weights(RUN)
    assert store.history(RUN)
    assert store.config(RUN)["model"] == {"hidden": [5]}


@pytest.mark.fault("a store that is edited or damaged")
def test_damaged_parts_are_found(store: Store, make_run: Make):
    store.write_cohort([make_run()])
    with sqlite3.connect(store.path) as connection:
        rows = connection.execute("SELECT id, content FROM blobs WHERE id IN (SELECT blob FROM parts)").fetchall()
    rng = np.random.default_rng(0)
    for blob, good in rows:
        for _ in range(20):
            bad = bytearray(good)
            bad[rng.integers(len(bad))] ^= 1 << int(rng.integers(8))
            change(store, "UPDATE blobs SET content = ? WHERE id = ?", bytes(bad), blob)
            assert store.records([RUN], whole=True) == []
        change(store, "UPDATE blobs SET content = ? WHERE id = ?", good, blob)
    assert store.records([RUN], whole=True)


@pytest.mark.fault("a store that is edited or damaged")
def test_damaged_folders_are_found(store: Store, make_run: Make):
    folder = store.write_run(make_run())
    for name in ("config.yaml", "history.csv", "model.safetensors", "preprocessing.json", "result.json"):
        good = (folder / name).read_bytes()
        for bad in (good[:-2], good[: len(good) // 2], b"", good.replace(b"0.5", b"9.5") if b"0.5" in good else good + b" "):
            (folder / name).write_bytes(bad)
            with pytest.raises(StoreError, match=rf"{name}: is damaged"):
                RunFolder(folder).files()
        (folder / name).write_bytes(good)
    assert RunFolder(folder).files().record.id == RUN


@pytest.mark.parametrize("where", [0, 30, 100, 2000, 4096, 5000, 9000, 20_000])
@pytest.mark.fault("a store that is edited or damaged")
def test_a_damaged_database_is_one_line(store: Store, make_run: Make, where: int):
    store.write_cohort([make_run(f"{number:012x}", seed=number) for number in range(40)])
    content = bytearray(store.path.read_bytes())
    content[where : where + 3000] = b"\xa5" * len(content[where : where + 3000])
    store.path.write_bytes(content)
    for read in (
        store.ids,
        store.notes,
        lambda: store.records(whole=True),
        store.prepare,
        lambda: store.write_cohort([make_run()]),
    ):
        try:
            read()
        except StoreError as error:
            (line,) = error.problems
            assert "\n" not in line
    if not database.problems(store.root):  # of the contents alone, or of nothing that is used
        assert {str(record.metrics) for record in store.records(whole=True)} <= {"{'test/r2': 0.5}"}


@pytest.mark.parametrize("content", [b"text", b"x" * 5000, "other"])
@pytest.mark.fault("a store that is edited or damaged")
def test_a_file_that_is_not_dlruns_is_refused(store: Store, content: Any):
    store.path.unlink()
    if content == "other":
        change(store, "CREATE TABLE theirs (a)")
    else:
        store.path.write_bytes(content)
    before = store.path.read_bytes()
    for use in (store.ids, store.prepare):
        with pytest.raises(StoreError, match=r"is damaged \(file is not a database|is another program's database"):
            use()
    assert store.path.read_bytes() == before


def test_a_newer_schema_is_refused(store: Store, make_run: Make):
    change(store, "PRAGMA user_version = 7")
    for use in (store.ids, store.prepare, lambda: store.write_cohort([make_run()])):
        with pytest.raises(StoreError, match=r"was written by a newer dlrun \(its schema is 7.* knows 2\); update dlrun"):
            use()


def test_a_run_that_is_not_there(store: Store):
    assert store.finished(RUN) is None
    with pytest.raises(StoreError, match="not found in"):
        store.read_record(RUN)
    nowhere = Store(store.root / "nowhere")
    assert (nowhere.records(), nowhere.ids(), nowhere.configs([RUN]), nowhere.owners([RUN])) == ([], [], {}, {})
    assert not nowhere.root.exists()


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
    with pytest.raises(StoreError, match=r"output_dir=.*cannot be written \(Read-only file system\); choose another folder"):
        read_only.prepare()


def _fail(number: int) -> Any:
    raise OSError(number, os.strerror(number))


def test_a_full_database_keeps_what_was_there(store: Store, make_run: Make, monkeypatch: pytest.MonkeyPatch):
    """SQLite is told of a disk that holds no more pages than there are."""
    store.write_cohort([make_run(reason="first")])
    connected = sqlite3.connect

    def small(*given: Any, **named: Any) -> sqlite3.Connection:
        connection = connected(*given, **named)
        connection.execute("PRAGMA max_page_count = 1")
        return connection

    monkeypatch.setattr(sqlite3, "connect", small)
    with pytest.raises(StoreError, match=r"dlrun\.sqlite: cannot be written \(No space left on device\)"):
        store.write_cohort([make_run(), *(make_run(f"{number:012x}") for number in range(99))])
    monkeypatch.undo()
    assert [record.reason for record in store.records(whole=True)] == ["first"]


def test_one_run_of_a_cohort_that_cannot_be_written_does_not_stop_the_others(store: Store, make_run: Make):
    with pytest.raises(StoreError, match=r"000000000004: cannot be written \(model: object has no place in JSON"):
        store.write_cohort(
            [make_run(f"{index:012x}", diagnostics={"model": object()} if index == 4 else {}) for index in (3, 4, 5)]
        )
    assert store.ids() == ["000000000003", "000000000005"]


def test_a_folder_that_cannot_be_written_leaves_the_earlier_one(store: Store, make_run: Make, monkeypatch: pytest.MonkeyPatch):
    store.write_run(make_run(reason="first"))
    real = {name: getattr(os, name) for name in ("open", "write", "fsync", "rename", "mkdir")}
    for nth in range(100):
        calls = iter(range(10_000))

        def faulty(name: str) -> Callable[..., Any]:
            def call(*args: Any, **kwargs: Any) -> Any:
                return _fail(errno.ENOSPC) if next(calls) == nth else real[name](*args, **kwargs)  # noqa: B023

            return call

        said = ""
        with monkeypatch.context() as patch:
            for name in real:
                patch.setattr(os, name, faulty(name))
            try:
                folders.write(make_run(reason="second"), store.folder(RUN))
            except StoreError as error:
                said = str(error)
            clean = next(calls) <= nth
        kept = RunFolder(store.folder(RUN)).files()
        if clean:
            break
        assert "No space left on device" in said or kept.record.reason == "second"
        if kept.record.reason == "second":  # the folder's name was flushed too late
            folders.write(make_run(reason="first"), store.folder(RUN))
    assert nth > 20
    assert kept.record.reason == "second"


KILLS = """
import os, sqlite3, sys
from pathlib import Path
import numpy as np
from dlrun.results.record import RunRecord
from dlrun.results.formats import RunFiles
from dlrun.results.store import Store
from dlrun.results import blobs

blobs.LARGE = 1000
CALLS = ("open", "write", "close", "fsync", "rename", "replace", "mkdir", "unlink", "rmdir")
REAL = {name: getattr(os, name) for name in CALLS}
connect = sqlite3.connect
root = Path(sys.argv[1])

def runs(reason):
    for number in range(3):
        yield RunFiles(RunRecord(f"{number:012x}", "done", reason, seed=number), {"a": 1, "seed": number}, {"epoch": [1]},
                       {"w": np.arange(3.0 + 200 * number) + len(reason)}, ["log"], {"preprocessing.json": [1]})

def die_at(nth):
    left = [nth]
    def step(*_):
        left[0] -= 1
        if left[0] < 0:
            os._exit(9)
    def wrap(real):
        def call(*args, **kwargs):
            step()
            return real(*args, **kwargs)
        return call
    for name in CALLS:
        setattr(os, name, wrap(REAL[name]))
    def connected(*args, **kwargs):
        connection = connect(*args, **kwargs)
        connection.set_trace_callback(step)  # before each statement
        return connection
    sqlite3.connect = connected

def whole(store):
    found = store.records(whole=True)
    for record in found:
        store.files(record.id)
    return {record.reason for record in found}, len(found)

stride = 1 if "DLRUN_FAULTS" in os.environ else 9
for earlier in (False, True):
    for nth in range(stride - 1 if earlier else 0, 1000, stride):
        store = Store(root / f"{earlier}{nth}")
        store.prepare()
        if earlier:
            store.write_cohort(runs("first"))
        child = os.fork()
        if child == 0:
            die_at(nth)
            store.write_cohort(runs("second"), as_folders=True)
            os._exit(0)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        before = whole(store)
        assert before in ((set(), 0), ({"first"}, 3), ({"second"}, 3)), before  # all of a cohort or nothing
        assert not earlier or before[1] == 3, nth  # no finished run is lost
        store.prepare()
        assert whole(store) == before
        assert not [path for path in store.root.rglob("*") if path.name.startswith(".") or path.name.endswith("-journal")], nth
        kept = {path.name for path in store.root.glob("weights/*")}
        with connect(store.path) as connection:
            known = {row[0].hex() for row in connection.execute("SELECT digest FROM blobs WHERE form = 2")}
        assert kept == {f"{digest}.safetensors" for digest in known}
        store.write_cohort(runs("third"))  # leftovers do not block the next
        assert whole(store) == ({"third"}, 3)
        if code == 0:
            break
    assert code == 0 and nth > 60, nth
"""


def _python(script: str, *args: str) -> subprocess.Popen[str]:
    source = str(Path(__file__).parents[2] / "src")
    environment = {**os.environ, "PYTHONPATH": source, "OPENBLAS_NUM_THREADS": "1"}
    return subprocess.Popen([sys.executable, "-c", script, *args], env=environment, stderr=subprocess.PIPE, text=True)


@pytest.mark.fault("a process that ends at any statement and call of the store")
def test_killed_at_any_statement_and_call(tmp_path: Path):
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
sweep = Sweep.create(store, "poll", [Cell(f"{i:012x}") for i in range(20)])
parent = os.getppid()
for attempt in itertools.takewhile(lambda _: os.getppid() == parent, itertools.count()):  # until the test has seen enough
    store.write_cohort([RunFiles(RunRecord(f"{i:012x}", "done", str(attempt)), history={"a": np.arange(50.0)}) for i in range(5)])
    sweep.settings["attempt"] = attempt
    sweep.save()
    sweep.write_comparison("a,b\\n" * 500, "")
"""


@pytest.mark.fault("a reader while others write")
def test_a_reader_never_meets_half_a_cohort(tmp_path: Path):
    process = _python(WRITER, str(tmp_path))
    store = Store(tmp_path)
    seen = set()
    try:
        while len(seen) < 20 and process.poll() is None:
            reasons = {record.reason for record in store.records(complain=seen.clear, whole=True)}
            assert len(reasons) <= 1
            seen |= reasons
            for path in tmp_path.glob("sweeps/*/comparison.csv"):
                assert len(path.read_text().splitlines()) == 500
    finally:
        process.kill()
        _, errors = process.communicate()
    assert len(seen) >= 20, errors


def test_a_reader_that_comes_while_the_database_is_made_finds_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / database.FILE).touch()
    connect = sqlite3.connect

    def made(statement: str) -> None:
        """Another process makes the schema, where it may, just before a statement of the reader."""
        if "sqlite_schema" in statement:
            other = connect(tmp_path / database.FILE, isolation_level=None)
            other.execute("PRAGMA busy_timeout = 0")  # it gives up at once
            try:
                other.execute("BEGIN IMMEDIATE")
                database._create(other)
                other.execute("COMMIT")
            except sqlite3.OperationalError:  # it has to wait for the reader
                pass
            finally:
                other.close()

    def traced(*args: Any, **keywords: Any) -> sqlite3.Connection:
        connection = connect(*args, **keywords)
        connection.set_trace_callback(made)
        return connection

    monkeypatch.setattr(database.sqlite3, "connect", traced)
    assert Store(tmp_path).records() == []


def test_writing_a_run_costs_less_than_training_it(store: Store, make_run: Make, work: Work):
    rng = np.random.default_rng(0)
    history = rng.random((50, 4), dtype=np.float32)
    runs = [
        RunFiles(
            make_run(f"{index:012x}").record,
            {"a": 1},
            dict(zip("abcd", history.T, strict=True)),
            {"theta": rng.random(61, dtype=np.float32)},
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


ELSEWHERE = """
import os, platform, sys
from pathlib import Path
import numpy, psutil
from safetensors import numpy  # these know the system that they are on
platform.node()
for module in ("fcntl", "resource"):
    sys.modules[module] = None  # importing it raises
LACKING = ("sysconf", "uname", "sync", "fork", "sched_getaffinity", "getuid", "O_NOFOLLOW", "O_CLOEXEC", "O_DIRECTORY", "pread")
for name in LACKING:
    vars(os).pop(name, None)
from dlrun.memory import free_bytes, machine_bytes
from dlrun.results.record import RunRecord
from dlrun.results.formats import RunFiles
from dlrun.results.store import Store
from dlrun.results.sweeps import Cell, Sweep

store = Store(Path(sys.argv[1]))
store.prepare()
sweep = Sweep.create(store, "x", [Cell("0123456789ab")])
with sweep.claim(), store.claim(["0123456789ab"]) as claim:
    assert claim.mine and sweep.owner()
    store.write_run(RunFiles(RunRecord("0123456789ab", "done"), {"a": 1}, {"epoch": [1, 2]}))
sweep.write_comparison("a", "b")
sweep.refresh(store)
assert sweep.counts() == {"done": 1} and not sweep.owner()
assert store.export("0123456789ab", store.root / "there")
assert 0 < free_bytes() < machine_bytes()
"""


def test_it_works_without_calls_that_other_systems_lack(tmp_path: Path):
    process = _python(ELSEWHERE, str(tmp_path))
    _, errors = process.communicate()
    assert process.returncode == 0, errors


def test_arrays_of_a_known_form_are_written_as_safetensors_writes_them() -> None:
    from safetensors.numpy import save

    draw = np.random.default_rng(0)
    for _ in range(3):
        arrays = {"b": draw.normal(size=(2, 3)).astype(np.float32), "a": draw.normal(size=4), "n": draw.integers(9, size=(3, 1))}
        arrays["t"] = draw.normal(size=(3, 2)).T
        assert weights_bytes(arrays) == save({name: np.ascontiguousarray(array) for name, array in arrays.items()})


@pytest.mark.parametrize(
    "column", [[0.5, 3.0], [0.1, 0.5], [None, 0.5], [np.nan, 0.1], [np.inf, 1e300], np.array([0.1], "f4"), []]
)
def test_a_history_comes_back_whatever_its_digits(column: Any) -> None:
    (found,) = read_history_bytes(history_bytes({"loss": column})).values()
    assert found.tolist() == pytest.approx([np.nan if value is None else value for value in column], nan_ok=True, rel=0, abs=0)


def test_runs_written_together_are_those_written_alone(store: Store, make_run: Make, tmp_path: Path) -> None:
    runs = [make_run(f"{number:012x}", seed=number % 2 + 3, metrics={"test/r2": number % 3}) for number in range(8)]
    store.write_cohort(runs[:5])
    store.write_cohort([*runs[4:], runs[7]])  # some of their content is there already, and a run comes twice
    alone = Store(tmp_path / "alone")
    for run in runs:
        alone.write_cohort([run])
    assert {record.id: record for record in store.records(whole=True)} == {
        record.id: record for record in alone.records(whole=True)
    }
    assert store.ids() == [run.record.id for run in runs]
