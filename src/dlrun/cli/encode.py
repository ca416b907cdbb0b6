"""``dlrun encode``: what a trained model makes of rows before its output, a few numbers for each."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dlrun.cli.predict import tell
from dlrun.cli.report import own_code
from dlrun.cli.stored import split
from dlrun.cli.terminal.screen import waiting
from dlrun.errors import InputError, StoreError, printable

if TYPE_CHECKING:
    from dlrun.trained.codes import Encoded

USAGE = """\
usage: dlrun encode RUN [FILE] [-o OUT] [--keep COLUMNS] [--device D] [--import MODULE] [output_dir=PATH]

Writes the code of each row: the numbers that the model's narrow layer makes of it (the last linear layer without an activation
behind it, as the middle of model=autoencoder), or of models without one what stands before the output. Rows are those of FILE,
which go through the preprocessing of the training, or without FILE all rows that the run was trained and measured on. The columns
are "row" (from 0), "subset" of the run's own rows, those of --keep, and "code 1" and so on.

Prints how far the codes can be trusted: the trustworthiness of scikit-learn, from 0 to 1, which falls with rows that are
neighbours by their codes and are none by their inputs (5 neighbours, scaled inputs), beside that of as many principal components
of the same inputs. Of the run's own data it is of test rows, with components of training rows; of a FILE, of its rows and their
own components; of at most 2,000 rows.

  RUN            an id or its beginning, or the folder of a run, wherever it lies
  -o, --output   a file to write: .csv, or .npy for the numbers alone; without it the codes are printed
  --keep COLUMNS columns of FILE to stand beside the codes, such as --keep id,name

Examples:
  dlrun encode 8bc176b3 -o codes.csv
  dlrun encode 8bc176b3 new.csv -o codes.csv --keep id
"""
FLAGS = ("-o", "--output", "--keep", "--device")
WRITTEN = (".csv", ".npy")


def run(words: Sequence[str]) -> int:
    """Encode, and print or write. Returns the exit code."""
    store, rest, flags = split(own_code(words), "encode", valued=FLAGS, lists=("--keep",))
    target = flags.get("-o") or flags.get("--output") or ""
    if target and Path(target).suffix.lower() not in WRITTEN:
        raise InputError(f"-o {target}: takes a name that ends in {' or '.join(WRITTEN)}")
    if not rest or len(rest) > 2:
        raise InputError("encode: takes a run and a file of rows; type dlrun encode RUN FILE.csv; dlrun runs lists what there is")
    keep = [name for name in flags.get("--keep", "").split(",") if name]
    if keep and len(rest) < 2:
        raise InputError("--keep: takes columns of a file; type dlrun encode RUN FILE.csv --keep COLUMN")
    with waiting("encoding"):
        from dlrun.trained.chosen import named
        from dlrun.trained.codes import of_file, of_own_rows

        trained = named(store, rest[0], flags.get("--device", "cpu"))
        found = of_file(trained, rest[1], keep) if len(rest) > 1 else of_own_rows(trained)
    if not target:
        tell([*found.notes, *_said(found)])
        sys.stdout.write(found.table().to_csv(index=False, lineterminator="\n"))
        return 0
    _write(Path(target), found)
    tell(found.notes)
    print("\n".join(_said(found)))
    print(printable(str(Path(target).absolute())))
    return 0


def _said(found: "Encoded") -> list[str]:
    """The figures in words."""
    lines = [f"{len(found.codes):,} rows, {found.codes.shape[1]} numbers each"]
    if found.trust is None:
        return [*lines, f"trustworthiness: none ({found.why})"]
    beside = f"; {found.codes.shape[1]} principal components {found.trust_pca:.4f}" if found.trust_pca is not None else ""
    return [*lines, f"trustworthiness of {found.measured}: codes {found.trust:.4f}{beside}"]


def _write(path: Path, found: "Encoded") -> None:
    from dlrun.results.files import unique

    temporary = path.with_name(f".{path.name}.{unique()}")
    try:
        if path.suffix.lower() == ".npy":
            import numpy as np

            with temporary.open("wb") as file:
                np.save(file, found.codes)
        else:
            with temporary.open("w", encoding="utf-8", newline="") as text:
                found.table().to_csv(text, index=False, lineterminator="\n")
        os.replace(temporary, path)
    except OSError as error:
        raise StoreError(f"{path}: cannot be written ({error.strerror})") from error
    finally:
        temporary.unlink(missing_ok=True)
