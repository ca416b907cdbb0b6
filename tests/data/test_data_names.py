"""Names of columns that look like numbers, truth values or anything else: what is typed reaches the column, by every way."""

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

import dlrun
from dlrun import own_modules, registry
from dlrun.comparison.groups import named
from dlrun.comparison.table import groups
from dlrun.config.checks.data import read
from dlrun.config.composing.from_python import single, words
from dlrun.config.composing.names import exact, restore
from dlrun.config.spec import from_config
from dlrun.data.dataset import Data
from dlrun.data.table.advice import naming
from dlrun.errors import InputError
from dlrun.results.folders import config_yaml

Call = Callable[..., tuple[int, str, str]]
NUMBERS = ("1.1", "1.2", "1.10", "007", "7", "1e3", "1000")
ODD = ("null", "true", "1_000", "12:30", "2024-01-01", "a,b", "it's", "${x}", 'say "hi"', "x=y", "[z]", "two words", "b\\", "-")


@pytest.fixture
def items(folder: Path) -> Path:
    """Columns whose names look like numbers or have punctuation; the values of each lie around its place, times ten."""
    rng = np.random.default_rng(0)
    names = [*NUMBERS, *ODD, "score"]
    lines = [",".join(f'"{name.replace(chr(34), chr(34) * 2)}"' for name in names)]
    lines += [",".join(f"{10 * place + rng.normal():.3f}" for place in range(len(names))) for _ in range(40)]
    path = folder / "items.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def value(word: str) -> Any:
    """What a config has when an override is typed."""
    override = OverridesParser.create().parse_override(exact(word))
    config = OmegaConf.create({"value": override.value()})
    found = OmegaConf.to_container(config, resolve=True)
    assert isinstance(found, dict)
    return found["value"]


@pytest.mark.parametrize(
    ("typed", "read"),
    [
        ("dataset.target=1.10", "1.10"),
        ("dataset.target=7", 7),
        ("dataset.target=007", "007"),
        ("dataset.target=1e3", "1e3"),
        ("dataset.target=1_000", "1_000"),
        ("dataset.target=true", "true"),
        ("dataset.target=null", None),
        ("dataset.drop=[1.10,null,1.2, 1e3]", ["1.10", "null", 1.2, "1e3"]),
        ("++dataset.missing=[+5,-999,.5]", ["+5", -999, ".5"]),
        ("dataset={target:1.10,seed:1.10}", {"target": "1.10", "seed": 1.1}),
        ("dataset.positive=1.0", 1.0),
        ("dataset.target='${a}'", "${a}"),
        ("reference=1e-3", "1e-3"),
        ("optimizer.lr=1e3", 1000.0),
    ],
)
def test_a_word_that_is_read_otherwise_stays_as_it_is_typed(typed: str, read: Any) -> None:
    assert value(typed) == read
    assert exact(exact(typed)) == exact(typed)


def test_words_in_functions() -> None:
    assert exact("dataset.target=choice(1.10,1.1)") == "dataset.target=choice('1.10',1.1)"
    assert exact("dataset.target=sort(1.10,1.1,reverse=true)") == "dataset.target=sort('1.10',1.1,reverse=true)"
    assert exact("dataset.target=range(1.10,3)") == "dataset.target=range(1.10,3)"
    assert exact("dataset.target=[1.10") == "dataset.target=[1.10"


@settings(max_examples=60)
@given(st.text(st.characters(exclude_categories=("C", "Zl", "Zp")), min_size=1, max_size=12), st.booleans())
def test_what_a_message_says_to_type_is_that_name(name: str, several: bool) -> None:
    (word,) = shlex.split(naming("target", name, several=several))
    assert value(word) == ([name] if several else name)


