"""The curve of quality against budget in a report of ``dlrun tune``."""

import json
from collections.abc import Callable, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from dlrun.report.charts.base import Chart
from dlrun.report.charts.searched import MOST, search_chart, searches
from pages import Page

Call = Callable[..., tuple[int, str, str]]
SMALL = ("dataset=moons", "trainer=smoke", "model.hidden=[5]", "fresh=2", "batch=3", "baseline=none", "logger=none")


def content(curves: dict[str, Sequence[float | None]], metric: str = "validation/accuracy", **more: Any) -> dict[str, Any]:
    """What a sweep keeps of the trials of several optimizers."""
    return {
        "configurations": [
            {
                "dataset": "moons",
                "metric": metric,
                "factors": {"optimizer": name} | more,
                "trials": [{"quality": value, "status": "pruned" if value is None else "done"} for value in values],
            }
            for name, values in curves.items()
        ]
    }


def lines(chart: Chart) -> dict[str, list[tuple[int, float]]]:
    """The points of each line."""
    found: dict[str, list[tuple[int, float]]] = {}
    for row in chart.spec["datasets"]["rows1"]:
        found.setdefault(row["group"], []).append((row["x"], row["value"]))
    return found


@pytest.mark.usefixtures("unbundled")
def test_a_report_has_the_best_of_each_configuration_after_each_trial(
    call: Call, page: Callable[[str], Page], validator: jsonschema.protocols.Validator, folder: Path
) -> None:
    code, out, _ = call("tune", *SMALL, "optimizer=sgd,adam", "budget=6", "sampler=random", "--json")
    assert code == 0
    assert call("report")[0] == 0
    found = page("report.html")
    assert found.texts["h3"][0] == "Best validation accuracy against trials"
    drawing = found.drawings[0]
    assert not [*validator.iter_errors(drawing | {"datasets": {}})]
    drawn = {(row["group"], row["x"]): row["value"] for row in drawing["datasets"]["rows1"]}
    for each in json.loads(out)["configurations"]:
        name, best = each["factors"]["optimizer"], [*accumulate((trial["quality"] for trial in each["trials"]), max)]
        wanted = {at + 1: best[at] for at in range(6) if at in (0, 5) or best[at] > best[at - 1]}
        assert {x: value for (group, x), value in drawn.items() if group == name} == pytest.approx(wanted, abs=1e-5)
    assert call("plot", "budget", "-o", "budget.svg")[:2] == (0, "budget.svg\n")
    assert (folder / "budget.svg").read_bytes().startswith(b"<svg")
    assert call("-m", "dataset=moons", "trainer=smoke", "seed=0,1", "logger=none")[0] == 0
    assert "budget: no dlrun tune chose these runs" in call("plot", "budget", "-o", "none.svg")[2]


def test_lines_stand_best_first_and_trials_without_a_value_count() -> None:
    tried = content(
        {"sgd": [None, 0.5, 0.4, None, 0.9], "adam": [0.7, 0.3, 0.2, 0.3, 0.95], "lion": [None, None]}, "validation/loss"
    )
    found = search_chart(searches({"monday": tried}, "moons", {}))
    assert lines(found) == {"adam": [(1, 0.7), (2, 0.3), (3, 0.2), (5, 0.2)], "sgd": [(2, 0.5), (3, 0.4), (5, 0.4)]}
    assert [*lines(found)] == ["adam", "sgd"]
    assert "2 trials that ended early" in found.caption
    assert searches({"monday": tried}, "iris", {}) == []


def test_a_late_start_and_a_hopeless_optimizer_do_not_stretch_the_axis() -> None:
    late = content({"sgd": [0.1, *[0.9] * 6, 0.92, 0.93], "adam": [0.2, *[0.9] * 6, 0.91, 0.94]})
    found = search_chart(searches({"monday": late}, "moons", {}))
    assert found.spec["encoding"]["y"]["scale"]["domain"] == [0.9, 0.94]
    assert "after an eighth of the trials" in found.caption
    flat = {f"optimizer{number}": [0.9, 0.9 + number / 1000] for number in range(MOST + 1)} | {"lost": [0.1, 0.1]}
    found = search_chart(searches({"monday": content(flat)}, "moons", {})[1:])
    looks = zip(*(found.spec["encoding"][key]["scale"]["range"] for key in ("color", "strokeDash")), strict=True)
    assert len({(colour, tuple(dash)) for colour, dash in looks}) == MOST
    assert f"The first {MOST} of {MOST + 1} configurations are shown." in found.caption
    few = {name: flat[name] for name in ("optimizer1", "optimizer2", "optimizer3", "lost")}
    found = search_chart(searches({"monday": content(few)}, "moons", {}))
    assert "Beyond the axis: lost (0.1)." in found.caption
    assert "lost" not in lines(found)


def test_searches_of_several_sweeps_and_settings_are_told_apart() -> None:
    noisy, clean = (content({"sgd": [0.5, 0.6]}, **{"dataset.noise": noise}) for noise in (0.1, 0.2))
    both = {"configurations": noisy["configurations"] + clean["configurations"]}
    assert [each.name for each in searches({"monday": both}, "moons", {"dataset.noise": "0.1"})] == ["sgd"]
    assert {each.name for each in searches({"monday": noisy, "tuesday": noisy}, "moons", {"dataset.noise": "0.1"})} == {
        "monday: sgd",
        "tuesday: sgd",
    }
