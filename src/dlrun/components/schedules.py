"""Learning rate schedules: what the configured learning rate is multiplied with in each step.

    constant        1
    linear          a straight line over the whole training
    exponential     a factor after each epoch
    step            a factor after each step_size epochs
    cosine          half a cosine over the whole training
    warmup_cosine   a straight line up, then half a cosine down
    one_cycle       half a cosine up, half a cosine down to almost nothing

All are pure functions ``schedule(step, *, epoch_steps, total_steps, ...)``. Steps count from 0, and the epoch
is ``step // epoch_steps``. ``epoch_steps`` and ``total_steps`` come from the data and the trainer, the rest from the config.

They compute with arrays; a schedule of the user's own is given tensors.

Shapes: T steps, R rows (runs). ``step`` is int64 [T, 1]. A hyperparameter is a number, or a row [1, R] with one for each run.
The multiplier is float64: [T, 1], or [T, R] when a hyperparameter is a row.
"""

import math

import numpy as np
from numpy.typing import NDArray

from dlrun.components.arrays import quiet
from dlrun.components.hyperparameters import Count, NonNegative, Positive, Probability, Row, Share

Steps = NDArray[np.int64]
Factors = NDArray[np.float64]


def constant(step: Steps, *, epoch_steps: int, total_steps: int) -> Factors:
    """No schedule: 1 in every step.

    Returns:
        [T, 1] ones.
    """
    return np.ones(step.shape)


def linear(
    step: Steps, *, epoch_steps: int, total_steps: int, start_factor: Positive = 1.0, end_factor: NonNegative = 0.0
) -> Factors:
    """A straight line from start_factor towards end_factor.

    ``start_factor + (end_factor - start_factor) step / total_steps``; the last step stands one short of end_factor. Equals
    torch's LinearLR with total_iters = total_steps.

    Args:
        step: [T, 1], from 0.
        epoch_steps: steps an epoch.
        total_steps: steps of the training.
        start_factor: the multiplier in step 0.
        end_factor: the multiplier that would follow the last step.

    Returns:
        [T, 1] or [T, R].
    """
    found: Factors = start_factor + (end_factor - start_factor) * (step.astype(np.float64) / total_steps)
    return found


def exponential(step: Steps, *, epoch_steps: int, total_steps: int, gamma: Positive = 0.95) -> Factors:
    """A factor after each epoch: ``gamma ^ floor(step / epoch_steps)``, torch's ExponentialLR stepped once an epoch.

    Args:
        step: [T, 1], from 0.
        epoch_steps: steps an epoch.
        total_steps: steps of the training.
        gamma: the factor.

    Returns:
        [T, 1] or [T, R].
    """
    return _power(gamma, step // epoch_steps)


def step(step: Steps, *, epoch_steps: int, total_steps: int, step_size: Count = 30, gamma: Positive = 0.1) -> Factors:
    """A factor after each step_size epochs: ``gamma ^ floor(step / (epoch_steps step_size))``, torch's StepLR.

    Args:
        step: [T, 1], from 0.
        epoch_steps: steps an epoch.
        total_steps: steps of the training.
        step_size: epochs between two changes.
        gamma: the factor.

    Returns:
        [T, 1] or [T, R].
    """
    return _power(gamma, step // (epoch_steps * step_size))


def cosine(step: Steps, *, epoch_steps: int, total_steps: int, min_factor: Probability = 0.0) -> Factors:
    """Half a cosine from 1 towards min_factor.

    ``min_factor + (1 - min_factor) (1 + cos(pi step / total_steps)) / 2``, torch's CosineAnnealingLR with T_max = total_steps and
    eta_min = min_factor lr. Loshchilov & Hutter 2017, arXiv:1608.03983, without restarts.

    Args:
        step: [T, 1], from 0.
        epoch_steps: steps an epoch.
        total_steps: steps of the training.
        min_factor: the multiplier that would follow the last step.

    Returns:
        [T, 1] or [T, R].
    """
    return _cosine(1.0, min_factor, step.astype(np.float64) / total_steps)


@quiet
def warmup_cosine(
    step: Steps, *, epoch_steps: int, total_steps: int, warmup: Share = 0.1, min_factor: Probability = 0.0
) -> Factors:
    """A straight line up over the first share of the training, then half a cosine down.

    With ``W = floor(warmup total_steps)``: ``(step + 1) / (W + 1)`` for step < W, then
    ``min_factor + (1 - min_factor) (1 + cos(pi (step - W) / (total_steps - W))) / 2``. The first step already moves, and step W
    has the full learning rate. Goyal et al. 2017, arXiv:1706.02677 (warm-up).

    Args:
        step: [T, 1], from 0.
        epoch_steps: steps an epoch.
        total_steps: steps of the training.
        warmup: share of the steps that warm up.
        min_factor: the multiplier that would follow the last step.

    Returns:
        [T, 1] or [T, R].
    """
    now = step.astype(np.float64)
    steps = np.floor(np.asarray(warmup) * total_steps)
    return np.where(now < steps, (now + 1) / (steps + 1), _cosine(1.0, min_factor, (now - steps) / (total_steps - steps)))


@quiet
def one_cycle(
    step: Steps,
    *,
    epoch_steps: int,
    total_steps: int,
    pct_start: Probability = 0.3,
    div_factor: Positive = 25.0,
    final_div_factor: Positive = 1e4,
) -> Factors:
    """Half a cosine up to the configured learning rate, and half a cosine down to almost nothing: torch's OneCycleLR.

    With ``c(a, b, x) = b + (a - b) (1 + cos(pi x)) / 2`` and ``e = pct_start total_steps - 1``:
    ``c(1 / div_factor, 1, step / e)`` for step <= e, then
    ``c(1, 1 / (div_factor final_div_factor), (step - e) / (total_steps - 1 - e))``. The configured learning rate is the highest.
    The momentum is left alone (cycle_momentum=False in torch). Smith & Topin 2018, arXiv:1708.07120.

    Args:
        step: [T, 1], from 0.
        epoch_steps: steps an epoch.
        total_steps: steps of the training.
        pct_start: share of the steps that go up.
        div_factor: how much lower than the configured learning rate the first step's is.
        final_div_factor: how much lower than the first step's learning rate the last step's is.

    Returns:
        [T, 1] or [T, R].
    """
    now = step.astype(np.float64)
    top = np.asarray(pct_start) * total_steps - 1
    # A top at step 0 leaves nothing to go up through: that step has the full learning rate.
    rise = np.where(top > 0, now / top, 1.0)
    fall = (now - top) / (total_steps - 1 - top)
    return np.where(now <= top, _cosine(1 / div_factor, 1.0, rise), _cosine(1.0, 1 / (div_factor * final_div_factor), fall))


def _power(gamma: Row, exponent: Steps) -> Factors:
    """``gamma ^ exponent``."""
    return np.power(np.asarray(gamma, dtype=np.float64), exponent)


def _cosine(start: Row, end: Row, progress: Factors) -> Factors:
    """From start at progress 0 to end at progress 1 on half a cosine."""
    found: Factors = end + (start - end) * ((1 + np.cos(math.pi * progress)) / 2)
    return found
