"""A config file of somebody else writes nowhere but below the output root, and copies no environment variable into results."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

import dlrun
from dlrun.errors import InputError
from dlrun.results.sweeps import Sweep

pytestmark = pytest.mark.fault("received files, with harmless canaries")

Call = Callable[..., tuple[int, str, str]]
XOR = ("dataset=xor", "trainer=smoke", "baseline=none")


@pytest.fixture
def received(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with config files that somebody sent."""
    monkeypatch.setenv("CANARY", "canary-of-the-environment")
    options = {
        "environment": "name: ${oc.env:CANARY}",
        "default": "name: ${oc.env:MISSING,${oc.env:CANARY}}",
        "built": 'part: env\nname: ${oc.decode:"x${oc.${part}:CANARY}"}',
        "named": "part: env\nname: ${oc.${part}:CANARY}",
        "chosen": "part: CANARY\nname: ${oc.env:${part}}",
        "decoded": "part: '\\${oc.env:CANARY}'\nname: ${oc.decode:${part}}",
        "created": "name: ${oc.create:{a:'\\${oc.env:CANARY}'}}",
        "listed": "dataset:\n  drop: ['${oc.env:CANARY}']",
        "elsewhere": f"output_dir: {folder / 'elsewhere'}",
        "harmless": "name: ${dataset.path_of_none}\ndataset:\n  path_of_none: fine",
    }
    place = folder / "received" / "experiment"
    place.mkdir(parents=True)
    for name, text in options.items():
        (place / f"{name}.yaml").write_text(f"# @package _global_\n{text}\n")
    return place.parent


@pytest.mark.parametrize(
    ("name", "how"),
    [
        ("environment", ()),
        ("default", ("plan",)),
        ("built", ()),
        ("built", ("-m", "seed=0,1")),
        ("named", ()),
        ("chosen", ("-m", "seed=0,1")),
        ("decoded", ()),
        ("created", ()),
        ("listed", ()),
        ("elsewhere", ()),
        ("elsewhere", ("-m", "seed=0,1")),
        ("elsewhere", ("plan",)),
    ],
)
def test_a_received_file_is_refused(call: Call, folder: Path, received: Path, name: str, how: tuple[str, ...]) -> None:
    code, out, err = call(*how, "--config-dir", str(received), f"experiment={name}", *XOR)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert ("output_dir=" if name == "elsewhere" else "=${oc.") in err
    assert "may come from anybody" in err
    assert "canary-of-the-environment" not in err
    assert not (folder / "elsewhere").exists()
    assert not (folder / "outputs").exists()


def test_so_it_is_from_python(received: Path) -> None:
    for name in ("environment", "elsewhere"):
        with pytest.raises(InputError, match="may come from anybody"):
            dlrun.run(f"experiment={name}", *XOR, config_dir=received)


def test_what_is_typed_may_ask_for_both(call: Call, folder: Path, received: Path) -> None:
    line = ("--config-dir", str(received), "experiment=elsewhere", f"output_dir={folder / 'mine'}", "name=${oc.env:CANARY}", *XOR)
    assert call(*line)[0] == 0
    (result,) = (folder / "mine" / "runs").glob("*/result.json")
    assert json.loads(result.read_text())["name"] == "canary-of-the-environment"


def test_a_sweeps_folder_gets_no_environment_either(call: Call, folder: Path, received: Path) -> None:
    assert call("-m", "seed=0", *XOR)[0] == 0
    (place,) = (folder / "outputs" / "sweeps").iterdir()
    sweep = Sweep.open(place)
    sweep.settings["words"].append("name=${oc.env:CANARY}")
    sweep.save()
    code, out, err = call("resume")
    assert (code, out) == (2, "")
    assert "type its command again" in err
    assert "canary-of-the-environment" not in err
