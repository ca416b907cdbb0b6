"""The public names for components of your own: modules inside dlrun may move, these stay.

Optimizer                                       theta <- theta - ..., for all runs at once
Penalty, Kink, AfterStep, BatchTransform, Stop  the hooks of a regularizer; each_run shapes its numbers for a batch
Data                                            what a dataset function returns
Logger                                          hears of an experiment: begun, progress, run_ended, finished, ...
Positive, NonNegative, Finite, ...              what a hyperparameter may be, in its annotation
"""

from dlrun.components.hyperparameters import Count, Finite, Natural, NonNegative, OpenShare, Positive, Probability, Share
from dlrun.components.optimizers import Optimizer
from dlrun.components.regularizers import AfterStep, BatchTransform, Kink, Penalty, Stop, each_run
from dlrun.data.dataset import Data
from dlrun.experiments.events import Listener as Logger

__all__ = [
    "AfterStep",
    "BatchTransform",
    "Count",
    "Data",
    "Finite",
    "Kink",
    "Logger",
    "Natural",
    "NonNegative",
    "OpenShare",
    "Optimizer",
    "Penalty",
    "Positive",
    "Probability",
    "Share",
    "Stop",
    "each_run",
]
