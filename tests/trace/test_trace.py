"""``dlrun trace``: its numbers are those of the run, its gradients those of autograd, its steps those of torch.optim."""

import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import dlrun
from dlrun import registry
from dlrun.cli.main import main
from dlrun.components.losses import per_run
from dlrun.config.composing.from_python import single, words
from dlrun.engine.layers import Linear, Pointwise
from dlrun.engine.recording import StepRecord, record
from dlrun.engine.step import TrainStep
from dlrun.experiments.experiment import RunExperiment
from dlrun.experiments.planning.cohorts import Planned
from dlrun.experiments.trace import trace
from dlrun.report.trace.blocks import blocks
from dlrun.report.trace.formulas import filled
from dlrun.report.trace.page import as_page
from dlrun.report.trace.text import as_text

SCORES = ("model=linear", "model.init=eye", "trainer.dtype=float64")


def planned(*overrides: str) -> Planned:
    return RunExperiment(single(words(overrides, {}))).planned


def inline(x: str, y: str, *more: str) -> tuple[str, ...]:
    return ("dataset=inline", f"dataset.x={x}", f"dataset.y={y}", f"trainer.batch_size={x.count('[') - 1}", *more)


def traced(capsys: pytest.CaptureFixture[str], *line: str) -> str:
    assert main(["trace", *line]) == 0
    return capsys.readouterr().out


# The numbers of the notes


@pytest.mark.parametrize(
    ("scores", "classes", "loss"), [("[-5.2,4.6,0.8]", 3, "9.8222"), ("[-0.1211,0.1059]", 2, "0.8131")], ids=["three", "two"]
)
def test_the_notes_cross_entropy(capsys: pytest.CaptureFixture[str], scores: str, classes: int, loss: str) -> None:
    said = traced(
        capsys,
        *inline(f"[{scores}]", "[0]", "dataset.task=multiclass", f"dataset.classes={classes}", "loss=cross_entropy"),
        *SCORES,
    )
    assert f"loss of the batch: {loss}\n" in said
    assert f"target as one-hot: [{', '.join('1' if place == 0 else '0' for place in range(classes))}]" in said


def test_the_notes_softmax_and_one_hot(capsys: pytest.CaptureFixture[str]) -> None:
    task = ("dataset.task=multiclass", "dataset.classes=3", "loss=cross_entropy")
    for label, hot in ((0, "[1, 0, 0]"), (1, "[0, 1, 0]"), (2, "[0, 0, 1]")):
        said = traced(capsys, *inline("[[4.3,6.1,2.3]]", f"[{label}]", *task), *SCORES)
        assert "softmax([4.3000, 6.1000, 2.3000]) = [0.1392, 0.8420, 0.0188]" in said
        assert f"target as one-hot: {hot}" in said


def test_the_notes_sigmoid(capsys: pytest.CaptureFixture[str]) -> None:
    said = traced(capsys, *inline("[[0.8]]", "[1]", "dataset.task=binary", "loss=bce_with_logits"), *SCORES)
    assert "sigmoid([0.8000]) = [0.6900]" in said
    assert "threshold 0.5: 1; target [1.0000]" in said


def test_the_notes_batch_of_five_rows_through_6_4_1() -> None:
    torch.manual_seed(0)
    x = torch.randn(5, 6, dtype=torch.float64).round(decimals=4)
    task = ("dataset.task=binary", "loss=bce", "activation=sigmoid", "model.hidden=[4]", "trainer.dtype=float64")
    (found,) = record(planned(*inline(json.dumps(x.tolist()), "[0,1,1,0,1]", *task)).cohort, 1)
    first, bias, second, last = (each.before for each in found.parameters)
    expected = torch.sigmoid(torch.sigmoid(x[found.rows] @ first + bias) @ second + last)
    assert [layer.output.shape for layer in found.layers] == [(5, 4), (5, 4), (5, 1), (5, 1)]
    torch.testing.assert_close(found.output, expected)


def test_the_notes_chain_16_8_4_2(capsys: pytest.CaptureFixture[str]) -> None:
    said = traced(
        capsys, "dataset=multiclass", "dataset.features=16", "dataset.classes=2", "model.hidden=[8,4]", "trainer.batch_size=3"
    )
    for line in (
        "linear 16 -> 8",
        "linear 8 -> 4",
        "linear 4 -> 2",
        "z = x W + b: [3, 16] -> [3, 8]",
        "z = x W + b: [3, 4] -> [3, 2]",
    ):
        assert line in said


