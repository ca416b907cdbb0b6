"""What forty configurations compute, bit for bit, against what was recorded: a change that moves code changes no number.

digests.json was recorded by ``DLRUN_RECORD=1 pytest tests/test_digests.py``. It names the processor and the torch that it was
recorded with; there every digest must be equal. Elsewhere torch takes sums in another order, and the losses on training rows must
agree to a thousandth. A change that is meant to alter a number records anew, and its commit says which configurations and why.
"""

import json
import math
import os
import random
import struct
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import torch

import dlrun
from dlrun import own_modules
from dlrun.engine.lanes.library import kernel

RECORDED = Path(__file__).with_name("digests.json")
RECORDS = "DLRUN_RECORD" in os.environ
SMOKE = "trainer=smoke"

OWN = {
    "parts.py": '''
import torch
from dlrun.components.hyperparameters import NonNegative
from dlrun.components.optimizers import Optimizer
from dlrun.components.regularizers import Penalty


def bend(x, *, slope: float = 0.1):
    """x + slope x^2."""
    return x + slope * x.square()


def quartic_error(output, target):
    return (output - target).square().square().flatten(1).mean(1)


class Sign(Optimizer):
    def __init__(self, *, lr=0.01):
        self.lr = lr

    def state(self, theta):
        return {}

    def step(self, theta, grad, state, t, factor):
        theta.sub_((self.lr * factor * grad.sign()).to(theta.dtype))


class Quartic(Penalty):
    def __init__(self, weights, *, weight: NonNegative = 1e-3):
        self.weights, self.weight = weights, weight

    def value(self, theta):
        return ((theta**4 * self.weights.mask).sum(1, keepdim=True) * self.weight).flatten()


class Net(torch.nn.Module):
    def __init__(self, inputs, outputs, *, hidden=8):
        super().__init__()
        self.layers = torch.nn.Sequential(torch.nn.Linear(*inputs, hidden), torch.nn.Tanh(), torch.nn.Linear(hidden, outputs))

    def forward(self, x):
        return self.layers(x)
''',
    "conf/activation/bend.yaml": "# bends\n_target_: parts.bend\nslope: 0.1\n",
    "conf/loss/quartic_error.yaml": "# fourth power\n_target_: parts.quartic_error\ntasks: [regression]\nhead: value\n",
    "conf/optimizer/sign.yaml": "# signs\n_target_: parts.Sign\nlr: 0.01\n",
    "conf/regularizer/quartic.yaml": "# @package regularizer.quartic\n# fourth powers\n_target_: parts.Quartic\nweight: 0.001\n",
    "conf/model/net.yaml": "# a module\n_target_: parts.Net\nhidden: 8\n",
}

