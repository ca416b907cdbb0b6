"""A run as a plain nn.Sequential: its weights for ``load_state_dict``, the lines that make it, and the numbers of its scaling.

    <id>.pt      the state_dict, read by torch.load(..., weights_only=True); linear weights are [out, in]
    <id>.json    the features in their order, fill, shift and factor of each, those of the targets, and the classes
    <id>.txt     the lines of Python that put it together

Shapes: n rows, D features, K outputs.
"""

import io
import json
from pathlib import Path
from typing import Any

import torch
from torch import nn

from dlrun.errors import InputError
from dlrun.results.files import replace_file
from dlrun.trained.export.checked import agree, features
from dlrun.trained.export.modules import Residual, modules_of
from dlrun.trained.run import Run

_LINKS = {
    ("logit", "sigmoid"): "torch.sigmoid(output)",
    ("logit", "softmax"): "torch.softmax(output, 1)",
    ("log_probability", "exp"): "torch.exp(output)",
}


def write(run: Run, folder: Path) -> tuple[list[Path], str]:
    """Write the files into a folder; they, and the lines that put the model together.

    Raises:
        InputError: a layer is none of torch.nn.
        RunError: the Sequential does not compute what the run does.
    """
    modules = modules_of(run)
    foreign = [module for module in modules if not type(module).__module__.startswith("torch.nn.")]
    if foreign:
        what = f"the activation {type(foreign[0]).__name__.lower()} with hyperparameters that no module of torch.nn has"
        if isinstance(foreign[0], Residual):
            what = "residual connections, which a plain Sequential has no form of"
        raise InputError(f"export: run {run.id} has {what}; type --format onnx or --format torch-export")
    model = nn.Sequential(*modules).eval()
    predictor = run.predictor
    x = torch.from_numpy(predictor.preprocessing.inputs(features(run))).to(predictor.settings.dtype)
    with torch.no_grad():
        expected, found = predictor.train_step.evaluate(x.unsqueeze(0))[0][0], model(x)
    agree(run, "the Sequential", expected.numpy(), found.numpy())
    state = io.BytesIO()
    torch.save(model.state_dict(), state)
    lines = snippet(run, modules)
    contents = {
        ".pt": state.getvalue(),
        ".json": (json.dumps(scaling(run), ensure_ascii=False, indent=1) + "\n").encode(),
        ".txt": lines.encode(),
    }
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{run.id}{suffix}" for suffix in contents]
    for path, content in zip(paths, contents.values(), strict=True):
        replace_file(path, content)
    return paths, lines


def snippet(run: Run, modules: list[nn.Module]) -> str:
    """The lines of Python that put the model together and load its weights."""
    predictor = run.predictor
    layers = "".join(f"    nn.{module!r},\n" for module in modules)
    dtype = str(predictor.settings.dtype)
    link = _LINKS.get((predictor.run.head, predictor.run.prediction), "")
    said = f"# {link} are the probabilities of the classes\n" if link and run.classes else ""
    if run.task.scaled:
        said = "# output / y_factor + y_shift is in the units of the data\n"
    return (
        "import torch\nfrom torch import nn\n\n"
        f"model = nn.Sequential(\n{layers})\n"
        f'model.load_state_dict(torch.load("{run.id}.pt", weights_only=True))\n'
        f"model.to({dtype}).eval()\n"
        f"# output = model((x - shift) * factor), x of {dtype} and shape [n, {', '.join(map(str, run.shape))}], a missing\n"
        f"# value replaced by fill before; {run.id}.json has the features in their order and these numbers\n{said}"
    )


def scaling(run: Run) -> dict[str, Any]:
    """What stands before and behind the model: names of features, fill, shift, factor, y_shift, y_factor, targets, classes."""
    names = run.features if run.encoding is None else run.encoding.features
    return {
        "features": list(names),
        **run.predictor.preprocessing.to_json(),
        "targets": list(run.targets),
        "classes": list(run.classes),
    }
