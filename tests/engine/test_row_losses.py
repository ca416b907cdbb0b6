"""The loss of every row: its mean is the loss of the run that a subset is measured with."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from dlrun.engine.batches import SUBSETS, Batches
from dlrun.engine.evaluation import measure, row_losses
from dlrun.engine.step import TrainStep
from dlrun.engine.stepper import TorchWay
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
    train_step.bind(train_step.fresh())
    batches = Batches(
        cohort.data,
        cohort.splits,
        cohort.preprocessing,
        [run.split for run in cohort.runs],
        dtype=cohort.settings.dtype,
        device=cohort.settings.device,
    )
    with torch.no_grad():
        for subset in SUBSETS:
            found = row_losses(train_step, batches, subset)
            sizes = [len(getattr(cohort.splits[run.split], subset)) for run in cohort.runs]
            assert (~found.isnan()).sum(1).tolist() == sizes
            again = measure(train_step, batches, TorchWay(train_step, batches), subset, [])["loss"]
            np.testing.assert_allclose(found.nanmean(1), again, rtol=1e-7, atol=1e-7)