SINGLE: dict[str, list[str]] = {
    "regression": ["dataset=diabetes", SMOKE],
    "regression, huber, l2, cosine": ["dataset=outliers", "loss=huber", "regularizer=[l2]", "scheduler=cosine", SMOKE],
    "quantiles": ["dataset=heteroscedastic", "loss=pinball", "loss.tau=[0.1,0.5,0.9]", SMOKE],
    "forecasting": ["dataset=forecasting", SMOKE],
    "approximator": ["dataset=function", "model=approximator", SMOKE],
    "lasso": ["dataset=diabetes", "model=linear", "regularizer=[l1,l2]", "regularizer.l1.weight=0.1", SMOKE],
    "sparse features": ["dataset=sparse_features", "regularizer=[l1]", "optimizer=sgd", SMOKE],
    "binary": ["dataset=breast_cancer", SMOKE],
    "binary, hinge": ["dataset=moons", "loss=hinge", "activation=tanh", SMOKE],
    "binary, focal, weights": ["dataset=imbalanced", "loss=focal", SMOKE],
    "perceptron": ["dataset=xor", "model=perceptron", SMOKE],
    "multiclass": ["dataset=iris", "activation=gelu", SMOKE],
    "class weights, smoothing": [
        "dataset=wine",
        "loss=cross_entropy",
        "loss.class_weight=[1,2,3]",
        "regularizer=[label_smoothing]",
        SMOKE,
    ],
    "sparsemax, mixup": ["dataset=multiclass", "loss=sparsemax", SMOKE],
    "mixup, cross entropy": ["dataset=multiclass", "regularizer=[augmentation]", "regularizer.augmentation.kind=mixup", SMOKE],
    "multilabel": ["dataset=multilabel", SMOKE],
    "segmentation": ["dataset=shapes", "model=segmenter", "loss=dice_cross_entropy", SMOKE],
    "pairs": ["dataset=pairs", "model=embedder", SMOKE],
    "triplets": ["dataset=triplets", "model=embedder", SMOKE],
    "reconstruction": ["dataset=reconstruction", "model=autoencoder", SMOKE],
    "images": ["dataset=digits", "model=cnn", "regularizer=[batch_norm,dropout]", SMOKE],
    "images, shifted": ["dataset=digits", "model=cnn", "regularizer=[augmentation]", SMOKE],
    "deep": ["dataset=spirals", "model=deep_mlp", "activation=selu", "model.init=orthogonal", SMOKE],
    "learned slopes": ["dataset=circles", "activation=prelu", "activation.learnable=true", SMOKE],
    "early stopping": ["dataset=moons", "regularizer=[early_stopping]", "trainer.epochs=12"],
    "clipped, float64": ["dataset=diabetes", "trainer.clip_norm=0.5", "trainer.dtype=float64", SMOKE],
    "max norm, warm-up": ["dataset=iris", "regularizer=[max_norm]", "scheduler=warmup_cosine", SMOKE],
    "diverged": ["dataset=diabetes", "optimizer=sgd", "optimizer.lr=1e12", SMOKE],
    "notes": ["experiment=notes_diabetes", "trainer.epochs=3"],
    "table, regression": ["dataset=csv", "dataset.path=houses.csv", "dataset.target=price", SMOKE],
    "table, classes": ["dataset=csv", "dataset.path=houses.csv", "dataset.target=town", "dataset.task=multiclass", SMOKE],
    "own module": ["dataset=diabetes", "model=net", SMOKE],
    "own components": [
        "dataset=diabetes",
        "activation=bend",
        "loss=quartic_error",
        "optimizer=sign",
        "regularizer=[quartic]",
        SMOKE,
    ],
}
BY_TORCH = {"clipped, float64", "own module", "own components"}  # the kernel has not all that they need
SWEPT: dict[str, list[str]] = {
    "optimizers": ["dataset=diabetes", "optimizer=glob(*)", SMOKE],
    "schedules": ["dataset=moons", "scheduler=glob(*)", SMOKE],
    "activations and seeds": ["dataset=moons", "activation=relu,tanh,gelu,mish,softplus", "seed=0,1,2", SMOKE],
    "losses": ["dataset=diabetes", "loss=mse,mae,huber,log_cosh,pinball", SMOKE],
    "numbers": ["dataset=iris", "optimizer.lr=0.001,0.01,0.1", "model.hidden=[8],[16,8]", SMOKE],
    "folds": ["dataset=wine", "dataset.folds=4", SMOKE],
    "regularizers": ["dataset=breast_cancer", "regularizer=[],[l1],[l2],[dropout],[max_norm,batch_norm]", "seed=0,1", SMOKE],
}


