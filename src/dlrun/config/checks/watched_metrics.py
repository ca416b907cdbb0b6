"""Whether what early stopping watches has a value on the validation rows of every split."""

from collections.abc import Sequence

from dlrun.components.regularizers import Stop
from dlrun.components.tasks import TASKS
from dlrun.config.spec import RunSpec
from dlrun.data.dataset import Data
from dlrun.data.splits import Split
from dlrun.engine.measuring.evaluation import is_defined
from dlrun.errors import InputError, plural

Key = tuple[int, int]  # seed, fold


def check_watched(specs: Sequence[RunSpec], data: Data, keys: Sequence[Key], splits: Sequence[Split]) -> None:
    """Refuse runs that early stopping would end, and pick the best epoch of, by a figure that is NaN in every epoch.

    Args:
        specs: runs whose regularizers have the same structure.
        keys: the seeds and folds of the splits that they are trained on.
        splits: these splits.

    Raises:
        InputError: what is watched, what it needs, the first split without that, and what to type.
    """
    known = TASKS[data.task].metrics
    for part in specs[0].row.regularizers:
        name = part.values.get("metric")
        if not (isinstance(part.function, type) and issubclass(part.function, Stop)) or name is None or name not in known:
            continue
        without = [(key, split) for key, split in zip(keys, splits, strict=True) if not is_defined(name, data, split.validation)]
        if not without:
            continue
        (seed, fold), split = without[0]
        folded = f", dataset.fold={fold}" if specs[0].fold is not None else ""
        more = f" (and from those of {plural(len(without) - 1, 'other split')})" if len(without) > 1 else ""
        where = f"regularizer.{part.name}.metric"
        rows = plural(len(split.validation), "validation row")
        raise InputError(
            f"{where}={name}: needs {known[name].needs}, missing from the {rows} of seed={seed}{folded}{more}; "
            f"type {where}=loss, or give more rows to dataset.validation"
        )
