"""What dlrun must know by name, with the parameters and defaults that users were promised. Each name is a file in conf/."""

from typing import Any

import pytest

from dlrun import registry
from dlrun.components.initializers import INITIALIZERS
from dlrun.components.metrics import METRICS

CATALOGUE: dict[str, dict[str, dict[str, Any]]] = {  # group -> name -> its parameters and their defaults
    "activation": {
        "identity": {},
        "linear": {},
        "sigmoid": {},
        "tanh": {},
        "relu": {},
        "leaky_relu": {"negative_slope": 0.01},
        "elu": {"alpha": 1.0},
        "gelu": {"approximate": "none"},
        "swish": {"beta": 1.0, "learnable": False},
        "silu": {"beta": 1.0, "learnable": False},
        "softmax": {},
        "softplus": {},
        "mish": {},
        "selu": {},
        "hardswish": {},
        "prelu": {"learnable": True},
    },
    "loss": {
        "mse": {},
        "mae": {},
        "l1_loss": {},
        "huber": {"delta": 1.0},
        "quantile": {"tau": 0.5},
        "pinball": {"tau": 0.5},
        "log_cosh": {},
        "bce": {"head": "probability"},
        "log_loss": {"head": "probability"},
        "bce_with_logits": {"pos_weight": None, "head": "logit"},
        "hinge": {"squared": False, "head": "logit"},
        "focal": {"gamma": 2.0, "alpha": None, "head": "logit"},
        "cross_entropy": {"class_weight": None, "head": "logit"},
        "nll": {"head": "log_probability"},
        "sparsemax": {"head": "logit", "prediction": "sparsemax"},
        "dice": {"smooth": 1.0, "head": "logit"},
        "dice_cross_entropy": {"weight": 0.5, "head": "logit"},
        "cosine_embedding": {"margin": 0.0, "head": "embedding"},
        "triplet_margin": {"margin": 1.0, "p": 2.0, "head": "embedding"},
    },
    "optimizer": {
        "sgd": {"lr": 0.01, "momentum": 0.9, "nesterov": False, "dampening": 0.0, "weight_decay": 0.0},
        "adam": {"lr": 0.001, "betas": [0.9, 0.999], "eps": 1e-8, "weight_decay": 0.0, "amsgrad": False},
        "adamw": {"lr": 0.001, "weight_decay": 0.01},
        "rmsprop": {"lr": 0.001, "momentum": 0.0, "centered": False, "weight_decay": 0.0},
        "adagrad": {"lr": 0.01, "weight_decay": 0.0},
        "adadelta": {"lr": 1.0, "weight_decay": 0.0},
        "nadam": {"lr": 0.001, "weight_decay": 0.0},
        "asgd": {"lr": 0.01, "weight_decay": 0.0},
        "radam": {"weight_decay": 0.0},
        "adamax": {"weight_decay": 0.0},
        "lion": {"weight_decay": 0.0},
    },
    "scheduler": {"constant": {}, "step": {"step_size": 30, "gamma": 0.1}, "cosine": {}, "warmup_cosine": {}, "one_cycle": {}},
    "regularizer": {
        "l1": {"weight": 1e-3, "method": "proximal"},
        "l2": {"weight": 1e-3},
        "dropout": {"p": 0.5},
        "batch_norm": {"momentum": 0.1, "eps": 1e-5},
        "early_stopping": {"patience": 10, "min_delta": 0.0, "metric": None},
        "augmentation": {"kind": "noise", "strength": 0.1},
        "label_smoothing": {"smoothing": 0.1},
        "max_norm": {"max_norm": 3.0},
    },
    "model": {
        "linear": {},
        "perceptron": {},
        "mlp": {"init": "default", "head": "auto"},
        "deep_mlp": {"depth": 10, "width": 32},
        "residual_mlp": {"depth": 3, "width": 32},
        "approximator": {"width": 64},
        "cnn": {"hidden": [128]},
        "segmenter": {},
        "embedder": {"embedding": 16},
        "autoencoder": {"code": 8},
        "factorization": {"embedding": 8},
        "two_towers": {"embedding": 8, "hidden": [32]},
        "bag_of_words": {"embedding": 16},
        "gru": {"embedding": 16, "units": 16},
        "attention": {"embedding": 16, "heads": 2},
    },
    "dataset": {
        "diabetes": {"task": "regression"},
        "xor": {"task": "binary", "noise": 0.2},
        "multiclass": {"task": "multiclass"},
        "iris": {"task": "multiclass"},
        "wine": {"task": "multiclass"},
        "breast_cancer": {"task": "binary"},
        "digits": {"task": "multiclass"},
        "moons": {"task": "binary"},
        "circles": {"task": "binary"},
        "spirals": {"task": "multiclass"},
        "function": {"task": "regression"},
        "outliers": {"task": "regression"},
        "sparse_features": {"task": "binary"},
        "imbalanced": {"task": "binary"},
        "multilabel": {"task": "multilabel"},
        "shapes": {"task": "segmentation"},
        "pairs": {"task": "similarity"},
        "triplets": {"task": "metric_learning"},
        "clusters": {"task": "clustering", "clusters": None},
        "ratings": {"task": "recommendation", "path": None, "liked": 4.0},
        "csv": {"path": None, "target": None, "task": None},
        "parquet": {"path": None, "target": None, "task": None},
        "openml": {"id": None, "target": None, "task": None},
        "text": {"path": None, "text": None, "target": None, "task": None, "words": 2000},
        "sentences": {"task": "binary"},
        "forecasting": {"task": "regression", "horizon": 6, "horizons": 1, "in_time": False},
        "images": {"path": None, "labels": None, "size": 32, "colour": False},
        "mnist1d": {"task": "multiclass", "rows": 5000, "shuffled": False},
        "inline": {"x": None, "y": None, "task": "regression"},
    },
}
ALIASES = [
    ("activation", "linear", "identity"),
    ("activation", "silu", "swish"),
    ("loss", "l1_loss", "mae"),
    ("loss", "pinball", "quantile"),
    ("loss", "log_loss", "bce"),
]
TASKS_OF_LOSSES = {
    "regression": {"mse", "mae", "l1_loss", "huber", "quantile", "pinball", "log_cosh"},
    "binary": {"bce", "log_loss", "bce_with_logits", "hinge", "focal"},
    "multiclass": {"hinge", "focal", "cross_entropy", "nll", "sparsemax"},
    "multilabel": {"bce", "log_loss", "bce_with_logits", "focal"},
    "segmentation": {"cross_entropy", "dice", "dice_cross_entropy"},
    "similarity": {"cosine_embedding"},
    "metric_learning": {"triplet_margin"},
}
METRICS_OF_TASKS = {
    "regression": {"mse", "rmse", "mae", "r2", "pinball", "coverage"},
    "binary": {"accuracy", "balanced_accuracy", "f1", "auroc", "average_precision", "log_loss", "brier", "ece"},
    "multiclass": {"accuracy", "balanced_accuracy", "macro_f1", "log_loss", "ece"},
    "multilabel": {"micro_f1", "macro_f1", "hamming"},
    "segmentation": {"iou", "dice"},
    "similarity": {"recall@1"},
    "metric_learning": {"recall@1", "triplet_accuracy"},
    "clustering": {"ari", "nmi"},
    "recommendation": {"rmse", "mae", "recall@10"},
}
ENTRIES = [(group, name) for group, names in CATALOGUE.items() for name in names]


