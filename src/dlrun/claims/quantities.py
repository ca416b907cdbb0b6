"""The number of a run that a check is about: a metric, a diagnostic, or a figure made from its history.

test/accuracy, epochs, weight_norm        a metric, or a diagnostic that is one number
dead_units[0], gradient_norm_at_start[-1] a layer of a diagnostic that has a number for each
mean(dead_units)                          the mean over layers
size(mean_activation)                     the mean over layers of the absolute value
decay(gradient_norm_at_start)             log10 of the first layer's number divided by the last one's
epochs_to(train/loss, 0.1)                the first epoch with the value or a better one; the epochs and one more if there is none
swing(test/loss, 10)                      the standard deviation of the last 10 values of the history
"""

import math
import re
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dlrun.comparison.measures import lower_is_better
from dlrun.comparison.table import Row
from dlrun.errors import InputError, nearest
from dlrun.results.record import RunRecord

History = Mapping[str, NDArray[np.float64]]

_CALL = re.compile(r"(\w+)\((.+)\)")
_LAYER = re.compile(r"(\w+)\[(-?\d+)\]")


def quantity(text: str, record: RunRecord, history: Callable[[], History]) -> float | None:
    """The number that ``text`` names; None where the run has none.

    Args:
        record: of the run.
        history: reads the run's history, for the quantities that need it.

    Raises:
        InputError: there is no such quantity.
    """
    call = _CALL.fullmatch(text)
    if call is None:
        return _plain(text, record)
    name, arguments = call[1], [part.strip() for part in call[2].split(",")]
    if name in _LAYERS and len(arguments) == 1:
        return _LAYERS[name](_layers(arguments[0], record))
    if name in _HISTORY and len(arguments) == 2:
        return _HISTORY[name](arguments[0], history(), float(arguments[1]))
    known = (*(f"{known}(DIAGNOSTIC)" for known in _LAYERS), *(f"{known}(COLUMN, NUMBER)" for known in _HISTORY))
    raise InputError(f"{text}: no such quantity; there are {', '.join(known)}{nearest(name, (*_LAYERS, *_HISTORY))}")


def _plain(text: str, record: RunRecord) -> float | None:
    layer = _LAYER.fullmatch(text)
    if layer is not None:
        values, place = _layers(layer[1], record), int(layer[2])
        return values[place] if -len(values) <= place < len(values) else None
    return Row.of(record).metrics.get(text)


def _layers(name: str, record: RunRecord) -> Sequence[float]:
    found: Any = record.diagnostics.get(name)
    return found if isinstance(found, list) else []


def _mean(values: Sequence[float]) -> float | None:
    return statistics.fmean(values) if values else None


def _size(values: Sequence[float]) -> float | None:
    return _mean([abs(value) for value in values])


def _decay(values: Sequence[float]) -> float | None:
    least = 1e-45  # the smallest number of float32: a gradient that is exactly 0 has vanished
    return math.log10(max(values[0], least) / max(values[-1], least)) if values else None


def _epochs_to(column: str, history: History, target: float) -> float | None:
    if column not in history:
        return None
    values = history[column]
    reached = np.flatnonzero(values <= target if lower_is_better(column) else values >= target)
    return float(history["epoch"][reached[0]] if len(reached) else history["epoch"][-1] + 1)


def _swing(column: str, history: History, last: float) -> float | None:
    values = history.get(column, np.empty(0))[-int(last) :]
    return float(values.std(ddof=1)) if len(values) > 1 else None


_LAYERS: dict[str, Callable[[Sequence[float]], float | None]] = {"mean": _mean, "size": _size, "decay": _decay}
_HISTORY: dict[str, Callable[[str, History, float], float | None]] = {"epochs_to": _epochs_to, "swing": _swing}
