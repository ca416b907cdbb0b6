"""``dlrun gate``: not worse than a reference by more than a margin."""

import json
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from scipy.stats import ttest_1samp, ttest_rel

from dlrun.comparison.noninferiority import Margin, judge
from dlrun.comparison.table import Group, Row, groups
from dlrun.errors import InputError

Call = Callable[..., tuple[int, str, str]]
METRIC = "test/rmse"


def table(metric: str = METRIC, rows: float = 0.0, **values: list[float | None]) -> dict[str, Group]:
    found = [
        Row(
            f"{name}{seed}",
            "done" if value is not None else "diverged",
            seed,
            None,
            {"group": name},
            {metric: value, "test/rows": rows},
        )
        for name, several in values.items()
        for seed, value in enumerate(several)
    ]
    return {str(group.factors["group"]): group for group in groups(found, metric, higher_is_better=False)}


def test_the_p_is_that_of_a_one_sided_paired_t_test() -> None:
    rng = np.random.default_rng(0)
    a, r = rng.normal(5.1, 0.3, 12), rng.normal(5, 0.3, 12)
    found = table(a=a.tolist(), r=r.tolist())
    (absolute,) = judge([found["a"]], found["r"], METRIC, Margin.of("0.4"), higher_is_better=False)
    assert absolute.p == pytest.approx(ttest_rel(a, r + 0.4, alternative="less").pvalue)
    (relative,) = judge([found["a"]], found["r"], METRIC, Margin.of("8%"), higher_is_better=False)
    assert relative.p == pytest.approx(ttest_1samp(r * 1.08 - a, 0, alternative="greater").pvalue)
    assert relative.allowed == pytest.approx(0.08 * r.mean())
    bound = ttest_rel(a, r).confidence_interval(0.9).high
    assert absolute.worst == pytest.approx(bound)
    assert absolute.passed == (bound < 0.4) == (absolute.p < 0.05)
    higher = judge([found["a"]], found["r"], METRIC, Margin.of("0.4"), higher_is_better=True)[0]
    assert higher.p == pytest.approx(ttest_rel(a, r - 0.4, alternative="greater").pvalue)


def test_a_percentage_of_a_negative_mean_allows_less_than_it() -> None:
    rng = np.random.default_rng(1)
    r = rng.normal(-2.0, 0.01, 10)
    found = table("test/r2", a=(r - 0.1).tolist(), r=r.tolist())
    for margin, passed in (("10%", True), ("1%", False)):
        assert judge([found["a"]], found["r"], "test/r2", Margin.of(margin), higher_is_better=True)[0].passed == passed


def test_too_few_pairs_and_lost_runs_do_not_pass() -> None:
    few = table(a=[1.0, 1.1, 1.2], r=[2.0, 2.1, 2.2])
    assert judge([few["a"]], few["r"], METRIC, Margin(0.5), higher_is_better=False)[0].why == "3 pairs; run at least 5 seeds"
    lost = table(a=[1.0, 1.1, 1.2, 1.3, 1.4, 1.5, None, None], r=[2.0, 2.1, 2.2, 2.4, 2.2, 2.2, 2.2, 2.2])
    assert judge([lost["a"]], lost["r"], METRIC, Margin(0.5), higher_is_better=False)[0].why == "2 of 8 runs diverged"
    said = judge([lost["r"]], lost["a"], METRIC, Margin(0.5), higher_is_better=True)[0].why
    assert said == "2 of 8 runs of the reference diverged"


def test_equal_accuracies_may_differ_by_a_sample_in_the_next_pair() -> None:
    equal = table("test/accuracy", rows=30.0, a=[0.9] * 6, r=[0.9] * 6)
    known = {"higher_is_better": True}
    assert judge([equal["a"]], equal["r"], "test/accuracy", Margin(0.2), **known)[0].passed
    assert not judge([equal["a"]], equal["r"], "test/accuracy", Margin(0.005), **known)[0].passed


@pytest.mark.parametrize("text", ["x", "0", "-1%", "nan", "inf", "%"])
def test_a_margin_is_above_zero(text: str) -> None:
    with pytest.raises(InputError, match="--margin"):
        Margin.of(text)


def test_the_command(call: Call, folder: Path) -> None:
    words = ("-m", "dataset=moons", "trainer=smoke", "model.hidden=[4]", "activation=relu,tanh,<b>", "seed=range(0,6)")
    assert call(*[word.replace(",<b>", ",gelu") for word in words])[0] == 0
    code, out, err = call("gate", "--reference", "relu", "--margin", "90%")
    assert (code, err) == (0, "")
    assert out.count("passed") == 2
    code, out, err = call("gate", "--reference", "relu", "--margin", "0.0001", "--metric", "validation/log_loss")
    assert code == 3
    assert err.startswith("error: gate: not shown to be within 0.0001: activation=")
    assert "validation/log_loss not worse than activation=relu by more than 0.0001" in out
    code, out, _ = call("gate", "--reference", "relu", "--margin", "0.0001", "--format", "junit")
    suite = ElementTree.fromstring(out)[0]
    failed = int(suite.attrib["failures"])
    assert (code, suite.attrib["tests"]) == (3 if failed else 0, "2")
    code, out, _ = call("gate", "--reference", "relu", "--margin", "0.0001", "--format", "json")
    (gate,) = json.loads(out)["gates"]
    assert sum(not group["passed"] for group in gate["groups"]) == failed
    out = call("gate", "--reference", "relu", "--candidate", "tanh", "--margin", "90%", "--format", "md")[1]
    assert [line.split(" | ")[0] for line in out.splitlines()[4:]] == ["| activation=tanh"]
    for rest, line in (
        ((), "gate: needs --reference and --margin, such as"),
        (("--reference", "relu", "--margin", "2%", "--format", "xml"), "--format xml: takes one of table, md, json, junit"),
        (("--reference", "rleu", "--margin", "2%"), "reference=rleu: names no group"),
        (("--reference", "relu", "--margin", "2%", "--candidate", "relu"), "gate: moons has no group but activation=relu"),
        (("--reference", "relu", "--margin", "2%", "--metric", "speed"), "metric=speed: no run has it"),
    ):
        code, out, err = call("gate", *rest)
        assert (code, out, err[: 7 + len(line)]) == (2, "", f"error: {line}")
