"""Configs that differ in their seed alone: what they share is held, checked and written down once."""

from collections.abc import Iterator, Mapping
from typing import Any

SEED = "seed"


class Seeded(Mapping[str, Any]):
    """A config whose seed is its own, and all else that of ``base``, in the order of its keys.

    Args:
        base: a config with a seed, whichever.
        seed: this one's.
    """

    __slots__ = ("base", "seed")

    def __init__(self, base: Mapping[str, Any], seed: Any) -> None:
        self.base, self.seed = base, seed

    @staticmethod
    def of(config: Mapping[str, Any], seed: Any) -> "Seeded":
        """A config with another seed."""
        return Seeded(base_of(config), seed)

    def __getitem__(self, key: str) -> Any:
        return self.seed if key == SEED else self.base[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self.base)

    def __len__(self) -> int:
        return len(self.base)

    def __repr__(self) -> str:
        return repr(dict(self))


def base_of(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a config shares with those that differ in their seed: one object for all of them."""
    return config.base if isinstance(config, Seeded) else config
