"""A dataset is read once, and a user's own once more where that costs little: what identifies a run has to repeat itself."""

from dlrun import isolation, memory, own_modules
from dlrun.data.dataset import Data
from dlrun.engine.components import Component
from dlrun.errors import DataError, DlrunError, RunError
from dlrun.isolation import DiedError

_LITTLE = 1 << 20  # numbers of a dataset that is read twice
NUMBER_BYTES = 16  # of an input or a target while a dataset is made: itself, and what it is computed from


def read(part: Component) -> Data:
    """The dataset that a part describes; a function of the user's own is called in a worker where there is one.

    Raises:
        RunError: the function that makes it fails, or ends its process.
        DataError: it gives something else, or other numbers each time.
    """
    if not own_modules.is_own(part.target):
        return _read(part)
    try:
        data: Data = isolation.call(_read, part)
    except DiedError as death:
        raise DiedError(f"dataset={part.name}: {death.named([part.target], 'read it').reason}", death.log) from None
    return data


def _read(part: Component) -> Data:
    data = _called(part)
    own = not part.target.startswith("dlrun.")
    if own and data.x.size + data.y.size <= _LITTLE and _called(part).fingerprint != data.fingerprint:
        raise DataError(
            f"dataset._target_={part.target}: gives other data each time it is called, so that no run could be repeated or found "
            "again; draw with a generator of its own, such as torch.randn(..., generator=torch.Generator().manual_seed(0))"
        )
    return data


def _called(part: Component) -> Data:
    sizes = [part.values.get(key, 1) for key in ("rows", "features", "lags")]
    if all(isinstance(size, int) for size in sizes):
        rows, features, lags = sizes
        memory.check(rows * (max(features, lags) + 1) * NUMBER_BYTES, f"dataset.rows={rows}", "take fewer rows", error=DataError)
    try:
        data = part.function(**part.values)
    except DlrunError:
        raise
    except Exception as error:
        raise RunError(f"dataset={part.name}: {type(error).__name__}: {' '.join(str(error).split())}") from error
    if not isinstance(data, Data):
        raise DataError(
            f"dataset._target_={part.target}: returned a {type(data).__name__}; it has to be a dlrun.data.dataset.Data"
        )
    return data
