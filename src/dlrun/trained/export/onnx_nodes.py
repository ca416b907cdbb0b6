"""ONNX nodes one after the other: a few lines of names and constants around onnx.helper."""

from collections.abc import Sequence
from typing import Any

import numpy as np

OPSET = 20


class Nodes:
    """The nodes of a graph as they are added; what a node puts out has a name of its own."""

    def __init__(self) -> None:
        import onnx

        self._helper, self._numpy, self._types = onnx.helper, onnx.numpy_helper, onnx.TensorProto
        self.dtype: type[np.floating[Any]] = np.float64  # of the model between preprocessing and predictions
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self.inputs: list[Any] = []
        self.outputs: list[Any] = []

    def add(self, kind: str, *inputs: str, name: str = "", **attributes: Any) -> str:
        """Add a node, and return the name of what it puts out."""
        out = name or f"{kind.lower()}_{len(self.nodes)}"
        self.nodes.append(self._helper.make_node(kind, list(inputs), [out], **attributes))
        return out

    def constant(self, values: Any, dtype: Any = np.float64) -> str:
        """A constant: numbers, or texts with ``dtype=object``."""
        name = f"constant_{len(self.constants)}"
        array = np.asarray(values, dtype=dtype)
        if dtype is object:
            texts: Any = [str(text).encode() for text in array.ravel()]
            self.constants.append(self._helper.make_tensor(name, self._types.STRING, array.shape, texts))
        else:
            self.constants.append(self._numpy.from_array(np.ascontiguousarray(array), name))
        return name

    def like(self, value: float) -> str:
        """A constant in the type of the model."""
        return self.constant(value, self.dtype)

    def cast(self, name: str, dtype: Any) -> str:
        """The same numbers in another type."""
        return self.add("Cast", name, to=self._helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))

    def input(self, name: str, shape: Sequence[int], *, texts: bool = False) -> str:
        """Declare an input [n, *shape] of float64 or texts."""
        kind = self._types.STRING if texts else self._types.DOUBLE
        self.inputs.append(self._helper.make_tensor_value_info(name, kind, ["rows", *shape]))
        return name

    def output(self, name: str, shape: Sequence[int], *, texts: bool = False) -> str:
        """Declare an output [n, *shape] of float64 or texts."""
        kind = self._types.STRING if texts else self._types.DOUBLE
        self.outputs.append(self._helper.make_tensor_value_info(name, kind, ["rows", *shape]))
        return name

    def model(self, name: str, about: dict[str, str]) -> Any:
        """The model, checked."""
        import onnx

        from dlrun import __version__

        graph = self._helper.make_graph(self.nodes, name, self.inputs, self.outputs, self.constants)
        opsets = [self._helper.make_opsetid("", OPSET)]
        made = self._helper.make_model(
            graph, opset_imports=opsets, producer_name="dlrun", producer_version=__version__, ir_version=10
        )
        self._helper.set_model_props(made, about)
        onnx.checker.check_model(made)
        return made
