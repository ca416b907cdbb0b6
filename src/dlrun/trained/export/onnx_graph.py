"""A run as an ONNX model: raw columns in, predictions out; the preprocessing is part of the graph.

Inputs are described in onnx_columns.py; rows that are no table are one input ``x`` float64 [n, *shape], NaN where one is missing.

    classes       label, texts [n]; probability float64 [n, K], of two classes for both
    labels        probability float64 [n, K]
    regression    prediction float64 [n, K], in the units of the data; K quantiles where there are some

Shapes: n rows, D features, K outputs or classes.
"""

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dlrun.data.table.encoding import encode
from dlrun.errors import InputError
from dlrun.results.files import replace_file
from dlrun.trained.export.checked import ROWS, agree, features
from dlrun.trained.export.modules import Residual, Swish, modules_of
from dlrun.trained.export.onnx_columns import TEXTS, encoded
from dlrun.trained.export.onnx_nodes import Nodes
from dlrun.trained.export.program import scale_of
from dlrun.trained.run import Run

NEEDS = "export: --format onnx needs onnx and onnxruntime, which are not installed; run: pip install 'dlrun[onnx]'"


def write(run: Run, folder: Path) -> tuple[list[Path], str]:
    """Write ``<id>.onnx`` into a folder, after onnxruntime has computed with it what the run does.

    Raises:
        InputError: onnx is not installed, or a part of the run has no form in ONNX.
        RunError: the graph does not compute what the run does.
    """
    try:
        import onnx  # noqa: F401
        import onnxruntime
    except ImportError as error:
        raise InputError(NEEDS) from error
    content = graph(run).SerializeToString()
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    rows = _rows(run)
    found = session.run([_value(run)], rows)[0]
    expected = _both(run, run.predictor(_features(run, rows)))
    agree(run, "the ONNX graph", expected, found, scale_of(run))
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{run.id}.onnx"
    replace_file(path, content)
    return [path], _lines(run, path)


def graph(run: Run) -> Any:
    """The model.

    Raises:
        InputError: a part of the run has no form in ONNX.
    """
    if run.task.pixels:
        raise InputError(f"export: run {run.id} predicts masks, which --format onnx has no form for; type --format torch-export")
    modules = modules_of(run)
    nodes, scaling = Nodes(), run.predictor.preprocessing
    x = nodes.input("x", run.shape) if run.encoding is None else encoded(nodes, run.encoding)
    x = nodes.add("Where", nodes.add("IsNaN", x), nodes.constant(scaling.fill), x)
    x = nodes.add("Mul", nodes.add("Sub", x, nodes.constant(scaling.shift)), nodes.constant(scaling.factor))
    nodes.dtype = np.float64 if run.predictor.settings.dtype == torch.float64 else np.float32
    x = nodes.cast(x, nodes.dtype)
    x = _chain(nodes, modules, x)
    _finish(nodes, run, nodes.cast(x, np.float64))
    about = {"run": run.id, "task": run.task.name, "targets": json.dumps(run.targets), "classes": json.dumps(run.classes)}
    return nodes.model(f"run {run.id}", about)


def _finish(nodes: Nodes, run: Run, output: str) -> None:
    """From the output of the model to predictions."""
    predictor, task = run.predictor, run.task
    outputs = predictor.form.outputs
    if task.scaled:
        scaling = predictor.preprocessing
        units = nodes.add("Div", output, nodes.constant(scaling.y_factor))
        nodes.add("Add", units, nodes.constant(scaling.y_shift), name="prediction")
        nodes.output("prediction", [outputs])
        return
    link = predictor.run.prediction
    if link not in _LINKS:
        raise InputError(f"export: run {run.id}: probabilities by {link} have no form in ONNX; type --format torch-export")
    probability = _LINKS[link](nodes, output)
    if task.two_classes:
        rest = nodes.add("Sub", nodes.constant(1.0), probability)
        probability = nodes.add("Concat", rest, probability, axis=1)
    probability = nodes.add("Identity", probability, name="probability")
    if task.exclusive or task.two_classes:
        likeliest = nodes.add("ArgMax", probability, axis=1, keepdims=0)
        nodes.add("Gather", nodes.constant(run.classes, object), likeliest, name="label")
        nodes.output("label", [], texts=True)
    nodes.output("probability", [2 if task.two_classes else outputs])


