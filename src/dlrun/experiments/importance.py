"""How much each factor matters where the runs are no balanced grid: importances in a random forest.

The forest predicts the metric from the factors. A factor's importance is how much its r2 on a fifth of the runs that it was not
fitted on falls when the factor is shuffled among them (Breiman 2001, Random forests), the mean over five such fifths and ten
shuffles, as a share of all factors together. Which of several factors that go together is credited is partly chance then.
"""

import math
from collections.abc import Sequence

import pandas
from sklearn.compose import make_column_transformer
from sklearn.ensemble import RandomForestRegressor
from sklearn.inspection import permutation_importance
from sklearn.model_selection import KFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from dlrun.comparison.effects import Effect, Effects, varying
from dlrun.comparison.factors import shown
from dlrun.comparison.table import Group

FEWEST = 20  # runs
_TREES, _SHUFFLES, _PARTS = 100, 10, 5


def importance(groups: Sequence[Group], metric: str) -> Effects | None:
    """The importances of the factors that vary among groups of runs, the largest first.

    Returns:
        None with fewer than two factors or 20 runs, or where the forest finds nothing.
    """
    runs, names = varying(groups)
    rows = [(group, value) for group in runs for value in group.values(metric).values() if math.isfinite(value)]
    if len(names) < 2 or len(rows) < FEWEST:
        return None
    columns = {name: [group.factors[name] for group, _ in rows] for name in names}
    numbers = [name for name, values in columns.items() if all(type(value) in (int, float) for value in values)]
    x = pandas.DataFrame({name: values if name in numbers else [*map(shown, values)] for name, values in columns.items()})
    y = [value for _, value in rows]
    others = [name for name in names if name not in numbers]
    encode = make_column_transformer((OneHotEncoder(handle_unknown="ignore"), others), remainder="passthrough")
    falls = dict.fromkeys(names, 0.0)
    for seen, unseen in KFold(_PARTS, shuffle=True, random_state=0).split(x):
        model = make_pipeline(encode, RandomForestRegressor(_TREES, random_state=0, min_samples_leaf=2))
        model.fit(x.iloc[seen], [y[place] for place in seen])
        there = x.iloc[unseen], [y[place] for place in unseen]
        found = permutation_importance(model, *there, n_repeats=_SHUFFLES, random_state=0)
        for name, fall in zip(names, found.importances_mean.tolist(), strict=True):
            falls[name] += max(0.0, fall)
    every = sum(falls.values())
    if every == 0:
        return None
    ordered = sorted(falls.items(), key=lambda item: -item[1])
    return Effects(tuple(Effect((name,), fall / every) for name, fall in ordered), balanced=False)
