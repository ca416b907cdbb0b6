"""Which runs are the same run: the id under which a run is stored and found again."""

import json
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from hashlib import sha256
from pathlib import PurePath
from typing import Any

VOLATILE: Mapping[str, str] = {
    "name": "a label for people",
    "output_dir": "where results are kept",
    "metric": "what sorts and is tested; all metrics of a task are measured",
    "allow_mismatch": "whether a known mistake is refused; it is the same mistake either way",
    "predictions": "what is kept of the outputs",
    "folders": "whether runs are written as folders too",
    "reuse": "whether finished runs are taken over",
    "retry_failed": "whether failed runs are tried again",
    "strict": "whether a combination that is skipped makes a sweep a failure",
    "timeout_s": "when training stops with what it has; it goes on with the same bits",
    "baseline": "what stands beside the runs in a table",
    "reference": "what a table compares with",
    "margin": "which differences a table calls none",
    "tune_over": "which of a sweep's runs its table is about",
    "zip": "which runs a sweep has",
    "logger": "who else is told of the results",
    "dataset.path": "where the file is; what it holds is in the data's fingerprint",
    "dataset.test_path": "where the file is, likewise",
    "dataset.cache": "where downloads are kept",
    "hydra": "how the job was composed and launched",
    "trainer.device": "the streams are the same on every device; rounding differs, as it does between cohorts, and what a module "
    "of the user's own draws by itself",
    "trainer.checkpoint_s": "how much an interruption costs; training goes on with the same bits",
    "trainer.engine": "both do the same, and round each in its own way",
}
"""Keys of the config that do not change what a run computes, and why each is one. The id leaves them out."""

OF_A_SWEEP = ("output_dir", "tune_over", "zip", "folders", "reuse", "retry_failed", "strict", "timeout_s", "reference", "margin")
"""Those of them that are one for all runs of a sweep, and tell none from the others."""

ORDERED: frozenset[str] = frozenset({"regularizer"})
"""Mappings whose order means something: regularizers are applied in the order in which they are listed."""

COUNT_OR_SHARE: frozenset[str] = frozenset({"dataset"})
"""Groups where 1 and 1.0 differ: one row against all rows. Everywhere else the two are one number and get one id."""

_SEED = "\0seed"  # stands for the seed where that is not known yet
_EXACT = 2**53  # beyond it a float no longer stands for one whole number


def run_id(config: Mapping[str, Any], fingerprint: str, version: str) -> str:
    """The id of a run: 12 hex characters of SHA-256(canonical config, data fingerprint, version of dlrun).

    The order of keys does not matter (except in ``regularizer``), nor do volatile keys, nor how a number was written (``1e-3`` or
    ``0.001``, ``1`` or ``1.0`` outside ``dataset``).

    Args:
        config: the resolved config in plain containers.
        fingerprint: what identifies the data.
        version: dlrun's version.

    Raises:
        TypeError: a value that has no canonical form, named by its key.
    """
    return _short(_text(config, fingerprint, version))


def run_ids(config: Mapping[str, Any], fingerprint: str, version: str) -> Callable[[int], str]:
    """The ids of runs that differ in their seed alone: ``run_ids(...)(7)`` is that of ``run_id`` with ``config["seed"]`` 7."""
    pieces = _text({**config, "seed": _SEED}, fingerprint, version).split(json.dumps(_SEED))
    if len(pieces) != 2:  # the stand-in is also a value elsewhere
        return lambda seed: run_id({**config, "seed": seed}, fingerprint, version)
    before, after = pieces
    return lambda seed: _short(f"{before}{seed:d}{after}")


def _text(config: Mapping[str, Any], fingerprint: str, version: str) -> str:
    content = [_canonical(config, "", COUNT_OR_SHARE), fingerprint, version]
    return json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _short(text: str) -> str:
    return sha256(text.encode("ascii")).hexdigest()[:12]


def _canonical(value: Any, path: str, exact: frozenset[str]) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, Enum):  # before str and int, which enums may be too
        return value.name
    if isinstance(value, int | str):
        return value
    if isinstance(value, float):
        return _canonical_number(value, path.split(".", 1)[0] in exact)
    if isinstance(value, Mapping):
        pairs = [
            (str(key), _canonical(item, _join(path, key), exact))
            for key, item in value.items()
            if _join(path, key) not in VOLATILE
        ]
        return [list(pair) for pair in pairs] if path in ORDERED else dict(pairs)
    if isinstance(value, Sequence) and not isinstance(value, bytes):
        return [_canonical(item, path, exact) for item in value]
    if isinstance(value, PurePath):
        return value.as_posix()
    raise TypeError(f"{path}: {type(value).__name__} cannot be part of a run's identity")


def _canonical_number(value: float, exact: bool) -> int | float | str:
    if value != value or value in (float("inf"), float("-inf")):
        return str(value)
    return int(value) if not exact and value.is_integer() and abs(value) < _EXACT else value


def _join(path: str, key: Any) -> str:
    return f"{path}.{key}" if path else str(key)
