"""``dlrun predict``: what runs predict for the rows of a file."""

import json
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlrun.cli.arguments import JSON
from dlrun.cli.report import own_code
from dlrun.cli.stored import split
from dlrun.cli.terminal.screen import waiting
from dlrun.errors import InputError, StoreError, printable

if TYPE_CHECKING:
    import pandas as pd

    from dlrun.trained.ensemble import Ensemble

USAGE = """\
usage: dlrun predict RUN ... FILE [-o OUT] [--keep COLUMNS] [--json] [--device D] [--import MODULE] [output_dir=PATH]
       dlrun predict SWEEP [WHERE ...] FILE ...

Predicts the rows of FILE (.csv, .csv.gz, .parquet, an array in .npy; for runs on images an image file or a folder of them),
which go through the preprocessing of the training; prints a line for each, in their order: its number from 0, for classes the
likeliest by name and the probabilities, for numbers the values in the units of the data. FILE needs the columns that the run
was trained with, in any order; others play no part, and the target may be absent. A category that the training did not have
has no effect, a missing value is filled in as in training.

Several runs, or all seeds of a configuration of a sweep, are an ensemble: their mean, and "sd", the standard deviation over them.

  RUN            an id or its beginning, or the folder of a run, wherever it lies
  SWEEP WHERE    the name of a sweep, or latest, and settings that leave one configuration, such as activation=relu
  -o, --output   a file to write instead: .csv, .parquet, .json, or .npy for the numbers alone (masks and embeddings too)
  --keep COLUMNS columns of FILE to stand beside the predictions, such as --keep id,name
  --json         print a list with an object for each row

Examples:
  dlrun predict 8bc176b3 new.csv
  dlrun predict outputs/runs/8bc176b3d366 new.csv -o predicted.csv --keep id
  dlrun predict latest activation=relu new.csv
"""
FLAGS = ("-o", "--output", "--keep", "--device")
WRITTEN = (".csv", ".parquet", ".json", ".npy")


def run(words: Sequence[str]) -> int:
    """Predict, and print or write. Returns the exit code."""
    store, rest, flags = split(own_code(words), "predict", valued=FLAGS, switches=(JSON,), lists=("--keep",))
    target = flags.get("-o") or flags.get("--output") or ""
    suffix = Path(target).suffix.lower() if target else ".json" if JSON in flags else ".csv"
    if suffix not in WRITTEN:
        raise InputError(f"-o {target}: takes a name that ends in {', '.join(WRITTEN)}")
    if target and JSON in flags and suffix != ".json":
        raise InputError(f"--json -o {target}: give one of the two; -o FILE.json writes JSON")
    runs, file, notes = ensemble_and_file(store, rest, "predict", flags.get("--device", "cpu"))
    with waiting("predicting"):
        from dlrun.trained.of_file import FileRows

        rows = FileRows(runs, file, [name for name in flags.get("--keep", "").split(",") if name])
        if target:
            _write(Path(target), suffix, rows)
        elif suffix == ".json":
            sys.stdout.writelines(_as_json(rows.tables()))
        else:
            sys.stdout.writelines(_as_csv(rows.tables()))
    tell([*notes, *rows.notes])
    if target:
        print(printable(str(Path(target).absolute())))
    return 0


def ensemble_and_file(store: Any, words: Sequence[str], verb: str, device: str) -> "tuple[Ensemble, str, list[str]]":
    """The runs and the file that words name, and what is to know of the runs."""
    plain = [word for word in words if os.path.isfile(word)] or [word for word in words if "=" not in word][-1:]
    if len(plain) != 1 or len(words) < 2:
        said = f"{' '.join(plain)}: takes one file of rows" if len(plain) > 1 else f"{verb}: takes a run and a file of rows"
        raise InputError(f"{said}; type dlrun {verb} RUN FILE.csv; dlrun runs lists what there is")
    if not os.path.exists(plain[0]):
        raise InputError(f"{plain[0]}: there is no such file; type dlrun {verb} RUN FILE.csv")
    with waiting("loading torch"):
        from dlrun.trained.chosen import chosen

        runs, notes = chosen(store, [word for word in words if word != plain[0]], device)
    return runs, plain[0], notes


def tell(notes: Iterable[str]) -> None:
    """Say on stderr what is to know."""
    for note in notes:
        print(f"note: {printable(note)}", file=sys.stderr)


def _as_csv(tables: "Iterable[pd.DataFrame]") -> Iterable[str]:
    for number, table in enumerate(tables):
        yield table.to_csv(index=False, header=number == 0, lineterminator="\n")


def _as_json(tables: "Iterable[pd.DataFrame]") -> Iterable[str]:
    """A list of objects, one a line; numbers that are not finite are null."""
    separator = "[\n"
    for table in tables:
        for row in table.astype(object).where(table.notna(), None).to_dict("records"):
            yield separator + json.dumps(row, ensure_ascii=False, allow_nan=False, default=str)
            separator = ",\n"
    yield "\n]\n" if separator == ",\n" else "[]\n"


def _write(path: Path, suffix: str, rows: Any) -> None:
    """Write a file, which is there as a whole or not at all."""
    from dlrun.results.files import unique

    temporary = path.with_name(f".{path.name}.{unique()}")
    try:
        if suffix == ".npy":
            import numpy as np

            parts = [mean for _, mean, _ in rows.predictions()]
            with temporary.open("wb") as file:
                np.save(file, np.concatenate(parts))
        elif suffix == ".parquet":
            _write_parquet(temporary, rows.tables())
        else:
            with temporary.open("w", encoding="utf-8", newline="") as text:
                text.writelines(_as_json(rows.tables()) if suffix == ".json" else _as_csv(rows.tables()))
        os.replace(temporary, path)
    except OSError as error:
        raise StoreError(f"{path}: cannot be written ({error.strerror})") from error
    finally:
        temporary.unlink(missing_ok=True)


def _write_parquet(path: Path, tables: "Iterable[pd.DataFrame]") -> None:
    try:
        import pyarrow
        from pyarrow.parquet import ParquetWriter
    except ImportError as error:
        raise InputError(
            "-o: a .parquet file needs pyarrow, which is not installed; run: pip install 'dlrun[parquet]'"
        ) from error
    writer = None
    try:
        for table in tables:
            batch = pyarrow.Table.from_pandas(table, preserve_index=False)
            writer = writer or ParquetWriter(path, batch.schema)
            writer.write_table(batch.cast(writer.schema))
    finally:
        if writer is not None:
            writer.close()
