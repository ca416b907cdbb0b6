"""What the configuration of every dataset says beside its source's own hyperparameters: how it is split and scaled."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Annotated, Any

from dlrun.components.hyperparameters import Count, Interval, Natural, problems
from dlrun.components.tasks import TASKS, TaskName
from dlrun.data.dataset import Fraction


@dataclass(frozen=True, kw_only=True)
class Preparation:
    """The keys that every dataset has in common.

    Attributes:
        task: what is to be learnt, so that tools can read it without loading the data. In a config it may be null or auto:
            then the data says.
        validation, test: shares of all rows, in [0, 1).
        folds, fold: with folds above 1, fold number ``fold`` is the test set, and ``test`` plays no part. Without a number all
            folds are meant, each as a run of its own.
        stratify: keep the proportions of the classes in each subset.
        standardize: centre and scale the features by their training rows.
        standardize_target: the same for the targets of a regression.
        clusters: into how many clusters rows are put where the task is clustering; as many as there are classes when not given.
        hidden: sizes of the hidden layers that a model takes on this data unless it is told others.
    """

    task: TaskName
    validation: Fraction = 0.2
    test: Fraction = 0.2
    folds: Count = 1
    fold: Natural | None = None
    stratify: bool = True
    standardize: bool = True
    standardize_target: bool = True
    clusters: Annotated[int, Interval(2)] | None = None
    hidden: list[Count] | None = None


COMMON_KEYS: tuple[str, ...] = tuple(field.name for field in fields(Preparation))


def undecided(task: Any) -> bool:
    """Whether a config leaves the task to the data."""
    return task is None or task == "auto"


def unsaid_folds(params: Mapping[str, Any]) -> int:
    """How many folds are asked for without saying which one; 0 when a single run is meant."""
    folds = params.get("folds")
    several = isinstance(folds, int) and not isinstance(folds, bool) and folds > 1
    return folds if several and params.get("fold") is None else 0  # type: ignore[return-value]


def preparation_problems(params: Mapping[str, Any], where: str = "dataset", *, fixed: bool = False) -> list[str]:
    """Every problem of the common keys in ``params``, one line each; other keys are left to the source's own signature.

    ``fixed`` says whether the data says itself which rows are for testing.
    """
    common = {name: value for name, value in params.items() if name in COMMON_KEYS}
    if "task" in common and undecided(common["task"]):
        common["task"] = next(iter(TASKS))  # any task will do: the other keys do not depend on it
    found = problems(Preparation, common, where)
    if not found:
        chosen = Preparation(**common)
        if chosen.folds > 1 and chosen.fold is not None and chosen.fold >= chosen.folds:
            found.append(
                f"{where}.fold={chosen.fold}: must be a whole number in [0, {chosen.folds - 1}], as {where}.folds={chosen.folds}"
            )
        if chosen.folds == 1 and chosen.fold:
            found.append(
                f"{where}.fold={chosen.fold}: there is one split while {where}.folds=1; set {where}.folds=5, for example"
            )
        tested = 0.0 if fixed else chosen.test if chosen.folds == 1 else 1 / chosen.folds
        if chosen.validation + tested >= 1:
            asked = f"{where}.test={chosen.test:g}" if chosen.folds == 1 else f"{where}.folds={chosen.folds}"
            found.append(f"{where}.validation={chosen.validation:g} and {asked}: leave no rows for training; lower one of them")
    return found
