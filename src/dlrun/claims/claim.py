"""A claim as its file says it.

# With an activation between its layers a network learns xor.      the statement: the comment lines at the top
number: 2                                                           its place in the list
kind: better                                                        value, better or trend, or several of them
runs: [dataset=xor activation=identity,tanh]                        sweeps, as behind dlrun -m, without seeds
seeds: 10                                                           of each
checks: [{more: tanh, than: identity, of: test/accuracy}]           see ``checks``; all of them have to hold
refuted: what it would mean if the runs said otherwise
note: where the statement is wrong or too simple; may be left out
"""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from dlrun import registry
from dlrun.claims.finding import Check
from dlrun.claims.forms import check_of
from dlrun.comparison.power import LEAST
from dlrun.errors import InputError, nearest

KINDS = ("value", "better", "trend")
_KEYS = ("number", "kind", "runs", "seeds", "checks", "refuted", "note")
_REQUIRED = ("number", "kind", "checks", "refuted")


@dataclass(frozen=True)
class Claim:
    """A statement and how it is tested.

    Args:
        number: its place in the list.
        kind: value (an identity, up to floating-point accuracy), better (a paired comparison) or trend (a monotone relation).
        runs: each the words of a sweep without its seeds; none for what holds without training.
        seeds: how many, for each configuration.
        refuted: what a refutation would mean.
        note: where the statement is wrong or too simple, or why it was refuted.
    """

    name: str
    number: int
    kind: str
    statement: str
    checks: tuple[Check, ...]
    refuted: str
    runs: tuple[str, ...] = ()
    seeds: int = 10
    note: str = ""

    @classmethod
    def load(cls, name: str) -> "Claim":
        """Read conf/claim/NAME.yaml.

        Raises:
            InputError: there is no such claim, or its file is not as above; with every problem.
        """
        if name not in registry.options(registry.CLAIM):
            known = registry.options(registry.CLAIM)
            raise InputError(f"claims {name}: no such claim; dlrun ls claim lists them{nearest(name, known)}")
        content = registry.load_option(registry.CLAIM, name)
        problems = [f"{key}: is no key of a claim{nearest(key, _KEYS)}" for key in content if key not in _KEYS]
        problems += [f"{key}: is missing" for key in _REQUIRED if key not in content]
        problems += [*_types(content)]
        checks: list[Check] = []
        for place, check in enumerate(content.get("checks") or (), 1):
            try:
                checks.append(check_of(check))
            except InputError as error:
                problems += [f"check {place}: {line}" for line in error.problems]
        if problems:
            raise InputError(*(f"claim/{name}: {problem}" for problem in problems))
        texts: dict[str, Any] = {key: " ".join(str(content.get(key, "")).split()) for key in ("refuted", "note")}
        rest = {key: content[key] for key in ("number", "kind", "seeds") if key in content}
        statement = " ".join(registry.header(registry.CLAIM, name))
        return cls(name, statement=statement, checks=tuple(checks), runs=tuple(content.get("runs", ())), **texts, **rest)

    def sweeps(self, first_seed: int, seeds: int | None = None) -> list[list[str]]:
        """The words of each sweep, with its seeds."""
        count = self.seeds if seeds is None else seeds
        return [[*shlex.split(words), f"seed=range({first_seed},{first_seed + count})"] for words in self.runs]

    def commands(self, first_seed: int = 0) -> list[str]:
        """The command line of each sweep."""
        return [shlex.join(["dlrun", "-m", *words]) for words in self.sweeps(first_seed)]


def claims(names: Sequence[str] = ()) -> list[Claim]:
    """The claims with these names, all of them when there are none, in the order of their numbers.

    Raises:
        InputError: with every problem of every file.
    """
    found: list[Claim] = []
    problems: list[str] = []
    for name in dict.fromkeys(names or registry.options(registry.CLAIM)):
        try:
            found.append(Claim.load(name))
        except InputError as error:
            problems += error.problems
    if problems:
        raise InputError(*problems)
    return sorted(found, key=lambda claim: (claim.number, claim.name))


def _types(content: dict[str, Any]) -> Sequence[str]:
    problems = []
    if not isinstance(content.get("number", 1), int):
        problems.append(f"number: {content['number']}: takes a whole number")
    if not set(str(content.get("kind", "value")).split(" and ")) <= {*KINDS}:
        problems.append(f"kind: {content['kind']}: takes {', '.join(KINDS)}, or two of them with 'and' between them")
    runs = content.get("runs", [])
    if not (isinstance(runs, list) and all(isinstance(words, str) for words in runs)):
        problems.append(f"runs: {runs}: takes a list of the words of sweeps, such as ['dataset=xor activation=identity,tanh']")
    seeds = content.get("seeds", LEAST)
    if not isinstance(seeds, int) or seeds < LEAST:
        problems.append(f"seeds: {seeds}: takes a whole number of at least {LEAST}")
    if not isinstance(content.get("checks", []), list) or not content.get("checks", [None]):
        problems.append("checks: takes a list of checks, at least one")
    return problems
