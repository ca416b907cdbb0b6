"""Stacked layers: each computes one layer of every run at once, and knows its own gradient. See base.py for what a layer is.

dense           linear, output
embedding       embedding
convolution     conv2d, conv1d
gru             gru
attention       attention, positions
pooling         max_pool2d, max_pool1d, mean, last
reshaping       upsample, flatten
towers          factors, tower, dot
residual        residual: what goes in is added to what comes out
activation      activation: the selected one, with what regularizers put around it
normalization   batch_norm, which a regularizer puts before activations
dropout         dropout, which a regularizer puts behind activations
"""

from collections.abc import Callable, Mapping
from typing import Any

from dlrun.engine.layers import (
    activation,
    attention,
    convolution,
    dense,
    dropout,
    embedding,
    gru,
    normalization,
    pooling,
    reshaping,
    residual,
    towers,
)
from dlrun.engine.layers.activation import Pointwise
from dlrun.engine.layers.attention import Attention, Positions
from dlrun.engine.layers.base import Around, Layer, LayerType, Pass, Place, Sample
from dlrun.engine.layers.convolution import Conv1d, Conv2d, Convolution
from dlrun.engine.layers.dense import SPREAD, Linear
from dlrun.engine.layers.dropout import Dropout
from dlrun.engine.layers.embedding import Embedding
from dlrun.engine.layers.gru import Gru
from dlrun.engine.layers.normalization import BatchNorm
from dlrun.engine.layers.pooling import Last, MaxPool1d, MaxPool2d, Mean
from dlrun.engine.layers.reshaping import Counts, Flatten, Upsample
from dlrun.engine.layers.residual import Add, Fork

__all__ = [
    "AROUND",
    "LAYER_TYPES",
    "SPREAD",
    "Add",
    "Around",
    "Attention",
    "BatchNorm",
    "Conv1d",
    "Conv2d",
    "Convolution",
    "Counts",
    "Dropout",
    "Embedding",
    "Flatten",
    "Fork",
    "Gru",
    "Last",
    "Layer",
    "LayerType",
    "Linear",
    "MaxPool1d",
    "MaxPool2d",
    "Mean",
    "Pass",
    "Place",
    "Pointwise",
    "Positions",
    "Sample",
    "Upsample",
]

FAMILIES = (dense, embedding, convolution, gru, attention, pooling, reshaping, towers, residual, activation)

LAYER_TYPES: dict[str, LayerType] = {each.key: each for family in FAMILIES for each in family.TYPES}
"""By the key that selects them in ``model.layers``."""

AROUND: dict[str, Callable[[Mapping[str, Any]], Callable[[tuple[int, ...], int], Layer]]] = {
    "dropout": dropout.around,
    "batch_norm": normalization.around,
}
"""Layers at activations, by the kind that a regularizer names: from its hyperparameters to a function that makes one."""
