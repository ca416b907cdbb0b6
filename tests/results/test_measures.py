"""What is known of each metric: that it has bounds, and why it may have no value."""

from dlrun.comparison.measures import explained, not_defined
from dlrun.components.metrics import METRICS

N, K = 12, 3


def test_every_metric_that_can_be_undefined_is_explained() -> None:
    needing = {name for metrics in METRICS.values() for name, metric in metrics.items() if metric.needs}
    assert {"r2", "auroc", "average_precision", "f1"} <= needing
    assert [name for name in needing if not explained(name)] == []


def test_why_a_metric_is_not_defined() -> None:
    known = ["test/mae", "test/loss"]
    assert not_defined("test/r2", 12, 30, known) == (
        "r2 is not defined in 12 of 30 runs: all targets of their test samples are equal; type metric=mae instead"
    )
    assert not_defined("validation/auroc", 1, 2000, ["test/log_loss", "validation/loss"]) == (
        "auroc is not defined in 1 of 2,000 runs: their validation samples are all of one class; type metric=loss instead"
    )
    assert not_defined("test/mine", 1, 2, []) == "mine is not defined in 1 of 2 runs: it has no value on their test samples"
