"""The loss of every row: its mean is the loss of the run that a subset is measured with."""

from collections.abc import Callable
from typing import Any

import pytest

from dlrun.engine.batches import SUBSETS, Batches
from dlrun.engine.by_torch.stepper import TorchWay
from dlrun.engine.measuring.evaluation import measure
from dlrun.engine.step import TrainStep
from dlrun.engine.tensors import array, tensor
from dlrun.experiments.planning.cohorts import plan

CASES = {
    "regression": {"dataset": "diabetes"},
    "classes": {"dataset": "iris"},
    "pixels": {"dataset": "shapes", "model": "segmenter", "loss": "dice_cross_entropy", "loss.weight": (0.2, 0.8)},
    "pairs": {"dataset": "pairs", "model": "embedder"},
    "several losses": {"dataset": "diabetes", "loss": ("mse", "huber")},
    "folds": {"dataset": "diabetes", "dataset.folds": 5, "dataset.fold": (0, 3)},
}


@pytest.mark.parametrize("given", CASES.values(), ids=CASES)
def test_their_mean_is_the_loss_of_the_run(given: dict[str, Any], spec_of: Callable[..., Any], datasets: Any) -> None:
    each = [{key: value[run] if isinstance(value, tuple) else value for key, value in given.items()} for run in range(2)]
    specs = [spec_of(seed=run, **{"trainer.dtype": "float64"} | mine) for run, mine in enumerate(each)]
    (planned,) = plan(specs, datasets)
    cohort = planned.cohort
    train_step = TrainStep(cohort.runs, cohort.data, cohort.settings)
    batches = Batches(
        cohort.data,
        cohort.splits,
        cohort.preprocessing,
        [run.split for run in cohort.runs],
        floats=cohort.settings.floats,
    )
    way = TorchWay(train_step, batches, train_step.initial())
    for subset in SUBSETS:
        here = batches.sample(subset, batches.sizes[subset])
        _, outputs = way.evaluate(here, True)
        assert outputs is not None
        found = array(train_step.row_losses(tensor(outputs[0]), tensor(batches.targets(here))))
        again = measure(train_step, batches, way, subset, [])["loss"]
        for rows, runs in batches.spans(subset):
            for run in runs or range(len(cohort.runs)):
                mine = found[run, rows]
                assert len(mine) == len(getattr(cohort.splits[cohort.runs[run].split], subset))
                assert mine.mean() == pytest.approx(again[run], rel=1e-7, abs=1e-7)
