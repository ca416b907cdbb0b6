"""One peer doing the work of work.py, in its own environment. Prints one line of JSON.

    python peer.py PEER NET RUNS

One core, and processor time.
"""

import json
import logging
import os
import sys
import time
import warnings
from itertools import pairwise

os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1")
os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"

import numpy as np  # it reads the environment

from work import NETS, ROWS, Net, one_core

Result = dict[str, float]


def data() -> tuple[np.ndarray, np.ndarray]:
    from sklearn.datasets import load_diabetes

    x, y = load_diabetes(return_X_y=True)
    x, y = x[:ROWS].astype(np.float32), y[:ROWS, None].astype(np.float32)
    return (x - x.mean(0)) / x.std(0), (y - y.mean(0)) / y.std(0)


def torch_network(net: Net):
    from torch import nn

    sizes = [10, *net.hidden, 1]
    layers = []
    for i, (a, b) in enumerate(pairwise(sizes)):
        layers += [nn.Linear(a, b)] + ([nn.ReLU()] if i < len(sizes) - 2 else [])
    return nn.Sequential(*layers)


def loader(net: Net):
    import torch
    from torch.utils.data import DataLoader, TensorDataset

    x, y = (torch.from_numpy(values) for values in data())
    return DataLoader(TensorDataset(x, y), batch_size=net.batch, shuffle=True)


def plain(net: Net, runs: int) -> Result:
    """nn.Module, DataLoader, torch.optim.Adam; runs one after the other."""
    import torch
    from torch import nn

    torch.set_num_threads(1)
    batches, best = loader(net), float("inf")
    model, loss = torch_network(net), nn.MSELoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for _ in range(12):
        started = time.process_time()
        for x, y in batches:
            optimizer.zero_grad()
            loss(model(x), y).backward()
            optimizer.step()
        best = min(best, time.process_time() - started)
    return {"seconds": best / net.steps}


def lightning(net: Net, runs: int) -> Result:
    """Lightning's Trainer without logging, checkpoints or progress."""
    import lightning as L
    import torch
    from torch import nn

    torch.set_num_threads(1)
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    times = []

    class Module(L.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.net = torch_network(net)

        def training_step(self, batch, index):
            x, y = batch
            return nn.functional.mse_loss(self.net(x), y)

        def configure_optimizers(self):
            return torch.optim.Adam(self.parameters(), lr=1e-3)

        def on_train_epoch_start(self) -> None:
            times.append(time.process_time())

    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}
    L.Trainer(max_epochs=8, accelerator="cpu", **quiet).fit(Module(), loader(net))
    return {"seconds": min(b - a for a, b in pairwise(times)) / net.steps}


def skorch(net: Net, runs: int) -> Result:
    """skorch's NeuralNetRegressor without validation or callbacks that print."""
    import torch
    from skorch import NeuralNetRegressor

    torch.set_num_threads(1)
    x, y = data()
    settings = {"optimizer": torch.optim.Adam, "lr": 1e-3, "batch_size": net.batch, "iterator_train__shuffle": True}
    model = NeuralNetRegressor(torch_network(net), train_split=None, verbose=0, max_epochs=1, **settings)
    model.fit(x, y)
    best = float("inf")
    for _ in range(6):
        started = time.process_time()
        model.partial_fit(x, y)
        best = min(best, time.process_time() - started)
    return {"seconds": best / net.steps}


def sklearn(net: Net, runs: int) -> Result:
    """scikit-learn's MLPRegressor with adam."""
    from sklearn.neural_network import MLPRegressor

    warnings.simplefilter("ignore")
    x, y = data()
    epochs, best = 30, float("inf")
    for _ in range(4):
        patience = {"tol": 0, "n_iter_no_change": epochs + 1}
        model = MLPRegressor(hidden_layer_sizes=net.hidden, batch_size=net.batch, max_iter=epochs, alpha=0, **patience)
        started = time.process_time()
        model.fit(x, y[:, 0])
        best = min(best, time.process_time() - started)
    return {"seconds": best / epochs / net.steps}


def jax(net: Net, runs: int) -> Result:
    """vmap over runs of a scan over steps, compiled once; adam by hand."""
    import jax as j
    import jax.numpy as jnp

    x, y = data()
    sizes = [10, *net.hidden, 1]
    steps = ROWS // net.batch

    def start(key):
        keys = j.random.split(key, len(sizes) - 1)
        shapes = zip(keys, sizes, sizes[1:], strict=False)
        return [(j.random.uniform(k, (a, b), minval=-(a**-0.5), maxval=a**-0.5), jnp.zeros(b)) for k, a, b in shapes]

    def loss(parameters, bx, by):
        h = bx
        for i, (w, b) in enumerate(parameters):
            h = h @ w + b
            h = j.nn.relu(h) if i < len(parameters) - 1 else h
        return jnp.mean((h - by) ** 2)

    def train(state, xs, ys, order):
        def step(carry, index):
            p, m, v, t = carry
            g = j.grad(loss)(p, xs[index], ys[index])
            t = t + 1
            m = j.tree.map(lambda a, b: 0.9 * a + 0.1 * b, m, g)
            v = j.tree.map(lambda a, b: 0.999 * a + 0.001 * b * b, v, g)
            c1, c2 = 1 - 0.9**t, 1 - 0.999**t
            p = j.tree.map(lambda a, mm, vv: a - 1e-3 * (mm / c1) / (jnp.sqrt(vv / c2) + 1e-8), p, m, v)
            return (p, m, v, t), None

        return j.lax.scan(step, state, order)[0]

    keys = j.random.split(j.random.key(0), runs)
    p = j.vmap(start)(keys)
    zeros = j.tree.map(jnp.zeros_like, p)
    state = (p, zeros, zeros, jnp.zeros(runs))
    xs, ys = jnp.tile(x, (runs, 1, 1)), jnp.tile(y, (runs, 1, 1))  # every run has its own split
    order = j.vmap(lambda k: j.random.permutation(k, ROWS)[: steps * net.batch].reshape(steps, net.batch))(keys)
    epoch = j.jit(j.vmap(train))
    clock = time.process_time
    started = clock()
    state = j.block_until_ready(epoch(state, xs, ys, order))
    compiling = clock() - started
    best = float("inf")
    for _ in range(8):
        started = clock()
        state = j.block_until_ready(epoch(state, xs, ys, order))
        best = min(best, clock() - started)
    return {"seconds": best / steps / runs, "compile": compiling}


PEERS = {"plain": plain, "lightning": lightning, "skorch": skorch, "sklearn": sklearn, "jax": jax}

if __name__ == "__main__":
    warnings.simplefilter("ignore")
    peer, name, count = sys.argv[1:4]
    one_core()
    print(json.dumps(PEERS[peer](NETS[name], int(count))))
