"""Trials where other tools read them: an Optuna storage, with a study for each configuration.

    optuna-dashboard sqlite:///outputs/optuna.sqlite
    optuna.load_study(study_name="digits optimizer=adam 3f2a91c0", storage="sqlite:///outputs/optuna.sqlite")

It is written, batch by batch, and read only to add no trial twice: what dlrun goes on from are the runs of its own store.
"""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dlrun.config.composing.spaces import Dimension
from dlrun.errors import StoreError
from dlrun.experiments.search.samplers import Trial, frozen, optuna
from dlrun.experiments.search.tuned import Tuned

FILE = "optuna.sqlite"


def default_url(root: Path) -> str:
    """The storage beside the store's database."""
    return f"sqlite:///{root.absolute() / FILE}"


class Studies:
    """The studies of one storage.

    Args:
        url: a database as Optuna names it.

    Raises:
        StoreError: it cannot be opened.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self._kept: dict[str, Any] = {}
        with self._failing():
            self._storage = optuna().storages.RDBStorage(url)

    def keep(
        self, name: str, space: Sequence[Dimension], trials: Sequence[Trial], *, maximize: bool, about: Mapping[str, Any]
    ) -> None:
        """Add those of ``trials``, which are all so far, that the study does not have.

        Args:
            name: of the study, which is made where there is none.
            about: facts of the study: its user attributes.

        Raises:
            StoreError: the study has other trials than these, or cannot be written.
        """
        with self._failing():
            if name not in self._kept:
                self._kept[name] = self._opened(name, maximize, about)
            study = self._kept[name]
            there = study.get_trials(deepcopy=False)
            mine = frozen(space, trials)
            for number, (old, new) in enumerate(zip(there, mine, strict=False)):
                if old.params != new.params:
                    raise StoreError(f"{self.url}: trial {number} of study {name} is not dlrun's; give another storage=URL")
            study.add_trials(mine[len(there) :])

    def _opened(self, name: str, maximize: bool, about: Mapping[str, Any]) -> Any:
        direction = "maximize" if maximize else "minimize"
        study = optuna().create_study(storage=self._storage, study_name=name, direction=direction, load_if_exists=True)
        for key, value in about.items():
            if key not in study.user_attrs:
                study.set_user_attr(key, value)
        return study

    @contextmanager
    def _failing(self) -> Iterator[None]:
        try:
            yield
        except StoreError:
            raise
        except Exception as error:  # of whatever database it is
            raise StoreError(f"storage={self.url}: {' '.join(str(error).split())[:300]}") from error


class Mirror:
    """Writes trials to a storage while the next ones train."""

    def __init__(self, url: str, about: Mapping[str, Any]) -> None:
        self._about = about
        self._writer = ThreadPoolExecutor(1, "dlrun-studies")
        self._studies = self._writer.submit(Studies, url)
        self._writing: Future[None] | None = None

    def __enter__(self) -> "Mirror":
        self._studies.result()
        return self

    def __exit__(self, kind: Any, *_: object) -> None:
        try:
            if kind is None:
                self._settle()
        finally:
            self._writer.shutdown(wait=True, cancel_futures=kind is not None)

    def keep(self, tuned: Sequence[Tuned]) -> None:
        """Write what is new, when what was before is written."""
        self._settle()
        now = [(each, tuple(each.trials)) for each in tuned]
        self._writing = self._writer.submit(self._write, now)

    def _write(self, now: Sequence[tuple[Tuned, Sequence[Trial]]]) -> None:
        studies = self._studies.result()
        for each, trials in now:
            studies.keep(each.study, each.space, trials, maximize=each.maximize, about=self._about)

    def _settle(self) -> None:
        if self._writing is not None:
            self._writing.result()