@given(st.from_regex(r"[-+]?[0-9_.:xoe]{1,6}|true|yes|null|~|\.inf", fullmatch=True))
def test_a_text_in_config_yaml_is_read_as_that_text(text: str) -> None:
    import yaml

    written = config_yaml({"dataset": {"target": text, "drop": [text]}})
    assert yaml.load(written, Loader=registry.loader()) == {"dataset": {"target": text, "drop": [text]}}


@pytest.mark.parametrize(
    ("name", "text", "read"),
    [
        ("experiment/a.yaml", "# @package _global_\ndataset:\n  target: 1.10\n  drop: [1e3, 007, yes]\n", {"target": "1.10"}),
        ("dataset/a.yaml", "_target_: x\ntarget: 12:30\nseed: 1_000\n", {"target": "12:30", "seed": 1000}),
        ("experiment/b.yaml", "# @package dataset\ntarget: 0x10\n", {"target": "0x10"}),
        ("model/a.yaml", "target: 1.10\n", {"target": 1.1}),
        ("dataset/b.yaml", "target: null\ndrop: null\nmissing: [null, 7]\n", {"target": None, "missing": ["null", 7]}),
        ("dataset/c.yaml", "target: ${seed}\ncolumns: '1.10'\n", {"target": "${seed}", "columns": "1.10"}),
    ],
)
def test_names_in_files(name: str, text: str, read: dict[str, Any], tmp_path: Path) -> None:
    file = tmp_path / name
    file.parent.mkdir()
    file.write_text(text)
    config = OmegaConf.load(file)
    restore(config, file)
    content: Any = OmegaConf.to_container(config)
    content = content.get("dataset", content)
    assert {key: content[key] for key in read} == read
    if "drop: [" in text:
        assert content["drop"] == ["1e3", "007", "yes"]


