"""Ratings of items by users: drawn from a model of low rank, or read from a user's own file.

Shapes: N ratings, U users, I items, d tastes. ``seed`` draws the data and is no run's seed.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from dlrun.data.dataset import Amount, Data, Seed, Several
from dlrun.data.interactions import name
from dlrun.data.sources.draws import normal, permutation, settled
from dlrun.data.sources.kept import file_key, once
from dlrun.data.table.text.delimited import Delimited
from dlrun.data.table.text.textfile import examine, located
from dlrun.data.table.values.amounts import number
from dlrun.data.table.values.cells import is_missing, shown
from dlrun.errors import DataError, nearest

_LOW, _HIGH, _MEAN = 1.0, 5.0, 3.4
Column = str | int | None


def ratings(
    *,
    path: str | None = None,
    user: Column = None,
    item: Column = None,
    rating: Column = None,
    separator: str | None = None,
    header: bool | None = None,
    liked: float = 4.0,
    users: Several = 200,
    items: Several = 120,
    rows: Several = 6000,
    tastes: Several = 3,
    noise: Amount = 0.4,
    seed: Seed = 0,
) -> Data:
    """Ratings as rows: x int64 [N, 2] holds the numbers of user and item, y [N, 1] the rating.

    Formula without a path: r = 3.4 + 0.4 a_u + 0.4 b_i + 0.8 p_u q_i / sqrt(d) + noise * N(0, 1), to the nearest half, from 1 to
    5; all of a, b, p and q from N(0, 1). The pairs are drawn without repetition.

    Args:
        path: a CSV file with a row for each rating; None draws ratings.
        user, item, rating: its columns; the first three when not given.
        separator: what stands between its cells; found out by default.
        header: whether its first row has the names of columns; without them they are called 0, 1, 2 and so on.
        liked: the rating from which a user likes an item, for recall@10.
        users, items: U and I of those that are drawn.
        rows: N, at most U I.
        tastes: d.
        noise: standard deviation of a rating.

    Raises:
        DataError: what is wrong with the file, or more ratings than pairs.
    """
    if path is not None:
        place = located(path)
        how = (user, item, rating, separator, header, liked)
        return once(file_key("ratings", place, how), lambda: _read(path, (user, item, rating), separator, header, liked))
    if rows > users * items:
        raise DataError(f"dataset.rows={rows}: {users} users and {items} items have {users * items:,} pairs; take fewer rows")
    pair = permutation(seed, 0, users * items)[:rows]
    u, i = pair // items, pair % items
    bias = 0.4 * normal(seed, 1, users)[u] + 0.4 * normal(seed, 2, items)[i]
    match = (normal(seed, 3, users, tastes)[u] * normal(seed, 4, items, tastes)[i]).sum(1) / math.sqrt(tastes)
    value = settled(_MEAN + bias + 0.8 * match + noise * normal(seed, 5, rows))
    value = ((2 * value).round() / 2).clip(_LOW, _HIGH)
    known = [name("user", each) for each in range(users)], [name("item", each) for each in range(items)]
    return _data("ratings", u, i, value, *known, ("user", "item", "rating"), liked)


def _data(
    of: str,
    user: NDArray[np.int64],
    item: NDArray[np.int64],
    value: NDArray[np.float64],
    users: Sequence[str],
    items: Sequence[str],
    columns: Sequence[str],
    liked: float,
    notes: Sequence[str] = (),
) -> Data:
    """Numbers of users and items, each from 0, as data."""
    x = np.stack([user + 1, item + 1 + len(users)], 1)
    relevant = np.stack([x[:, 0], np.where(value >= liked, x[:, 1], 0)], 1)
    return Data(
        name=of,
        x=x,
        y=value[:, None],
        task="recommendation",
        outputs=1,
        features=tuple(columns[:2]),
        targets=(columns[2],),
        vocabulary=(*users, *items),
        users=len(users),
        liked=relevant,
        notes=tuple(notes),
    )


def _read(path: str, columns: Sequence[Column], separator: str | None, header: bool | None, liked: float) -> Data:
    asked = [None if column is None else str(column) for column in columns]
    file = examine(located(path))
    table = Delimited(
        file, separator=separator, decimal=None, thousands=None, header=header, skip=0, footer=0, targets=[a for a in asked if a]
    )
    chosen = _columns(file.name, table.names, asked)
    places = [table.names.index(column) for column in chosen]
    order = sorted(places)
    parts = [
        piece.parse(table.dialect, dtype=object, na_filter=False, keep_default_na=False, usecols=order).to_numpy(dtype=object)
        for piece in table.pieces()
    ]
    cells = np.concatenate(parts)[:, [order.index(place) for place in places]] if parts else np.empty((0, 3), dtype=object)
    value, kept = _values(file.name, chosen[2], cells[:, 2], table.dialect.decimal)
    kept &= np.array([not any(is_missing(text) for text in row) for row in cells[:, :2]], dtype=bool)
    notes, missing = [], int((~kept).sum())
    if not kept.any():
        raise DataError(f"{file.name}: no row has a user, an item and a rating")
    import pandas

    coded = [pandas.factorize(cells[kept, column]) for column in range(2)]
    (u, users), (i, items) = coded
    last = ~pandas.Series(u * len(items) + i).duplicated(keep="last").to_numpy()
    u, i, y = u[last], i[last], value[kept][last]
    if y.min() == y.max():
        raise DataError(f"{file.name}: {shown(chosen[2])} is {y[0]:g} in every row, so there is nothing to learn")
    if y.max() < liked:
        raise DataError(
            f"dataset.liked={liked:g}: the highest rating in {file.name} is {y.max():g}, so no user likes an item; "
            f"type dataset.liked={y.max():g} or less"
        )
    of, by = f"{len(items):,} items ({chosen[1]})", f"{len(users):,} users ({chosen[0]})"
    liking = f"{(y >= liked).mean():.0%} are at least {liked:g}, and liked"
    notes.append(f"{file.name}: {len(y):,} ratings ({chosen[2]}) of {of} by {by}; {liking}")
    notes += [f"{file.name}: {missing:,} rows without a user, an item or a rating are left out"] if missing else []
    again = int((~last).sum())
    notes += [f"{file.name}: {again:,} ratings of a pair that is rated again below are left out"] if again else []
    if len(items) <= 10:
        notes.append(f"{file.name}: recall@10 is 1 for every model, since there are no more than 10 items; compare by rmse")
    known = [[name(column, text) for text in each] for column, each in zip(chosen, (users, items), strict=False)]
    return _data(file.name, u, i, y, known[0], known[1], chosen, liked, notes)


def _columns(of: str, names: Sequence[str], asked: Sequence[str | None]) -> list[str]:
    """The columns of user, item and rating: as asked for, else the first that are left."""
    unknown = [column for column in asked if column is not None and column not in names]
    if unknown:
        has = f"; it has {', '.join(map(shown, names[:8]))}"
        raise DataError(*(f"{of}: has no column {shown(column)}{nearest(column, names) or has}" for column in unknown))
    left = iter([column for column in names if column not in asked])
    found = [next(left, "") if column is None else column for column in asked]
    if "" in found or len(set(found)) < len(found):
        raise DataError(
            f"{of}: has the columns {', '.join(map(shown, names[:8]))}, and needs one each for user, item and rating; "
            "type dataset.user=COLUMN dataset.item=COLUMN dataset.rating=COLUMN"
        )
    return found


def _values(of: str, column: str, texts: NDArray[np.object_], decimal: str) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """The ratings, and which rows have one."""
    known = {text: number(text, decimal) for text in dict.fromkeys(texts)}
    odd = next((text for text, value in known.items() if value is None and not is_missing(text)), None)
    if odd is not None:
        line = int(np.flatnonzero(texts == odd)[0]) + 1
        raise DataError(f"{of}: column {shown(column)}, row {line:,} holds {shown(odd)!r}; ratings are numbers")
    value = np.array([np.nan if known[text] is None else known[text] for text in texts], dtype=np.float64)
    return value, np.isfinite(value)
