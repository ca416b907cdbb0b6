"""What is known of each metric: that it has bounds, and why it may have no value."""

from typing import Any

import pytest
import torch

from dlrun.components.metrics import METRICS
from dlrun.results.measures import explained, not_defined

N, K = 12, 3


def degenerate(task: str, value: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Predictions and targets of one run that all have one value; in metric learning each its own class for 1."""
    random = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> torch.Tensor:
        return torch.rand(*shape, dtype=torch.float64, generator=random)

    if task == "regression":
        return draw(1, N, 1), torch.full((1, N, 1), float(value), dtype=torch.float64)
    if task == "binary":
        return draw(1, N, 1), torch.full((1, N, 1), float(value), dtype=torch.float64)
    if task == "multiclass":
        return draw(1, N, K).softmax(2), torch.full((1, N), value)
    if task == "multilabel":
        return 0.4 * draw(1, N, K), torch.full((1, N, K), float(value), dtype=torch.float64)
    if task == "segmentation":
        return draw(1, N, K, 4, 4).softmax(2), torch.full((1, N, 4, 4), value)
    if task == "similarity":
        return draw(1, N, 2, 5) - 0.5, torch.full((1, N, 1), 2.0 * value - 1, dtype=torch.float64)
    return draw(1, N, 3, 5), torch.arange(N)[None] if value else torch.zeros(1, N, dtype=torch.long)


@pytest.mark.parametrize("value", [0, 1])
@pytest.mark.parametrize(("task", "name"), [(task, name) for task, metrics in METRICS.items() for name in metrics])
def test_every_metric_that_can_be_undefined_is_explained(task: str, name: str, value: int) -> None:
    metric = METRICS[task][name]
    prediction, target = degenerate(task, value)
    facts = {"anomalies": torch.full((1, N), bool(value)), "members": torch.arange(2 * N).view(1, N, 2)}
    options: dict[str, Any] = {metric.fact: facts[metric.fact]} if metric.fact else {}
    if metric.takes_taus:
        options["taus"] = [0.5]
    found = metric.function(prediction, target, **options)
    assert explained(name) or not found.isnan().any()


def test_why_a_metric_is_not_defined() -> None:
    known = ["test/mae", "test/loss"]
    assert not_defined("test/r2", 12, 30, known) == (
        "r2 is not defined in 12 of 30 runs: all targets of their test samples are equal; type metric=mae instead"
    )
    assert not_defined("validation/auroc", 1, 2000, ["test/log_loss", "validation/loss"]) == (
        "auroc is not defined in 1 of 2,000 runs: their validation samples are all of one class; type metric=loss instead"
    )
    assert not_defined("test/mine", 1, 2, []) == "mine is not defined in 1 of 2 runs: it has no value on their test samples"
