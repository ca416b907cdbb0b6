"""The verbs that look after the store."""

import json
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

import dlrun
from dlrun.results.store import Store
from kept import results

Call = Callable[..., tuple[int, str, str]]
WORDS = ("-m", "dataset=moons", "trainer=smoke", "baseline=[]", "logger=none", "optimizer.lr=0.01,0.02", "seed=1,2")


@pytest.fixture
def store(call: Call, folder: Path) -> Store:
    assert call(*WORDS)[0] == 0
    return Store(folder / "outputs")


def test_single_runs_are_no_output_of_an_older_dlrun(call: Call, folder: Path) -> None:
    assert call("dataset=moons", "trainer=smoke", "baseline=[]", "logger=none")[0] == 0
    code, _, err = call("compare")
    assert (code, "runs of no sweep are named by settings" in err, "older" in err) == (2, True, False)
    assert call("compare", "dataset=moons")[0] == 0
    (run,) = Store(folder / "outputs").ids()
    for verb, name in (("resume", run), ("status", f"outputs/runs/{run}")):
        said = (
            f"error: sweep '{name}': is a run; to take it over or to go on with it type its command again: dlrun dataset=moons "
        )
        assert call(verb, name)[2].startswith(said)
    (folder / "outputs" / "dlrun.sqlite").unlink()
    assert "type dlrun import" in call("compare")[2]  # runs without a store are those of an older one


def test_runs_are_found_by_settings_and_results(call: Call, store: Store) -> None:
    assert "4 runs" in call("runs")[1]
    for where, count in {
        "optimizer.lr=1e-2": 2,
        "seed=2": 2,
        "dataset=moons": 4,
        "status=diverged": 0,
        "optimizer=adam": 4,
        "dataset.standardize=true": 4,
        "task=binary": 4,
        "regularizer=[]": 4,
        "regularizer=[l1]": 0,
        store.ids()[0][:6]: 1,
    }.items():
        code, out, _ = call("runs", where, "--json")
        assert (code, len(json.loads(out))) == (0, count), where
    assert len(json.loads(call("runs", "seed=1", "optimizer.lr=0.02", "--json")[1])) == 1
    assert "1 of them shown; type --limit 4 for all" in call("runs", "--limit", "3", "--limit", "1")[1]
    for words, said in {
        ("optimizer.ir=1",): "optimizer.ir: no run has such a key; did you mean 'optimizer.lr'?",
        ("nothing",): "nothing: is no run; give key=value",
        ("--jason",): "--jason: dlrun runs takes --limit, --json, --yes and output_dir=PATH; did you mean '--json'?",
        ("--limit", "x"): "--limit x: takes a whole number",
        ("--limit",): "--limit: takes a value",
    }.items():
        code, out, err = call("runs", *words)
        assert (code, out) == (2, "")
        assert said in err


