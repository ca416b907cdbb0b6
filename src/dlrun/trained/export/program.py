"""A run as a program of torch.export (.pt2), with scaling in front and probabilities or units behind.

    ep = torch.export.load("8bc176b3d366.pt2"); ep.module()(x)      x float64 [n, ...]: raw features, NaN where one is missing

The output is that of ``Run.predict``: [n] or [n, K].
"""

import io
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from dlrun.components.losses import sparsemax
from dlrun.results.files import replace_file
from dlrun.trained.export.checked import agree, features
from dlrun.trained.export.modules import modules_of
from dlrun.trained.run import Run

_MOST_NAMED = 20
_PROBABILITIES: dict[str, Callable[[Tensor], Tensor]] = {
    "sigmoid": torch.sigmoid,
    "softmax": partial(torch.softmax, dim=1),
    "exp": torch.exp,
    "sparsemax": partial(sparsemax, dim=1),
}
"""What makes them of outputs [n, K, ...]: the links of ``engine.forms`` as torch has them."""


class Whole(nn.Module):
    """Raw features to predictions."""

    fill: Tensor
    shift: Tensor
    factor: Tensor
    y_shift: Tensor
    y_factor: Tensor

    def __init__(self, run: Run) -> None:
        super().__init__()
        predictor = run.predictor
        self.model = nn.Sequential(*modules_of(run))
        for name in ("fill", "shift", "factor", "y_shift", "y_factor"):
            self.register_buffer(name, torch.from_numpy(getattr(predictor.preprocessing, name)))
        self._dtype, self._scaled = predictor.settings.dtype, run.task.scaled
        self._probability = _PROBABILITIES.get(predictor.run.prediction if run.task.classes else "")
        self._single = run.task.single

    def forward(self, x: Tensor) -> Tensor:
        """[n, *shape] to [n] or [n, K]."""
        filled = torch.where(x.isnan(), self.fill, x)
        output: Tensor = self.model(((filled - self.shift) * self.factor).to(self._dtype)).double()
        if self._scaled:
            output = output / self.y_factor + self.y_shift
        elif self._probability is not None:
            output = self._probability(output)
        return output[:, 0] if self._single and output.shape[1] == 1 else output


def write(run: Run, folder: Path) -> tuple[list[Path], str]:
    """Write ``<id>.pt2`` into a folder.

    Raises:
        InputError: a layer cannot be exported.
        RunError: the program does not compute what the run does.
    """
    raw = features(run)
    x = torch.from_numpy(raw)
    whole = Whole(run).eval()
    rows = torch.export.Dim("rows", min=1)
    with torch.no_grad():
        program = torch.export.export(whole, (x,), dynamic_shapes=({0: rows},))
        found = program.module()(x)
    agree(run, "the program", run.squeezed(run.predictor(raw)), found.numpy(), scale_of(run))
    out = io.BytesIO()
    torch.export.save(program, out)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{run.id}.pt2"
    replace_file(path, out.getvalue())
    names = run.features if run.encoding is None else run.encoding.features
    shown = "raw features" if run.encoding is None else f"the features {', '.join(names[:_MOST_NAMED])}"
    shown += f" and {len(names) - _MOST_NAMED} more" if run.encoding is not None and len(names) > _MOST_NAMED else ""
    return [path], (
        f'import torch\n\nmodel = torch.export.load("{path.name}").module()\n'
        f"# model(x): x float64 [n, {', '.join(map(str, run.shape))}], {shown}, NaN where one is missing\n"
    )


def scale_of(run: Run) -> float:
    """What differences are measured by beside the prediction: the targets' deviation in a regression, 1 for probabilities."""
    return float(1 / run.predictor.preprocessing.y_factor.min()) if run.task.scaled else 1.0
