"""The files of conf/claim, the page that the command writes of them, and the command itself."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from dlrun import registry
from dlrun.claims.claim import KINDS, Claim, claims
from dlrun.claims.examine import Bar, Chart, Outcome, examine, verdict
from dlrun.claims.page import INTRODUCTION, described, drawn, page
from dlrun.errors import InputError

Call = Callable[..., tuple[int, str, str]]
PAGE = Path(__file__).parents[2] / "docs" / "claims.md"


def test_every_claim_can_be_read_and_says_what_it_tests() -> None:
    every = claims()
    assert [claim.name for claim in every] == sorted(registry.options("claim"), key=lambda name: Claim.load(name).number)
    assert len({claim.number for claim in every}) == len(every)
    for claim in every:
        assert claim.statement.endswith(".")
        assert len(claim.refuted) > 20
        assert claim.kind.split(" and ")[0] in KINDS
        assert all(check.what for check in claim.checks)
        assert any(check.quantity for check in claim.checks) <= bool(claim.runs)


def test_the_page_says_what_the_files_say() -> None:
    """A claim that was added or changed since: dlrun claims --first-seed 0,1000 --report docs/claims.md writes the page anew."""
    text = PAGE.read_text(encoding="utf-8")
    every = claims()
    places = [text.find(described(claim)) for claim in every]
    assert [claim.name for claim, place in zip(every, places, strict=True) if place < 0] == []
    assert places == sorted(places)
    assert text.startswith(INTRODUCTION)
    assert text.count("\n## ") == len(every)
    assert f"{len(every)} claims: " in text


def test_claims_without_runs_hold() -> None:
    for claim in claims():
        if not claim.runs:
            found = examine(claim)
            assert (claim.name, found.word, found.runs) == (claim.name, "supported", 0)


def test_a_claim_is_trained_judged_and_written_down(call: Call, folder: Path) -> None:
    code, out, err = call("claims", "xor", "--seeds", "5", "--first-seed", "0,50", "--report", "found.md", "trainer.epochs=40")
    assert code == 0
    assert out.count("supported") == 3
    assert "the same verdict from seeds 0 and 50 for 1 of 1" in out
    assert "20/20 runs" in err
    text = (folder / "found.md").read_text()
    assert described(Claim.load("xor")) in text
    assert text.count("| supported |") >= 8
    assert "activation=identity" in text
    code, out, err = call("claims", "xor", "--seeds", "5", "--json", "trainer.epochs=40")
    assert code == 0
    (found,) = json.loads(out)
    assert (found["verdict"], found["runs"], len(found["checks"])) == ("supported", 20, 4)
    assert found["checks"][0]["low"] > 0.2
    assert "training" not in err  # all of them were there


def test_a_claim_whose_runs_did_not_end_is_incomplete(call: Call, folder: Path) -> None:
    words = ["claims", "xor", "--seeds", "5", "--report", "found.md", "trainer.epochs=4000", "timeout_s=0.001"]
    code, out, _ = call(*words)
    assert code == 1
    assert "1 claim: 1 incomplete" in out
    assert "**incomplete**" in (folder / "found.md").read_text()


@pytest.mark.slow
def test_all_of_them_have_a_verdict(call: Call) -> None:
    code, out, _ = call("claims")
    assert code == 0
    assert f"{len(claims())} claims: " in out


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("claims xr", "claims xr: no such claim; dlrun ls claim lists them; did you mean 'xor'?"),
        ("claims --seed 3", "--seed: dlrun claims takes --seeds"),
        ("claims --seeds 3", "--seeds 3: takes a whole number of at least 5"),
        ("claims --seeds 5,6", "--seeds 5,6: takes one number"),
        ("claims --first-seed x", "--first-seed x: takes a whole number of at least 0"),
        ("claims --report page.html", "type --report page.md"),
        ("claim=xor", "a claim is no setting, it is tested; type dlrun claims xor"),
        ("linear_stack", "is the name of a claim; type dlrun claims linear_stack"),
    ],
)
def test_bad_input(call: Call, line: str, said: str) -> None:
    code, out, err = call(*line.split())
    assert (code, out) == (2, "")
    assert said in err
    assert err.count("\n") == 1


def test_a_claim_of_ones_own(call: Call, tmp_path: Path) -> None:
    (tmp_path / "claim").mkdir()
    file = tmp_path / "claim" / "mine.yaml"
    file.write_text("# Mine.\nnumber: x\nkind: good\nseeds: 2\nruns: abc\nchecks: [{more: a}]\nwhy: 1\n")
    code, _, err = call("claims", "mine", "--config-dir", str(tmp_path))
    assert code == 2
    for said in ("number: x", "kind: good", "seeds: 2", "runs: abc", "check 1: than", "why: is no key", "refuted: is missing"):
        assert f"claim/mine: {said}" in err
    file.write_text(
        "# Mine.\nnumber: 99\nkind: better\nruns: ['dataset=moons trainer=smoke activation=relu,tanh']\nseeds: 5\n"
        "checks: [{more: rlu, than: tanh, of: test/accuracy}]\nrefuted: nothing at all, since it is mine\n"
    )
    code, _, err = call("claims", "mine", "--config-dir", str(tmp_path))
    assert code == 2
    assert "claim/mine: reference=rlu: names no group" in err
    file.write_text(file.read_text().replace("rlu", "relu"))
    code, out, _ = call("claims", "mine", "--config-dir", str(tmp_path))
    assert code == 0
    assert "1 claim: " in out


def test_any_check_refutes_and_each_has_to_support() -> None:
    claim = Claim.load("xor")
    finding = examine(Claim.load("smoothness")).findings[0]
    words = {word: type(finding)(word, "", 0, 0, 0, 5, "") for word in ("supported", "refuted", "inconclusive")}  # type: ignore[arg-type]
    assert verdict([words["supported"]] * 2) == "supported"
    assert verdict([words["supported"], words["inconclusive"]]) == "inconclusive"
    assert verdict([words["inconclusive"], words["refuted"]]) == "refuted"
    outcome = Outcome(claim, "refuted", (words["supported"], words["refuted"]), (), 0, 10, 40, 0, 1.0)
    assert outcome.deciding.word == "refuted"
    assert "**refuted**" in page([[outcome]])


def test_a_chart_of_characters() -> None:
    nan = float("nan")
    lines = drawn(Chart("test/r2", (Bar("a", 0.5, 0.0, 1.0), Bar("bb", 1.0, nan, nan), Bar("c", nan, nan, nan))))
    assert lines[0].startswith("test/r2")
    assert lines[1].startswith("a   -----")
    assert lines[1].index("o") == lines[1].rindex("-") - 21
    assert lines[2].rstrip("1 ").endswith("o")
    assert lines[3] == "c   no value"
    assert drawn(Chart("x", (Bar("a", nan, nan, nan),))) == ["x (mean and 95% interval)"]


def test_a_claim_that_is_not_there_names_the_nearest() -> None:
    with pytest.raises(InputError, match="did you mean 'xor'"):
        Claim.load("xorr")