# Against torch


def autograd(plan: Planned, found: StepRecord) -> list[Tensor]:
    """The gradients of the loss, by autograd through torch's operations on the recorded batch and parameters."""
    step = TrainStep(plan.cohort.runs, plan.cohort.data, plan.cohort.settings)
    leaves = [each.before.clone().unsqueeze(0).requires_grad_() for each in found.parameters]
    rest, x = iter(leaves), found.x.unsqueeze(0)
    for layer in step.model.layers:
        if isinstance(layer, Linear):
            weight, bias = next(rest), next(rest)
            x = x @ weight + bias
        else:
            assert isinstance(layer, Pointwise)
            ((group, activation),) = layer.activations
            learned = {name: value.view(1, 1, 1) for name in layer.learned for value in next(rest).unbind(1)}
            x = activation.forward(x, **group.shaped(x.dim()) | learned)
    ((group, values),) = step.losses
    loss = per_run(group.part.function(x, found.y.unsqueeze(0), **values)).sum()
    assert float(loss.detach()) == pytest.approx(found.loss, rel=1e-6)
    return [each[0] for each in torch.autograd.grad(loss, leaves)]


LOSSES = {
    "diabetes": ("mse", "mae", "huber", "quantile", "log_cosh"),
    "moons": ("bce", "bce_with_logits", "hinge", "focal"),
    "iris": ("cross_entropy", "nll", "sparsemax", "hinge", "focal"),
}
CASES = [
    *(
        (f"activation={name}", "dataset=iris")
        for name in registry.options("activation")
        if name not in ("softmax", "linear", "silu")
    ),
    *((f"loss={loss}", f"dataset={data}") for data, losses in LOSSES.items() for loss in losses),
]


