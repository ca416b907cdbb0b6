"""A table with all kinds of columns, missing values and a run that was trained on it."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import dlrun

QUICK = ("trainer=smoke", "baseline=[]", "logger=none")


def houses(rows: int = 60) -> pd.DataFrame:
    """Numbers, texts, truth values and dates, some missing; a price, and whether it is high."""
    draw = np.random.default_rng(0)
    table = pd.DataFrame(
        {
            "size": draw.normal(50, 10, rows).round(2),
            "rooms": draw.integers(1, 6, rows),
            "city": draw.choice(["Paris", "Rome, IT", 'Oslo "N"'], rows),
            "day": pd.date_range("2024-01-01", periods=rows).strftime("%Y-%m-%d"),
            "garden": draw.choice(["yes", "no"], rows),
        }
    )
    table["price"] = (3 * table["size"] + 20 * table.rooms + draw.normal(0, 5, rows)).round(1)
    table["kind"] = np.where(table.price > table.price.median(), "dear", "cheap")
    table.loc[draw.choice(rows, 6, replace=False), "size"] = np.nan
    table.loc[draw.choice(rows, 6, replace=False), "city"] = None
    return table


@pytest.fixture
def table(folder: Path) -> pd.DataFrame:
    """The table, which also lies in ``houses.csv``."""
    made = houses()
    made.to_csv("houses.csv", index=False)
    return made


@pytest.fixture
def trained(table: pd.DataFrame) -> Callable[..., dlrun.Run]:
    """Trains on ``houses.csv``: ``trained("kind")``."""

    def train(target: str, *words: str, **settings: object) -> dlrun.Run:
        other = {"kind": "price", "price": "kind"}[target]
        given = ("dataset=csv", "dataset.path=houses.csv", f"dataset.target={target}", f"dataset.drop=[{other}]")
        return dlrun.run(*given, *QUICK, *words, progress=False, **settings)

    return train
