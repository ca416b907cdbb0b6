"""Folders of images: classes by folder or by a CSV file, resized, and files that are none."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dlrun.data.sources.folder import images
from dlrun.errors import DataError

Image = pytest.importorskip("PIL.Image")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Ten images of vertical stripes and ten of horizontal ones, of several sizes and formats."""
    draw = np.random.default_rng(0)
    folder = tmp_path / "stripes"
    for number in range(20):
        kind = ("across", "down")[number % 2]
        pixels = np.where(np.arange(12) // 3 % 2 == 0, 40, 200) + draw.integers(-20, 20, (12 + number, 12))
        made = Image.fromarray((pixels if kind == "down" else pixels.T).astype(np.uint8)).convert("RGB")
        (folder / kind / "more").mkdir(parents=True, exist_ok=True)
        made.save(folder / kind / "more" / f"{number}.{('png', 'jpg', 'bmp')[number % 3]}")
    return folder


def test_a_folder_is_a_class(place: Path) -> None:
    data = images(path=str(place), size=12)
    assert (tuple(data.x.shape), data.task, data.classes) == ((20, 1, 12, 12), "binary", ("across", "down"))
    assert data.y[:, 0].tolist() == [0.0] * 10 + [1.0] * 10
    assert float(data.x.min()) >= 0
    assert float(data.x.max()) <= 1
    first = Image.open(place / "across" / "more" / "0.png").convert("L")
    oracle = np.asarray(first.resize((12, 12), Image.Resampling.BILINEAR)) / 255
    assert np.array_equal(data.x[0, 0], oracle)
    colour = images(path=str(place), size=8, colour=True, positive="across")
    assert (tuple(colour.x.shape), colour.features, colour.classes) == (
        (20, 3, 8, 8),
        ("red", "green", "blue"),
        ("down", "across"),
    )


def test_a_csv_says_the_classes(place: Path, tmp_path: Path) -> None:
    files = sorted(path.relative_to(place).as_posix() for path in place.rglob("*.png"))
    (tmp_path / "labels.csv").write_text("file,kind\n" + "".join(f"{name},{'abc'[i % 3]}\n" for i, name in enumerate(files)))
    data = images(path=str(place), labels=str(tmp_path / "labels.csv"), size=8)
    assert (len(data), data.task, data.classes, data.y.tolist()) == (7, "multiclass", ("a", "b", "c"), [0, 1, 2, 0, 1, 2, 0])
    (tmp_path / "labels.csv").write_text("file,kind\nnone.png,a\n")
    with pytest.raises(DataError, match=r"names 1 files that are not in .*: none.png"):
        images(path=str(place), labels=str(tmp_path / "labels.csv"))


@pytest.mark.fault("damaged files")
def test_damaged_files_are_named_and_left_out(place: Path) -> None:
    (place / "down" / "text.png").write_text("no image")
    (place / "down" / "empty.jpg").touch()
    whole = (place / "across" / "more" / "0.png").read_bytes()
    (place / "across" / "cut.png").write_bytes(whole[: len(whole) // 2])
    (place / "across" / "notes.txt").write_text("is no image file, and nobody says it is")
    data = images(path=str(place), size=8)
    assert len(data) == 20
    (note,) = [note for note in data.notes if "cannot be read" in note]
    assert note.startswith("stripes: 3 files cannot be read and are left out: across/cut.png (")
    assert "down/empty.jpg (" in note
    assert "down/text.png (" in note


def test_mistakes_are_named(place: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="which folder"):
        images()
    with pytest.raises(DataError, match="is a file; give the folder"):
        images(path=str(place / "down" / "more" / "1.jpg"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"has no image files .* in folders of it, one for each class"):
        images(path=str(tmp_path / "empty"))
    with pytest.raises(DataError, match="has images of 1 classes"):
        images(path=str(place / "down"), size=8)


def test_a_cnn_learns_them_with_every_augmentation(
    place: Path, spec_of: Callable[..., Any], train_all: Callable[..., Any]
) -> None:
    """A cohort for each kind; the stripes are told apart in the test rows."""
    more = {"dataset.path": str(place), "dataset.size": 12, "model.hidden": [8], "trainer.epochs": 20, "trainer.batch_size": 4}
    specs = [
        spec_of(
            dataset="images",
            model="cnn",
            regularizer=["augmentation"],
            **more,
            **{"regularizer.augmentation.kind": kind, "optimizer.lr": 0.01, "trainer.max_steps": None},
        )
        for kind in ("shift", "flip", "crop", "rotate")
    ]
    assert [outcome.metrics["test/accuracy"] for outcome in train_all(specs)] == [1.0] * 4
