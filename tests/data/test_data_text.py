"""Texts of a user's file: their words by number, those that a split knows, and mistakes."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from dlrun.baselines.rows import Fold, beside
from dlrun.data.dataset import Data
from dlrun.data.modality import SEQUENCES
from dlrun.data.preprocessing import Preprocessing, fit
from dlrun.data.sequences import UNKNOWN, UNKNOWN_WORD, read, words_of
from dlrun.data.sources.text import text
from dlrun.data.splits import Splits, splits
from dlrun.engine.layers import Counts, Pass
from dlrun.errors import DataError
from dlrun.experiments.planning.cohorts import plan
from dlrun.experiments.train import train

NOUNS, GOOD, BAD = ("film", "meal", "trip"), ("good", "great", "don't-miss"), ("bad", "dull", "poor")


def written(folder: Path, rows: list[tuple[str, Any]], name: str = "texts.csv") -> str:
    lines = ["review,label", *(f'"{words}",{label}' for words, label in rows)]
    (folder / name).write_text("\n".join(lines) + "\n")
    return str(folder / name)


def reviews(count: int = 80, seed: int = 0) -> list[tuple[str, str]]:
    draw = np.random.default_rng(seed)
    rows = []
    for row in range(count):
        words = GOOD if row % 2 else BAD
        rows.append((f"The {draw.choice(NOUNS)}, number {draw.integers(40)}: {draw.choice(words)}!", "yes" if row % 2 else "no"))
    return rows


def given(path: str, **more: Any) -> Data:
    return text(path=path, text="review", target="label", **more)


def test_words_are_small_letters_digits_and_apostrophes() -> None:
    assert words_of("It wasn't GOOD - 3 of 10, she said.") == ["it", "wasn't", "good", "3", "of", "10", "she", "said"]
    assert words_of("¡Número 5!") == ["número", "5"]
    assert words_of("...") == words_of("") == [UNKNOWN_WORD]


def test_texts_become_numbers_of_words(tmp_path: Path) -> None:
    data = given(written(tmp_path, [("b a b", "x"), ("", "y"), ("c", ""), ("a d e f", "x")]), length=3)
    assert data.vocabulary == (UNKNOWN_WORD, "a", "b", "d", "e")
    assert data.x.tolist() == [[3, 2, 3], [UNKNOWN, 0, 0], [2, 4, 5]]
    assert (data.y[:, 0].tolist(), data.classes, data.task) == ([0, 1, 0], ("x", "y"), "binary")
    assert data.features == ("review",)
    assert "1 texts are longer than 3 words" in " ".join(data.notes)


@pytest.mark.parametrize(
    ("labels", "more", "task", "outputs"),
    [
        (["a", "b", "c"], {}, "multiclass", 3),
        ([1, 2], {}, "binary", 1),
        ([1, 2], {"task": "multiclass"}, "multiclass", 2),
        ([1, 2], {"task": "regression"}, "regression", 1),
        ([*range(20), "NA"], {}, "regression", 1),
    ],
)
def test_the_target_says_what_is_to_be_learnt(
    labels: list[Any], more: dict[str, Any], task: str, outputs: int, tmp_path: Path
) -> None:
    data = given(written(tmp_path, [("word", label) for label in labels]), **more)
    assert (data.task, data.outputs) == (task, outputs)
    assert len(data) == len(labels) - labels.count("NA")


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"target": None}, "dataset.target: type dataset.path=FILE.csv"),
    ({"text": "revew"}, "dataset.text=revew: texts.csv has no such column; did you mean 'review'"),
    ({"target": "review"}, "dataset.text=review: is dataset.target too"),
    ({"task": "regression"}, "column label: no is no number"),
    ({"positive": "maybe"}, "dataset.positive=maybe: no such class"),
    ({"path": "nothing.csv"}, "nothing.csv"),
]


@pytest.mark.parametrize(("more", "said"), WRONG)
def test_mistakes_are_named(more: dict[str, Any], said: str, tmp_path: Path) -> None:
    path = written(tmp_path, reviews(8))
    with pytest.raises(DataError, match=said):
        text(**{"path": path, "text": "review", "target": "label"} | more)


def test_a_single_class_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="has 1 different values; classes are 2 to 100"):
        given(written(tmp_path, [("word", "x")] * 3))


def test_texts_without_a_word_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="column review: has no word in any of 4 rows"):
        given(written(tmp_path, [("", "x"), ("...", "y")] * 2))


def known(data: Data, scaling: Preprocessing) -> list[str]:
    """The words that a split knows, the most frequent first."""
    numbers = scaling.fill.astype(np.int64).tolist()
    return [data.vocabulary[numbers.index(number) - 1] for number in range(2, max(numbers) + 1)]


def test_a_split_knows_the_most_frequent_words_of_its_training_rows(tmp_path: Path) -> None:
    data = given(written(tmp_path, reviews()), words=9)
    for split in splits(data, [0, 1]):
        scaling = fit(data, split.train)
        counts = Counter(data.vocabulary[number - 1] for row in data.x[split.train].tolist() for number in row if number)
        assert known(data, scaling) == [word for word, _ in sorted(counts.items(), key=lambda item: (-item[1], item[0]))][:8]
        inputs = scaling.inputs(data.x)
        assert int(inputs.max()) == 9
        assert np.array_equal(inputs == 0, data.x == 0)
        assert np.array_equal(Preprocessing.from_json(scaling.to_json()).inputs(data.x), inputs)


def test_counts_are_those_of_scikit_learn(tmp_path: Path) -> None:
    rows = reviews()
    data = given(written(tmp_path, rows), words=9)
    (split,) = splits(data, [0])
    scaling = fit(data, split.train)
    x = scaling.inputs(data.x)
    words = known(data, scaling)
    oracle = CountVectorizer(vocabulary=words, analyzer=words_of).transform([each for each, _ in rows]).toarray()
    assert np.array_equal(SEQUENCES.flat(x, 9)[:, 1:], oracle)
    counts, _ = Counts(9).forward([], [], torch.from_numpy(x)[None], Pass(dtype=torch.float64))
    assert np.array_equal(counts[0], SEQUENCES.flat(x, 9))


def test_the_baseline_is_scikit_learns(tmp_path: Path) -> None:
    """TfidfVectorizer and LogisticRegression with the C that is best on validation rows."""
    rows = reviews(120)
    data = given(written(tmp_path, rows))
    (split,) = splits(data, [0])
    found, notes = beside(["tfidf"], {(0, None): Fold(data, split, fit(data, split.train))}, "log_loss", {})
    texts, labels = np.array([each for each, _ in rows], dtype=object), np.array([label for _, label in rows])
    vectors = TfidfVectorizer(analyzer=words_of).fit(texts[split.train])
    best: tuple[float, float] | None = None
    for strength in (1.0, 10.0, 100.0):
        model = LogisticRegression(C=strength, tol=1e-8, max_iter=1000).fit(
            vectors.transform(texts[split.train]), labels[split.train]
        )
        log_loss, brier = [], []
        for part in (split.validation, split.test):
            p = model.predict_proba(vectors.transform(texts[part]))[np.arange(len(part)), (labels[part] == "yes").astype(int)]
            log_loss.append(-np.log(p).mean())
            brier.append(np.square(1 - p).mean())
        best = min(best, (brier[0], log_loss[1])) if best else (brier[0], log_loss[1])
    assert notes == []
    assert best is not None
    assert found[0].metrics["test/log_loss"] == pytest.approx(best[1], rel=1e-4)


def test_new_texts_may_have_any_words(tmp_path: Path) -> None:
    data = given(written(tmp_path, reviews()), length=4)
    found = read(["The film: unheard of and long"], data.vocabulary, 4)
    assert [data.vocabulary[number - 1] for number in found[0].tolist()] == ["the", "film", UNKNOWN_WORD, UNKNOWN_WORD]


@pytest.mark.parametrize("model", ["gru", "mlp"])
def test_test_rows_have_no_part_in_training(
    model: str, tmp_path: Path, spec_of: Callable[..., Any], datasets: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With other texts in the test rows, the weights have the same bits, and so do the words that are known."""
    rows = reviews()
    (split,) = splits(given(written(tmp_path, rows)), [3])
    tested = set(split.test.tolist())
    other = [
        (f"zebra {row} aardvark the" * 3, label) if row in tested else (words, label) for row, (words, label) in enumerate(rows)
    ]
    found = []
    for name, each in (("before.csv", rows), ("after.csv", other)):
        path = written(tmp_path, each, name)
        more = {"dataset.path": path, "dataset.text": "review", "dataset.target": "label", "dataset.words": 12}
        spec = spec_of(dataset="text", model=model, seed=3, **more, **{"dataset.length": 8, "trainer.max_steps": 4})
        (planned,) = plan([spec], datasets)
        (files,) = train(planned)
        data = planned.cohort.data
        assert Splits.of(planned.cohort.splits).rows("test").ravel().tolist() == split.test.tolist()
        found.append((files.weights, known(data, planned.cohort.preprocessing[0])))
    (weights, words), (others, same_words) = found
    assert words == same_words
    assert all(np.array_equal(weights[key], others[key]) for key in weights)