def test_there_are_forty() -> None:
    assert len(SINGLE) + len(SWEPT) == 40


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a table and own components."""
    folder = tmp_path_factory.mktemp("digests")
    for name, text in OWN.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    draw = random.Random(0)
    lines = ["area,town,built,garden,price"]
    for number in range(120):
        area = "" if number % 17 == 0 else f"{draw.uniform(30, 200):.1f}"
        lines.append(
            f"{area},{draw.choice(['Aa', 'Bb', 'Cc'])},19{draw.randrange(10, 99)}-0{draw.randrange(1, 9)}-11,"
            f"{draw.choice(['yes', 'no'])},{draw.uniform(100, 900):.2f}"
        )
    (folder / "houses.csv").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture
def within(place: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    from dlrun import registry
    from dlrun.config import own_code

    monkeypatch.delenv("DLRUN_OUTPUT_DIR", raising=False)
    monkeypatch.setattr(registry, "_added", [])
    monkeypatch.setattr(own_modules, "_imported", set())
    monkeypatch.setattr(own_code, "_known", {})
    monkeypatch.syspath_prepend(str(place))
    monkeypatch.chdir(place)
    return place


@pytest.mark.parametrize(
    ("name", "engine"),
    [
        pytest.param(name, engine, marks=[pytest.mark.slow] * (engine == "torch" and name not in BY_TORCH and bool(place % 2)))
        for place, name in enumerate(SINGLE)
        for engine in ("torch", "auto")
        if engine == "torch" or name not in BY_TORCH
    ],
)
def test_a_run(name: str, engine: str, within: Path) -> None:
    words = [*SINGLE[name], f"trainer.engine={engine}", f"output_dir={engine}", "reuse=false"]
    own = {"imports": ["parts"], "config_dir": "conf"} if name.startswith("own") else {}
    _agrees(name, engine, [dlrun.run(*words, progress=False, **own)])


@pytest.mark.parametrize("engine", ["torch", "auto"])
@pytest.mark.parametrize("name", SWEPT)
def test_a_sweep(name: str, engine: str, within: Path) -> None:
    table = dlrun.sweep(*SWEPT[name], f"trainer.engine={engine}", f"output_dir={engine}", "reuse=false", progress=False)
    _agrees(name, engine, [dlrun.load(run, output_dir=engine) for run in table["id"] if run])


def _agrees(name: str, engine: str, runs: list[dlrun.Run]) -> None:
    known: dict[str, Any] = json.loads(RECORDED.read_text()) if RECORDED.exists() else {}
    found = {"digest": sha256("".join(map(_digest, runs)).encode()).hexdigest(), "losses": [_loss(run) for run in runs]}
    trained_by = {run.record.cohort["engine"] for run in runs}
    assert trained_by == {"native" if engine == "auto" and kernel() else "torch"}
    if RECORDS and engine == "torch":
        known["recorded with"] = _train_step()
        known.setdefault("configurations", {})[name] = found
        known["configurations"] = {
            key: known["configurations"][key] for key in (*SINGLE, *SWEPT) if key in known["configurations"]
        }
        lines = ",\n".join(f"  {json.dumps(key)}: {json.dumps(value)}" for key, value in known["configurations"].items())
        RECORDED.write_text(f'{{"recorded with": {json.dumps(known["recorded with"])},\n"configurations": {{\n{lines}\n}}}}\n')
        return
    wanted = known["configurations"][name]
    assert [
        run for run, (mine, theirs) in enumerate(zip(found["losses"], wanted["losses"], strict=True)) if not _close(mine, theirs)
    ] == []
    if engine == "torch" and known["recorded with"] == _train_step():  # the kernel rounds in its own way
        assert found["digest"] == wanted["digest"]


def _train_step() -> str:
    return f"torch {torch.__version__.partition('+')[0]}, {torch.backends.cpu.get_cpu_capability()}, {_processor()}"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return "unknown"
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")


def _close(mine: float | None, theirs: float | None) -> bool:
    return mine is theirs if mine is None or theirs is None else math.isclose(mine, theirs, rel_tol=1e-3)


def _loss(run: dlrun.Run) -> float | None:
    """The loss on training rows, to 7 digits; None where it was not finite."""
    value = run.metrics.get("train/loss", math.nan)
    return float(f"{value:.7g}") if math.isfinite(value) else None


# By task, metrics that versions after the recorded one measure in every run.
LATER = {"regression": {"mse"}, "multiclass": {"brier"}, "segmentation": {"accuracy"}}


def _digest(run: dlrun.Run) -> str:
    """Of all that a run computed: its end, its metrics, its history and its weights."""
    later = LATER.get(run.record.data["task"], set())
    content = sha256(f"{run.status} {run.record.epochs} {run.record.parameters}".encode())
    for key, value in sorted(run.metrics.items()):
        if key.partition("/")[2] in later:
            continue
        content.update(key.encode() + struct.pack("<d", value if not math.isnan(value) else math.nan))
    for column in sorted(run.history.columns):
        content.update(column.encode())
        content.update(run.history[column].to_numpy(dtype="<f8").tobytes())
    for key, value in sorted(run.weights.items()):
        content.update(key.encode() + value.tobytes())
    return content.hexdigest()