def test_of_runs_that_ended_in_one_second_the_last_is_the_first(
    call: Call, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dlrun.experiments.train.utc_now", lambda: "2026-01-31T12:00:00Z")
    seeds = [3, 1, 2]
    for seed in seeds:
        assert call("dataset=moons", "trainer=smoke", "baseline=[]", "logger=none", f"seed={seed}")[0] == 0
    assert [run["seed"] for run in json.loads(call("runs", "--json")[1])] == seeds[::-1]


def test_runs_are_deleted_and_pending_again(call: Call, store: Store) -> None:
    code, _, err = call("runs", "delete", "seed=1")
    assert (code, "would remove 2 runs for ever; type --yes" in err) == (2, True)
    assert call("runs", "delete")[0] == 2
    assert call("runs", "delete", "seed=1", "--yes")[1] == "2 runs deleted\n"
    assert "4 runs: 2 done, 2 pending" in call("status")[1]
    assert "4 runs: 4 done" in call("resume")[1] or len(store.ids()) == 4


def test_a_note_stays_with_its_run(call: Call, store: Store) -> None:
    run = store.ids()[0]
    assert call("note", run[:8], "the one in the talk")[0] == 0
    assert "the one in the talk" in call("runs")[1]
    out = call("show", run[:8])[1]
    for said in (f"run {run}", "the one in the talk", "lr: 0.0", "one of 4 runs trained together", "test/accuracy"):
        assert said in out
    assert call("note", "0000", "x")[0] == 2
    assert call("note", run)[0] == 2


def test_runs_are_exported_and_imported(call: Call, store: Store, folder: Path) -> None:
    run = store.ids()[0]
    assert call("export", run, "--to", "there")[1] == f"{folder / 'there' / run}\n"
    loaded = dlrun.load(folder / "there" / run)
    assert loaded.metrics == dlrun.load(run).metrics
    assert (loaded.predict([[0.0, 1.0]]) == dlrun.load(run).predict([[0.0, 1.0]])).all()
    code, out, _ = call("import", f"there/{run}", "output_dir=other")
    assert (code, out) == (0, f"there/{run}: 1 run and 0 sweeps taken in\n")
    assert results(folder / "other")[run] | {"digests": 0} == results(folder / "outputs")[run] | {"digests": 0}
    assert call("import", "outputs", "output_dir=other")[1] == "outputs: 3 runs and 1 sweep taken in\n"
    assert "4 runs: 4 done" in call("status", "output_dir=other")[1]
    assert call("import", "nothing")[0] == 2
    assert call("export", "ffffffff")[0] == 2


def test_outputs_of_an_older_dlrun_are_imported_but_for_what_is_damaged(call: Call, store: Store, folder: Path) -> None:
    first, *others = store.ids()
    for run in store.ids():
        store.export(run)
        path = store.folder(run) / "result.json"
        record = json.loads(path.read_text())
        kept = ("model.safetensors", "preprocessing.json")
        record["digests"] = {name: digest for name, digest in record["digests"].items() if name in kept}  # as it was
        path.write_text(json.dumps(record))
    old = folder / "old"
    shutil.move(store.runs, old / "runs")
    (old / "runs" / first / "model.safetensors").write_bytes(b"damaged")
    (sweep,) = (folder / "outputs" / "sweeps").iterdir()
    (old / "sweeps" / sweep.name).mkdir(parents=True)
    cells = [
        {"id": run, "overrides": ["seed=1"], "seed": 1, "fold": None, "status": "done", "reason": ""} for run in [first, *others]
    ]
    content = {"name": "sweep", "created": "2026-01-31T12:00:05Z", "command": "", "settings": {}, "runs": cells}
    (old / "sweeps" / sweep.name / "sweep.json").write_text(json.dumps(content))
    code, _, err = call("status", "output_dir=old")
    assert (code, f"type dlrun import {old}" in err) == (2, True)
    code, out, err = call("import", "old", "output_dir=new")
    assert (code, out) == (1, "old: 3 runs and 1 sweep taken in\n")
    assert err.count("\n") == 1
    assert f"{first}/model.safetensors: is damaged" in err
    assert "4 runs: 3 done, 1 pending" in call("status", "output_dir=new")[1]
    assert dlrun.load(others[0], output_dir="new").metrics == dlrun.load(others[0]).metrics


def test_the_doctor_names_what_is_damaged_and_it_is_trained_again(call: Call, store: Store) -> None:
    """R1 of the known cases: an edited result does not win the table, and a run that was removed is not done."""
    assert call("doctor", "store") == (0, f"{store.path}: all is well\n", "")
    edited, removed, *_ = store.ids()
    before = results(store.root)
    with sqlite3.connect(store.path) as connection:
        connection.execute(
            "UPDATE runs SET record = replace(record, '\"test/accuracy\":', '\"test/accuracy\":9') WHERE id = ?", (edited,)
        )
    store.delete([removed])
    code, out, _ = call("doctor", "store")
    assert code == 1
    assert out.splitlines()[0].startswith(f"run {edited}: is damaged (")
    code, out, _ = call("status")
    assert code == 1
    assert "4 runs: 2 done, 2 pending" in out
    assert f"run {edited}: is damaged" in out
    assert f"run {edited}: is damaged" in call("runs")[2]
    code, _, err = call("resume")
    assert code == 0, err
    assert err.count(f"warning: run {edited}: is damaged") == 1
    assert {run: record["metrics"] for run, record in results(store.root).items()} == {
        run: record["metrics"] for run, record in before.items()
    }
    assert call("doctor", "store")[0] == 0
    assert call("doctor", "stor")[0] == 2


def test_the_doctor_looks_at_the_installation(call: Call, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from dlrun.cli import doctor
    from dlrun.experiments import self_test

    code, out, err = call("doctor")
    assert (code, err) == (0, "")
    for said in (
        f"dlrun {dlrun.__version__}, Python 3.",
        "torch 2.",
        "trains with its kernel and torch",
        "extra parquet: installed",
    ):
        assert said in out
    assert "self-test by native: has the known figures, to the bit" in out
    assert not (folder / "outputs").exists()
    monkeypatch.setattr(doctor, "_is_installed", lambda library: library != "pyarrow")
    monkeypatch.setattr(self_test, "LOSS", 0.5)
    code, out, _ = call("doctor")
    assert code == 1
    assert "extra parquet: lacks pyarrow; pip install 'dlrun[parquet]'" in out
    assert "has other figures than it must (validation loss 0.0128" in out
    monkeypatch.setattr(doctor, "LEAST_DISK", 1 << 70)
    assert "too little for a sweep" in call("doctor")[1]


def test_sweeps_and_runs_complete(call: Call, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def completed(line: str) -> set[str]:
        monkeypatch.setenv("COMP_LINE", f"dlrun {line}")
        monkeypatch.setenv("COMP_POINT", str(len(line) + 6))
        code, out, err = call("-sc", "query=bash")
        assert (code, err) == (0, "")
        return set(out.split())

    (sweep,) = (store.root / "sweeps").iterdir()
    run = store.ids()[0]
    assert completed("resume ") == {"latest", "sweep", sweep.name}
    assert completed(f"status {sweep.name[:5]}") == {sweep.name}
    assert completed("plot sw") == {"sweep"}
    assert completed(f"export {run[:8]}") == {run}
    assert completed(f"compare output_dir=elsewhere {run[:8]}") == set()


def test_claims_of_other_computers_are_released(call: Call, store: Store) -> None:
    with sqlite3.connect(store.path) as connection:
        connection.execute("INSERT INTO owners (pid, started, host, since, token) VALUES (1, 1, 'elsewhere', 'then', 'x')")
        connection.execute("INSERT INTO claims SELECT 'aaaaaaaaaaaa', max(id) FROM owners")
    assert "claims of 1 process released" in call("doctor", "store", "--release")[1]
    assert store.owners(["aaaaaaaaaaaa"]) == {}


def test_what_looks_like_an_id_and_is_none(folder: Path, call: Callable[..., tuple[int, str, str]]) -> None:
    code, _, err = call("show", "abcdef123")
    assert (code, err) == (
        2,
        "error: show abcdef123: is neither a run nor an option; dlrun runs and dlrun ls list what there is\n",
    )
