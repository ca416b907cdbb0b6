"""What verbs print with ``--json`` is one document, as docs/schema.json has it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from dlrun.cli.main import VERBS

Call = Callable[..., tuple[int, str, str]]
DOCS = Path(__file__).parents[2] / "docs"
SCHEMA = json.loads((DOCS / "schema.json").read_text())
SHORT = ("dataset=moons", "dataset.rows=60", "trainer=smoke")
SWEEP = ("-m", *SHORT, "loss=bce,mse", "activation=relu,tanh", "seed=range(0,5)", "baseline=[mean]")

SHOWN = [  # which definition, the exit code, the words
    ("train", 0, (*SHORT, "seed=9")),
    ("multirun", 0, SWEEP),
    ("multirun", 0, ("resume",)),
    ("plan", 0, ("plan", *SWEEP[1:], "trainer.batch_size=8")),
    ("status", 0, ("status",)),
    ("ls", 0, ("ls", "activation", "loss")),
    ("show", 0, ("show", "gelu", "claim/xor", "optimizer/adam")),
    ("show", 0, ("show", "{run}")),
    ("runs", 0, ("runs", "seed=9")),
    ("compare", 0, ("compare",)),
    ("gate", 3, ("gate", "--reference", "relu", "--margin", "0.1%")),
    ("report", 0, ("report",)),
    ("plot", 0, ("plot", "results")),
    ("plot", 0, ("plot", "results", "-o", "drawn.json")),
    ("import", 0, ("import", "outputs")),
    ("export", 0, ("export", "{run}")),
    ("export", 0, ("export", "{run}", "--format", "torch")),
    ("init", 0, ("init", "own")),
    ("doctor", 0, ("doctor",)),
    ("doctor", 0, ("doctor", "store", "--release")),
    ("smoke", 0, ("smoke", "xor")),
    ("settle", 0, ("settle", *SHORT, "activation=relu,tanh", "--max-seeds", "30", "--margin", "0.001")),
]
ELSEWHERE = {"claims", "trace", "predict", "evaluate", "encode", "tune"}  # whose JSON is tested where they are
NOTHING = {"note"}  # it prints a line


def validate(name: str, document: Any) -> None:
    jsonschema.validate(document, {**SCHEMA, "$ref": f"#/$defs/{name}"})


def test_every_document(call: Call, folder: Path) -> None:
    run = ""
    for name, wanted, words in SHOWN:
        code, out, err = call(*(word.format(run=run) for word in words), "--json")
        assert code == wanted, (words, err)
        document = json.loads(out)
        validate(name, document)
        if name == "train":
            run = document["run"]["id"]
            assert document["run"]["status"] == "done"
        if name == "multirun":
            assert document["sweep"]["statuses"] == {"done": 10, "skipped": 10}
            assert len(document["comparison"][0]["groups"]) == 3
            assert document["sweep"]["problems"][0]["reason"].startswith("loss=mse: does not serve binary data")
    assert document["settled"] is True


def test_every_verb_is_described() -> None:
    shown = {words[0] for _, _, words in SHOWN if words[0] in VERBS} | {"train"}
    assert set(VERBS) <= shown | ELSEWHERE | NOTHING
    page = (DOCS / "json.md").read_text()
    assert all(f"`{name}`" in page for name in SCHEMA["$defs"])


def test_errors_stay_lines(call: Call) -> None:
    code, out, err = call("dataset=mooons", "--json")
    assert (code, out) == (2, "")
    assert "did you mean 'moons'" in err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("compare", "--format", "csv", "--json"), "--format csv --json: only one of these at a time"),
        (("--cfg", "job", "--json"), "--cfg --json: only one of these at a time"),
    ],
)
def test_two_formats(call: Call, words: tuple[str, ...], said: str) -> None:
    code, out, err = call(*words)
    assert (code, out) == (2, "")
    assert said in err
