"""Which cohorts go on from a checkpoint, and how a checkpoint is kept.

going_on(wanted, ...)        cohorts of exactly the runs of a kept checkpoint, in its order
keeping(store, tell)         what writes checkpoints down; where that fails, training goes on
saved, loaded                a checkpoint of the engine as bytes, and back
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from importlib.metadata import version

from dlrun import __version__
from dlrun.config.spec import RunSpec
from dlrun.engine import lanes
from dlrun.engine.checkpoint import Checkpoint
from dlrun.engine.cohort import Cohort
from dlrun.errors import StoreError, plural
from dlrun.experiments.events import Listener
from dlrun.experiments.planning.cohorts import Planned, part
from dlrun.results.checkpoints import SavedCheckpoint
from dlrun.results.formats import read_weights, weights_bytes
from dlrun.results.store import Store

Keep = Callable[[SavedCheckpoint], None]


def keeping(store: Store, tell: Listener) -> Keep:
    """A function that keeps checkpoints in ``store``. The first that cannot be written is reported; training goes on."""
    problems: list[str] = []

    def keep(checkpoint: SavedCheckpoint) -> None:
        try:
            store.keep_checkpoint(checkpoint)
        except StoreError as error:
            if not problems:
                tell.warning(f"a checkpoint could not be written, training continues: {error}", len(checkpoint.training))
            problems.append(str(error))

    return keep


def saved(cohort: Cohort, runs: Sequence[str], checkpoint: Checkpoint) -> SavedCheckpoint:
    """A checkpoint of the cohort as it is kept; ``runs`` are the ids of its runs."""
    alive = checkpoint.arrays["alive"].tolist()
    return SavedCheckpoint(
        runs,
        [run for run, trains in zip(runs, alive, strict=False) if trains],  # behind the runs are padding runs
        {**checkpoint.facts, "made by": _maker(cohort, checkpoint.facts["engine"])},
        weights_bytes(dict(checkpoint.arrays)),
    )


def loaded(checkpoint: SavedCheckpoint | None) -> Checkpoint | None:
    """A kept checkpoint for the engine; None where there is none, or its content is something else."""
    if checkpoint is None:
        return None
    try:
        arrays = read_weights(checkpoint.content)
        return Checkpoint(checkpoint.facts, arrays)
    except (ValueError, TypeError):
        return None


def _maker(cohort: Cohort, engine: str) -> dict[str, str]:
    """What the bits of a training depend on beside its runs."""
    kernel = {"kernel": lanes.version()} if engine == "native" else {}
    return {
        "dlrun": __version__,
        "torch": version("torch"),
        "engine": engine,
        "device": cohort.settings.place,
        **kernel,
    }


def going_on(
    wanted: Collection[str], specs: Mapping[str, RunSpec], cohorts: Sequence[Planned], store: Store, since: str, tell: Listener
) -> list[Planned]:
    """Cohorts that go on from checkpoints.

    Args:
        wanted: ids of runs that are to be trained.
        specs: all runs by their ids, some of which may have ended: rows that a checkpoint still has.
        cohorts: in which these runs are.
        since: when checkpoints were made at the earliest.
        tell: gets a note for each, with its epoch, and for those that cannot be used.
    """
    again = _Again(specs, cohorts, tell)
    found = store.checkpoints(wanted, specs, again.fits, since=since, complain=lambda line: tell.warning(line, 1))
    for checkpoint in found:
        at, epochs = checkpoint.facts["epoch"] + 1, again.cohort(checkpoint.runs).cohort.settings.epochs
        tell.note(f"goes on at epoch {at:,} of {epochs:,} ({plural(len(checkpoint.training), 'run')})")
    return [replace(again.cohort(checkpoint.runs), checkpoint=checkpoint) for checkpoint in found]


class _Again:
    """Finds the cohort of a checkpoint again."""

    def __init__(self, specs: Mapping[str, RunSpec], cohorts: Sequence[Planned], tell: Listener) -> None:
        self._specs, self._cohorts, self._tell = specs, cohorts, tell

    @cached_property
    def _places(self) -> dict[int, tuple[int, int]]:
        return {id(spec): (number, row) for number, group in enumerate(self._cohorts) for row, spec in enumerate(group.specs)}

    def cohort(self, runs: Sequence[str]) -> Planned:
        """The cohort of exactly these runs, in their order."""
        places = [self._places[id(self._specs[run])] for run in runs]
        return part(self._cohorts[places[0][0]], [row for _, row in places])

    def fits(self, checkpoint: SavedCheckpoint) -> bool:
        """Whether its runs are rows of one cohort, which trains here in the same way."""
        try:
            groups = {self._places[id(self._specs[run])][0] for run in checkpoint.runs}
        except KeyError:  # data that raised
            return False
        facts = checkpoint.facts
        if len(groups) != 1 or type(facts.get("epoch")) is not int or not isinstance(facts.get("made by"), dict):
            return False
        cohort = self.cohort(checkpoint.runs).cohort
        here, there = _maker(cohort, "torch" if lanes.products(cohort) is None else "native"), facts["made by"]
        if here == there:
            return True
        other = ", ".join(
            f"{key} {there.get(key, 'none')} instead of {here.get(key, 'none')}"
            for key in here | there
            if here.get(key) != there.get(key)
        )
        self._tell.note(f"{plural(len(checkpoint.training), 'run')} begin anew, since their checkpoint was made by {other}")
        return False
