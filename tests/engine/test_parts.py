"""Rows that share a component, and the columns in which they differ."""

from typing import Any

import pytest
import torch
from torch import Tensor

from dlrun.components.hyperparameters import Positive, Share
from dlrun.components.losses import bce_with_logits, huber, quantile
from dlrun.engine.components import Component, Rows, group, rowwise, signature


def component(*, rate: Positive = 1.0, pair: tuple[Share, Share] = (0.9, 0.99), flag: bool = False, count: int = 1) -> None:
    """Has every form of hyperparameter."""


def part(**values: Any) -> Component:
    return Component(
        "component", "here.component", component, {"rate": 1.0, "pair": [0.9, 0.99], "flag": False, "count": 1} | values
    )


@pytest.mark.parametrize(
    ("indices", "everything", "is_slice"),
    [([0, 1, 2, 3], True, True), ([1, 2], False, True), ([2], False, True), ([0, 2, 3], False, False), ([3, 0], False, False)],
)
def test_rows_take_and_put_back(indices: list[int], everything: bool, is_slice: bool) -> None:
    rows = Rows(indices, 4)
    x = torch.arange(12.0).view(4, 3)
    taken = rows.take(x)
    assert torch.equal(taken, x[indices])
    assert rows.everything == everything
    assert (taken.data_ptr() == x[indices[0]].data_ptr()) == is_slice, "neighbours are a view, others a copy"
    out = torch.zeros(4, 3)
    rows.put(out, taken * 2)
    assert torch.equal(out[indices], 2 * x[indices])
    others = [row for row in range(4) if row not in indices]
    assert not out[others].any()
    assert len(rows) == len(indices)


def test_rows_put_into_a_view_with_strides() -> None:
    matrix = torch.zeros(4, 6)
    for indices in ([1, 2], [0, 3]):
        Rows(indices, 4).put(matrix[:, 2:5], torch.ones(2, 3))
    assert torch.equal(matrix[:, 2:5], torch.ones(4, 3))
    assert not matrix[:, :2].any()
    assert not matrix[:, 5:].any()


def test_equal_numbers_stay_floats_and_others_become_columns() -> None:
    (g,) = group([part(rate=0.1), part(rate=0.2), part(rate=0.1)], floats="float64")
    assert g.values["rate"].dtype == torch.float64
    assert g.values["rate"].tolist() == [[0.1], [0.2], [0.1]]
    assert g.values["pair"] == [0.9, 0.99]
    assert g.values["flag"] is False
    assert g.shaped(4)["rate"].shape == (3, 1, 1, 1)
    (same,) = group([part(rate=0.1)] * 3)
    assert same.values["rate"] == 0.1
    assert isinstance(same.values["rate"], float)


def test_numbers_in_a_tuple_differ_one_by_one() -> None:
    (g,) = group([part(pair=[0.9, 0.99]), part(pair=[0.5, 0.99])], floats="float64")
    first, second = g.values["pair"]
    assert isinstance(first, Tensor)
    assert first.tolist() == [[0.9], [0.5]]
    assert second == 0.99
    assert g.shaped(3)["pair"][0].shape == (2, 1, 1)


def test_flags_counts_and_functions_make_groups_of_their_own() -> None:
    other = Component("other", "here.other", component, dict(part().values))
    groups = group([part(), part(flag=True), part(count=2), other, part(rate=2.0), part(flag=True, rate=3.0)])
    assert [g.rows.indices for g in groups] == [(0, 4), (1, 5), (2,), (3,)]
    assert groups[0].values["rate"].flatten().tolist() == [1.0, 2.0]


def test_a_number_and_none_are_not_one_column() -> None:
    parts = [
        Component("bce", "losses.bce_with_logits", bce_with_logits, {"pos_weight": value})
        for value in (None, 2.0, 3.0, [1.0, 2.0])
    ]
    groups = group(parts)
    assert [g.rows.indices for g in groups] == [(0,), (1, 2), (3,)]
    assert groups[0].values["pos_weight"] is None
    assert groups[2].values["pos_weight"] == [1.0, 2.0]


def test_whole_numbers_mix_with_others() -> None:
    (g,) = group([Component("huber", "losses.huber", huber, {"delta": value}) for value in (1, 1.0, 2.5)])
    assert g.values["delta"].flatten().tolist() == [1.0, 1.0, 2.5]


def test_lists_of_quantiles_are_structure() -> None:
    parts = [Component("quantile", "losses.quantile", quantile, {"tau": tau}) for tau in (0.5, [0.1, 0.9], 0.9, [0.1, 0.9])]
    assert [g.rows.indices for g in group(parts)] == [(0, 2), (1, 3)]
    assert hash(signature(parts[1])) == hash(signature(parts[3]))


def test_rowwise_reads_what_is_declared() -> None:
    assert rowwise(component) == {"rate": (float,), "pair": (tuple,), "flag": (), "count": ()}
