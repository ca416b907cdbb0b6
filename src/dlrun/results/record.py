"""What is known of a run when it has ended: the content of result.json.

A record is strict JSON. A number that is not finite becomes null, and the reason says which one it was.
"""

import json
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime
from typing import Any, Literal, get_args

import numpy as np
import orjson

Status = Literal["done", "stopped", "diverged", "failed", "skipped", "interrupted"]
STATUSES: tuple[Status, ...] = get_args(Status)
SHARED = ("data", "versions", "cohort", "choices", "factors")
"""What runs that were trained together have in common, or may."""

Known = dict[tuple[int, ...], tuple[tuple[Any, ...], dict[str, Any], list[str]]]
"""By the addresses of the values in SHARED: these, so that the addresses stay their own; in plain types; what was lost."""

MEASURED: frozenset[str] = frozenset({"done", "stopped"})  # the statuses whose metrics enter a comparison


def utc_now() -> str:
    """The time now as ISO 8601 in UTC, such as ``2026-01-31T12:00:00Z``."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass(frozen=True)
class RunRecord:
    """One run that has ended. Metrics are named split/name, such as ``test/r2``; the value is None where it was not finite.

    Args:
        id: identity of the run, see ``identity.run_id``.
        status: how it ended; only ``done`` and ``stopped`` (by early stopping) runs are compared.
        reason: why it ended so, in words; empty when there is nothing to say.
        fold: the fold of a cross-validation, or None.
        diagnostics: what was measured beside the metrics (numbers or lists of numbers).
        parameters: how many numbers were trained.
        epochs, seconds: how long it ran.
        data: fingerprint, rows, sizes, name and task of the dataset.
        versions: dlrun, torch, python; ``source``: a digest of the user's own code that took part.
        cohort: how many runs were trained together, and whatever else says how.
        choices: option chosen in each config group, such as ``{"optimizer": "adam"}``.
        factors: what tells it from other runs, such as ``{"optimizer": "adam", "optimizer.lr": 0.01}``.
        finished: when it ended, ISO 8601 in UTC.
        digests: SHA-256 of the files that are read back, written by the store.
    """

    id: str
    status: Status
    reason: str = ""
    name: str = ""
    overrides: tuple[str, ...] = ()
    seed: int = 0
    fold: int | None = None
    metrics: Mapping[str, float | None] = field(default_factory=dict)
    diagnostics: Mapping[str, Any] = field(default_factory=dict)
    parameters: int = 0
    epochs: int = 0
    seconds: float = 0.0
    data: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    cohort: Mapping[str, Any] = field(default_factory=dict)
    choices: Mapping[str, str] = field(default_factory=dict)
    factors: Mapping[str, str | int | float | bool] = field(default_factory=dict)
    finished: str = ""
    digests: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.status not in STATUSES:
            raise ValueError(f"status={self.status!r}: must be one of {', '.join(STATUSES)}")

    def strict(self, known: "Known | None" = None) -> "RunRecord":
        """The same record in plain finite values: NaN and infinities are None, and ``reason`` names them.

        Applying it twice changes nothing.

        Args:
            known: what was found for the objects that other records have too, and is found for them now.
        """
        return replace(self, **self.finite({} if known is None else known))

    def finite(self, known: Known) -> dict[str, Any]:
        """The fields in which ``strict`` differs, and those in SHARED: one object for all records that have the same ones."""
        lost: list[str] = []
        own = {name: plain(getattr(self, name), where, lost) for name, where in _PLAIN}
        mine = tuple([getattr(self, name) for name in SHARED])
        place = tuple(map(id, mine))
        if place not in known:
            missing: list[str] = []
            known[place] = mine, {name: plain(value, name, missing) for name, value in zip(SHARED, mine, strict=True)}, missing
        _, shared, missing = known[place]
        lost += missing
        reason = self.reason
        if lost:
            shown = ", ".join(lost[:6]) + (f" and {len(lost) - 6} more" if len(lost) > 6 else "")
            reason = f"{reason}; not finite: {shown}" if reason else f"not finite: {shown}"
        return own | shared | {"seconds": own["seconds"] or 0.0, "reason": reason}

    def to_json(self) -> str:
        """The record as strict JSON, one line for each field."""
        record = self.strict()
        lines = (f'"{name}": {to_json(getattr(record, name))}' for name in _NAMES)
        return "{\n" + ",\n".join(lines) + "\n}\n"

    @staticmethod
    def from_json(text: str | bytes) -> "RunRecord":
        """Read what ``to_json`` wrote. Keys of a later version are left alone.

        Raises:
            ValueError: not strict JSON, not a record, or a status outside the closed set.
        """
        return RunRecord.from_content(json.loads(text, parse_constant=_refuse))

    @staticmethod
    def from_content(content: Any) -> "RunRecord":
        """The record of a parsed JSON object; keys of a later version are left alone.

        Raises:
            ValueError: it is not a record, or has a status outside the closed set.
        """
        if not isinstance(content, dict) or not isinstance(content.get("id"), str) or "status" not in content:
            raise ValueError("not a run record: it needs an id and a status")
        known = {name: content[name] for name in _NAMES if name in content}
        for name, value in known.items():
            if not isinstance(value, _KINDS[name]) or isinstance(value, bool):
                raise ValueError(f"{name}: must not be {type(value).__name__}")
        if not all(value is None or isinstance(value, (int, float)) for value in known.get("metrics", {}).values()):
            raise ValueError("metrics: must be numbers or null")
        known["overrides"] = tuple(map(str, known.get("overrides", ())))
        return RunRecord(**known)


to_json = json.JSONEncoder(allow_nan=False).encode
"""Plain values as strict JSON on one line."""

_PLAIN = (("metrics", ""), ("diagnostics", ""), ("seconds", "seconds"), ("digests", "digests"))  # fields, and where they lie
_NAMES = tuple(item.name for item in fields(RunRecord))
_KINDS: dict[str, Any] = {
    **dict.fromkeys(_NAMES, dict),
    **dict.fromkeys(("id", "status", "reason", "name", "finished"), str),
    **dict.fromkeys(("seed", "parameters", "epochs"), int),
    "overrides": list,
    "fold": (int, type(None)),
    "seconds": (int, float),
}


def plain(value: Any, where: str, lost: list[str]) -> Any:
    """``value`` in JSON's own types; each number that is not finite becomes None and is appended to ``lost`` by its place."""
    if type(value) is float and math.isfinite(value):  # nearly always
        return value
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, (float, np.floating)):
        number = float(value)
        if math.isfinite(number):
            return number
        lost.append(f"{where}={number}")
        return None
    if type(value) is dict and _all_finite(value.values()) and set(map(type, value)) <= {str}:
        return value.copy()  # metrics and diagnostics, nearly always
    if type(value) is list and _all_finite(value):
        return value.copy()
    if isinstance(value, (dict, Mapping)):
        return {str(key): plain(item, f"{where}.{key}" if where else str(key), lost) for key, item in value.items()}
    if isinstance(value, (np.ndarray, np.generic)):
        return plain(value.tolist(), where, lost)
    if isinstance(value, (list, tuple)):
        return [plain(item, f"{where}[{index}]", lost) for index, item in enumerate(value)]
    raise TypeError(f"{where}: {type(value).__name__} has no place in JSON")


def _all_finite(values: Collection[Any]) -> bool:
    """Whether all are finite floats, or lists of them; False too for some whose sum is not finite."""
    kinds = set(map(type, values))
    if kinds <= {float}:
        return math.isfinite(sum(values))
    return kinds <= {float, list} and all(math.isfinite(each) if type(each) is float else _all_finite(each) for each in values)


def json_bytes(value: Any, where: str = "") -> bytes:
    """Strict JSON on one line, in a tenth of the time of ``to_json``. Numbers that are not finite are null.

    Args:
        where: what the value is called in errors.

    Raises:
        TypeError: it holds what has no place in JSON.
    """
    try:
        return orjson.dumps(value, option=_STRICT)
    except TypeError:  # integers above 64 bits, halves of surrogate pairs, keys that are numbers, arrays, subclasses
        return to_json(plain(value, where, [])).encode()


_STRICT = orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_PASSTHROUGH_SUBCLASS


def _refuse(literal: str) -> Any:
    raise ValueError(f"{literal} is not strict JSON")
