"""What the engine's components are to the kernel."""

import ctypes

import pytest

from dlrun import registry
from dlrun.config.resolver import resolve
from dlrun.engine.components import Component
from dlrun.engine.lanes.pointwise import Functions, Kind


def component(group: str, option: str) -> Component:
    values = registry.load_option(group, option)
    target = values.pop("_target_")
    rest = ("tasks", "head", "soft_targets", "prediction", "learnable")
    return Component(option, target, resolve(target, group), {key: value for key, value in values.items() if key not in rest})


def names(kernel: ctypes.CDLL, function: str) -> list[str]:
    listed = kernel[function]
    listed.restype = ctypes.c_char_p
    return [str(name.decode()) for name in listed().split()]


def test_every_activation_of_the_catalogue(kernel: ctypes.CDLL) -> None:
    known = names(kernel, "dlrun_activations")
    kinds = {option: Functions(kernel).activation(component("activation", option)) for option in registry.options("activation")}
    found = {option: (known[kind.number], kind.numbers) for option, kind in kinds.items() if kind is not None}
    assert found.keys() == kinds.keys()
    assert found["prelu"] == ("leaky_relu", (0.25,))
    assert found["silu"] == ("swish", (1.0,))
    assert found["gelu"] == ("gelu", ())


def test_every_loss_of_the_catalogue_in_every_task_of_it(kernel: ctypes.CDLL) -> None:
    for option in registry.options("loss"):
        for task in registry.load_option("loss", option)["tasks"]:
            assert Functions(kernel).loss(component("loss", option), task, 3) is not None, (option, task)


@pytest.mark.parametrize(
    ("loss", "task", "values", "name", "numbers"),
    [
        ("quantile", "regression", {"tau": 0.25}, "quantile", (0.25,)),
        ("quantile", "regression", {"tau": [0.1, 0.9]}, "quantiles", (0.1, 0.9)),
        ("bce_with_logits", "multilabel", {"pos_weight": 2.0}, "weighted_bce_with_logits", (2.0, 2.0)),
        ("cross_entropy", "multiclass", {"class_weight": [1.0, 3.0]}, "weighted_cross_entropy", (0.0, 1.0, 3.0)),
        ("hinge", "multiclass", {"squared": True}, "class_hinge_squared", ()),
        ("focal", "binary", {"gamma": 1.0, "alpha": 0.25}, "focal", (1.0, 0.25, 0.25, 0.75, 0.75)),
        ("focal", "multiclass", {}, "class_focal", (2.0, 1.0, 1.0)),
        ("dice", "segmentation", {"background": True}, "whole_dice", (1.0,)),
    ],
)
def test_flags_are_kinds_and_the_rest_are_numbers(
    kernel: ctypes.CDLL, loss: str, task: str, values: dict[str, object], name: str, numbers: tuple[float, ...]
) -> None:
    part = Component(loss, f"dlrun.components.losses.{loss}", abs, values)
    assert Functions(kernel).loss(part, task, 2) == Kind(names(kernel, "dlrun_losses").index(name), numbers)


def test_softened_targets_are_shares_where_classes_exclude_each_other(kernel: ctypes.CDLL) -> None:
    functions, known = Functions(kernel), names(kernel, "dlrun_losses")
    weighted = Component("nll", "dlrun.components.losses.nll", abs, {"class_weight": [1.0, 3.0]})
    kind = functions.loss(weighted, "multiclass", 2, soft=True, smoothing=0.2)
    assert kind == Kind(known.index("soft_weighted_nll"), (0.2, 1.0, 3.0))
    bce = Component("bce", "dlrun.components.losses.bce", abs)
    assert functions.loss(bce, "binary", 1, soft=True, smoothing=0.2) == functions.loss(bce, "binary", 1)


def test_what_is_not_of_the_catalogue_is_none(kernel: ctypes.CDLL) -> None:
    functions = Functions(kernel)
    own = Component("own", "my.own", abs)
    assert functions.activation(own) is None
    assert functions.loss(own, "regression", 1) is None
    assert functions.loss(Component("own", "dlrun.components.losses.own", abs), "regression", 1) is None


def test_heads(kernel: ctypes.CDLL) -> None:
    known = names(kernel, "dlrun_activations")
    heads = {"value": "identity", "logit": "identity", "probability": "sigmoid", "log_probability": "log_softmax"}
    assert {head: known[Functions(kernel).head(head).number] for head in heads} == heads
