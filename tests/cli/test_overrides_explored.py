"""Whatever is typed as an override, the answer is a run that can be trained or lines that say what to type: never a traceback.

Valid overrides are joined, cut and changed by a few characters, then composed and checked; nothing is trained. 20 strings a test
run; `make slow` tries 1,000, and DLRUN_EXPLORE=1 draws other ones each time.
"""

import re
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, given, settings

from dlrun.api import _composed
from dlrun.cli.arguments import check_settings, parse
from dlrun.config.composing.from_python import several, single
from dlrun.config.spec import from_config
from dlrun.errors import InputError

pytestmark = pytest.mark.fault("override strings")

VALID = """\
seed=1  seed=0,1,2  seed=range(0,3)  seed=range(0,3),10  name=x  name='a b'  name="a,b"  metric=r2  margin=0.1  reference=best
optimizer=sgd  optimizer=adam,sgd  optimizer.lr=0.01  optimizer.lr=1e-3,1e-2  optimizer.lr=range(0.1,0.4,0.1)
optimizer.betas=[0.9,0.99]  optimizer={lr:0.1}  ++optimizer.lr=0.1  +optimizer.foo=1  ~optimizer.lr  optimizer.lr=${seed}
activation=relu  activation=glob(s*)  activation=glob([s*,t*],exclude=si*),relu  activation=choice(relu,tanh)
regularizer=[l1]  regularizer=[l1,dropout]  regularizer=[],[l1]  regularizer.l1.weight=1e-3  regularizer=l2  ~regularizer
model.hidden=[8,8]  model.hidden=[8],[8,8]  model.layers=[flatten,{hidden:[3]},output]  +model.x=1  model=linear
trainer.epochs=3  trainer.max_steps=null  trainer.device=cpu  trainer.clip_norm=1.0  trainer=smoke
dataset=iris  dataset.folds=3  dataset.validation=0.1  dataset=csv  dataset.path=a.csv  dataset.target="1.10"  dataset.drop=[a,b]
loss=mse  loss=null  ~loss  loss.delta=2  baseline=[mean,linear]  baseline=none  experiment=xor  ~experiment
+optimizer@inner=sgd  optimizer@x=sgd  +dataset@_global_=xor  hydra.launcher.processes=2  hydra/launcher=basic  hydra.run.dir=x
hydra.mode=MULTIRUN  hydra.verbose=true  hydra/job_logging=none  logger.progress=false  output_dir=o  seed=shuffle(range(0,4))
seed=sort(3,1,2)  seed=tag(a,range(0,2))  seed=interval(0,1)  name=int(3)  name=str(3)  optimizer.lr=float(1)  a.b.c=1
"""
WORDS = [word.strip() for line in VALID.splitlines() for word in line.split("  ")]
PIECES = [
    *"=,.[](){}+~@/:'\"$*- \\0e_%",
    "null",
    "true",
    "${",
    "}",
    "range(",
    "glob(",
    "choice(",
    "1..3",
    "“",
    "–",
    "nan",
    "1e999",
    "é",
]


@st.composite
def overrides(draw: Any) -> str:
    """A valid override, or the key of one with the value of another, with up to three changes."""
    word = draw(st.sampled_from(WORDS))
    if draw(st.booleans()):
        word = f"{word.partition('=')[0]}={draw(st.sampled_from(WORDS)).partition('=')[2]}"
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(word)))
        change = draw(st.sampled_from(["insert", "delete", "double", "swap"]))
        piece = draw(st.sampled_from(PIECES)) if change in ("insert", "swap") else ""
        word = word[:at] + (word[at : at + 1] * 2 if change == "double" else piece) + word[at + (change not in ("insert",)) :]
    return str(word)


def answer(words: list[str], *, sweeps: bool) -> None:
    """Compose and check; anything but an InputError in single lines is a failure."""
    problems: tuple[str, ...] = ("none",)
    try:
        arguments = parse(words)
        check_settings(arguments)
        if arguments.flags:
            return
        composed: Any = _composed(several if sweeps else single, arguments.overrides, None)
        for job in composed[0][:3] if sweeps else [composed]:
            from_config(job.config, job.choices, job.overrides, job.mentioned)
    except InputError as error:
        problems = error.problems
    assert problems, words
    for problem in problems:
        assert problem.strip(), words
        assert "\n" not in problem, (words, problem)
        assert not re.search(r"\w+(Error|Exception)\b|hydra\.cc|QuotedString|Sweep\(", problem), (words, problem)


def explore(monkeypatch: pytest.MonkeyPatch, examples: int) -> None:
    monkeypatch.setattr("dlrun.config.checks.validation.Problems.dataset", _no_data)

    @settings(max_examples=examples, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(overrides(), min_size=1, max_size=2), st.booleans())
    def explored(words: list[str], sweeps: bool) -> None:
        answer(words, sweeps=sweeps)

    explored()


def _no_data(self: Any, config: Any, choices: Any) -> tuple[Any, str]:
    return self.part(config, "dataset", choices, omit=tuple(config)), "regression"


def test_some_overrides(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    explore(monkeypatch, 20)
    assert not list(folder.iterdir())


@pytest.mark.slow
def test_many_overrides(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    explore(monkeypatch, 1000)
    assert not list(folder.iterdir())


@pytest.mark.parametrize("each", [12, pytest.param(1, marks=pytest.mark.slow)])
def test_every_valid_override_has_an_answer(folder: Path, monkeypatch: pytest.MonkeyPatch, each: int) -> None:
    """Some of them do not fit together with the defaults, and are refused."""
    monkeypatch.setattr("dlrun.config.checks.validation.Problems.dataset", _no_data)
    for word in WORDS[::each]:
        answer([word], sweeps=True)


@pytest.mark.parametrize("sweeps", [False, True])
def test_what_refers_to_nothing_has_an_answer(folder: Path, sweeps: bool) -> None:
    for word in ("optimizer.lr=${nothing}", "name=${nothing.at.all}", "name=${no_resolver:1}"):
        answer([word], sweeps=sweeps)
