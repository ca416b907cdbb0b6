"""Image files of the user's own: which lie in a folder, and their pixels.

Shapes: C channels (1 grey, 3 colour), S pixels a side.
"""

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dlrun.data.table.values.cells import shown
from dlrun.errors import DataError

Pixels = NDArray[np.uint8]

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".pgm", ".ppm")


def is_image(path: Path) -> bool:
    """Whether a file has the name of one."""
    return path.suffix.lower() in SUFFIXES


def below(folder: Path) -> list[Path]:
    """The image files in a folder and in those within it, by their paths from there, in order."""
    files = (Path(place) / name for place, _, names in os.walk(folder) for name in names)
    return sorted(file.relative_to(folder) for file in files if is_image(file))


def pixels(path: Path, size: int, *, colour: bool) -> Pixels | str:
    """The pixels of a file [C, S, S], resized, upright as its camera says; why it cannot be read where it cannot.

    Raises:
        DataError: Pillow is not installed.
    """
    try:
        from PIL import Image, ImageOps
    except ImportError as error:
        raise DataError("dataset=images: needs Pillow, which is not installed; run: pip install 'dlrun[images]'") from error
    try:
        with Image.open(path) as image:
            upright: Any = ImageOps.exif_transpose(image).convert("RGB" if colour else "L")
            found = np.asarray(upright.resize((size, size), Image.Resampling.BILINEAR))
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        return shown(str(error).partition(": ")[0] or type(error).__name__, 60)
    return np.moveaxis(found, 2, 0) if colour else found[None]
