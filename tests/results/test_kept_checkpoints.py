"""Checkpoints in the store: the last two of a cohort, until its runs have ended."""

import sqlite3
from collections.abc import Callable
from typing import Any

import pytest

from dlrun.results import blobs
from dlrun.results.checkpoints import SavedCheckpoint
from dlrun.results.formats import RunFiles
from dlrun.results.store import Store

A, B, C = (f"{letter * 12}" for letter in "abc")
Make = Callable[..., RunFiles]


def checkpoint(runs: str, training: str = "", step: int = 1) -> SavedCheckpoint:
    """One of the runs of these letters; those in ``training`` had not ended."""
    ids = {"a": A, "b": B, "c": C}
    return SavedCheckpoint([ids[run] for run in runs], [ids[run] for run in training or runs], {"step": step}, b"%d" % step * 99)


def found(store: Store, wanted: list[str], known: list[str] | None = None, **how: Any) -> list[int]:
    """The steps of the checkpoints with which runs go on."""
    said: list[str] = []
    given = {"fits": lambda _: True, "complain": said.append} | how
    return [found.facts["step"] for found in store.checkpoints(wanted, wanted if known is None else known, **given)]


def test_the_last_two_are_kept(store: Store) -> None:
    for step in range(1, 5):
        store.keep_checkpoint(checkpoint("ab", step=step))
    with sqlite3.connect(store.path) as connection:
        assert connection.execute("SELECT json_extract(about, '$.facts.step') FROM checkpoints").fetchall() == [(3,), (4,)]
    assert found(store, [A, B]) == [4]
    ((last, made),) = store.latest_checkpoints([B])
    assert (last.facts["step"], made[:2]) == (4, "20")
    assert store.latest_checkpoints([C]) == []


def test_which_go_on(store: Store) -> None:
    store.keep_checkpoint(checkpoint("ab", step=1))
    store.keep_checkpoint(checkpoint("bc", "c", step=2))
    assert found(store, [A]) == []  # b is unknown
    assert found(store, [A, B]) == [1]
    assert found(store, [A, B, C]) == [2, 1]  # b has ended in the one, and trains in the other
    assert found(store, [C], [B, C]) == [2]
    assert found(store, [B], [B, C]) == []  # it has ended there, and nothing that trains is wanted
    assert found(store, [A, B, C], fits=lambda each: each.facts["step"] == 1) == [1]
    assert found(store, [A, B, C], since="9999") == []


def test_they_go_with_their_runs(store: Store, make_run: Make) -> None:
    store.keep_checkpoint(checkpoint("abc", "ab"))
    for run, status, left in ((A, "interrupted", 1), (B, "done", 1), (A, "diverged", 0)):
        store.write_cohort([make_run(id=run, status=status)])
        assert len(found(store, [A, B, C])) == left
    store.keep_checkpoint(checkpoint("ab"))
    store.delete([A, B])
    assert found(store, [A, B]) == []
    with sqlite3.connect(store.path) as connection:
        assert connection.execute("SELECT count(*) FROM blobs").fetchone() == (0,)


def test_large_ones_lie_beside_the_database(store: Store, monkeypatch: pytest.MonkeyPatch, make_run: Make) -> None:
    monkeypatch.setattr(blobs, "LARGE", 50)
    store.keep_checkpoint(checkpoint("a"))
    (file,) = (store.root / blobs.FOLDER).iterdir()
    assert found(store, [A]) == [1]
    file.write_bytes(b"2" * 99)
    said: list[str] = []
    assert found(store, [A], complain=said.append) == []
    assert "a checkpoint is damaged and is not used" in said[0]
    store.delete([A])
    assert not (store.root / blobs.FOLDER).exists()


@pytest.mark.parametrize("change", ["about = replace(about, 'step', 'stop')", "runs = 'x'", "made = 'x'", "blob = 1"])
@pytest.mark.fault("a bit that flips in a store or a checkpoint")
def test_the_one_before_a_damaged_row_is_used(store: Store, make_run: Make, change: str) -> None:
    store.write_cohort([make_run()])
    for step in (1, 2):
        store.keep_checkpoint(checkpoint("a", step=step))
    with sqlite3.connect(store.path) as connection:
        connection.execute(f"UPDATE checkpoints SET {change} WHERE number = (SELECT max(number) FROM checkpoints)")
    said: list[str] = []
    assert found(store, [A], complain=said.append) == [1]
    assert len(said) == 1


def test_a_store_without_them_is_brought_up_to_date(store: Store, make_run: Make) -> None:
    store.write_cohort([make_run()])
    with sqlite3.connect(store.path) as connection:
        connection.execute("DROP TABLE checkpoints")
        connection.execute("PRAGMA user_version = 1")
    assert (len(store.ids()), store.latest_checkpoints([A])) == (1, [])
    store.keep_checkpoint(checkpoint("a"))
    assert (found(store, [A]), len(store.ids())) == ([1], 1)