_LINKS: dict[str, Callable[[Nodes, str], str]] = {
    "identity": lambda nodes, x: x,
    "sigmoid": lambda nodes, x: nodes.add("Sigmoid", x),
    "softmax": lambda nodes, x: nodes.add("Softmax", x, axis=1),
    "exp": lambda nodes, x: nodes.add("Exp", x),
}


# Layers


def _chain(nodes: Nodes, modules: Iterable[nn.Module], x: str) -> str:
    for module in modules:
        x = _node(nodes, module, x)
    return x


def _node(nodes: Nodes, module: nn.Module, x: str) -> str:
    for kind, make in _MODULES.items():
        if isinstance(module, kind):
            return make(nodes, module, x)
    raise InputError(f"export: a layer {type(module).__name__} has no form in ONNX; type --format torch-export")


def _of(nodes: Nodes, tensor: Tensor | None) -> str:
    assert tensor is not None
    values = tensor.detach().numpy()
    return nodes.constant(values, values.dtype)


def _linear(nodes: Nodes, module: nn.Linear, x: str) -> str:
    return nodes.add("Gemm", x, _of(nodes, module.weight), _of(nodes, module.bias), transB=1)


def _convolution(nodes: Nodes, module: nn.Conv1d | nn.Conv2d, x: str) -> str:
    weight, bias, padding = _of(nodes, module.weight), _of(nodes, module.bias), [int(side) for side in module.padding]
    return nodes.add("Conv", x, weight, bias, strides=list(module.stride), pads=[*padding, *padding])


def _norm(nodes: Nodes, module: nn.BatchNorm1d | nn.BatchNorm2d, x: str) -> str:
    tensors = (module.weight, module.bias, module.running_mean, module.running_var)
    return nodes.add("BatchNormalization", x, *(_of(nodes, tensor) for tensor in tensors), epsilon=module.eps)


def _pool(nodes: Nodes, module: nn.MaxPool1d | nn.MaxPool2d, x: str) -> str:
    sides = [int(module.kernel_size)] * (1 if isinstance(module, nn.MaxPool1d) else 2)  # type: ignore[arg-type]
    return nodes.add("MaxPool", x, kernel_shape=sides, strides=sides)


def _softplus(nodes: Nodes, module: nn.Softplus, x: str) -> str:
    beta = nodes.like(float(module.beta))
    return nodes.add("Div", nodes.add("Softplus", nodes.add("Mul", x, beta)), beta)


def _swish(nodes: Nodes, beta: float, x: str) -> str:
    inner = x if beta == 1 else nodes.add("Mul", x, nodes.like(beta))
    return nodes.add("Mul", x, nodes.add("Sigmoid", inner))


def _upsample(nodes: Nodes, module: nn.Upsample, x: str) -> str:
    scale = float(module.scale_factor)  # type: ignore[arg-type]
    scales = nodes.constant([1.0, 1.0, scale, scale], np.float32)
    how = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    return nodes.add("Resize", x, "", scales, **how)


