"""Optimizers over theta [R, P], one row a run, with the semantics of torch.optim.

    base.py      Optimizer: state(theta), step(theta, grad, state, t, factor), evaluation(theta, state)
    momentum.py  SGD, ASGD, Lion
    adam.py      Adam, AdamW, NAdam, RAdam, Adamax
    adaptive.py  RMSprop, Adagrad, Adadelta
    stock.py     TorchOptimizer: any other torch.optim class

Configs name torch's classes. ``ROWWISE`` maps those names to the classes here, which do the same on all rows at once and can be
made without torch._dynamo, whose import takes two seconds.
"""

from dlrun.components.optimizers.adam import Adam, Adamax, AdamW, NAdam, RAdam
from dlrun.components.optimizers.adaptive import Adadelta, Adagrad, RMSprop
from dlrun.components.optimizers.base import Optimizer, State
from dlrun.components.optimizers.momentum import ASGD, SGD, Lion
from dlrun.components.optimizers.stock import TorchOptimizer

ROWWISE: dict[str, type[Optimizer]] = {
    "torch.optim.SGD": SGD,
    "torch.optim.ASGD": ASGD,
    "torch.optim.Adam": Adam,
    "torch.optim.AdamW": AdamW,
    "torch.optim.NAdam": NAdam,
    "torch.optim.RAdam": RAdam,
    "torch.optim.Adamax": Adamax,
    "torch.optim.RMSprop": RMSprop,
    "torch.optim.Adagrad": Adagrad,
    "torch.optim.Adadelta": Adadelta,
    "dlrun.components.optimizers.Lion": Lion,
}

__all__ = [
    "ASGD",
    "ROWWISE",
    "SGD",
    "Adadelta",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "Lion",
    "NAdam",
    "Optimizer",
    "RAdam",
    "RMSprop",
    "State",
    "TorchOptimizer",
]
