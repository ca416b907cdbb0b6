"""``dlrun show group/option``: what an option is, its parameters with their ranges, and the curve of an activation."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from rich.columns import Columns
from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from dlrun import registry
from dlrun.cli import show_run
from dlrun.cli.arguments import IMPORT, JSON, parse
from dlrun.cli.terminal.drawing import draw, is_curve
from dlrun.cli.terminal.screen import console, show_json
from dlrun.errors import InputError, check_working_folder, nearest
from dlrun.results.find import is_run
from dlrun.results.store import Store

USAGE = """\
usage: dlrun show group/option ... [--json] [--config-dir FOLDER] [--import MODULE]
       dlrun show RUN ... [--json]

Explains options: what they are and where they come from, their formula, their parameters with defaults and allowed values.
Activations are drawn, with their derivative. A name that only one group has needs no group.
Of a run, named by its id or the beginning of it, all that is kept is shown: results, settings, log, note.

Examples:
  dlrun show activation/gelu
  dlrun show optimizer/adamw loss/huber
  dlrun show dropout
  dlrun show --import components --config-dir conf activation/mine
"""
ENGINE_KEYS = {"learnable": "true or false"}  # of activations; read by the engine, not by the component
COMMON = {  # what keys mean that the options of a group share; an option's own comments go before
    "dataset": {
        "rows": "number of rows",
        "task": "what is to be learnt",
        "validation": "share of the rows that choose, for early stopping and for you",
        "test": "share of the rows that are kept for the last word; not used with folds",
        "folds": "above 1: cross-validation, each part of the rows tests once",
        "fold": "which part tests; null for each of them, in a run of its own",
        "stratify": "keep the proportions of the classes in each subset",
        "standardize": "centre and scale the features, by the training rows",
        "standardize_target": "the same for the targets of a regression",
        "clusters": "how many clusters k-means looks for; null for as many as there are classes",
        "hidden": "the hidden layers that a model has on this data unless it is told others",
    },
    "model": {
        "hidden": "the sizes of the hidden layers",
        "init": "how the weights start",
        "head": "what stands behind the last layer; auto goes by loss and task",
        "layers": "the layers, one by one; what the other keys say is put in here",
    },
    "loss": {
        "tasks": "the data that it serves",
        "head": "what it wants behind the model",
        "soft_targets": "whether it takes probabilities as targets",
        "prediction": "how outputs become predictions; auto goes by head and task",
    },
    "optimizer": {
        "lr": "learning rate",
        "weight_decay": "how strongly weights are pulled to 0",
        "eps": "keeps the division finite",
    },
}
REACH = 5.0  # activations are drawn from -REACH to REACH
SAMPLES = 401
HEIGHT = 14
_LONG = 24  # characters of a default from which on it may be broken


def run(words: Sequence[str]) -> int:
    """Explain the options named in ``words``.

    Raises:
        InputError: an option does not exist, or several groups have one of its name.
    """
    check_working_folder()
    arguments = parse(words, takes=("--config-dir", IMPORT, JSON))
    if "--config-dir" in arguments.flags:
        registry.add_folder(arguments.flags["--config-dir"])
    if arguments.imports:
        from dlrun import own_modules

        for module in arguments.imports:
            own_modules.trust(module)
    if not arguments.overrides:
        raise InputError("show: takes group/option, such as activation/gelu; dlrun ls lists them")
    of_runs = [word for word in arguments.overrides if is_run(Store.at(), word)]
    found = [_find(word) for word in arguments.overrides if word not in of_runs]
    if JSON in arguments.flags:
        show_json([*map(show_run.content, of_runs), *(explained(group, name) for group, name in found)])
        return 0
    output = console()
    for word in of_runs:
        for part in show_run.page(word):
            output.print(part, soft_wrap=True)
    for group, name in found:
        for part in _page(group, name, output):
            output.print(part)
    return 0


def _find(word: str) -> tuple[str, str]:
    group, slash, name = word.replace("=", "/", 1).partition("/")
    if slash:
        registry.path(group, name)
        return group, name
    homes = [group for group in registry.groups() if word in registry.options(group)]
    homes = [group for group in homes if group != registry.CLAIM] or homes
    if len(homes) == 1:
        return homes[0], word
    if homes:
        raise InputError(f"show {word}: is in several groups; type one of {', '.join(f'{home}/{word}' for home in homes)}")
    if word in registry.groups():
        raise InputError(f"show {word}: is a group; dlrun ls {word} lists it, and dlrun show {word}/OPTION explains an option")
    known = {name: f"{group}/{name}" for group in registry.groups() for name in registry.options(group)}
    if word.isalnum() and not word.isalpha():  # the beginning of an id
        raise InputError(f"show {word}: is neither a run nor an option; dlrun runs and dlrun ls list what there is")
    raise InputError(f"show {word}: no such option; dlrun ls lists them{nearest(word, known)}")


def explained(group: str, name: str) -> dict[str, Any]:
    """An option as ``--json`` prints it and the site shows it: what it is, its keys with defaults and meanings."""
    content, said = registry.load_option(group, name), COMMON.get(group, {}) | registry.comments(group, name)
    allowed = _allowed_in_common(group) | _allowed(_component(str(content.get("_target_", ""))))
    keys = [key for key in content if key not in ("_target_", "defaults")] if group != registry.CLAIM else []
    return {
        "group": group,
        "name": name,
        "file": str(registry.path(group, name)),
        "text": list(registry.notes(group, name)),
        "parameters": [
            {
                "key": f"{_prefix(group, name)}{key}",
                "default": content[key],
                "allowed": allowed.get(key, ""),
                "meaning": said.get(key, ""),
            }
            for key in keys
        ],
    }


def _prefix(group: str, name: str) -> str:
    """What stands before the keys of an option where they are typed."""
    if group == "experiment":
        return ""
    return f"{group}.{name}." if registry.is_apart(group, name) else f"{group}."


def _page(group: str, name: str, output: Console) -> Iterator[Any]:
    content = registry.load_option(group, name)
    yield Text(f"{group}/{name}", style="bold cyan")
    if group == registry.CLAIM:
        yield from _claim(name)
        return
    said = COMMON.get(group, {}) | registry.comments(group, name)
    for line in registry.notes(group, name):
        yield Text(line)
    parameters = {key: value for key, value in content.items() if key not in ("_target_", "defaults")}
    component = _component(str(content.get("_target_", "")))
    if parameters:
        yield Text()
        yield _parameters(group, name, parameters, said, component)
    if group == "activation" and component is not None:
        yield Text()
        try:
            yield _drawing(component, parameters, output)
        except Exception as error:  # of the user's own component
            yield Text(f"cannot be drawn: {type(error).__name__}: {error}", style="yellow")
    yield Text()
    yield Text(f"select it with {group}={name}; the file is {registry.path(group, name)}", style="dim")
    yield Text()


def _claim(name: str) -> Iterator[Any]:
    """A statement, and how it is tested."""
    from dlrun.claims.claim import Claim

    claim = Claim.load(name)
    yield Text(claim.statement)
    yield Text()
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, show_header=False)
    table.add_column(style="cyan", no_wrap=True)
    table.add_column(overflow="fold")
    parts = {
        "number": str(claim.number),
        "kind": claim.kind,
        "runs": "\n".join(claim.commands()),
        "seeds": str(claim.seeds),
        "checks": "\n".join(check.what for check in claim.checks),
        "refuted": claim.refuted,
        "note": claim.note,
    }
    for key, text in parts.items():
        if text:
            table.add_row(key, text)
    yield table
    yield Text()
    yield Text(f"test it with dlrun claims {name}; the file is {registry.path(registry.CLAIM, name)}", style="dim")
    yield Text()


def _parameters(
    group: str, name: str, parameters: dict[str, Any], said: dict[str, str], component: Callable[..., Any] | None
) -> Table:
    from dlrun.suggestions.values import show

    prefix = _prefix(group, name)
    allowed = _allowed_in_common(group) | _allowed(component)
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    for heading in ("key", "default", "allowed", "meaning"):
        table.add_column(heading, no_wrap=heading == "key", overflow="fold", style="cyan" if heading == "key" else "")
    for key, value in parameters.items():
        default = show(value)
        default = default.replace(",", ", ") if len(default) > _LONG else default  # where a line may end
        table.add_row(f"{prefix}{key}", default, allowed.get(key, ""), said.get(key, ""))
    return table


def _allowed_in_common(group: str) -> dict[str, str]:
    """The allowed values of keys that all options of a group share, and that no component has in its signature."""
    from typing import get_type_hints

    from dlrun.components.hyperparameters import Count, mismatch

    hints: dict[str, Any] = {}
    words: dict[str, str] = {}
    if group == "dataset":
        from dlrun.data.preparation import Preparation

        hints = get_type_hints(Preparation, include_extras=True)
    elif group == "trainer":
        from dlrun.config.settings import Trainer

        hints = get_type_hints(Trainer, include_extras=True)
    elif group in ("model", "loss"):
        from dlrun.components.initializers import INITIALIZERS
        from dlrun.config.checks.compatibility import HEADS

        words = {"head": f"one of {', '.join(HEADS)}"}
        if group == "model":
            hints = {"hidden": list[Count] | None}
            words = {"head": f"one of auto, {', '.join(HEADS)}", "init": f"one of {', '.join(INITIALIZERS)}"}
    return words | {name: mismatch(hint, object()) for name, hint in hints.items()}


def _allowed(component: Callable[..., Any] | None) -> dict[str, str]:
    """The allowed values of each hyperparameter, in words, from the annotations of its signature."""
    if component is None:
        return {}
    from inspect import isclass
    from typing import get_type_hints

    from dlrun.components.hyperparameters import hyperparameters, mismatch

    try:
        hints = get_type_hints(component.__init__ if isclass(component) else component, include_extras=True)
        names = hyperparameters(component)
    except (TypeError, NameError, ValueError):  # a builtin without a signature
        return {}
    nothing = object()  # no hint accepts it, so each says what it takes
    return ENGINE_KEYS | {name: mismatch(hints[name], nothing) for name in names if name in hints}


def _component(target: str) -> Callable[..., Any] | None:
    """The function or class behind ``_target_``: dlrun's row-wise form of a torch class where there is one.

    None for a name that a config must not use: the name in a foreign file is no permission to run it.
    """
    if not target:
        return None
    from dlrun.config.resolver import resolve

    try:
        return resolve(target, "show")
    except InputError:
        return None


def _drawing(component: Callable[..., Any], parameters: dict[str, Any], output: Console) -> Columns | Group:
    name, xs, values, slopes = _sample(component, {key: value for key, value in parameters.items() if key not in ENGINE_KEYS})
    unicode = (output.encoding or "").lower().startswith("utf")
    beside = output.width >= 100
    width = min((output.width - 6) // 2 if beside else output.width - 2, 64)
    panels = []
    for title, ys, style in ((name, values, "green"), ("derivative", slopes, "magenta")):
        text = Text()
        text.append(f"{title}\n", "bold")
        for line in draw(xs, ys, width=width, height=HEIGHT, unicode=unicode):
            for character in line:
                text.append(character, style if is_curve(character) else "dim")
            text.append("\n")
        panels.append(text)
    return Columns(panels, padding=(0, 4)) if beside else Group(*panels)


def _sample(component: Any, parameters: dict[str, Any]) -> tuple[str, list[float], list[float], list[float]]:
    """What is drawn, its abscissas, values and derivatives. Beside each x stands a 0: a softmax needs a second class."""
    import inspect

    import torch

    x = torch.linspace(-REACH, REACH, SAMPLES, dtype=torch.float64, requires_grad=True)
    pairs = torch.stack((x, torch.zeros_like(x)), dim=1)
    if inspect.isclass(component) and issubclass(component, torch.nn.Module):
        module = component(**parameters).double()
        y, alone = module(pairs)[:, 0], module(pairs[:, :1])[:, 0]
    else:
        y, alone = component(pairs, **parameters)[:, 0], component(pairs[:, :1], **parameters)[:, 0]
    (slope,) = torch.autograd.grad(y.sum(), x)
    name = "f(x)" if torch.equal(y, alone) else "f(x, 0), the first of two"
    return name, x.tolist(), y.tolist(), slope.tolist()
