"""Quantile regression with several levels, and sparsemax: from the command's words to figures that must hold."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from dlrun.components.metrics.confidence import zero_probabilities
from dlrun.components.metrics.regression import crossing as quantile_crossing
from dlrun.errors import InputError
from dlrun.experiments.planning.cohorts import plan

TAUS = [0.1, 0.5, 0.9]
QUANTILES = {
    "dataset": "heteroscedastic",
    "loss": "quantile",
    "loss.tau": TAUS,
    "model.hidden": [24],
    "trainer.max_steps": None,
    "trainer.evaluate_every": 1000,
}


def test_quantiles_cover_what_they_say(spec_of: Callable[..., Any], train_all: Callable[..., Any]) -> None:
    """The share of targets between the outer levels is their distance, up to three standard errors of the test rows."""
    given = {"dataset.rows": 4000, "dataset.test": 0.3, "trainer.epochs": 100, "trainer.batch_size": 64}
    given |= {"optimizer.lr": 0.01, "scheduler": "cosine"}
    outcomes = train_all([spec_of(seed=seed, **QUANTILES, **given) for seed in range(4)])
    error = math.sqrt(0.8 * 0.2 / 1200)
    for outcome in outcomes:
        assert outcome.status == "done"
        assert outcome.metrics["test/coverage"] == pytest.approx(0.8, abs=3 * error)
        assert outcome.diagnostics["quantile_crossing"] < 0.05
        assert outcome.metrics["test/r2"] > 0.5, "the median is the prediction that other metrics judge"
    # pinball loss of the true quantiles: E[s(x)] * (sum of the normal density at each level) / levels
    density = sum(math.exp(-(z**2) / 2) / math.sqrt(2 * math.pi) for z in (-1.2816, 0.0, 1.2816))
    best = 0.5 * 0.55 * density / 3
    mean = sum(outcome.metrics["test/pinball"] for outcome in outcomes) / 4
    assert best * 0.97 < mean < best * 1.08


def test_levels_in_one_sweep(spec_of: Callable[..., Any], train_all: Callable[..., Any]) -> None:
    """Single levels, lists and other losses: each run is judged by its own levels, alone as in company."""
    losses: list[dict[str, Any]] = [
        {"loss": "quantile", "loss.tau": 0.1},
        {"loss": "quantile", "loss.tau": 0.9},
        {"loss": "quantile", "loss.tau": TAUS},
        {"loss": "quantile", "loss.tau": [0.9, 0.2, 0.5]},
        {"loss": "mse"},
    ]
    given = {"dataset": "heteroscedastic", "trainer.epochs": 20, "trainer.max_steps": None, "optimizer.lr": 0.03}
    specs = [spec_of(**given, **loss) for loss in losses]
    assert sorted(len(planned.specs) for planned in plan(specs, _datasets())) == [2, 3], "as many outputs, one cohort"
    low, high, three, other, squares = train_all(specs)
    assert low.metrics["test/coverage"] < 0.3 < 0.7 < high.metrics["test/coverage"]
    assert three.metrics["test/coverage"] == pytest.approx(0.8, abs=0.12)
    assert other.metrics["test/coverage"] == pytest.approx(0.7, abs=0.12)
    assert "quantile_crossing" in three.diagnostics
    assert "quantile_crossing" in other.diagnostics
    assert "test/coverage" not in squares.metrics
    (alone,) = train_all([specs[3]])
    assert alone.metrics == pytest.approx(other.metrics, rel=1e-4)
    assert alone.diagnostics["quantile_crossing"] == pytest.approx(other.diagnostics["quantile_crossing"])


def _datasets() -> Any:
    from dlrun.experiments.planning.cohorts import Datasets

    return Datasets()


def test_crossing_by_hand() -> None:
    rows = np.array([[[1.0, 2.0, 3.0], [2.0, 1.0, 3.0], [1.0, 1.0, 1.0], [3.0, 2.0, 1.0]]])
    assert quantile_crossing(rows, TAUS).tolist() == [0.5]
    assert quantile_crossing(rows, TAUS[::-1]).tolist() == [0.5]
    assert quantile_crossing(rows, [0.5, 0.1, 0.9]).tolist() == [0.5]
    rows[0, 0, 0] = np.nan
    assert np.isnan(quantile_crossing(rows, TAUS)).all()


def test_an_untrained_model_crosses(spec_of: Callable[..., Any], train_all: Callable[..., Any]) -> None:
    (outcome,) = train_all([spec_of(**QUANTILES | {"trainer.max_steps": 1})])
    assert outcome.diagnostics["quantile_crossing"] > 0.5


def test_a_level_for_each_of_several_targets_is_refused(spec_of: Callable[..., Any], datasets: Any) -> None:
    spec = spec_of(dataset="reconstruction", loss="quantile", **{"loss.tau": TAUS, "dataset.of": "iris"})
    with pytest.raises(InputError, match=r"loss.tau: a list gives one output a level, and reconstruction has 4 targets"):
        plan([spec], datasets)
    assert plan([spec_of(dataset="reconstruction", loss="quantile", **{"loss.tau": 0.9, "dataset.of": "iris"})], datasets)


def test_from_the_command_line(call: Callable[..., Any]) -> None:
    found = call("-m", "dataset=heteroscedastic", "loss=quantile", "loss.tau=[0.1,0.5,0.9],[0.25,0.5,0.75]", "seed=0,1")
    assert found.code == 0
    assert {row["loss.tau"] for row in found.table} == {"[0.1,0.5,0.9]", "[0.25,0.5,0.75]", ""}
    assert all("test/coverage" in record.metrics for record in found.records)
    pinball = call("-m", "dataset=heteroscedastic", "loss=quantile", "loss.tau=[0.1,0.5,0.9]", "seed=0,1", "metric=pinball")
    assert pinball.code == 0
    assert "no baselines: they have no pinball; type metric=r2 to compare with them" in pinball.out


def test_sparsemax_has_exact_zeros_and_softmax_has_none(spec_of: Callable[..., Any], train_all: Callable[..., Any]) -> None:
    given = {"dataset": "digits", "trainer.max_steps": None, "trainer.epochs": 6, "trainer.evaluate_every": 1000}
    specs = [spec_of(loss=loss, seed=seed, **given) for loss in ("sparsemax", "cross_entropy") for seed in (0, 1)]
    outcomes = train_all(specs)
    for outcome in outcomes[:2]:
        assert outcome.metrics["test/accuracy"] > 0.6
        assert 0.2 < outcome.diagnostics["zero_probabilities"] < 0.9, "nine of ten would be no probability but a decision"
        assert outcome.metrics["test/log_loss"] > 0
    assert all(outcome.diagnostics["zero_probabilities"] == 0 for outcome in outcomes[2:])


def test_zeros_by_hand() -> None:
    p = np.array([[[-np.inf, 0.0], [-0.7, -0.7]], [[-np.inf, 0.0], [-np.inf, 0.0]], [[np.nan, 0.0], [-np.inf, 0.0]]])
    assert zero_probabilities(p).tolist() == pytest.approx([0.25, 0.5, np.nan], nan_ok=True)
