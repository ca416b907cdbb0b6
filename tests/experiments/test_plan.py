"""Which runs become rows of one matrix, and what only the data can say about a config."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch

from dlrun.components.hyperparameters import hyperparameters, problems
from dlrun.config.spec import RunSpec
from dlrun.data.dataset import Data
from dlrun.engine.trainer import Outcome, fit
from dlrun.errors import InputError
from dlrun.experiments.planning import cohorts
from dlrun.experiments.planning.cohorts import Datasets, plan

Spec = Callable[..., RunSpec]

TOGETHER: dict[str, list[dict[str, Any]]] = {
    "seeds": [{"seed": 0}, {"seed": 1}],
    "activations": [{"activation": "relu"}, {"activation": "gelu"}],
    "losses": [{"loss": "bce"}, {"loss": "hinge"}],
    "optimizers": [{"optimizer": "sgd"}, {"optimizer": "adam", "optimizer.amsgrad": True}],
    "schedulers": [{"scheduler": "constant"}, {"scheduler": "cosine"}],
    "learning rates": [{"optimizer.lr": 0.1}, {"optimizer.lr": 0.2}],
    "initializers": [{"model.init": "xavier"}, {"model.init": "zeros"}],
    "heads": [{"model.head": "logit"}, {"model.head": "auto", "loss": "bce"}],
    "clipping": [{"trainer.clip_norm": 1.0}, {"trainer.clip_value": 0.1}],
    "strengths": [{"regularizer": ["dropout", "l1"], "regularizer.dropout.p": p, "regularizer.l1.weight": p} for p in (0.1, 0.2)],
    "learned numbers": [{"activation": "prelu", "activation.negative_slope": a} for a in (0.1, 0.2)],
    "names": [{"name": "a"}, {"name": "b"}],
}
APART: dict[str, list[dict[str, Any]]] = {
    "data": [{"dataset": "moons"}, {"dataset": "circles"}],
    "values of data": [{"dataset.noise": 0.1}, {"dataset.noise": 0.2}],
    "scaling": [{"dataset.standardize": True}, {"dataset.standardize": False}],
    "shares": [{"dataset.test": 0.2}, {"dataset.test": 0.3}],
    "sizes": [{"model.hidden": [5]}, {"model.hidden": [6]}],
    "models": [{"model": "linear"}, {"model": "mlp"}],
    "batch sizes": [{"trainer.batch_size": 8}, {"trainer.batch_size": 16}],
    "epochs": [{"trainer.epochs": 1}, {"trainer.epochs": 2}],
    "types": [{"trainer.dtype": "float32"}, {"trainer.dtype": "float64"}],
    "regularizers": [{"regularizer": ["l1"]}, {"regularizer": ["l2"]}],
    "orders of regularizers": [{"regularizer": ["l1", "l2"]}, {"regularizer": ["l2", "l1"]}],
    "flags of regularizers": [{"regularizer": ["l1"], "regularizer.l1.method": method} for method in ("proximal", "subgradient")],
    "counts of regularizers": [{"regularizer": ["early_stopping"], "regularizer.early_stopping.patience": n} for n in (1, 2)],
    "learning and not": [{"activation": "swish"}, {"activation": "swish", "activation.learnable": True}],
    "metrics": [{"metric": "accuracy"}, {"metric": "auroc"}],
}


@pytest.mark.parametrize("rows", TOGETHER.values(), ids=TOGETHER)
def test_what_goes_together(rows: list[dict[str, Any]], spec_of: Spec, datasets: Datasets) -> None:
    specs = [spec_of(**row) for row in rows]
    (planned,) = plan(specs, datasets)
    assert list(planned.specs) == specs
    assert [run.seed for run in planned.cohort.runs] == [spec.seed for spec in specs]
    fit(planned.cohort)


@pytest.mark.parametrize("rows", APART.values(), ids=APART)
def test_what_stands_apart(rows: list[dict[str, Any]], spec_of: Spec, datasets: Datasets) -> None:
    specs = [spec_of(**row) for row in rows]
    planned = plan(specs, datasets)
    assert [group.specs for group in planned] == [(spec,) for spec in specs]


def test_quantile_lists_of_one_length_go_together(spec_of: Spec, datasets: Datasets) -> None:
    specs = [spec_of(dataset="diabetes", loss="quantile", **{"loss.tau": tau}) for tau in ([0.1, 0.9], [0.2, 0.8], 0.5, [0.5])]
    assert [len(group.specs) for group in plan(specs, datasets)] == [2, 1, 1]


def test_data_are_loaded_once_and_splits_are_shared(spec_of: Spec, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = []
    specs = [spec_of(seed=seed, activation=activation) for seed in (3, 1, 3) for activation in ("relu", "tanh")]
    source = specs[0].dataset.function

    def counted(**values: Any) -> Data:
        loaded.append(values)
        return source(**values)

    for spec in specs:
        object.__setattr__(spec.dataset, "function", counted)
    (planned,) = plan(specs, Datasets())
    assert len(loaded) == 1
    assert len(planned.cohort.splits) == len(planned.cohort.preprocessing) == 2
    assert len({run.split for run in planned.cohort.runs if run.seed == 3}) == 1


def test_preprocessing_of_many_splits_is_fitted_by_several_threads_with_the_same_bits(
    spec_of: Spec, datasets: Datasets, monkeypatch: pytest.MonkeyPatch
) -> None:
    specs = [spec_of(dataset="diabetes", seed=seed) for seed in range(5)]
    (expected,) = plan(specs, datasets)
    monkeypatch.setattr(cohorts, "MANY", 5)
    monkeypatch.setattr(cohorts, "thread_count", lambda: 3)
    (found,) = plan(specs, Datasets())
    assert found.cohort.preprocessing.to_json() == expected.cohort.preprocessing.to_json()  # type: ignore[attr-defined]


def test_folds_train_together_and_as_they_would_alone(
    spec_of: Spec, datasets: Datasets, train_all: Callable[[Sequence[RunSpec]], list[Outcome]]
) -> None:
    """Five folds of 442 rows differ by a row in size; each run is measured on its own rows alone."""
    shared = {"dataset": "diabetes", "dataset.folds": 5, "trainer.dtype": "float64", "trainer.max_steps": None}
    specs = [spec_of(**shared, **{"dataset.fold": fold}) for fold in range(5)]
    tested = sorted(row for group in plan(specs, datasets) for split in group.cohort.splits for row in split.test.tolist())
    assert tested == list(range(442))
    for spec, outcome in zip(specs, train_all(specs), strict=True):
        (alone,) = train_all([spec])
        assert outcome.metrics == pytest.approx(alone.metrics, rel=1e-9)
        for name, value in alone.history.items():
            assert outcome.history[name] == pytest.approx(value, rel=1e-9)
        for name, weight in alone.weights.items():
            np.testing.assert_allclose(outcome.weights[name], weight, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"dataset": "diabetes", "trainer.batch_size": 300}, "type trainer.batch_size=266"),
        ({"dataset": "moons", "model": "cnn"}, "type model=mlp"),
        ({"dataset": "shapes", "model": "mlp"}, "type model=segmenter"),
        ({"regularizer": ["augmentation"], "regularizer.augmentation.kind": "shift"}, "type kind=noise, mask or mixup"),
        (
            {"dataset": "diabetes", "regularizer": ["batch_norm"], "trainer.batch_size": 1},
            "batch_norm .* of one row nothing is left .* type trainer.batch_size=16",
        ),
        (
            {"regularizer": ["augmentation"], "regularizer.augmentation.kind": "mixup", "trainer.batch_size": 1},
            "mixup: mixes the rows of a batch.* type trainer.batch_size=16",
        ),
    ],
)
def test_what_only_the_data_can_tell(given: dict[str, Any], said: str, spec_of: Spec, datasets: Datasets) -> None:
    with pytest.raises(InputError, match=said):
        plan([spec_of(**given)], datasets)


@pytest.mark.parametrize(
    "given",
    [
        {"dataset": "shapes", "model": "segmenter"},  # the pixels of one image have a mean
        {"dataset": "pairs", "model": "embedder"},  # so have the two rows of a pair
        {"dataset": "iris", "model": "linear"},  # no activation, no batch_norm
        {"dataset": "diabetes", "trainer.batch_size": 265},  # the last batch of an epoch has one row
    ],
    ids=str,
)
def test_batch_norm_takes_batches_that_have_a_mean(given: dict[str, Any], spec_of: Spec, datasets: Datasets) -> None:
    assert plan([spec_of(regularizer=["batch_norm"], **({"trainer.batch_size": 1} | given))], datasets)


# Hyperparameters of components that are not dlrun's


@pytest.mark.parametrize(("kind", "some"), [("Rprop", {"lr", "etas", "step_sizes"}), ("SGD", {"lr", "momentum", "nesterov"})])
def test_torchs_optimizers_take_all_their_parameters_but_params(kind: str, some: set[str]) -> None:
    found = set(hyperparameters(getattr(torch.optim, kind)))
    assert found >= some | {"maximize"}
    assert "params" not in found
    assert not problems(getattr(torch.optim, kind), {"lr": 0.1}, "optimizer")


def test_a_users_optimizer_and_module() -> None:
    class Mine(torch.optim.Optimizer):
        def __init__(self, params: Any, lr: float = 0.1, *, extra: float = 1.0) -> None:
            super().__init__(params, {"lr": lr, "extra": extra})

    class Bent(torch.nn.Module):
        def __init__(self, bend: float = 0.5) -> None:
            super().__init__()
            self.bend = bend

    assert set(hyperparameters(Mine)) == {"lr", "extra"}
    assert set(hyperparameters(Bent)) == {"bend"}
