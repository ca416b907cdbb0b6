"""Runs that are as asked: ``dataset=moons status=diverged optimizer.lr=0.01``, or the beginning of an id."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dlrun import registry
from dlrun.errors import InputError, StoreError, nearest
from dlrun.results.record import RunRecord
from dlrun.results.store import Store
from dlrun.suggestions.values import show

LEAST = 4  # characters of an id that name a run
_ID = re.compile(rf"[0-9a-f]{{{LEAST},64}}")


@dataclass(frozen=True)
class Found:
    """A run that was found: its record, and its note."""

    record: RunRecord
    note: str


def find(store: Store, where: Sequence[str]) -> tuple[list[Found], list[str]]:
    """The runs that are as every word of ``where`` asks, latest first; and a line for each run that is damaged.

    Raises:
        InputError: a word that is neither key=value nor the beginning of an id, or a key that no run has.
        StoreError: the store cannot be read.
    """
    damaged: list[str] = []
    records = store.records(complain=damaged.append)
    notes = store.notes()
    wanted = [word.partition("=") for word in where if "=" in word]
    ids = [word for word in where if "=" not in word]
    for word in ids:
        if len(word) < LEAST or not any(record.id.startswith(word) for record in records):
            raise InputError(f"{word}: is no run; give key=value, such as status=done, or {LEAST} characters of an id")
    values: Mapping[str, dict[str, Any]] = {}
    if wanted:
        configs = store.configs(record.id for record in records)
        values = {record.id: dict(_values(record, configs.get(record.id, {}), notes.get(record.id, ""))) for record in records}
        known = {key for has in values.values() for key in has}
        unknown = [key for key, _, _ in wanted if key not in known]
        if unknown and records:
            raise InputError(*(f"{key}: no run has such a key{nearest(key, known)}" for key in unknown))
    found = [
        Found(record, notes.get(record.id, ""))
        for record in records
        if (not ids or record.id.startswith(tuple(ids)))
        and all(_is(values[record.id].get(key), value) for key, _, value in wanted)
    ]
    found.reverse()  # those that ended in one second stay as the store has them, the last one first
    return sorted(found, key=lambda each: each.record.finished, reverse=True), damaged


def is_run(store: Store, word: str) -> bool:
    """Whether a word is the beginning of the id of a run."""
    return bool(_ID.fullmatch(word)) and any(run.startswith(word) for run in store.ids())


def one(store: Store, word: str, instead: str = "") -> RunRecord:
    """The run whose id begins with ``word``.

    Args:
        instead: what the error says to give.

    Raises:
        StoreError: there is none, or there are several.
    """
    known = [run for run in store.ids() if run.startswith(word)] if len(word) >= LEAST else []
    if len(known) != 1:
        said = f"could be {', '.join(known[:3])}" if known else f"is no run in {store.path}"
        raise StoreError(f"run {word}: {said}{instead}{nearest(word, store.ids()) if not known else ''}")
    return store.read_record(known[0])


def _values(record: RunRecord, config: Mapping[str, Any], note: str) -> Iterator[tuple[str, Any]]:
    """What a run can be found by; the option of a group goes before its settings."""
    yield from registry.leaves(config)
    yield from record.metrics.items()
    yield from record.choices.items()
    yield "regularizer", [*config.get("regularizer", {})]
    for name in ("id", "status", "reason", "name", "seed", "fold", "finished", "epochs", "parameters"):
        yield name, getattr(record, name)
    yield "task", record.data.get("task")
    yield "note", note


def _is(value: Any, text: str) -> bool:
    """Whether a value is what a text says, as a number where both are numbers."""
    if isinstance(value, list):
        return show(value) == "".join(text.split())
    said = registry.scalar(text)
    return str(value) == text or (type(value) is not bool and type(said) is not bool and said == value) or said is value
