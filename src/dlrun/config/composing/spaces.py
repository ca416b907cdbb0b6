"""What a setting is searched over, in Hydra's grammar: on the command line, and in the files of conf/search.

    optimizer.lr=interval(1e-4,1e-1)            between two numbers
    optimizer.lr=tag(log,interval(1e-4,1e-1))   the same on a logarithmic scale
    trainer.batch_size=range(16,128,16)         16, 32, ... 112
    model.hidden=choice([16],[32,32])           one of several

A list of values, as in ``optimizer=sgd,adam``, is no search: each value is tuned. Options are searched over where they bring no
settings of their own: ``activation=choice(relu,tanh)``.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from hydra.core.override_parser.types import ChoiceSweep, IntervalSweep, Override, RangeSweep
from hydra.errors import HydraException

from dlrun import registry
from dlrun.config.composing.composed import Composed
from dlrun.config.composing.grammar import parse, values, word
from dlrun.config.repeats import is_seed
from dlrun.errors import InputError, raise_all

SEARCH = "search"  # the folder of conf with what to search over: search/optimizer/adam.yaml
DIGITS = 4  # significant digits of a number that is tried
TAGS = ("log", "linear")
_DEPENDED = ("dataset", "experiment", "model", "optimizer", "regularizer")  # groups whose options bring settings of their own

Value = str | int | float


@dataclass(frozen=True)
class Dimension:
    """A setting and what it is searched over.

    Args:
        key: of the setting, or of a group.
        low, high: between what numbers; None for ``options``.
        log: whether by their logarithms.
        whole: whole numbers alone.
        options: the values to choose from, as words of the grammar.
    """

    key: str
    low: float = 0.0
    high: float = 0.0
    log: bool = False
    whole: bool = False
    options: tuple[str, ...] = ()

    def text(self) -> str:
        """As one types it."""
        if self.options:
            return f"{self.key}=choice({','.join(self.options)})"
        inside = f"interval({word(self.low)},{word(self.high)})"
        inside = f"int({inside})" if self.whole else inside
        return f"{self.key}={f'tag(log,{inside})' if self.log else inside}"

    def rounded(self, value: Value) -> Value:
        """A value that was drawn, with as many digits as are worth reading, still between the bounds."""
        if isinstance(value, str):
            return value
        number = round(value) if self.whole else float(f"{value:.{DIGITS}g}")
        return min(max(number, self.low), self.high)

    def points(self, count: int) -> tuple[Value, ...]:
        """``count`` values that lie evenly, both ends among them; fewer where there are no more."""
        if self.options:
            return self.options
        low, high = (math.log(self.low), math.log(self.high)) if self.log else (self.low, self.high)
        even = (low + (high - low) * number / max(1, count - 1) for number in range(count))
        return tuple(dict.fromkeys(self.rounded(math.exp(number) if self.log else number) for number in even))

    def setting(self, value: Value) -> str:
        """The override that gives the setting a value."""
        return f"{self.key}={value if self.options else word(value)}"


def split(words: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """The words that make configurations, and what each other key is searched over, by the key.

    Raises:
        InputError: a group is searched over whose options bring settings of their own.
    """
    rest: list[str] = []
    searched: dict[str, str] = {}
    problems: list[str] = []
    for text in words:
        try:
            (override,) = parse([text])
        except HydraException:
            rest.append(text)  # whoever composes it reports it
            continue
        if is_seed(text) or not _searches(override):
            rest.append(text)
        elif override.key_or_group in _DEPENDED and registry.options(override.key_or_group):
            key, found = override.key_or_group, ",".join(values(override))
            problems.append(f"{text}: options of {key} have settings of their own; type {key}={found} to tune each of them")
        else:
            searched[override.key_or_group] = text.partition("=")[2]
    raise_all(problems)
    return rest, searched


def _searches(override: Override) -> bool:
    value: Any = override.value()
    return isinstance(value, IntervalSweep | RangeSweep) or (isinstance(value, ChoiceSweep) and not value.simple_form)


def space(job: Composed, searched: Mapping[str, str], given: Sequence[str]) -> list[Dimension]:
    """What a configuration is searched over: what was typed, and what conf/search has for its optimizer and regularizers.

    Args:
        job: the configuration, with any values of the settings.
        searched: what was typed, by the key.
        given: keys that have a value, which stays.

    Raises:
        InputError: naming each that cannot be searched over.
    """
    usual = {key: text for key, text in _usual(job) if key not in given}
    found: list[Dimension] = []
    problems: list[str] = []
    for key, text in {**usual, **searched}.items():
        if not _has(job, key):
            continue
        try:
            before = _dimension(key, usual[key], job) if key in usual else None
            found.append(_dimension(key, text, job, log=before is not None and before.log))
        except InputError as error:
            problems += error.problems
    raise_all(problems)
    return found


def _usual(job: Composed) -> list[tuple[str, str]]:
    """What conf/search has for the optimizer and the regularizers of a configuration."""
    found = []
    optimizer = str(job.choices.get("optimizer", ""))
    parts = {"optimizer": ("optimizer", optimizer)}
    parts |= {f"regularizer.{name}": ("regularizer", name) for name in job.config.get("regularizer") or {}}
    for key, (group, name) in parts.items():
        found += [(f"{key}.{setting}", str(text)) for setting, text in registry.content(f"{SEARCH}/{group}", name).items()]
    return found


def _has(job: Composed, key: str) -> bool:
    """Whether a configuration has a setting; others are searched over without it."""
    if "." not in key and registry.options(key):
        return True
    return registry.value_at(job.config, key, registry.MISSING) is not registry.MISSING


def _dimension(key: str, text: str, job: Composed, *, log: bool = False) -> Dimension:
    """What a text says; an interval without a tag has the scale ``log``.

    Raises:
        InputError: it is nothing to search over.
    """
    (override,) = parse([f"{key}={text}"])
    value: Any = override.value()
    if not isinstance(value, IntervalSweep):
        options = tuple(dict.fromkeys(values(override)))
        if len(options) < 2:
            raise InputError(f"{key}={text}: takes two values or more to choose from; to set one, type {key}={options[0]}")
        return Dimension(key, options=options)
    low, high = float(value.start or 0), float(value.end or 0)
    unknown = [tag for tag in sorted(value.tags) if tag not in TAGS]
    if unknown:
        raise InputError(f"{key}={text}: tag {unknown[0]} says nothing here; type tag(log,interval(...)) or interval(...)")
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise InputError(f"{key}={text}: takes a lower and a higher number, such as interval(0.001,0.1)")
    log = "log" in value.tags or (log and "linear" not in value.tags and low > 0)
    if log and low <= 0:
        raise InputError(f"{key}={text}: a logarithmic scale begins above 0, such as tag(log,interval(1e-4,{high:g}))")
    whole = isinstance(value.start, int) or (_is_whole(job, key) and low.is_integer() and high.is_integer())
    found = Dimension(key, low, high, log, whole)
    return replace(found, low=int(low), high=int(high)) if whole else found


def _is_whole(job: Composed, key: str) -> bool:
    """Whether a setting has a whole number now."""
    value = registry.value_at(job.config, key)
    return isinstance(value, int) and not isinstance(value, bool)
