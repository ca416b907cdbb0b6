"""Shapes that cover one pixel in twenty: a segmenter finds them with every loss, and does not end in the background."""

from collections.abc import Callable
from typing import Any

import pytest

LOSSES = ("dice", "dice_cross_entropy", "cross_entropy")
NOTHING_FOUND = 0.48  # IoU when all is background: the mean of 0.95 and 0


def ious(spec_of: Callable[..., Any], train_all: Callable[..., Any], seeds: range, **given: Any) -> list[float]:
    """Test IoU of the segmenter on the default shapes, for each seed."""
    given = {"dataset": "shapes", "model": "segmenter", "trainer": "default", "trainer.device": "cpu"} | given
    if len(seeds) == 1:
        given |= {"trainer.engine": "torch"}  # of large images one run takes a third of the time
    return [outcome.metrics["test/iou"] for outcome in train_all([spec_of(seed=seed, **given) for seed in seeds])]


def test_dice_finds_small_shapes(spec_of: Callable[..., Any], train_all: Callable[..., Any]) -> None:
    """A fifth of the default epochs is enough."""
    found = ious(spec_of, train_all, range(1), loss="dice", **{"trainer.epochs": 20, "trainer.evaluate_every": 20})
    assert min(found) > 0.8, found


@pytest.mark.slow
def test_dice_of_the_background_does_not(spec_of: Callable[..., Any], train_all: Callable[..., Any]) -> None:
    """A seed with which the run has learnt after ten epochs without it ends in the background with it."""
    given = {"loss": "dice", "trainer.epochs": 10, "trainer.evaluate_every": 10}
    without = ious(spec_of, train_all, range(1, 2), **given)
    with_it = ious(spec_of, train_all, range(1, 2), **given, **{"loss.background": True})
    assert min(without) > 0.6 > NOTHING_FOUND > max(with_it) > 0.47, (without, with_it)


@pytest.mark.slow
@pytest.mark.parametrize("loss", LOSSES)
def test_every_loss_finds_small_shapes_with_default_settings(
    loss: str, spec_of: Callable[..., Any], train_all: Callable[..., Any]
) -> None:
    found = ious(spec_of, train_all, range(8), loss=loss)
    assert min(found) > 0.8, found
