"""Imports point downwards: cli, api -> experiments, report -> comparison -> results; experiments -> config, engine -> components
and data. results, comparison and report know neither engine nor torch.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src"
BASE = {"errors", "memory", "streams", "registry", "suggestions", "own_modules", "lazy", "threads", "__init__"}
SHARED = {
    "dlrun.components.hyperparameters",
    "dlrun.components.metrics",
    "dlrun.components.tasks",
}  # what every layer declares its settings and tasks in
MAY_IMPORT: dict[str, set[str]] = {
    "suggestions": set(),
    "components": set(),
    "data": set(),
    "isolation": {"data"},
    "native": set(),
    "engine": {"components", "data", "native"},
    "results": set(),
    "comparison": {"results"},
    "report": {"comparison", "results"},
    "baselines": {"components", "data", "engine", "comparison"},
    "config": {"components", "data", "engine", "isolation", "baselines", "comparison", "results"},
    "experiments": {"components", "data", "engine", "isolation", "baselines", "config", "results", "comparison", "report"},
    "loggers": {"engine", "experiments", "results"},
    "claims": {"components", "config", "engine", "experiments", "results", "comparison", "report"},
    "trained": {"components", "data", "engine", "experiments", "results", "comparison", "report"},
    "cli": {
        "claims",
        "components",
        "data",
        "engine",
        "isolation",
        "config",
        "experiments",
        "results",
        "comparison",
        "report",
        "native",
        "trained",
    },
}
HYDRA = {"hydra", "omegaconf"}
KNOWS_HYDRA = {"config", "cli"}
_TABLES = {"torch", "sklearn", "rich"}
FORBIDDEN = {  # heavy libraries that a layer has no business with
    "results": _TABLES,
    "comparison": _TABLES,
    "report": _TABLES,
    "components": {"pandas", "sklearn", "rich", "yaml"},
    "engine": {"pandas", "sklearn", "rich"},
}
FILES = sorted(file for file in (SOURCE / "dlrun").rglob("*.py") if file.parent.name != "templates")  # a template is a user's


def imported(file: Path) -> Iterator[str]:
    """Every module that a file imports, wherever the statement stands."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: imports are absolute"
            assert node.module is not None
            if node.module == "dlrun.lazy":
                yield "torch"
            yield from ([f"dlrun.{alias.name}" for alias in node.names] if node.module == "dlrun" else [node.module])


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(SOURCE)))
def test_imports_point_downwards(file: Path) -> None:
    layer = file.relative_to(SOURCE / "dlrun").parts[0].removesuffix(".py")
    for module in imported(file):
        top, _, rest = module.partition(".")
        if top == "dlrun" and layer in MAY_IMPORT and rest and module not in SHARED:
            target = rest.split(".")[0]
            assert target in MAY_IMPORT[layer] | BASE | {layer, "__version__"}, f"{layer} must not import {module}"
        if top == "dlrun" and layer in BASE - {"__init__"}:
            assert rest.split(".")[0] in BASE, f"{layer}.py lies at the base and must not import {module}"
        if layer not in KNOWS_HYDRA:
            assert top not in HYDRA, f"only {KNOWS_HYDRA} know Hydra"
        assert top not in FORBIDDEN.get(layer, set()), f"{layer} must not import {module}"


def test_every_layer_is_known() -> None:
    packages = {folder.name for folder in (SOURCE / "dlrun").iterdir() if (folder / "__init__.py").exists()}
    assert packages == set(MAY_IMPORT)


def test_plugins_are_light() -> None:
    for file in (SOURCE / "hydra_plugins").rglob("*.py"):
        heavy = {"torch", "numpy", "scipy", "sklearn", "pandas", "rich"}
        assert not heavy & {module.split(".")[0] for module in imported(file)}, "every Hydra application imports it"
    assert not (SOURCE / "hydra_plugins" / "__init__.py").exists(), "Hydra would not find the plugins"