@pytest.mark.parametrize("case", CASES, ids=" ".join)
def test_gradients_are_autograds(case: tuple[str, ...]) -> None:
    plan = planned(*case, "model.hidden=[7,5]", "trainer.batch_size=9")
    (found,) = record(plan.cohort, 1)
    for each, expected in zip(found.parameters, autograd(plan, found), strict=True):
        torch.testing.assert_close(each.gradient, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "case",
    [
        ("dataset=pairs", "loss=cosine_embedding"),
        ("dataset=triplets", "loss=triplet_margin", "model=embedder"),
        *(("dataset=shapes", "model=segmenter", f"loss={loss}") for loss in ("dice", "dice_cross_entropy", "cross_entropy")),
        ("dataset=iris", "activation=softmax"),
    ],
    ids=" ".join,
)
def test_the_gradient_of_the_output_is_autograds(case: tuple[str, ...]) -> None:
    plan = planned(*case, "trainer.batch_size=6")
    (found,) = record(plan.cohort, 1)
    step = TrainStep(plan.cohort.runs, plan.cohort.data, plan.cohort.settings)
    ((group, values),) = step.losses
    leaf = found.output.clone().unsqueeze(0).requires_grad_()
    (expected,) = torch.autograd.grad(per_run(group.part.function(leaf, found.y.unsqueeze(0), **values)).sum(), leaf)
    gradient = found.layers[-1].gradient
    assert gradient is not None
    torch.testing.assert_close(gradient.reshape(expected[0].shape), expected[0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", registry.options("optimizer"))
def test_steps_are_those_of_torch_optim(name: str) -> None:
    content = registry.load_option("optimizer", name)
    module, _, target = content["_target_"].rpartition(".")
    if module != "torch.optim":
        pytest.skip("torch has no such optimizer")
    plan = planned("dataset=iris", f"optimizer={name}", "trainer.dtype=float64", "model.hidden=[5]")
    steps = list(record(plan.cohort, 3))
    leaves = [torch.nn.Parameter(each.before.clone()) for each in steps[0].parameters]
    values: dict[str, Any] = dict(plan.cohort.runs[0].optimizer.values)
    theirs = getattr(torch.optim, target)(leaves, **values)
    for found in steps:
        for leaf, each in zip(leaves, found.parameters, strict=True):
            torch.testing.assert_close(leaf.data, each.before, rtol=1e-6, atol=1e-9)
            leaf.grad = each.taken.clone()
        theirs.step()
        for leaf, each in zip(leaves, found.parameters, strict=True):
            torch.testing.assert_close(leaf.data, each.after, rtol=1e-6, atol=1e-9)


def test_plain_gradient_descent_is_the_step_by_hand(capsys: pytest.CaptureFixture[str]) -> None:
    said = traced(
        capsys, *inline("[[2]]", "[3]", "model=linear", "model.init=eye", "loss=mse"), "optimizer=sgd", "optimizer.lr=0.1"
    )
    # w = 1, b = 0: z = 2, loss (3 - 2)^2 = 1, dL/dw = -2 (3 - 2) 2 = -4
    assert "row 0: (3.0000 - 2.0000)^2 = 1.0000" in said
    assert "1.0000 - 0.1 * (-4.0000) = 1.4000" in said
    assert re.search(r"\[1, 1\] .* 1\.4000 +1\.4000 ", said)
    assert "loss of the same batch after this step: 0 (before: 1.0000)" in said  # w = 1.4, b = 0.2


# The run itself


@pytest.mark.parametrize(
    "case",
    [
        ("dataset=moons", "optimizer=sgd", "scheduler=cosine", "regularizer=[dropout,l1]"),
        ("dataset=iris", "optimizer=adamw", "regularizer=[batch_norm,label_smoothing]", "trainer.clip_norm=0.1"),
        ("dataset=digits", "model=cnn", "optimizer=rmsprop", "regularizer=[augmentation]"),
        ("dataset=pairs",),
    ],
    ids=" ".join,
)
def test_the_steps_are_those_of_the_run(tmp_path: Path, case: tuple[str, ...]) -> None:
    settings = (*case, "trainer.max_steps=3", "trainer.engine=torch", f"output_dir={tmp_path}", "seed=5")
    *_, last = record(planned(*settings).cohort, 3)
    run = dlrun.run(*settings, progress=False)
    weights = run.weights
    for each in last.parameters:
        np.testing.assert_allclose(weights[each.slot.name].reshape(-1), each.after.reshape(-1), rtol=1e-5, atol=1e-6)


def test_no_more_steps_than_the_run_has() -> None:
    assert len(list(record(planned("dataset=xor", "trainer.max_steps=2").cohort, 10))) == 2


KINDS = ("digits", "heteroscedastic", "multilabel", "pairs", "sentences", "shapes", "signals", "triplets")


@pytest.mark.parametrize("data", KINDS)
def test_every_kind_of_data_is_written_in_full(data: str) -> None:
    model = {"shapes": ("model=segmenter",), "sentences": ("model=bag_of_words",)}.get(data, ())
    found = trace(planned(f"dataset={data}", *model), 1)
    text = as_text(blocks(found, 1))
    page = as_page(found, 1, ["dlrun", "trace"])
    assert "the update" in text
    assert "nan" not in text.lower()
    assert "<script" not in page
    assert f"{found.steps[0].loss:.4f}"[:6] in text


# The loss with its numbers


def computed(expression: str) -> float:
    """What a filled formula gives: the arithmetic of the line itself."""
    text = expression.rpartition("; ")[2].replace("^", "**")
    text = re.sub(r"\|([^|]*)\|", r"abs(\1)", text)
    text = re.sub(r"log cosh(\(.*\))$", r"log(cosh\1)", text)
    text = re.sub(r"\blog ([\d.e-]+)", r"log(\1)", text)
    text = re.sub(r"(\)|\d) (?=log)", r"\1 * ", text)
    value: float = eval(text, {"log": math.log, "cosh": math.cosh})
    return value


@pytest.mark.parametrize(
    ("data", "loss"), [(data, loss) for data, losses in LOSSES.items() for loss in losses if loss != "sparsemax"]
)
def test_the_filled_formula_gives_the_loss(data: str, loss: str) -> None:
    plan = planned(f"dataset={data}", f"loss={loss}", "trainer.dtype=float64")
    (found,) = record(plan.cohort, 1)
    values = plan.cohort.runs[0].loss.values
    for row in range(6):
        result = float(found.row_losses[row])
        line = filled(loss, values, found.y[row].numpy(), found.output[row].numpy(), result)
        expression, _, said = line.rpartition(" = ")
        assert float(said) == pytest.approx(result, abs=1e-3, rel=1e-3)
        assert computed(expression) == pytest.approx(result, abs=2e-3, rel=2e-3), line


@pytest.mark.parametrize(
    ("loss", "values", "y", "output", "line"),
    [
        ("huber", {"delta": 1.0}, [3.0], [0.5], "1.0000 * (|2.5000| - 0.5 * 1.0000) = 2.0000"),
        ("quantile", {"tau": 0.9}, [1.0], [3.0], "(0.9000 - 1) * (-2.0000) = 0.2000"),
        ("mse", {}, [1.0, 2.0], [0.0, 4.0], "mean of (1.0000 - 0)^2, (2.0000 - 4.0000)^2 = 2.5000"),
        ("cross_entropy", {}, [0.5, 0.5], [0.0, 0.0], "0.5000 * -log 0.5000 + 0.5000 * -log 0.5000 = 0.6931"),
        ("hinge", {"squared": True}, [0.0], [0.5], "max(0, 1 - (-1) * 0.5000)^2 = 2.2500"),
        ("cosine_embedding", {"margin": 0.0}, [1.0], [1.0, 0.0, 0.0, 1.0], "1 - cos(a, b) = 1 - 0 = 1.0000"),
        ("triplet_margin", {"margin": 1.0}, [0.0], [0.0, 3.0, 1.0], "max(0, 3.0000 - 1.0000 + 1.0000) = 3.0000"),
    ],
)
def test_filled_formulas(loss: str, values: dict[str, Any], y: list[float], output: list[float], line: str) -> None:
    shape = {"cosine_embedding": (2, 2), "triplet_margin": (3, 1)}.get(loss, (len(output),))
    result = float(line.rpartition(" = ")[2])
    assert filled(loss, values, np.array(y), np.array(output).reshape(shape), result).endswith(line)


# What is said


def test_a_page_runs_nothing_of_what_a_table_calls_itself(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table, page = tmp_path / "t.csv", tmp_path / "t.html"
    rows = "\n".join(f"{i / 7:.3f},{i % 5},{i % 2}" for i in range(40))
    table.write_text(f"<script>alert(1)</script>,\x1b[31mred,<b>target</b>\n{rows}\n")
    words_ = ("dataset=csv", f"dataset.path={table}", "'dataset.target=\"<b>target</b>\"'".strip("'"), "trainer.batch_size=5")
    said = traced(capsys, *words_)
    assert "\x1b" not in said
    assert main(["trace", *words_, "--format", "html", "-o", str(page)]) == 0
    text = page.read_text()
    assert "<script" not in text
    assert "<b>target" not in text
    assert "&lt;script&gt;" in text
    assert "\x1b" not in text
    assert "default-src 'none'" in text


def test_json_has_every_number(capsys: pytest.CaptureFixture[str]) -> None:
    content = json.loads(traced(capsys, "dataset=iris", "--steps", "2", "--format", "json"))
    first, second = content["steps"]
    assert np.array(first["parameters"][0]["before"]).shape == (4, 32)
    assert first["parameters"][0]["after"] == second["parameters"][0]["before"]
    assert {part["group"] for part in content["parts"]} == {"activation", "loss", "optimizer", "scheduler"}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (("--row", "99"), "--row 99: a batch has rows 0 to 15"),
        (("--row", "-1"), "--row -1: takes a whole number from 0"),
        (("--steps", "0"), "--steps 0: takes a whole number from 1"),
        (("--steps", "1000"), "--steps 1000: at most 100 are shown"),
        (("--format", "pdf"), "--format pdf: takes one of text, html, json"),
        (("model.hidden=[3000,3000]",), "trace: the model has 9,039,001 parameters, and at most 1,048,576 are written down"),
        (("activation=relu,tanh",), "activation=relu,tanh"),
        (("dataset=inline",), "dataset=inline: needs rows and targets"),
        (("dataset=inline", "dataset.x=[[1,2],[3]]", "dataset.y=[0,1]"), "dataset.x: its rows have 1 and 2 numbers"),
        (("dataset=inline", "dataset.x=[[1],[3]]", "dataset.y=[0]"), "dataset.y: has 1 targets, and dataset.x has 2 rows"),
        (
            ("dataset=inline", "dataset.x=[[1],[3]]", "dataset.y=[0.5,1]", "dataset.task=binary"),
            "y must be 0 or 1 for task binary",
        ),
    ],
)
def test_what_cannot_be_shown_is_told(capsys: pytest.CaptureFixture[str], line: tuple[str, ...], message: str) -> None:
    assert main(["trace", *line]) == 2
    assert message in capsys.readouterr().err
