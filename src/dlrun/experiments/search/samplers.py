"""What to try next: Optuna's samplers, or a grid.

Each batch is a function of the trials before it, the seed and the batch's number. So a search that goes on, after whatever end,
proposes what it would have proposed without one, and Optuna keeps no state that matters.
"""

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

from dlrun.config.composing.spaces import Dimension, Value
from dlrun.errors import InputError

SAMPLERS = ("tpe", "random", "grid")
STARTUP = 10  # trials that are drawn at random before tpe looks at them
Values = tuple[Value, ...]


@dataclass(frozen=True)
class Trial:
    """Values that were tried, and what came of them.

    Args:
        values: one for each dimension.
        quality: the mean of the metric on validation rows after all of training; None where there is none.
        status: done, diverged, failed, undefined, or pruned at a rung.
        reason: why it is not done.
        runs: the ids of its runs, one for each seed and fold.
        rungs: epoch -> the mean of the metric there, where it was compared on the way.
        epochs: that all of its runs trained together.
    """

    values: Values
    quality: float | None
    status: str = "done"
    reason: str = ""
    runs: tuple[str, ...] = ()
    rungs: dict[int, float] = field(default_factory=dict)
    epochs: int = 0


def optuna() -> ModuleType:
    """The library, quiet.

    Raises:
        InputError: it is not installed.
    """
    try:
        import optuna as library
    except ImportError as error:
        raise InputError(f"dlrun tune needs {error.name}, which is not installed; run: pip install 'dlrun[tune]'") from error
    library.logging.set_verbosity(library.logging.ERROR)
    return library


def propose(
    space: Sequence[Dimension], before: Sequence[Trial], budget: int, *, batch: int, sampler: str, seed: int, maximize: bool
) -> list[Values]:
    """The next values to try: a batch, fewer at the end of the budget, none where a grid has no more.

    Args:
        before: all trials so far, in their order.
        budget: how many trials there will be; a grid is made for it.
        batch: how many are proposed at once; a smaller budget ends a batch early, and changes none of it.
        sampler: see ``SAMPLERS``.
        seed: the same gives the same values.
    """
    end = min(len(before) + batch, budget)
    if sampler == "grid":
        return list(itertools.islice(grid(space, budget), len(before), end))
    library = optuna()
    batch_seed = (seed * 1_000_003 + len(before)) % (1 << 32)  # those of two batches have nothing in common but by chance
    made = library.samplers.RandomSampler(seed=batch_seed)
    if sampler == "tpe":
        made = library.samplers.TPESampler(
            seed=batch_seed, n_startup_trials=STARTUP, multivariate=True, group=False, constant_liar=True
        )
    study = library.create_study(direction="maximize" if maximize else "minimize", sampler=made)
    study.add_trials(frozen(space, before))
    wanted = distributions(space)
    asked = [study.ask(wanted).params for _ in range(end - len(before))]
    return [tuple(part.rounded(params[part.key]) for part in space) for params in asked]


def grid(space: Sequence[Dimension], budget: int) -> Iterable[Values]:
    """All combinations of evenly spaced values, the first dimension changing fastest; as many of each as ``budget`` allows."""
    sides = [part.points(_side(space, budget)) for part in space]
    return (values[::-1] for values in itertools.product(*reversed(sides)))


def _side(space: Sequence[Dimension], budget: int) -> int:
    """How many values an interval has, where the combinations of all shall be about ``budget``."""
    fixed = 1
    for part in space:
        fixed *= len(part.options) or 1
    intervals = sum(not part.options for part in space)
    if not intervals:
        return 1
    side = 2
    while fixed * (side + 1) ** intervals <= budget:
        side += 1
    return side


def distributions(space: Sequence[Dimension]) -> dict[str, Any]:
    """The dimensions as Optuna's distributions."""
    kinds = optuna().distributions
    found: dict[str, Any] = {}
    for part in space:
        if part.options:
            found[part.key] = kinds.CategoricalDistribution(part.options)
        elif part.whole:
            found[part.key] = kinds.IntDistribution(int(part.low), int(part.high), log=part.log)
        else:
            found[part.key] = kinds.FloatDistribution(part.low, part.high, log=part.log)
    return found


def frozen(space: Sequence[Dimension], trials: Sequence[Trial]) -> list[Any]:
    """The trials as Optuna's. One that diverged is pruned there without a value, which counts as worse than all that have one.

    One that was pruned at a rung counts by its value there.
    """
    library = optuna()
    kinds, states = distributions(space), library.trial.TrialState
    found = []
    for trial in trials:
        lost = states.FAIL if trial.status == "failed" else states.PRUNED
        state = lost if trial.quality is None else states.COMPLETE
        about = {"status": trial.status, "runs": list(trial.runs)} | ({"reason": trial.reason} if trial.reason else {})
        found.append(
            library.trial.create_trial(
                params={part.key: value for part, value in zip(space, trial.values, strict=True)},
                distributions=kinds,
                value=trial.quality,
                state=state,
                intermediate_values=trial.rungs,
                user_attrs=about,
            )
        )
    return found
