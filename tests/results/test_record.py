import json
import math

import numpy as np
import pytest

from dlrun.results.record import STATUSES, RunRecord, json_bytes


def test_round_trip_keeps_everything():
    record = RunRecord(
        "0123456789ab",
        "stopped",
        "no improvement for 10 epochs",
        "café \x00 name",
        ("activation=relu", "seed=1"),
        1,
        2,
        {"test/r2": 0.1 + 0.2, "train/loss": None},
        {"grad_norm": [0.1, 0.2]},
        61,
        50,
        0.25,
        {"fingerprint": "abc", "rows": 442, "sizes": [300, 71, 71]},
        {"dlrun": "1"},
        {"runs": 64},
        {"activation": "relu"},
        {"activation": "relu", "optimizer.lr": 0.1, "optimizer.nesterov": True},
        "2026-01-31T12:00:00Z",
        {"model.safetensors": "00"},
    )
    assert RunRecord.from_json(record.to_json()) == record


def test_numbers_that_are_not_finite_become_null_and_the_reason_names_them():
    record = RunRecord(
        "0123456789ab", "diverged", "loss is nan", metrics={"test/r2": math.nan, "test/mse": math.inf, "test/mae": 1.0}
    )
    content = json.loads(record.to_json(), parse_constant=lambda literal: pytest.fail(literal))
    assert content["metrics"] == {"test/r2": None, "test/mse": None, "test/mae": 1.0}
    assert content["reason"] == "loss is nan; not finite: test/r2=nan, test/mse=inf"
    read = RunRecord.from_json(record.to_json())
    assert read.strict() == read


def test_arrays_and_numpy_numbers_become_plain():
    record = RunRecord(
        "0123456789ab",
        "done",
        metrics={"test/r2": np.float32(0.5), "test/f1": np.float64(0.25)},
        diagnostics={"dead": np.array([0.0, math.nan]), "n": np.int64(3)},
    )
    read = RunRecord.from_json(record.to_json())
    assert read.metrics == {"test/r2": 0.5, "test/f1": 0.25}
    assert read.diagnostics == {"dead": [0.0, None], "n": 3}
    assert read.reason == "not finite: dead[1]=nan"


def test_lists_of_floats_beside_floats():
    found = {"norms": [0.5, 1e308, 1e308], "weight_norm": 2.0, "dead": [], "gap": -0.5}
    assert RunRecord.from_json(RunRecord("0123456789ab", "done", diagnostics=found).to_json()).diagnostics == found
    read = RunRecord.from_json(RunRecord("0123456789ab", "done", diagnostics=found | {"saturation": [0.0, math.inf]}).to_json())
    assert read.diagnostics == found | {"saturation": [0.0, None]}
    assert read.reason == "not finite: saturation[1]=inf"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        '{"id": "a"}',
        '{"id": 1, "status": "done"}',
        '{"id": "a", "status": "fine"}',
        '{"id": "a", "status": "done", "metrics": {"test/r2": NaN}}',
        '{"id": "a", "status": "done", "metrics": []}',
        '{"id": "a", "status": "done", "metrics": {"test/r2": "high"}}',
        '{"id": "a", "status": "done", "seed": true}',
    ],
)
def test_what_is_no_record_is_refused(text: str):
    with pytest.raises(ValueError, match=r"Expecting|must|needs|strict"):
        RunRecord.from_json(text)


def test_keys_of_a_later_version_are_left_alone():
    assert RunRecord.from_json('{"id": "a", "status": "done", "later": 1}') == RunRecord("a", "done")


def test_status_is_a_closed_set():
    assert STATUSES == ("done", "stopped", "diverged", "failed", "skipped", "interrupted")
    with pytest.raises(ValueError, match="must be one of done"):
        RunRecord("a", "finished")  # type: ignore[arg-type]


def test_an_object_without_a_place_in_json_is_named():
    with pytest.raises(TypeError, match="model: object"):
        RunRecord("a", "done", diagnostics={"model": object()}).to_json()


WRITTEN = {
    "numbers": ([0.1 + 0.2, 1e-7, 5e-324, 1.7976931348623157e308, -0.0, 2**53, True, None], None),
    "a long integer": ({"seed": 2**70}, None),
    "half of a surrogate pair": (["\ud800 caf\u00e9 \u2028"], None),
    "a number as a key": ({1: 2}, {"1": 2}),
    "arrays": ({"x": np.arange(3.0)}, {"x": [0.0, 1.0, 2.0]}),
    "a number of numpy's": ([np.float64(0.1)], [0.1]),
    "not finite": ([math.nan, math.inf, 1.0], [None, None, 1.0]),
    "not finite, in an array": ({"x": np.array([math.nan])}, {"x": [None]}),
    "a tuple": (("a=1", "b=2"), ["a=1", "b=2"]),
}


@pytest.mark.parametrize(("value", "read"), WRITTEN.values(), ids=WRITTEN)
def test_what_is_written_as_json_reads_as_what_it_was(value: object, read: object):
    text = json_bytes(value)
    assert json.loads(text, parse_constant=pytest.fail) == (value if read is None else read)
    assert b"\n" not in text


def test_what_has_no_place_in_json_is_refused():
    with pytest.raises(TypeError, match=r"form.json: object"):
        json_bytes(object(), "form.json")
    with pytest.raises(TypeError):
        json_bytes(RunRecord("0123456789ab", "done"))
