"""Sweeps called in this process and read back from their folders, and a folder of a user's own options."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dlrun.results.store import Store
from dlrun.results.sweeps import Sweep
from kept import results

OPTIONS = {
    "optimizer/mine": "_target_: torch.optim.SGD\nlr: ${model.rate}\nmomentum: 0.5\n",
    "optimizer/nested": "defaults:\n  - sgd\n  - _self_\nlr: 0.03\nmomentum: ${activation.slope}\n",
    "model/rated": "defaults:\n  - mlp\n  - _self_\nrate: 0.02\nhidden: [7]\n",
    "model/rated2": "defaults:\n  - mlp\n  - _self_\nrate: 0.2\nhidden: [7, 8]\nname: m_${seed}_${optimizer.lr}\n",
    "model/deep": "defaults:\n  - mlp\n  - /optimizer@inner: adam\n  - _self_\nhidden: [9]\n",
    "head/a": "# @package model.head\nx: 1\n",
    "head/b": "# @package model.head\ny: 2\n",
    "activation/sloped": "_target_: torch.nn.LeakyReLU\nslope: 0.25\nnegative_slope: ${.slope}\n",
    "activation/sloped2": "_target_: torch.nn.LeakyReLU\nslope: 0.5\nnegative_slope: ${activation.slope}\n",
    "activation/empty": "",
    "trainer/packaged": "# @package _global_\ntrainer:\n  epochs: 3\noptimizer:\n  lr: 0.77\n",
    "scheduler/far": "# @package extra.far\nx: ${seed}\ny: ${trainer.epochs}\n",
    "dataset/referring": "_target_: some.where\nrows: ${optimizer.lr}\n",
    "regularizer/twice": "# @package regularizer.l1\nweight: 5\n",
    "regularizer/everywhere": "# @package _global_\nregularizer:\n  l1:\n    weight: 77\n",
    "experiment/big": "# @package _global_\ndefaults:\n  - override /optimizer: adamw\n  - override /regularizer: [l1, l2]\n"
    "name: big\nmodel:\n  hidden: [64, 64]\n",
    "experiment/fast": "# @package _global_\ndefaults:\n  - override /optimizer: sgd\n"
    "name: fast_${seed}\noptimizer:\n  momentum: 0.9\n",
    "experiment/slow": "# @package _global_\ndefaults:\n  - override /optimizer: sgd\nname: slow\n",
    "experiment/referring": "# @package _global_\ndefaults:\n  - override /model: rated\ntrainer:\n  epochs: ${seed}\n"
    "  max_steps: ${model.rate}\n",
    "experiment/asking": "# @package _global_\nname: ${hydra:runtime.choices.optimizer}_${hydra:job.num}_${seed}\n",
    "special/sgd": "# @package _global_\nname: of_sgd\n",
    "special/adam": "# @package _global_\nname: of_adam\n",
    "own": "defaults:\n  - config\n  - override optimizer: adamw\n  - _self_\n"
    "optimizer:\n  lr: 0.123\n  weight_decay: ${model.rate}\nmodel:\n  rate: 3\n",
    "dependent": "defaults:\n  - config\n  - special: ${optimizer}\n  - _self_\n",
}
"""Options of every awkward kind: with defaults of their own, in other packages, referring to other groups."""


@pytest.fixture
def outputs(folder: Path) -> Callable[..., dict[str, dict[str, Any]]]:
    """``outputs()``: run id -> what result.json says."""

    def read(root: Path | None = None) -> dict[str, dict[str, Any]]:
        return results(root or folder / "outputs")

    return read


@pytest.fixture
def latest(folder: Path) -> Callable[..., Sweep]:
    """``latest()``: the sweep that was started last."""
    return lambda root=None: Sweep.find(Store(root or folder / "outputs"))


@pytest.fixture(scope="session")
def own_options(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for --config-dir with ``OPTIONS``."""
    root = tmp_path_factory.mktemp("options")
    for name, content in OPTIONS.items():
        path = root / f"{name}.yaml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(content)
    return root
