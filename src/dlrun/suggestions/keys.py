"""Keys that no config has: what was meant by them.

A key is looked for under the names that other libraries have for it, then among the options of its group, then everywhere: in
what is selected, then in what could be. What is left gets the list of keys, and the nearest of them.
"""

import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from dlrun import registry
from dlrun.errors import nearest
from dlrun.suggestions.options import takes

Config = Mapping[str, Any]

SYNONYMS = {
    "learning_rate": "lr",
    "learningrate": "lr",
    "alpha": "lr",
    "eta": "lr",
    "step_size": "lr",
    "n_epochs": "epochs",
    "num_epochs": "epochs",
    "max_epochs": "epochs",
    "max_iter": "epochs",
    "batch": "batch_size",
    "bs": "batch_size",
    "batchsize": "batch_size",
    "hidden_size": "hidden",
    "hidden_sizes": "hidden",
    "hidden_units": "hidden",
    "hidden_layers": "hidden",
    "hidden_layer_sizes": "hidden",
    "units": "hidden",
    "wd": "weight_decay",
    "dropout_rate": "dropout",
    "drop_rate": "dropout",
    "earlystopping": "early_stopping",
    "batchnorm": "batch_norm",
    "random_state": "seed",
    "random_seed": "seed",
    "seeds": "seed",
    "opt": "optimizer",
    "optim": "optimizer",
    "optimiser": "optimizer",
    "act": "activation",
    "activation_function": "activation",
    "nonlinearity": "activation",
    "criterion": "loss",
    "loss_function": "loss",
    "objective": "loss",
    "data": "dataset",
    "network": "model",
    "net": "model",
    "architecture": "model",
    "reg": "regularizer",
    "regularization": "regularizer",
    "lr_scheduler": "scheduler",
    "schedule": "scheduler",
    "cv": "folds",
    "n_splits": "folds",
    "kfold": "folds",
    "test_size": "test",
    "val_size": "validation",
    "validation_split": "validation",
    "gpu": "device",
    "out_dir": "output_dir",
    "outdir": "output_dir",
    "output": "output_dir",
    "baselines": "baseline",
    "metrics": "metric",
    "class_weight": "pos_weight",
    "pos_weight": "class_weight",
}
"""Names that other libraries have for keys and groups."""

_ORDER = ("optimizer", "trainer", "model", "dataset")  # where a key is looked for first
_WANTED = {"path": "FILE", "target": "COLUMN"}  # what no table can do without


def unknown(word: str, key: str, config: Config, choices: Mapping[str, Any]) -> str:
    """What is wrong with a word that sets a key which is not there, and what to type.

    Args:
        word: the override, or the key where it stands in a file.
        key: the whole key.
        config: what is selected, not resolved.
        choices: the option of each group.
    """
    group, *rest = key.split(".")
    if rest and (said := _of_an_option(word, key, config)):
        return said
    at, wrong, node = _last(key, config)
    known = sorted({*_names(node), *registry.groups()}) if at == "" else _names(node)
    value = word.partition("=")[2]
    setting = f"={value}" if "=" in word else "=VALUE"
    synonym = SYNONYMS.get(wrong.lower(), "")
    if synonym in known and at:
        return f"{word}: no such key; type {at}.{synonym}{setting}"
    if at == group and (having := _having(group, (wrong, synonym), config)):
        meant, others = having
        chosen = f"{group}={choices[group]}" if choices.get(group) else group
        one = "one" if meant == wrong else meant
        some = f"{', '.join(others)} {'have' if len(others) > 1 else 'has'} {one}"
        select = _select(group, _likely(group, meant, others), f"{group}.{meant}{setting}")
        return f"{word}: {chosen} has no {wrong} ({some}); it takes {', '.join(known) or 'no keys'}, or type {select}"
    if key.endswith(wrong) and known:  # what takes no keys is no place that was missed
        home = next(_homes([wrong, synonym] if synonym else [wrong], setting, config), "")
        if home and not (at and nearest(wrong, known)):
            return f"{word}: no such key; type {home}"
    hint = nearest(wrong, known)
    if at == "" and not hint:
        paths = {name: path for path, name in _leaves(config)}
        hint = f"; did you mean '{paths[near]}'?" if (near := _nearest(wrong, paths)) else ""
    return f"{word}: no such key; {at or 'dlrun'} takes {', '.join(known) or 'no keys'}{hint}"


def _having(group: str, keys: Sequence[str], config: Config) -> tuple[str, list[str]] | None:
    """The first of some keys that options of a group have, and those; such as are for the selected dataset's task go before."""
    task = (config.get("dataset") or {}).get("task")
    every = {name: registry.load_option(group, name) for name in registry.options(group)}
    fitting = {name: content for name, content in every.items() if task in content.get("tasks", [task])}
    found = ((key, [name for name in of if key in of[name]]) for of in (fitting, every) for key in keys if key)
    return next((each for each in found if each[1]), None)


