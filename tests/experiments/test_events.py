"""Loggers and displays hang on the events of one service: what the command says, Python says, and the other way round."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import dlrun
from dlrun import own_modules
from dlrun.cli.main import main
from dlrun.errors import InputError
from dlrun.extend import Logger

LOGGER = '''
import json
from dlrun.extend import Logger


class Lines(Logger):
    """A line for each event."""

    def __init__(self, path="events.jsonl"):
        self.path = path

    def write(self, event, **more):
        with open(self.path, "a") as file:
            file.write(json.dumps({"event": event, **more}) + "\\n")

    def note(self, text):
        self.write("note", text=text)

    def warning(self, text, runs):
        self.write("warning", text=text, runs=runs)

    def begun(self, grid, title):
        self.write("begun", runs=1 if grid is None else len(grid.specs))

    def run_ended(self, records):
        self.write("run_ended", ids=[record.id for record in records])

    def finished(self, result):
        self.write("finished", code=result.code)

    def close(self):
        self.write("close")
'''
TABLE = "a,y\n" + "".join(f"{number},{2 * number + number % 3}.5\n" for number in range(60))


@pytest.fixture
def place(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(own_modules, "_imported", set())
    monkeypatch.syspath_prepend(str(folder))
    (folder / "lines.py").write_text(LOGGER)
    (folder / "conf" / "logger").mkdir(parents=True)
    (folder / "conf" / "logger" / "mine.yaml").write_text(
        "# A line for each event.\n_target_: lines.Lines\npath: events.jsonl\nprogress: false\ntable: false\n"
    )
    (folder / "t.csv").write_text(TABLE)
    return folder


def events(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("swept", [False, True])
def test_a_logger_of_ones_own_hears_of_everything(place: Path, swept: bool) -> None:
    own: dict[str, Any] = {"imports": ["lines"], "config_dir": "conf", "progress": False}
    words = ["dataset=csv", "dataset.path=t.csv", "dataset.target=y", "trainer=smoke", "logger=mine", "baseline=none"]
    if swept:
        ids = dlrun.sweep(*words, "seed=0,1", **own)["id"].tolist()
    else:
        ids = [dlrun.run(*words, **own).id]
    heard = events(place)
    assert [event["event"] for event in heard] == ["note", "begun", "run_ended", "finished", "close"]
    assert "regression" in heard[0]["text"]
    assert heard[1]["runs"] == len(ids)
    assert sorted(heard[2]["ids"]) == sorted(ids)
    assert heard[3]["code"] == 0


def test_a_logger_is_closed_when_a_component_raises(place: Path) -> None:
    (place / "broken.py").write_text(
        "import torch\n\ncalls = 0\n\ndef late(x):\n    global calls\n    calls += 1\n"
        "    if calls > 200:\n        raise RuntimeError('late')\n    return torch.tanh(x)\n"
    )
    own: dict[str, Any] = {"imports": ["lines", "broken"], "config_dir": "conf", "progress": False}
    with pytest.raises(dlrun.errors.RunError, match="late"):
        dlrun.run("dataset=moons", "activation._target_=broken.late", "logger=mine", "trainer.epochs=200", **own)
    assert [event["event"] for event in events(place)] == ["begun", "close"]


def test_what_is_no_logger_is_refused(place: Path) -> None:
    with pytest.raises(InputError, match=r"^logger._target_=lines.Lines.write: "):
        dlrun.run("dataset=moons", "+logger._target_=lines.Lines.write", imports=["lines"], progress=False)
    with pytest.raises(InputError, match=r"^logger: lines.Lines cannot be made with path, pth"):
        dlrun.run("dataset=moons", "logger=mine", "+logger.pth=x", imports=["lines"], config_dir="conf", progress=False)


def test_python_reports_the_inferred_task(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["dataset=csv", "dataset.path=t.csv", "dataset.target=y", "trainer=smoke", "baseline=none"]
    dlrun.run(*words)
    assert "dataset t.csv: 60 rows, target y: regression" in capsys.readouterr().err
    dlrun.sweep(*words, seed=[0, 1])
    assert "dataset t.csv: 60 rows, target y: regression" in capsys.readouterr().err
    dlrun.run(*words, progress=False)
    assert capsys.readouterr().err == ""


def test_a_listener_needs_no_method() -> None:
    heard: Callable[..., None] = Logger().note
    assert heard("x") is None


def test_lines_for_programs_that_watch(folder: Path) -> None:
    words = ["dataset=moons", "trainer=smoke", "baseline=none", "logger=lines"]
    table = dlrun.sweep(*words, "optimizer.lr=0.01,0.1", progress=False)
    heard = [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]
    assert [event["event"] for event in heard if event["event"] != "progress"] == ["begun", "run_ended", "run_ended", "finished"]
    ended = {event["id"]: event for event in heard if event["event"] == "run_ended"}
    assert set(ended) == set(table["id"])
    assert sorted(event["factors"]["optimizer.lr"] for event in ended.values()) == [0.01, 0.1]
    assert all(0 <= event["metrics"]["test/accuracy"] <= 1 for event in ended.values())
    plain = dlrun.sweep(*words[:-1], "optimizer.lr=0.01,0.1", progress=False)
    assert plain["id"].tolist() == table["id"].tolist()
    with pytest.raises(InputError, match=r"^logger.path=no/such/file: cannot be written"):
        dlrun.run(*words, "logger.path=no/such/file", progress=False)


def test_a_logger_is_closed_when_nothing_can_train(place: Path) -> None:
    own: dict[str, Any] = {"imports": ["lines"], "config_dir": "conf", "progress": False}
    for ask in (dlrun.run, dlrun.sweep):
        (place / "events.jsonl").unlink(missing_ok=True)
        with pytest.raises(InputError):
            ask("dataset=moons", "optimizer.lr=-1", "logger=mine", **own)
        assert [event["event"] for event in events(place)] == ["close"]


def test_a_plan_has_no_logger(folder: Path) -> None:
    assert main(["plan", "dataset=moons", "seed=0,1", "logger=lines"]) == 0
    assert not (folder / "events.jsonl").exists()
