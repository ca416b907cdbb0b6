"""Regularizers: everything that holds a model back from learning its training rows by heart. A run takes any set of them.

penalties   l1, l2, max_norm                 on the weights
layers      dropout, batch_norm              at every activation
batches     augmentation, label_smoothing    on the training batch
stopping    early_stopping                   on the number of epochs
"""

from dlrun.components.regularizers.base import (
    AfterStep,
    AroundActivation,
    BatchTransform,
    Kink,
    Penalty,
    Regularizer,
    Stop,
    Weights,
    each_run,
)
from dlrun.components.regularizers.batches import Augmentation, LabelSmoothing
from dlrun.components.regularizers.layers import BatchNorm, Dropout
from dlrun.components.regularizers.penalties import L1, L2, MaxNorm
from dlrun.components.regularizers.stopping import EarlyStopping

__all__ = [
    "L1",
    "L2",
    "AfterStep",
    "AroundActivation",
    "Augmentation",
    "BatchNorm",
    "BatchTransform",
    "Dropout",
    "EarlyStopping",
    "Kink",
    "LabelSmoothing",
    "MaxNorm",
    "Penalty",
    "Regularizer",
    "Stop",
    "Weights",
    "each_run",
]