_MODULES: dict[type[nn.Module], Callable[[Nodes, Any, str], str]] = {
    nn.Linear: _linear,
    nn.Conv1d: _convolution,
    nn.Conv2d: _convolution,
    nn.BatchNorm1d: _norm,
    nn.BatchNorm2d: _norm,
    nn.MaxPool1d: _pool,
    nn.MaxPool2d: _pool,
    nn.AdaptiveAvgPool1d: lambda nodes, module, x: nodes.add("GlobalAveragePool", x),
    nn.AdaptiveAvgPool2d: lambda nodes, module, x: nodes.add("GlobalAveragePool", x),
    nn.Upsample: _upsample,
    nn.Flatten: lambda nodes, module, x: nodes.add("Flatten", x, axis=1),
    nn.Dropout: lambda nodes, module, x: x,
    nn.Identity: lambda nodes, module, x: x,
    nn.ReLU: lambda nodes, module, x: nodes.add("Relu", x),
    nn.Tanh: lambda nodes, module, x: nodes.add("Tanh", x),
    nn.Sigmoid: lambda nodes, module, x: nodes.add("Sigmoid", x),
    nn.LeakyReLU: lambda nodes, module, x: nodes.add("LeakyRelu", x, alpha=float(module.negative_slope)),
    nn.ELU: lambda nodes, module, x: nodes.add("Elu", x, alpha=float(module.alpha)),
    nn.SELU: lambda nodes, module, x: nodes.add("Selu", x),
    nn.GELU: lambda nodes, module, x: nodes.add("Gelu", x, approximate=module.approximate),
    nn.SiLU: lambda nodes, module, x: _swish(nodes, 1.0, x),
    Swish: lambda nodes, module, x: _swish(nodes, module.beta, x),
    Residual: lambda nodes, module, x: nodes.add("Add", x, _chain(nodes, module.inner, x)),
    nn.Softplus: _softplus,
    nn.Mish: lambda nodes, module, x: nodes.add("Mul", x, nodes.add("Tanh", nodes.add("Softplus", x))),
    nn.Hardswish: lambda nodes, module, x: nodes.add("HardSwish", x),
    nn.Softmax: lambda nodes, module, x: nodes.add("Softmax", x, axis=module.dim),
    nn.LogSoftmax: lambda nodes, module, x: nodes.add("LogSoftmax", x, axis=module.dim),
}


# Rows to compare with


def _rows(run: Run) -> dict[str, NDArray[Any]]:
    """Rows as the graph takes them: every category, one that is new, missing values, dates of many years."""
    x = features(run)
    if run.encoding is None:
        return {"x": x}
    rows: dict[str, NDArray[Any]] = {}
    start = 0
    for number, column in enumerate(run.encoding.columns):
        width = len(column.features)
        values: NDArray[Any] = x[:, start]
        start += width
        if column.kind == "categorical":
            texts = np.array([*column.categories, "", "?!"], dtype=object)
            values = texts[(np.arange(ROWS) + number) % len(texts)]
        elif column.kind == "boolean":
            values = np.array(["yes", "False", "", "T", "NO"], dtype=object)[(np.arange(ROWS) + number) % 5]
        elif column.kind == "date":
            values = np.where(np.arange(ROWS) % 11 == number % 11, np.nan, np.linspace(-40000, 40000, ROWS) + 0.25)
        elif column.kind == "time":
            values = np.arange(ROWS) % 24 + 0.5
        else:
            values = values + column.offset
        rows[column.name] = values[:, None]
    return rows


def _features(run: Run, rows: dict[str, NDArray[Any]]) -> NDArray[Any]:
    """The same rows as the run takes them."""
    if run.encoding is None:
        return rows["x"]
    import pandas as pd

    columns: dict[str, Any] = {}
    for column in run.encoding.columns:
        values = rows[column.name][:, 0]
        if column.kind == "date":
            columns[column.name] = pd.to_datetime(pd.Series(values), unit="D")
        elif column.kind == "time":
            columns[column.name] = [f"{int(value):02}:{int(value * 60) % 60:02}" for value in values]
        else:
            columns[column.name] = values
    return encode(columns, run.encoding)


def _value(run: Run) -> str:
    return "prediction" if run.task.scaled else "probability"


def _both(run: Run, found: NDArray[Any]) -> NDArray[Any]:
    """Predictions of the run as the graph gives them: of two classes both probabilities."""
    return np.concatenate([1 - found, found], 1) if run.task.two_classes else found


def _lines(run: Run, path: Path) -> str:
    """How to use it."""
    lines = f'import onnxruntime\n\nsession = onnxruntime.InferenceSession("{path.name}")\n'
    if run.encoding is None:
        return f'{lines}session.run(["{_value(run)}"], {{"x": x}})  # float64 [n, {", ".join(map(str, run.shape))}]\n'
    texts = [column.name for column in run.encoding.columns if column.kind in TEXTS]
    dates = [column.name for column in run.encoding.columns if column.kind == "date"]
    lines += f'session.run(["{_value(run)}"], columns)  # by name: [n, 1] each, float64 with NaN where a value is missing'
    lines += f"\n# texts, empty where missing: {', '.join(texts)}" if texts else ""
    lines += f"\n# days since 1970-01-01: {', '.join(dates)}" if dates else ""
    return f"{lines}\n"
