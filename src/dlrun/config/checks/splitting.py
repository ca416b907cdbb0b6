"""Settings of a table that say how its rows are split, and what does not go with them."""

from collections.abc import Mapping, Sequence
from typing import Any

from dlrun.suggestions.values import show

FIXED = ("split_column", "test_path")  # which say what is for testing
SPLITTING = (*FIXED, "group", "time")
_DOES = {
    "split_column": "says which rows are for training and testing",
    "test_path": "is the file that is tested on",
    "group": "deals whole groups",
    "time": "cuts the rows in their order",
}


def splitting_problems(section: Mapping[str, Any]) -> list[str]:
    """What is wrong with the settings of a dataset that split its rows, one line each."""
    asked = [key for key in SPLITTING if section.get(key) is not None]
    found = []
    if len(asked) > 1:
        words = " and ".join(f"dataset.{key}={show(section[key])}" for key in asked)
        why = ", and ".join(f"{key} {_DOES[key]}" for key in asked)
        found.append(f"{words}: {why}; a split follows one of them, leave the other{'s' * (len(asked) > 2)} out")
    folds = section.get("folds")
    fixed = [key for key in asked if key in FIXED]
    if fixed and isinstance(folds, int) and folds > 1:
        found.append(
            f"dataset.folds={folds}: folds test each row once, and dataset.{fixed[0]} {_DOES[fixed[0]]}; type dataset.folds=1 "
            f"(more seeds train again on the same split), or leave dataset.{fixed[0]} out"
        )
    return found


def unused_by_split(section: Mapping[str, Any]) -> list[str]:
    """Keys of a dataset that have no effect beside others."""
    fixed = any(section.get(key) is not None for key in FIXED)
    found = ["dataset.test"] if (section.get("folds") or 1) > 1 or fixed else []
    return found + (["dataset.stratify"] if section.get("time") is not None else [])


def split_warnings(section: Mapping[str, Any], overrides: Sequence[str]) -> list[str]:
    """Warnings for shares that were asked for and have no effect."""
    typed = {word.lstrip("+").partition("=")[0] for word in overrides}
    why = next((key for key in SPLITTING if section.get(key) is not None), "")
    return [
        f"{key}: has no effect, since dataset.{why} {_DOES[why]}; leave it out"
        for key in unused_by_split(section)
        if why and key in typed
    ]
