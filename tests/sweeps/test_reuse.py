"""The store at work: what has been trained is not trained again, unless somebody asks for it."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from dlrun.experiments import sweep as sweeps
from dlrun.results.store import Store
from dlrun.results.sweeps import Sweep
from kept import stamps

Call = Callable[..., tuple[int, str, str]]
Latest = Callable[..., Sweep]
Outputs = Callable[..., dict[str, dict[str, Any]]]

WORDS = ("activation=relu,tanh", "trainer=smoke", "baseline=[]")


def untouched(before: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
    return bool(before) and all(after.get(run) == stamp for run, stamp in before.items())


def test_reissuing_trains_nothing(call: Call, folder: Path, latest: Latest) -> None:
    assert call("-m", *WORDS, "seed=range(0,5)")[0] == 0
    first, before = latest(), stamps(folder / "outputs")
    code, out, err = call("-m", *WORDS, "seed=range(0,5)")
    assert code == 0
    assert stamps(folder / "outputs") == before
    assert latest().folder != first.folder
    assert latest().counts() == {"done": 10}
    assert "10 runs: 10 done, 10 of them taken over, none trained" in out
    assert "training" not in err
    assert "relu" in (latest().folder / "comparison.csv").read_text()


def test_widening_trains_the_new_ones_alone(call: Call, folder: Path) -> None:
    assert call("-m", *WORDS, "seed=0,1")[0] == 0
    before = stamps(folder / "outputs")
    assert call("-m", *WORDS, "seed=range(0,4)", "optimizer.lr=0.001")[0] == 0  # the default, said aloud
    after = stamps(folder / "outputs")
    assert (len(before), len(after)) == (4, 8)
    assert untouched(before, after)


def test_a_single_run_is_shared_with_sweeps_and_always_trains(call: Call, folder: Path, outputs: Outputs) -> None:
    assert call("activation=relu", "seed=1", "trainer=smoke", "baseline=[]")[0] == 0
    before = stamps(folder / "outputs")
    assert call("-m", *WORDS, "seed=0,1")[0] == 0
    assert len(outputs()) == 4
    assert untouched(before, stamps(folder / "outputs"))
    assert call("activation=relu", "seed=1", "trainer=smoke", "baseline=[]")[0] == 0
    assert not untouched(before, stamps(folder / "outputs"))
    assert len(outputs()) == 4


def test_reuse_false_trains_all(call: Call, folder: Path) -> None:
    assert call("-m", *WORDS)[0] == 0
    before = stamps(folder / "outputs")
    code, out, _ = call("-m", *WORDS, "reuse=false")
    after = stamps(folder / "outputs")
    assert (code, after.keys()) == (0, before.keys())
    assert all(after[run] != before[run] for run in before)
    assert "2 done" in out


def test_diverged_runs_are_results_and_failed_ones_can_be_retried(call: Call, folder: Path, outputs: Outputs) -> None:
    words = ("-m", "optimizer=sgd", "optimizer.lr=0.01,1e30", "trainer=smoke", "baseline=[]")
    assert call(*words)[0] == 1
    before = stamps(folder / "outputs")
    assert sorted(run["status"] for run in outputs().values()) == ["diverged", "done"]
    assert call(*words)[0] == 1
    assert call(*words, "retry_failed=true")[0] == 1
    assert stamps(folder / "outputs") == before


def test_retrying_what_failed(call: Call, folder: Path, outputs: Outputs, latest: Latest) -> None:
    (folder / "flaky.py").write_text(
        "from pathlib import Path\nimport torch\n"
        "def sometimes(x):\n    if x.shape[-2] > 3 and Path('broken').exists():\n        raise OSError('no licence')\n"
        "    return torch.relu(x)\n"
    )
    words = ("--import", "flaky", "-m", "activation._target_=torch.nn.Tanh,flaky.sometimes", "seed=0,1", "trainer=smoke")
    (folder / "broken").touch()
    code, _, err = call(*words, "baseline=[]")
    assert code == 1
    assert "failed: activation._target_=flaky.sometimes seed=0 and 1 more: OSError: no licence" in err
    before = stamps(folder / "outputs")
    (folder / "broken").unlink()
    assert call(*words, "baseline=[]")[0] == 1  # failed runs are results too
    assert stamps(folder / "outputs") == before
    code, out, _ = call("resume", "--import", "flaky", "--retry-failed")
    assert code == 0
    assert "4 runs: 4 done" in out
    after = stamps(folder / "outputs")
    assert sum(after[run] == stamp for run, stamp in before.items()) == 2
    assert latest().counts() == {"done": 4}
    assert {run["status"] for run in outputs().values()} == {"done"}


def test_status_and_resume_by_every_name(call: Call, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert call("-m", "seed=0,1", "trainer=smoke", "name=first one", "output_dir=here", "baseline=[]")[0] == 0
    (sweep,) = (folder / "here" / "sweeps").iterdir()
    before = stamps(folder / "here")
    for which in ((str(sweep),), ("output_dir=here",), ("latest", "output_dir=here"), ("first one", "output_dir=here")):
        code, out, _ = call("status", *which)
        assert (code, out.splitlines()) == (0, [str(sweep), "2 runs: 2 done", "no process is training it"])
    for which in ((str(sweep),), ("first one", "output_dir=here")):
        assert call("resume", *which)[0] == 0
    other = folder / "elsewhere"
    other.mkdir()
    monkeypatch.chdir(other)
    assert call("resume", str(sweep))[0] == 0
    assert call("resume", f"../here/sweeps/{sweep.name}")[0] == 0
    assert stamps(folder / "here") == before
    assert not list(other.iterdir())
    code, _, err = call("status", "nothing")
    assert code == 2
    assert err.startswith("error: sweep 'nothing': not found in")


def test_resume_says_when_the_runs_have_changed(
    call: Call, folder: Path, latest: Latest, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = folder / "table.csv"
    table.write_text("a,b,target\n" + "".join(f"{i},{i * i % 7},{i % 5}\n" for i in range(60)))
    words = ("dataset=csv", "dataset.path=table.csv", "dataset.target=target", "trainer=smoke", "trainer.batch_size=4")
    assert call("-m", *words, "seed=0,1", "baseline=[]")[0] == 0
    assert call("resume")[2].count("warning: ") == 0
    before = table.read_text()
    table.write_text(f"{before}1,2,3\n")
    assert call("resume")[0] == 2  # other data would replace the runs
    table.write_text(before)
    monkeypatch.setattr("dlrun.experiments.train.__version__", "another")
    code, _, err = call("resume")
    assert code == 0
    assert "warning: 2 of 2 runs are not those that the sweep began with" in err
    assert latest().counts() == {"done": 2}


def test_resuming_a_sweep_that_was_to_train_everything(
    call: Call, folder: Path, latest: Latest, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("-m", "seed=0,1", "model.hidden=[3],[4]", "trainer=smoke", "baseline=[]")
    assert call(*words)[0] == 0
    before = stamps(folder / "outputs")
    monkeypatch.setattr("dlrun.results.record.utc_now", lambda: "2999-01-01T00:00:00Z")
    monkeypatch.setattr("dlrun.experiments.train.utc_now", lambda: "2999-01-01T00:00:00Z")

    def stop(*_: Any, **__: Any) -> int:
        raise KeyboardInterrupt

    create = Sweep.create.__func__  # type: ignore[attr-defined]
    later = classmethod(lambda cls, *given, **named: with_later(create(cls, *given, **named)))
    with monkeypatch.context() as patch:  # it begins a thousand years later and is stopped before its first run
        patch.setattr(Sweep, "create", later)
        patch.setattr(sweeps, "carry_out", stop)
        assert call(*words, "reuse=false")[0] == 130
    assert stamps(folder / "outputs") == before
    assert call("resume")[0] == 0
    again = stamps(folder / "outputs")
    assert all(again[run] != before[run] for run in before)
    assert call("resume")[0] == 0  # and now they are all there
    assert stamps(folder / "outputs") == again


def with_later(sweep: Sweep) -> Sweep:
    sweep.created = "2998-01-01T00:00:00Z"
    sweep.save()
    return sweep


def test_runs_of_another_process_are_waited_for(
    call: Call, folder: Path, outputs: Outputs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other process gives one run up untrained, and has trained one by the time it lets go."""
    words = ("-m", "seed=0,1,2", "trainer=smoke", "baseline=[]")
    assert call(*words)[0] == 0
    ended = {run: record["seed"] for run, record in outputs().items()}
    store = Store(folder / "outputs")
    first, second = (run for run, seed in ended.items() if seed in (0, 1))
    kept, before = store.files(first), stamps(store.root)
    store.delete([first, second])
    held = store.claim([first, second])
    held.__enter__()
    looks = []

    def look(seconds: float) -> None:
        looks.append(seconds)
        if len(looks) == 2:
            store.write_cohort([kept])
            held.__exit__(None, None, None)

    monkeypatch.setattr(sweeps.time, "sleep", look)
    code, out, err = call(*words)
    assert code == 0
    assert "3 runs: 3 done" in out
    assert re.search(r"waiting for 2 that process \d+ on \S+ \(since .*\) trains", err)
    assert "waiting" not in err.splitlines()[-1], "that is over"
    assert len(looks) == 2
    assert outputs().keys() == ended.keys()
    assert stamps(folder / "outputs")[first] == before[first]
    assert stamps(folder / "outputs")[second] != before[second]