def test_names_in_a_sweep_of_a_file(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text("hydra:\n  sweeper:\n    params:\n      dataset.target: 1.10\n      optimizer.lr: 1.10\n")
    config = OmegaConf.load(file)
    restore(config, file)
    assert config.hydra.sweeper.params == {"dataset.target": "1.10", "optimizer.lr": 1.1}


def test_reference_names_a_group_letter_by_letter() -> None:
    rows = [
        {"id": f"{target}{seed}", "seed": seed, "dataset.target": target, "test/r2": 0.5 + seed / 10}
        for target in ("1.1", "1.10")
        for seed in (0, 1)
    ]
    table = groups(rows, "test/r2", higher_is_better=True)
    assert named(table, "1.10").factors["dataset.target"] == "1.10"
    with pytest.raises(InputError, match="names no group"):
        named(table, "1.100")
    rates = groups([{"id": lr, "optimizer.lr": lr, "test/r2": 0.5} for lr in ("0.001", "0.01")], "test/r2", higher_is_better=True)
    assert named(rates, "1e-3").factors["optimizer.lr"] == "0.001"


# From the command to the column

COMMON = ("dataset=csv", "dataset.path=items.csv", "trainer=smoke", "model=linear")


def learnt(*typed: str, **settings: Any) -> Data:
    """The dataset that these words describe, by way of Hydra and the checks of a run, without training."""
    job = single(words([*COMMON, *typed], settings))
    spec = from_config(job.config, job.choices, job.overrides)
    return read(spec.dataset)


def test_the_column_that_is_named_is_the_target(items: Path) -> None:
    for place, name in [*enumerate([*NUMBERS, *ODD])][2:-1:3]:
        data = learnt(**{"dataset.target": name})
        assert data.targets == (name,)
        assert abs(float(data.y.mean()) - 10 * place) < 1


@pytest.mark.parametrize(
    ("typed", "advised"),
    [
        ("dataset.target=1.100", 'dataset.target="1.1"'),
        ("dataset.target=7.0", 'dataset.target="7"'),
        ("dataset.target=null", 'dataset.target="null"'),
        ("dataset.target=[z]", 'dataset.target="[z]"'),
        ("dataset.drop=[1000.0]", 'dataset.drop=["1000"]'),
        ("dataset.categorical=tru", 'dataset.categorical=["true"]'),
        ("dataset.columns=[two_words,score]", 'dataset.columns=["two words"]'),
    ],
)
def test_a_refusal_says_what_works(typed: str, advised: str, items: Path) -> None:
    extra = [] if "target" in typed else ["dataset.target=score"]
    with pytest.raises(InputError) as refused:
        learnt(*extra, typed)
    assert shlex.quote(advised) in str(refused.value)
    learnt(*extra, advised)


@pytest.mark.parametrize(
    ("typed", "advised"),
    [
        ("dataset.target=a,b", 'dataset.target="a,b"'),
        ("dataset.target=x=y", 'dataset.target="x=y"'),
        ('dataset.target=say "hi"', r'dataset.target="say \"hi\""'),
        ("dataset.target=${x}", 'dataset.target="${x}"'),
    ],
)
def test_a_refusal_of_the_command_says_what_works(typed: str, advised: str, items: Path, call: Call) -> None:
    code, _, err = call(*COMMON, typed)
    assert code == 2
    assert shlex.quote(advised) in err
    learnt(advised)


def test_values_of_python(items: Path) -> None:
    assert learnt(**{"dataset.target": 1.1}).targets == ("1.1",)
    assert learnt(**{"dataset.target": 7}).targets == ("7",)
    assert learnt(**{"dataset.target": ["1.10", 7]}).targets == ("1.10", "7")
    with pytest.raises(InputError, match=r"dataset\.target=8: no such column"):
        learnt(**{"dataset.target": 8})
    with pytest.raises(InputError, match=r"dataset\.drop: 7\.0: no such column"):
        learnt(**{"dataset.target": "score", "dataset.drop": [7.0]})


def test_a_sweep_over_targets_and_its_resumption(items: Path, call: Call) -> None:
    code, _, err = call("-m", *COMMON, 'dataset.target="1.1",1.10,007', "baseline=none")
    assert code == 0, err
    table = dlrun.sweep(*COMMON, progress=False, baseline="none", **{"dataset.target": ["1.1", "1.10", "007"]})
    assert sorted(table["dataset.target"]) == ["007", "1.1", "1.10"]
    code, _, err = call("resume")
    assert code == 0
    assert "target 1.10:" in err


def test_an_experiment_file(items: Path, call: Call) -> None:
    place = Path("conf/experiment/mine.yaml")
    place.parent.mkdir(parents=True)
    place.write_text("# @package _global_\ndataset:\n  target: 1.10\n  drop: [007, 1.1]\n")
    code, _, err = call("--config-dir", "conf", *COMMON, "experiment=mine")
    assert code == 0, err
    assert "target 1.10:" in err
    assert "19 numeric" in err


def test_a_dataset_of_ones_own_with_such_keys(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own_modules, "_imported", set())
    Path("mine.py").write_text(
        "import torch\nfrom dlrun.data.dataset import Data\n\n"
        "def made(*, missing: float = 0.5, columns: int = 2, drop: bool = False, target=1):\n"
        "    assert (missing, columns, drop, target) == (0.1, 1000, True, 10.0)\n"
        "    x = torch.arange(80.0).reshape(40, 2)\n"
        "    return Data('made', x, x[:, :1], 'regression', 1, ('a', 'b'), ('y',))\n"
    )
    place = Path("conf/dataset/made.yaml")
    place.parent.mkdir(parents=True)
    place.write_text(
        "_target_: mine.made\nmissing: 0.5\ncolumns: 2\ndrop: false\ntarget: 1\ntask: regression\nvalidation: 0.2\ntest: 0.2\n"
    )
    typed = ("dataset.missing=0.10", "dataset.columns=1_000", "dataset.drop=true", "dataset.target=1e1")
    own_modules.trust("mine")
    job = single(words(["dataset=made", *typed], {}), Path("conf").absolute())
    assert len(read(from_config(job.config, job.choices, job.overrides).dataset)) == 40
