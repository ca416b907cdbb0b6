"""The registry reads the conf tree, and the tree keeps the form that it relies on."""

from pathlib import Path

import pytest
from omegaconf import OmegaConf

from dlrun import registry
from dlrun.errors import InputError

OPTIONS = [(group, name) for group in registry.groups() for name in registry.options(group)]


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's config folder with an optimizer, on the search path."""
    monkeypatch.setattr(registry, "_added", [])
    (tmp_path / "optimizer").mkdir()
    (tmp_path / "optimizer" / "mine.yaml").write_text(
        "# Mine.\n# lr: the rate,\n#   per step\n_target_: torch.optim.SGD\nlr: 2e-1\n"
    )
    registry.add_folder(tmp_path)
    return tmp_path


@pytest.mark.parametrize(("group", "name"), OPTIONS, ids="/".join)
def test_option_says_what_it_is_and_reads_as_hydra_reads_it(group: str, name: str) -> None:
    assert registry.summary(group, name).rstrip(".)")
    assert all(len(line) <= 150 for line in registry.header(group, name))
    content = registry.load_option(group, name)
    loaded = OmegaConf.load(registry.path(group, name))
    assert content == (OmegaConf.to_container(loaded) or {})
    said = registry.comments(group, name)
    assert set(said) <= set(content)
    notes = registry.notes(group, name)
    assert notes[0] == registry.summary(group, name)
    assert not any(meaning.endswith(",") and not meaning.endswith(" ,") for meaning in said.values())
    for line in notes:
        assert not line.startswith(" ")
        assert line.partition(":")[0] not in content


def test_meanings_go_on_in_further_lines() -> None:
    assert registry.comments("model", "mlp")["hidden"].endswith("else [32,32]")
    assert registry.comments("trainer", "default")["engine"].endswith("See docs/engine.md.")
    assert registry.comments("trainer", "smoke").keys() == registry.load_option("trainer", "smoke").keys()
    assert registry.comments("model", "deep_mlp").keys() >= {"depth", "width"}


def test_groups_and_defaults() -> None:
    groups = registry.groups()
    assert {"activation", "dataset", "loss", "model", "optimizer", "regularizer", "scheduler", "trainer"} <= set(groups)
    assert "hydra" not in groups
    assert [group for group in groups if registry.is_set(group)] == ["logger", "regularizer"]
    chosen = registry.defaults()
    assert chosen["optimizer"] == ["adam"]
    assert chosen["regularizer"] == chosen["loss"] == []
    assert all(name in registry.options(group) for group, names in chosen.items() for name in names)


def test_options_share_their_keys() -> None:
    assert len({tuple(registry.load_option("trainer", name)) for name in registry.options("trainer")}) == 1
    common = set(registry.load_option("logger", "console"))
    assert all(
        common <= set(registry.load_option("logger", name))
        for name in registry.options("logger")
        if not registry.is_apart("logger", name)
    )


def test_own_folder_adds_and_does_not_replace(own: Path) -> None:
    assert "mine" in registry.options("optimizer")
    assert registry.load_option("optimizer", "mine")["lr"] == 0.2
    assert registry.comments("optimizer", "mine") == {"lr": "the rate, per step"}
    registry.add_folder(own)
    assert len(registry.folders()) == 2


def test_a_name_of_dlruns_is_refused(own: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    (other / "optimizer").mkdir(parents=True)
    same = other / "optimizer" / "adam.yaml"
    same.write_bytes(registry.path("optimizer", "adam").read_bytes())
    registry.add_folder(other)  # a copy of the same says the same
    same.write_text("# Not adam.\n")
    registry._added.clear()
    with pytest.raises(InputError) as caught:
        registry.add_folder(other)
    assert caught.value.problems == (f"{same}: adam is dlrun's name; rename the file",)


@pytest.mark.parametrize(
    ("group", "name", "said"),
    [
        ("optimizer", "adm", "did you mean 'adam'?"),
        ("optimiser", "adam", "did you mean 'optimizer'?"),
        ("../conf/optimizer", "adam", "no such group"),
        ("optimizer", "../optimizer/adam", "no such option"),
        ("optimizer", "", "no such option"),
    ],
)
def test_unknown_names_get_the_nearest(group: str, name: str, said: str) -> None:
    with pytest.raises(InputError, match=r"no such (group|option)") as caught:
        registry.load_option(group, name)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [("lr: [1,\n", "not valid YAML"), ("- 1\n", "must hold keys"), ("a: !!python/name:os.getcwd x\n", "not valid YAML")],
)
def test_a_broken_file_is_named(own: Path, text: str, said: str) -> None:
    (own / "optimizer" / "mine.yaml").write_text(text)
    with pytest.raises(InputError, match=said) as caught:
        registry.load_option("optimizer", "mine")
    assert "mine.yaml" in str(caught.value)


def test_a_header_holds_no_escape_sequences(own: Path) -> None:
    (own / "optimizer" / "mine.yaml").write_text("# red \033[31m text\n")
    assert registry.summary("optimizer", "mine") == "red [31m text"
