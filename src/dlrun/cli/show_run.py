"""All that is kept of one run, for ``dlrun show RUN``."""

from collections.abc import Iterator
from typing import Any

from rich.table import Table
from rich.text import Text

from dlrun.cli.as_json import of_record
from dlrun.comparison.symptoms import SAID, symptoms
from dlrun.errors import printable
from dlrun.results.find import one
from dlrun.results.folders import config_yaml
from dlrun.results.store import Store


def content(word: str) -> dict[str, Any]:
    """The same as ``--json`` prints it."""
    store = Store.at()
    record = one(store, word)
    return {
        "run": of_record(record),
        "note": store.notes().get(record.id, ""),
        "symptoms": [{"kind": each.kind, "text": each.text} for each in symptoms(record)],
        "config": store.config(record.id),
        "log": store.log(record.id).splitlines(),
    }


def page(word: str) -> Iterator[Any]:
    """What there is to say about a run: how it ended, its metrics, its settings, its log.

    Raises:
        StoreError: several runs begin so, or it is damaged.
    """
    store = Store.at()
    record = one(store, word)
    yield Text(f"run {record.id}", style="bold cyan")
    about = {
        "status": f"{record.status}{': ' if record.reason else ''}{record.reason}",
        **{SAID[each.kind]: each.text for each in symptoms(record)},
        "note": store.notes().get(record.id, ""),
        "finished": record.finished,
        "seed": str(record.seed),
        "fold": "" if record.fold is None else str(record.fold),
        "data": " ".join(f"{name}={value}" for name, value in record.data.items()),
        "versions": " ".join(f"{name}={value}" for name, value in record.versions.items()),
        "epochs": f"{record.epochs} in {record.seconds:.3g} s",
        "parameters": str(record.parameters),
    }
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0), pad_edge=False)
    numbers = {name: "not finite" if value is None else f"{value:.6g}" for name, value in record.metrics.items()}
    for name, value in {**about, **numbers, **{name: str(value) for name, value in record.diagnostics.items()}}.items():
        if value:
            table.add_row(Text(printable(name), style="cyan"), printable(value))
    yield table
    yield Text("\nconfig", style="bold")
    yield Text("\n".join(map(printable, config_yaml(store.config(record.id)).splitlines())))
    yield Text("\nlog", style="bold")
    yield Text("\n".join(map(printable, store.log(record.id).splitlines())))
    yield Text()
