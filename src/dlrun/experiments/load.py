"""A predictor from a run folder. What lies there is data: names in its config are looked up where any config's are."""

import warnings
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dlrun.components.tasks import TASKS
from dlrun.config import own_code
from dlrun.config.spec import from_config
from dlrun.data.dataset import Data
from dlrun.data.preprocessing import Preprocessing
from dlrun.data.splits import Split
from dlrun.engine.predictor import DataForm, Predictor
from dlrun.errors import DataError
from dlrun.experiments.planning.cohorts import Datasets, place_of, settings_of
from dlrun.results.record import RunRecord


def revive(
    config: Mapping[str, Any], record: RunRecord, kept: Mapping[str, Any], weights: Mapping[str, NDArray[Any]], device: str
) -> Predictor:
    """The trained model of a run.

    Args:
        config: the run's config.yaml.
        record: its result.json.
        kept: its preprocessing.json.
        weights: its model.safetensors.
        device: where to compute.

    Raises:
        InputError: the config names what it must not, or these files are not of one run.
    """
    config = dict(config) | {"trainer": dict(config.get("trainer") or {}) | {"device": device}}
    config["dataset"] = dict(config.get("dataset") or {}) | {"task": record.data.get("task")}
    spec = from_config(config, record.choices, record.overrides)
    if own_code.digest(spec.config) != record.versions.get("source", ""):
        warnings.warn(
            f"run {record.id}: its components have changed since it was trained; they compute with its weights as they are now",
            stacklevel=2,
        )
    try:
        words, most_words, users = tuple(kept.get("vocabulary", ())), int(kept.get("most_words", 0)), int(kept.get("users", 0))
        form = DataForm(tuple(kept["shape"]), TASKS[record.data["task"]], int(kept["outputs"]), words, most_words, users)
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"preprocessing.json: does not say what the model's data is ({error}); the file is of another kind"
        ) from error
    cut = np.array(kept["threshold"], dtype=np.float64) if "threshold" in kept else None
    loss = replace(spec.row.loss, values={**spec.row.loss.values, **kept.get("loss", {})})
    row = replace(spec.row, loss=loss)
    return Predictor(row, settings_of(spec, form.outputs), form, Preprocessing.from_json(kept), weights, cut)


def data_of(config: Mapping[str, Any], record: RunRecord) -> tuple[Data, Split]:
    """The data that a run was trained on, and how it was split, read anew.

    Raises:
        DataError: it cannot be read any more, or is another now.
    """
    config = dict(config) | {"dataset": dict(config["dataset"]) | {"task": record.data.get("task")}}
    spec, datasets = from_config(config, record.choices, record.overrides), Datasets()
    data = datasets.of(spec)
    if data.fingerprint != record.data.get("fingerprint"):
        raise DataError(f"run {record.id}: its data, {data.name}, is another now; give the rows in a file")
    ((_, (part,)),) = datasets.splits(data, spec.preparation, [place_of(spec, data)])
    return data, part
