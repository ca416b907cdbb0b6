"""The numbers of a run that checks are about."""

import numpy as np
import pytest

from dlrun.claims.quantities import History, quantity
from dlrun.errors import InputError
from dlrun.results.record import RunRecord

RECORD = RunRecord(
    "0" * 12,
    "done",
    metrics={"test/accuracy": 0.9},
    diagnostics={
        "dead_units": [0.5, 0.0, 0.25],
        "mean_activation": [-0.5, 0.1, 0.3],
        "weight_norm": 2.0,
        "norm": [1e-5, 1.0, 1e-2],
    },
    epochs=4,
)
HISTORY: History = {
    "epoch": np.array([1.0, 2.0, 3.0, 4.0]),
    "train/loss": np.array([0.9, 0.5, 0.2, 0.3]),
    "validation/accuracy": np.array([0.5, 0.6, 0.8, 0.7]),
}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("test/accuracy", 0.9),
        ("epochs", 4),
        ("weight_norm", 2.0),
        ("dead_units[0]", 0.5),
        ("dead_units[-1]", 0.25),
        ("dead_units[3]", None),
        ("mean(dead_units)", 0.25),
        ("size(mean_activation)", 0.3),
        ("decay(norm)", -3.0),
        ("mean(nothing)", None),
        ("epochs_to(train/loss, 0.5)", 2),
        ("epochs_to(validation/accuracy, 0.75)", 3),
        ("epochs_to(train/loss, 0.1)", 5),
        ("epochs_to(test/loss, 0.1)", None),
        ("swing(train/loss, 3)", np.std([0.5, 0.2, 0.3], ddof=1)),
        ("nothing", None),
    ],
)
def test_a_number_of_a_run(text: str, value: float | None) -> None:
    found = quantity(text, RECORD, lambda: HISTORY)
    assert found is None if value is None else found == pytest.approx(value)


def test_what_there_is_none_of_is_named() -> None:
    with pytest.raises(InputError, match=r"no such quantity; there are mean.*did you mean 'swing'"):
        quantity("swings(train/loss, 3)", RECORD, lambda: HISTORY)