def _of_an_option(word: str, key: str, config: Config) -> str:
    """What to type where a key leads through the name of an option, or through a group without one; nothing elsewhere."""
    group, name, *rest = key.split(".")
    selected = config.get(group)
    if registry.is_set(group) and name in registry.options(group) and name not in (selected or {}):
        chosen = [str(each) for each in selected or () if each in registry.options(group)]
        return f"{key}: {name} is not selected; add {group}=[{','.join([*chosen, name])}]"
    if name in registry.options(group) and not registry.is_set(group) and (rest or not _having(group, (name,), config)):
        setting = f" {'.'.join([group, *rest])}={word.partition('=')[2]}" if rest else ""
        return f"{word}: the name of an option is no key; type {group}={name}{setting}"
    if registry.options(group) and selected is None:
        return f"{key}: no {group} is selected; add {group}=NAME, and {takes(group)}"
    return ""


def _last(key: str, config: Config) -> tuple[str, str, Any]:
    """How far a key's path leads, the first part that is missing, and what the path has led to."""
    node: Any = config
    parts = key.split(".")
    for depth, part in enumerate(parts):
        if not isinstance(node, Mapping) or part not in node:
            return ".".join(parts[:depth]), part, node
        node = node[part]
    return ".".join(parts[:-1]), parts[-1], node


def _names(node: Any) -> list[str]:
    return [str(name) for name in node if not str(name).startswith("_") and name != "hydra"] if isinstance(node, Mapping) else []


def _homes(names: Sequence[str], setting: str, config: Config) -> Iterator[str]:
    """Words that set one of some names: in what is selected, as a group or an option, then in what could be selected."""
    groups = [group for group in dict.fromkeys([*_ORDER, *registry.groups()]) if group != registry.CLAIM]
    for name in names:
        if name in registry.root_keys() or name in registry.groups():
            yield f"{name}{setting}"
        for group in groups:
            section = config.get(group)
            if not isinstance(section, Mapping):
                continue
            if name in section and (not registry.is_set(group) or name not in registry.options(group)):
                yield f"{group}.{name}{setting}"
            if registry.is_set(group):
                parts = [part for part, values in section.items() if isinstance(values, Mapping) and name in values]
                yield from (f"{group}.{part}.{name}{setting}" for part in parts)
        for group in groups:
            if name in registry.options(group):
                yield _option(group, name, setting, config)
        for group in groups:
            found = [option for option in registry.options(group) if name in registry.load_option(group, option)]
            if found and group != "experiment":
                option = _likely(group, name, found)
                at = f"{group}.{option}" if registry.is_apart(group, option) else group
                yield _select(group, option, f"{at}.{name}{setting}")


def _option(group: str, name: str, setting: str, config: Config) -> str:
    """How to choose an option that was given a value as if it were a key: ``dropout=0.5``."""
    if not registry.is_set(group):
        return f"{group}={name}"
    selected = config.get(group) or {}
    chosen = shlex.quote(f"{group}=[{','.join(dict.fromkeys([*map(str, selected), name]))}]")
    numbers = [key for key, value in registry.load_option(group, name).items() if isinstance(value, float)]
    is_number = setting[1:].replace(".", "").replace("-", "").replace("e", "").isdigit()
    return f"{chosen} {group}.{name}.{numbers[0]}{setting}" if numbers and is_number else chosen


def _leaves(config: Config, path: str = "") -> Iterator[tuple[str, str]]:
    for key, value in config.items():
        if str(key).startswith("_") or key == "hydra":
            continue
        at = f"{path}.{key}" if path else str(key)
        yield at, str(key)
        if isinstance(value, Mapping):
            yield from _leaves(value, at)


def _nearest(wrong: str, names: Mapping[str, str]) -> str:
    return next((part for part in nearest(wrong, names).split("'")[1:2]), "")


def _likely(group: str, key: str, options: Sequence[str]) -> str:
    """Of some options that have a key the one whose summary names it, or else the first."""
    return next((name for name in options if key in registry.summary(group, name)), options[0])


def _select(group: str, option: str, setting: str) -> str:
    """What to type for an option and a setting of it, with what a table needs beside."""
    content = registry.load_option(group, option)
    wanted = [f"{group}.{key}={what}" for key, what in _WANTED.items() if content.get(key, "") is None]
    words = [word for word in wanted if word.partition("=")[0] != setting.partition("=")[0]]
    return " ".join([shlex.quote(f"{group}=[{option}]" if registry.is_set(group) else f"{group}={option}"), *words, setting])
