"""Names that are no option of a group: what to type instead."""

from collections.abc import Sequence
from pathlib import Path

from dlrun import registry
from dlrun.errors import nearest

NEUTRAL = {"activation": "identity", "scheduler": "constant"}  # the option that changes nothing
OPTIONAL = ("loss", "experiment")  # groups of which nothing is chosen by default
_NOTHING = ("none", "no", "off", "null", "")


def takes(group: str) -> str:
    """``optimizer takes adam, sgd``."""
    return f"{group} takes {', '.join(registry.options(group))}"


def without(group: str) -> str:
    """How to have none of a group's options."""
    if registry.is_set(group):
        return f"for none of them, type {group}=[]; {takes(group)}"
    if group in OPTIONAL:
        return f"leave it out, or type ~{group} to take it out of an experiment; {takes(group)}"
    if group in NEUTRAL:
        return f"cannot be left out; type {group}={NEUTRAL[group]}"
    return f"cannot be left out; {takes(group)}"


def unknown(group: str, value: str, known: Sequence[str]) -> str:
    """What to type instead of an option that does not exist."""
    if value.lower() in _NOTHING[:3]:
        if group in NEUTRAL:
            return f"type {group}={NEUTRAL[group]}"
        if registry.is_set(group) or group in OPTIONAL:
            return without(group)
    if registry.is_set(group) and value.startswith("["):  # a text that looks like a list
        names = [name.strip() for name in value.strip("[]").split(",") if name.strip()]
        return f"it is a text, and a list is wanted; type {group}=[{','.join(names)}], in Python {group}={names}"
    for folder in (Path.cwd() / "conf", Path.cwd()):
        if value and (folder / group / f"{value}.yaml").is_file():
            name = folder.relative_to(Path.cwd())
            return f"{name / group / value}.yaml is not searched; add --config-dir {name}"
    return f"{takes(group)}{nearest(value, known)}"


def not_global(name: str) -> str:
    """What to say of an experiment's file without the line that puts its settings at the top."""
    known = registry.options("experiment")
    file = registry.path("experiment", name) if name in known else f"experiment/{name}.yaml"
    return f"{file}: its first line must be '# @package _global_'; without it the settings do not reach the top of the config"
