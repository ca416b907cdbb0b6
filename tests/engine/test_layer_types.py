"""A layer is a class and a LayerType: with those alone it is written in a config, sized, trained and shown."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from torch import Tensor

from dlrun.engine.layers import LAYER_TYPES, Layer, LayerType, Pass, Place, Sample
from dlrun.engine.layers.base import Option
from dlrun.engine.models import model as model_module
from dlrun.engine.models.layout import Shape
from dlrun.engine.models.model import LayerSpec, expand
from dlrun.engine.trainer import fit
from dlrun.errors import InputError
from dlrun.experiments.planning.cohorts import plan


class Scale(Layer):
    """y = w x, a factor for each unit."""

    product = 0

    def __init__(self, units: int, start: int) -> None:
        self.shapes = (Shape("factor", (units,), "norm", value=float(start)),)

    def forward(self, parameters: Sequence[Tensor], buffers: Sequence[Tensor], x: Tensor, pass_: Pass) -> tuple[Tensor, Any]:
        return x * parameters[0].unsqueeze(1), x

    def backward(
        self, parameters: Sequence[Tensor], gradients: Sequence[Tensor], grad: Tensor, saved: Any, first: bool
    ) -> Tensor | None:
        gradients[0].copy_((grad * saved).sum(1))
        return None if first else grad * parameters[0].unsqueeze(1)


def build(place: Place, size: None, options: Mapping[str, int]) -> tuple[list[Layer], Sample]:
    return [Scale(place.sample.shape[0], options["start"])], place.sample


@pytest.fixture
def scale(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(LAYER_TYPES, "scale", LayerType("scale", build, sized=False, options={"start": Option(2)}))


@pytest.mark.usefixtures("scale")
def test_a_layer_of_ones_own_is_one_entry(spec_of: Callable[..., Any], datasets: Any) -> None:
    layers = [{"linear": 4}, {"scale": None, "start": 3}, "activation", "scale", "output"]
    specs = [spec_of(seed=seed, dataset="diabetes", **{"model.layers": layers}) for seed in (0, 1)]
    (planned,) = plan(specs, datasets)
    for outcome in fit(planned.cohort):
        assert outcome.status == "done"
        first, second = outcome.weights["1.factor"], outcome.weights["3.factor"]
        assert first.shape == second.shape == (4,)
        assert (first != 3).any(), "it is trained"
        assert np.allclose(first, 3, atol=0.5)
        assert np.allclose(second, 2, atol=0.5)


@pytest.mark.usefixtures("scale")
def test_its_options_are_checked() -> None:
    assert expand(["scale", "output"])[0] == LayerSpec("scale", None, (("start", 2),))
    with pytest.raises(InputError, match=r"scale\.start=0: must be a whole number of at least 1"):
        expand([{"scale": None, "start": 0}, "output"])
    with pytest.raises(InputError, match="scale takes no size, and was given 3"):
        expand([{"scale": 3}, "output"])
    with pytest.raises(InputError, match="scale has no option 'stat'; it takes start; did you mean 'start'"):
        expand([{"scale": None, "stat": 1}, "output"])


@pytest.mark.parametrize("key", LAYER_TYPES)
def test_every_key_is_explained(key: str) -> None:
    assert model_module.__doc__ is not None
    assert key in model_module.__doc__
