"""Flags and settings in any order."""

import os
from pathlib import Path

import pytest

from dlrun.cli.arguments import check_settings, parse
from dlrun.errors import InputError


@pytest.mark.parametrize(
    ("line", "sorted_line"),
    [
        ("seed=1 -m optimizer.lr=1,2", "--multirun seed=1 optimizer.lr=1,2"),
        ("seed=1 --cfg job optimizer=sgd", "--cfg job seed=1 optimizer=sgd"),
        ("seed=1 --cfg=job", "--cfg job seed=1"),
        ("-c job --resolve -p optimizer", "--cfg job --resolve --package optimizer"),
        ("--info seed=1", "--info all seed=1"),
        ("seed=1 -i searchpath", "--info searchpath seed=1"),
        ("-sc query=bash", "--shell-completion query=bash"),
        ("-cn mine ~loss +a=1", "--config-name mine ~loss +a=1"),
        ("", ""),
    ],
)
def test_flags_come_first(line: str, sorted_line: str) -> None:
    assert " ".join(parse(line.split()).words()) == sorted_line


def test_folders_become_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").mkdir()
    assert parse(["-cd", "mine"]).flags == {"--config-dir": os.path.join(tmp_path, "mine")}


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("--mutirun", "did you mean '--multirun'?"),
        ("--experimental-rerun job", "no such flag"),
        ("--cfg jb", "takes one of job, hydra, all; did you mean 'job'?"),
        ("--cfg", "takes one of job, hydra, all"),
        ("--cfg seed=1", "takes one of job, hydra, all"),
        ("-cn", "takes a value"),
        ("-m=1", "takes no value"),
        ("-m --cfg job", "only one of these at a time"),
        ("--resolve", "goes with --cfg"),
        ("-cd /nowhere/at/all", "is not a folder"),
    ],
)
def test_refused(line: str, said: str) -> None:
    with pytest.raises(InputError) as caught:
        parse(line.split())
    assert said in str(caught.value)


def test_all_problems_at_once() -> None:
    with pytest.raises(InputError) as caught:
        parse(["--foo", "--cfg", "bar", "-cd", "/nowhere/at/all"])
    assert len(caught.value.problems) == 3


def test_stray_words_are_refused() -> None:
    with pytest.raises(InputError, match="seed: a setting is written key=value"):
        check_settings(parse(["-m", "seed"]))
