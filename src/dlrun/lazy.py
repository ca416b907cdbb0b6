"""torch, imported when something of it is first used.

Importing torch takes longer than all else that a small run does, and what the kernel trains needs nothing of it. So modules of
dlrun say ``from dlrun.lazy import Tensor, torch``, and importing them imports no torch. ``torch`` is the module; ``Tensor``
stands for its class in annotations and in ``isinstance``, which need not import it: without torch nothing is a tensor.
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

__all__ = ["Tensor", "torch"]

if TYPE_CHECKING:
    import torch
    from torch import Tensor
else:

    class _Module(ModuleType):
        """A module that is imported with the first of its names that is read."""

        def __getattr__(self, name: str) -> Any:
            value = getattr(import_module(self.__name__), name)
            setattr(self, name, value)
            return value

    class _OfTensors(type):
        """The class of a class whose instances are the tensors of torch."""

        def __instancecheck__(cls, value: Any) -> bool:
            return isinstance(value, _tensors())

        def __subclasscheck__(cls, other: type) -> bool:
            return other is cls or issubclass(other, _tensors())

    class Tensor(metaclass=_OfTensors):
        """Stands for torch.Tensor, and is called so where annotations are shown."""

        __module__ = "torch"

    def _tensors() -> tuple[type, ...]:
        """The class of tensors; none before torch is imported."""
        found = getattr(sys.modules.get("torch"), "Tensor", None)
        return () if found is None else (found,)

    torch = _Module("torch")
