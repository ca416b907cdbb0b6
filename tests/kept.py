"""What tests read back from an output root."""

import json
from pathlib import Path
from typing import Any

from dlrun.results.store import Store


def results(root: Path) -> dict[str, dict[str, Any]]:
    """Run id -> what its result.json says, or would say."""
    return {record.id: json.loads(record.to_json()) for record in Store(root.absolute()).records(whole=True)}


def stamps(root: Path) -> dict[str, tuple[str, float]]:
    """Run id -> what is never the same when it has been trained again: when, and how long it took."""
    return {record.id: (record.finished, record.seconds) for record in Store(root.absolute()).records()}