@pytest.mark.parametrize(("group", "name"), ENTRIES, ids="/".join)
def test_the_name_is_there_with_its_defaults(group: str, name: str) -> None:
    assert name in registry.options(group)
    content = registry.load_option(group, name)
    promised = CATALOGUE[group][name]
    assert {key: content.get(key, "missing") for key in promised} == promised


@pytest.mark.parametrize(("group", "alias", "name"), ALIASES)
def test_an_alias_is_the_same_thing(group: str, alias: str, name: str) -> None:
    assert registry.load_option(group, alias) == registry.load_option(group, name)
    assert registry.summary(group, alias).startswith(f"Alias of {name}")


@pytest.mark.parametrize("task", TASKS_OF_LOSSES)
def test_losses_serve_their_tasks(task: str) -> None:
    serving = {name for name in registry.options("loss") if task in registry.load_option("loss", name)["tasks"]}
    assert serving == TASKS_OF_LOSSES[task]


@pytest.mark.parametrize("task", METRICS_OF_TASKS)
def test_metrics_of_the_tasks(task: str) -> None:
    assert set(METRICS[task]) >= METRICS_OF_TASKS[task]


def test_initializers() -> None:
    assert set(INITIALIZERS) == {"default", "kaiming", "xavier", "orthogonal", "lecun", "zeros", "eye"}


@pytest.mark.parametrize(
    ("group", "key"),
    [
        ("optimizer", "lr"),
        ("optimizer", "weight_decay"),
        ("model", "hidden"),
        ("model", "init"),
        ("model", "head"),
        ("loss", "tasks"),
    ],
)
def test_options_share_the_keys_that_sweeps_set(group: str, key: str) -> None:
    assert [name for name in registry.options(group) if key not in registry.load_option(group, name)] == []
