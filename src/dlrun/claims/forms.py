"""Checks as a claim's file writes them: mappings, told apart by the key that they begin with."""

from collections.abc import Mapping
from dataclasses import MISSING, fields
from typing import Any

from dlrun.claims.checks import Difference, Holds, Rank, Same, Trend, Within
from dlrun.claims.finding import Check
from dlrun.errors import InputError, nearest


def check_of(content: Any) -> Check:
    """The check that a mapping of a claim's file describes.

    Raises:
        InputError: it has no such form, lacks a key or has one too many.
    """
    given = {str(key): value for key, value in content.items()} if isinstance(content, Mapping) else {}
    form = next((key for key in FORMS if key in given), None)
    if form is None:
        raise InputError(f"{content}: a check has one of the keys {', '.join(FORMS)}")
    kind, fixed, renamed = FORMS[form]
    given = {renamed.get(key, key): value for key, value in given.items()} | fixed
    if "within" in given:
        given = _with_bounds(given)
    known = {item.name: item for item in fields(kind)}
    needed = {name for name, item in known.items() if _is_required(item)}
    problems = [f"{key}: is no key of a check with {form}{nearest(key, known)}" for key in given if key not in known]
    problems += [f"{key.rstrip('_')}: is missing beside {form}" for key in sorted(needed - given.keys())]
    if problems:
        raise InputError(*problems)
    return kind(**given)


def _with_bounds(given: dict[str, Any]) -> dict[str, Any]:
    bounds = given.pop("within")
    if not (isinstance(bounds, list) and len(bounds) == 2 and all(isinstance(bound, int | float) for bound in bounds)):
        raise InputError(f"within: {bounds}: takes two numbers, such as [0.4, 0.6]")
    return given | {"low": float(bounds[0]), "high": float(bounds[1])}


def _is_required(item: Any) -> bool:
    return item.default is MISSING and item.default_factory is MISSING


FORMS: dict[str, tuple[type[Check], dict[str, Any], dict[str, str]]] = {  # key -> class, fields that follow, key -> field
    "more": (Difference, {"relation": "larger"}, {"more": "group"}),
    "less": (Difference, {"relation": "smaller"}, {"less": "group"}),
    "equal": (Difference, {"relation": "equal"}, {"equal": "group", "to": "than"}),
    "rank": (Rank, {}, {"rank": "group"}),
    "rising": (Trend, {"rises": True}, {"rising": "of"}),
    "falling": (Trend, {"rises": False}, {"falling": "of"}),
    "within": (Within, {}, {}),
    "same": (Same, {}, {"same": "group", "as": "as_"}),
    "holds": (Holds, {}, {"holds": "name"}),
}
"""The forms of a check by the key that they begin with."""
