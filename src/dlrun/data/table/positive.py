"""Which of two classes is the positive one: that of which f1, average precision, auroc and a predicted probability speak."""

from dataclasses import replace

from dlrun.components.tasks import TASKS
from dlrun.data.dataset import Data
from dlrun.data.table.advice import meant, naming
from dlrun.data.table.values.cells import listed, shown
from dlrun.errors import DataError


def with_positive(data: Data, positive: str | int | float | None) -> Data:
    """The dataset with the class of this name as class 1; as it is when None.

    Raises:
        DataError: there is no such class, or there are not two of them.
    """
    if positive is None:
        return data
    message = f"dataset.positive={shown(positive)}: "
    task = TASKS[data.task]
    if not task.two_classes:
        what = f"{len(data.classes)} classes" if task.exclusive and not task.pixels else f"the task {data.task}"
        raise DataError(f"{message}{data.name} has {what}, and a positive class is one of two; leave dataset.positive out")
    name = str(positive)
    if name not in data.classes:
        remedy = meant("positive", name, data.classes) or f"; type {naming('positive', data.classes[1])}"
        raise DataError(f"{message}no such class; the classes are {listed(data.classes)}{remedy}")
    if name == data.classes[1]:
        return data
    other = None if data.train_y is None else 1 - data.train_y
    return replace(data, y=1 - data.y, train_y=other, classes=(data.classes[1], data.classes[0]))
