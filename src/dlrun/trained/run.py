"""A trained run in Python: what it measured, how it went, and its predictions for new rows.

Shapes: n rows, D features, K outputs or classes, C channels, H x W pixels.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from dlrun.errors import DataError, StoreError, nearest
from dlrun.results.folders import RunFolder
from dlrun.results.formats import PREDICTIONS, TARGETS, WEIGHTS
from dlrun.results.record import RunRecord
from dlrun.results.store import Store

if TYPE_CHECKING:
    from dlrun.components.tasks import Task
    from dlrun.data.table.encoding import Encoding
    from dlrun.engine.predictor import Predictor
    from dlrun.trained.named import Columns

PREPROCESSING = "preprocessing.json"
ENCODING = "encoding.json"
# what the config of every run has
_SECTIONS = ("seed", "dataset", "model", "activation", "loss", "optimizer", "scheduler", "trainer", "regularizer")


@dataclass(frozen=True, eq=False, repr=False)
class Run:
    """A trained run.

    Attributes:
        record: all that result.json says.
        folder: where its folder is, if it has one: single runs have, and those that were exported or came as a folder.
    """

    record: RunRecord
    folder: Path
    _store: Store | RunFolder = field(repr=False)
    _device: str = "cpu"

    @property
    def id(self) -> str:
        """What names the run: 12 characters."""
        return self.record.id

    @property
    def status(self) -> str:
        """How it ended: done, stopped (early), diverged, failed or interrupted. ``reason`` says why."""
        return self.record.status

    @property
    def reason(self) -> str:
        """Why it ended so, in words; empty when there is nothing to say."""
        return self.record.reason

    @property
    def metrics(self) -> dict[str, float]:
        """``{"train/loss": 0.1, "test/r2": 0.45, ...}`` in the units of the data; NaN where a number was not finite."""
        return {name: math.nan if value is None else value for name, value in self.record.metrics.items()}

    @cached_property
    def history(self) -> pd.DataFrame:
        """What was recorded after each epoch: a row for each, with columns such as epoch and train/loss."""
        return pd.DataFrame(self._store.history(self.id))

    @cached_property
    def config(self) -> dict[str, Any]:
        """The whole configuration, resolved."""
        content = self._store.config(self.id)
        missing = [key for key in _SECTIONS if not isinstance(content.get(key), int if key == "seed" else Mapping)]
        if missing:
            where = self.folder / "config.yaml" if isinstance(self._store, RunFolder) else f"run {self.id}: its config"
            raise StoreError(f"{where}: is damaged ({', '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing)")
        return content

    @cached_property
    def weights(self) -> dict[str, NDArray[Any]]:
        """What was trained: arrays by name; none when the run has no weights.

        Raises:
            StoreError: they are not those that were written.
        """
        return self._store.weights(self.id) if WEIGHTS in self.record.digests else {}

    def predictions(self, subset: Literal["test", "validation"] = "test") -> pd.DataFrame:
        """What the run predicted for its own rows when it had been trained, a line for each.

        Args:
            subset: test or validation.

        Returns:
            Columns ``row`` (the place of the row in the data, from 0) and, by the name of each target, ``true NAME`` and
            ``predicted NAME`` in the units of the data; of quantiles ``predicted 0.1`` and so on. For classes ``true`` and
            ``predicted`` have their names, and ``probability NAME`` what was predicted for each (of two for the second); where a
            row may have several labels, ``true NAME`` and ``predicted NAME`` are 0 and 1.

        Raises:
            StoreError: it kept none (``predictions=false``, an interrupted run, more than 262,144 numbers), or they are damaged.
            DataError: what it predicts is no table: images, embeddings.
        """
        from dlrun.report.evidence import read_predicted

        kept = self._store.arrays(self.id, PREDICTIONS), self._store.arrays(self.id, TARGETS)
        if subset not in kept[0]:
            raise StoreError(f"run {self.id}: has no predictions of {subset} rows; there are {', '.join(kept[0]) or 'none'}")
        found = read_predicted(self.record, subset, *kept, self._form)
        if found is None or found.value.ndim != 2:
            raise DataError(
                f"predictions: those of {self.record.data['task']} data are no table; predict gives them for new rows"
            )
        columns: dict[str, Any] = {"row": found.rows}
        names = np.array(found.names, dtype=object)
        if found.task.exclusive or found.task.two_classes:
            likeliest = found.value[:, 1] > self.thresholds[0] if found.task.two_classes else found.value.argmax(1)
            columns |= {"true": names[found.true], "predicted": names[likeliest.astype(int)]}
            shown = [1] if found.task.two_classes else range(len(names))
            return pd.DataFrame(columns | {f"probability {names[place]}": found.value[:, place] for place in shown})
        columns |= {f"true {name}": found.true[:, place] for place, name in enumerate(names)}
        if found.task.classes:
            several = np.resize(self.thresholds, len(names))
            columns |= {
                f"predicted {name}": (value > above).astype(int)
                for name, value, above in zip(names, found.value.T, several, strict=True)
            }
            return pd.DataFrame(columns | {f"probability {name}": found.value[:, place] for place, name in enumerate(names)})
        outputs = self.config["loss"]["tau"] if found.levels else names
        return pd.DataFrame(columns | {f"predicted {name}": found.value[:, place] for place, name in enumerate(outputs)})

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes, in the order of the columns of ``predict``; empty for other tasks."""
        return tuple(self._form["classes"])

    @property
    def features(self) -> tuple[str, ...]:
        """The columns that ``predict`` wants in a table."""
        encoding = self._encoding
        return tuple(self._form["features"]) if encoding is None else tuple(column.name for column in encoding.columns)

    def predict(self, X: "ArrayLike | pd.DataFrame", *, log: bool = False) -> NDArray[Any]:
        """Predictions for new rows.

        Args:
            X: raw features, before any scaling, NaN where one is missing. A DataFrame with the columns ``features`` in any order
                (others are left alone, and named levels of its index are columns too), or an array of rows like those of
                training: [n, D], [n, C, H, W] for images, [n, C, L] for signals. Sentences are texts, lists of words, or their
                numbers: [n, T], 0 behind the last word. Ratings are asked for by user and item, named as in the data.
            log: give the logarithms of probabilities. A probability above 1 - 1e-16 is rounded to 1, and so rows that the run
                ranks apart may share it; their logarithms are what auroc, average_precision and log_loss are made of.

        Returns:
            For a regression, values in the units of the data: [n], or [n, K] for several targets or quantiles. For two classes,
            the probability of the second, ``classes[1]``: [n]. For more, or several labels, a probability for each: [n, K]. For
            segmentation, a probability for each class and pixel: [n, K, H, W]. For similarity and metric learning, embeddings.
            With ``log`` log(p / (1 - p)) in place of p for two classes and for labels, log p else.

        Raises:
            DataError: the rows are not like those of training, or ``log`` is asked of a model of no classes.
            StoreError: the run has no weights, or its files are damaged.

        Example:
            >>> run = dlrun.run("dataset=iris")                        # doctest: +SKIP
            >>> run.predict([[5.1, 3.5, 1.4, 0.2]]).argmax(axis=1)     # doctest: +SKIP
        """
        task = self.task
        if log and not task.classes:
            raise DataError(
                f"predict: log=True is for probabilities of classes, and the model is of {task.name} data; leave it out"
            )
        return self.squeezed(self.predictor(self.rows(X), log=log))

    def predict_table(self, X: "ArrayLike | pd.DataFrame") -> pd.DataFrame:
        """Predictions for new rows under their names, a line for each row.

        Args:
            X: as for ``predict``.

        Returns:
            Of classes ``predicted`` and ``probability NAME`` for each (of two for the second); where a row may have several
            labels ``predicted NAME``, 0 or 1, and ``probability NAME``; of a regression ``predicted NAME`` for each target or
            quantile, in the units of the data.

        Raises:
            DataError: as for ``predict``, or what is predicted is no table: masks, embeddings.
        """
        return pd.DataFrame(self.named(self.predict(X)))

    def __repr__(self) -> str:
        shown = [f"{name} {value:.4g}" for name, value in self.metrics.items() if name.startswith("test/")][:3]
        return f"<Run {self.id} {self.status}{': ' if shown else ''}{', '.join(shown)}>"

    # What the rest of this package asks of a run

    @cached_property
    def task(self) -> "Task":
        """What was learnt."""
        from dlrun.components.tasks import TASKS

        return TASKS[self.record.data["task"]]

    @property
    def targets(self) -> tuple[str, ...]:
        """The names of what was learnt: a column for a class, several for labels or several numbers."""
        return tuple(self._form["targets"])

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of a row of features, encoded: (D,), (C, H, W) and so on."""
        return tuple(self._form["shape"])

    @property
    def vocabulary(self) -> tuple[str, ...]:
        """The words that a model of sequences knows; none for others."""
        return tuple(self._form.get("vocabulary", ()))

    def squeezed(self, found: NDArray[Any]) -> NDArray[Any]:
        """Predictions [n, K, ...] as ``predict`` gives them: [n] where a row has one."""
        return found[:, 0] if self.task.single and found.shape[1] == 1 else found

    @property
    def pairs(self) -> bool:
        """Whether a row is a user and an item."""
        return bool(self._form.get("users"))

    def named(self, found: NDArray[Any], spread: NDArray[Any] | None = None) -> "Columns":
        """Predictions as ``predict`` gives them, and standard deviations of theirs, as columns with names."""
        from dlrun.trained.named import columns, levels_of, spreads

        names = self.classes or self.targets
        levels = levels_of(self.task, self.config, self._form["outputs"], len(self.targets))
        out = columns(self.task, names, levels, found, self.thresholds)
        return out if spread is None else out | spreads(self.task, names, levels, spread)

    @cached_property
    def encoding(self) -> "Encoding | None":
        """How the columns of a table become features; None for rows that are no table."""
        from dlrun.data.table.encoding import ColumnCode, Encoding

        if self._encoding is not None or len(self.shape) > 1 or self.vocabulary:
            return self._encoding
        return Encoding(tuple(ColumnCode(name=name, kind="numeric") for name in self.features))

    @cached_property
    def thresholds(self) -> tuple[float, ...]:
        """The probability above which the second of two classes is predicted, or each label: one, or one for each label."""
        return tuple(1 / (1 + math.exp(-cut)) for cut in self._form.get("threshold", [0.0]))

    @cached_property
    def predictor(self) -> "Predictor":
        """The trained model.

        Raises:
            StoreError: the run has no weights, or its files are damaged.
        """
        from dlrun.experiments.load import revive

        if WEIGHTS not in self.record.digests:
            raise StoreError(f"run {self.id}: ended as {self.status} and has no weights to predict with")
        return revive(self.config, self.record, self._form, self.weights, self._device)

    # What predictions need

    @cached_property
    def _form(self) -> Mapping[str, Any]:
        form: dict[str, Any] = {"classes": (), "features": (), "targets": (), **self._store.extra(self.id, PREPROCESSING)}
        return form

    @cached_property
    def _encoding(self) -> "Encoding | None":
        from dlrun.data.table.encoding import Encoding

        if ENCODING not in self.record.digests:
            return None
        return Encoding.from_json(self._store.extra(self.id, ENCODING))

    def encode(self, X: "ArrayLike | pd.DataFrame") -> NDArray[np.float64]:
        """The codes of new rows: what the model makes of them before its output, [n, E].

        E is the number of units of the last linear layer without an activation behind it, as of the middle of an autoencoder, or
        of what stands before the output in models without one. Of pairs and triplets the embeddings stand one behind the other.

        Args:
            X: as for ``predict``.

        Raises:
            InputError: the model is a module of the user's own.
            DataError, StoreError: as for ``predict``.
        """
        return self.encode_rows(self.rows(X))

    def encode_rows(self, x: NDArray[Any]) -> NDArray[np.float64]:
        """The codes of rows as ``rows`` gives them, [n, E]."""
        found: NDArray[np.float64] = self.predictor.codes(x)
        return found

    def prepared(self, x: NDArray[Any]) -> NDArray[np.float64]:
        """Rows as ``rows`` gives them, scaled and filled in as in training, as lists of numbers: [n, D]."""
        found: NDArray[np.float64] = self.predictor.preprocessing.inputs(x.astype(np.float64)).reshape(len(x), -1)
        return found

    def rows(self, X: "ArrayLike | pd.DataFrame") -> NDArray[Any]:
        """New rows as the model takes them, before scaling; X as for ``predict``."""
        from dlrun.data import interactions, sequences
        from dlrun.data.table.encoding import encode

        shape = self.shape
        if self.pairs:
            return interactions.read(X, self.vocabulary, self.features)
        if self.vocabulary:
            return sequences.read(X, self.vocabulary, shape[0])
        if isinstance(X, pd.DataFrame):
            X = _with_index(X, self.features)
        if self._encoding is not None:
            return encode(X if isinstance(X, pd.DataFrame) else _columns(X, self.features), self._encoding)
        if isinstance(X, pd.DataFrame):
            missing = [name for name in self.features if name not in X.columns]
            if missing:
                raise DataError(*(f"column {name}: is missing{nearest(name, map(str, X.columns))}" for name in missing[:5]))
            X = X[list(self.features)]
        rows = _numbers(X)
        alike = [shape, shape[1:]] if len(shape) == 2 else [shape]  # a member of a pair or triplet is a row too
        if rows.shape[1:] not in alike:
            alone = " (for a single row, put it into a list)" if rows.shape == shape else ""
            raise DataError(f"predict: has rows of shape {list(rows.shape[1:])}; training had {list(shape)}{alone}")
        return rows


def _with_index(table: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    """The table, with levels of its index that are features as columns: pandas.read_parquet makes an index of such columns."""
    twice = sorted({*names} & {*table.columns[table.columns.duplicated()]})
    if twice:
        raise DataError(*(f"column {name}: stands in the table more than once; keep one of them" for name in twice[:5]))
    levels = [name for name in names if name in table.index.names and name not in table.columns]
    return table.reset_index(level=levels) if levels else table


def _columns(given: Any, names: Sequence[str]) -> dict[str, NDArray[Any]]:
    """The columns of an array by their place."""
    table = np.asarray(given, dtype=object if isinstance(given, list | tuple) else None)  # texts would make texts of numbers
    if table.ndim != 2 or table.shape[1] != len(names):
        raise DataError(f"predict: has shape {list(table.shape)}; rows need {len(names)} values: {', '.join(names[:10])}")
    return {name: table[:, place] for place, name in enumerate(names)}


def _numbers(given: Any) -> NDArray[np.float64]:
    try:
        rows = np.require(np.asarray(given, dtype=np.float64), requirements=["C", "W"])  # those of a DataFrame are read-only
    except (TypeError, ValueError) as error:
        raise DataError(f"predict: takes numbers ({error})") from error
    if np.isinf(rows).any():
        raise DataError("predict: holds infinite values; replace them by numbers, or by NaN where they are missing")
    return rows
