"""The retriever to serve: the one-standard-error rule, and what dev questions cannot choose."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from embexp.benchmarking.retriever_choice import (
    WEIGHTS,
    RetrieverChoice,
    _not_refused,
    _one_standard_error,
    choose_retriever,
)
from embexp.benchmarking.task import Query, RetrievalTask
from embexp.data.records import Chunk
from embexp.data.splitting import MIN_DEV_QUESTIONS
from embexp.retrieval.analyzer import Analyzer
from embexp.retrieval.chroma import ChromaRetriever
from embexp.retrieval.parts import PartsRetriever
from embexp.retrieval.translations import TranslatedTerm, Translations
from tests.retrieval.letter_embedder import RandomEmbedder


def rows(*means: float, spread: float = 0.1, questions: int = 100) -> np.ndarray:
    """Scores at each weight: the mean plus a pattern of its own, so that differences have a spread."""
    rng = np.random.default_rng(0)
    values = np.array([mean + spread * rng.standard_normal(questions) for mean in means])
    return values - values.mean(axis=1, keepdims=True) + np.array(means)[:, None]


def test_a_clearly_better_weight_is_chosen() -> None:
    scores = {"tuned": rows(0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)}

    assert _one_standard_error(scores, "tuned") == ("tuned", 0.7, pytest.approx(0.9))


def test_in_doubt_the_choice_nearest_to_the_default_is_kept() -> None:
    # The best is at 0.0; 0.3 is .005 below it, within one standard error (.1 * sqrt(2) / 10 = .014).
    scores = {"tuned": rows(0.5, 0.495, 0.495, 0.495, 0.495, 0.4, 0.3, 0.2)}

    assert _one_standard_error(scores, "tuned")[:2] == ("tuned", 0.3)


def test_the_untuned_model_is_chosen_only_if_it_is_better_beyond_doubt() -> None:
    flat = [0.5] * len(WEIGHTS)
    alike = {"untuned": rows(*flat), "tuned": rows(*flat)}
    better = {"untuned": rows(*(value + 0.2 for value in flat)), "tuned": rows(*flat)}

    assert _one_standard_error(alike, "tuned")[:2] == ("tuned", 0.3)
    assert _one_standard_error(better, "tuned")[0] == "untuned"


@pytest.mark.parametrize(
    ("untuned", "tuned", "chosen"),
    [
        ({0.0: 0.5, 0.3: 0.5}, {0.0: 0.5, 0.3: 0.5}, ("tuned", 0.3)),
        ({0.0: 0.5, 0.3: 0.9}, {0.0: 0.8, 0.3: 0.6}, ("tuned", 0.3)),  # copied words do not choose
        ({0.0: 0.5, 0.3: 0.9}, {0.0: 0.5, 0.3: 0.3}, ("tuned", 0.0)),
        ({0.0: 0.5, 0.3: 0.6}, {0.0: 0.3, 0.3: 0.3}, ("untuned", 0.3)),
        ({0.0: 0.5, 0.3: 0.3}, {0.0: 0.3, 0.3: 0.3}, ("untuned", 0.0)),
    ],
)
def test_copied_words_only_refuse_what_is_worse_than_the_untuned_model_alone(
    untuned: dict[float, float], tuned: dict[float, float], chosen: tuple[str, float]
) -> None:
    # One standard error of a difference is .1 * sqrt(2) / 10 = .014.
    means = {"untuned": untuned, "tuned": tuned}
    scores = {name: rows(*(each.get(weight, 0.9) for weight in WEIGHTS)) for name, each in means.items()}

    assert _not_refused(scores, scores["untuned"][0]) == chosen


class SameEmbedder:
    """Embeds every text alike, so that only words can tell passages apart."""

    fingerprint = "same"
    dimension = 4

    def encode_queries(self, texts: Sequence[str]) -> np.ndarray:
        return np.full((len(texts), 4), 0.5, dtype=np.float32)

    encode_passages = encode_queries


def made_task(*, answerable: bool, questions: int = 30) -> RetrievalTask:
    """Questions that ask for the one word of their passage, or whose answer shares no word with them."""
    corpus = [Chunk(id=f"c{at}", document_id=f"d{at}", text=f"word{at} only") for at in range(questions)]
    corpus.append(Chunk(id="none", document_id="none", text="nothing"))
    queries = [Query(id=f"q{at}", text=f"word{at}", cluster=f"d{at}") for at in range(questions)]
    qrels = {f"q{at}": {f"c{at}" if answerable else "none": 1} for at in range(questions)}
    return RetrievalTask(name="dev", corpus=corpus, queries=queries, qrels=qrels, unit="chunk")


def choose(task: RetrievalTask | None, folder: Path, *, copied: bool = False) -> RetrieverChoice:
    embedders = {"untuned": RandomEmbedder(), "tuned": RandomEmbedder()}
    return choose_retriever(task, embedders, metric="mrr@1", copied=copied, folder=folder)


def test_dev_questions_choose_the_weight_of_words(tmp_path: Path) -> None:
    choice = choose(made_task(answerable=True), tmp_path)
    curve = dict(zip(WEIGHTS, choice.curve["tuned"], strict=True))

    assert choice.model == "tuned"
    assert choice.weight > 0.4
    assert curve[0.0] < 0.2 < curve[0.7] == pytest.approx(25 / 30)
    assert "30 dev questions" in choice.reason


def test_copied_words_do_not_raise_the_weight_of_bm25(tmp_path: Path) -> None:
    choice = choose(made_task(answerable=True), tmp_path, copied=True)

    assert choice.weight == 0.3
    assert "have copied words" in choice.reason


@pytest.mark.parametrize(
    ("questions", "said"), [(100, "the best on 100 dev"), (99, "only refuse what is worse")]
)
def test_many_questions_in_peoples_words_are_taken_at_their_word(
    questions: int, said: str, tmp_path: Path
) -> None:
    choice = choose_retriever(
        made_task(answerable=True, questions=questions),
        {"untuned": RandomEmbedder(), "tuned": RandomEmbedder()},
        metric="mrr@1",
        copied=True,
        peoples_words=True,
        folder=tmp_path,
    )
    best = max(choice.curve["tuned"])

    assert said in choice.reason
    if questions >= 100:
        # The smallest weight that scores best, and no ceiling: these words are not copied.
        assert choice.weight == WEIGHTS[choice.curve["tuned"].index(best)] > 0.4
    else:
        assert choice.weight == 0.3


def test_questions_that_nothing_answers_choose_nothing(tmp_path: Path) -> None:
    choice = choose_retriever(
        made_task(answerable=False),
        {"untuned": SameEmbedder()},
        metric="mrr@1",
        copied=False,
        folder=tmp_path,
    )

    assert (choice.model, choice.weight, choice.fusion) == ("untuned", 0.3, "convex")
    assert "all choices score 0.000 on dev, which tells nothing" in choice.reason


@pytest.mark.parametrize(("stands_for", "used"), [("word", True), ("other", False)])
def test_word_translations_are_used_where_they_score_higher(
    stands_for: str, used: bool, tmp_path: Path
) -> None:
    """Questions ask for ``frage7``, passages say ``word7``."""
    plain = made_task(answerable=True)
    queries = [replace(query, text=query.text.replace("word", "frage")) for query in plain.queries]
    as_written = Analyzer(stemmer=None, stopwords=None)
    terms = {f"frage{at}": TranslatedTerm(0.9, 0.01, {f"{stands_for}{at}": 0.9}) for at in range(30)}
    Translations(as_written, as_written, terms).write(tmp_path / "translations.json")

    choice = choose_retriever(
        replace(plain, queries=queries),
        {"untuned": RandomEmbedder(), "tuned": RandomEmbedder()},
        metric="mrr@1",
        copied=False,
        folder=tmp_path,
        translations=tmp_path / "translations.json",
    )

    assert choice.translated is used
    assert (max(choice.curve["tuned"]) > 0.7) is used
    assert ("word translations change mrr@1 by +0." in choice.reason) == (
        used or "by +0.000" in choice.reason
    )


def same_words(*, ask_whole: bool) -> RetrievalTask:
    """Passages of two sentences with the same eight words; a question is the first one, or all."""
    draw, words = np.random.default_rng(0), ["one", "two", "three", "four", "five", "six", "seven", "eight"]
    corpus, queries = [], []
    for at in range(30):
        first, second = (" ".join(each) + "." for each in draw.permutation(words).reshape(2, 4))
        corpus.append(Chunk(id=f"c{at}", document_id=f"d{at}", text=f"{first} {second}"))
        queries.append(Query(id=f"q{at}", text=corpus[-1].text if ask_whole else first, cluster=f"d{at}"))
    qrels = {f"q{at}": {f"c{at}": 1} for at in range(30)}
    return RetrievalTask(name="dev", corpus=corpus, queries=queries, qrels=qrels, unit="chunk")


@pytest.mark.parametrize("copied", [True, False])
@pytest.mark.parametrize(
    ("ask_whole", "words", "share", "used", "said"),
    [
        (False, 4, 0.5, True, "parts of passages change mrr@1 by +0."),
        (True, 4, 1.0, False, "parts of passages change mrr@1 by -"),
        (False, 8, 0.5, False, "parts of passages change mrr@1 by +0.000"),  # no passage has parts
    ],
)
def test_parts_are_used_where_they_score_higher(
    ask_whole: bool, words: int, share: float, used: bool, said: str, copied: bool, tmp_path: Path
) -> None:
    choice = choose_retriever(
        same_words(ask_whole=ask_whole),
        {"untuned": RandomEmbedder(), "tuned": RandomEmbedder()},
        metric="mrr@1",
        copied=copied,
        folder=tmp_path,
        parts=PartsRetriever(dense=ChromaRetriever(), words=words, share=share),
    )

    assert (choice.part_words, choice.part_share) == ((words, share) if used else (None, None))
    assert (choice.curve["tuned"][0] > 0.7) is (used or ask_whole)
    assert said in choice.reason


@pytest.mark.parametrize("questions", [0, MIN_DEV_QUESTIONS - 1])
def test_too_few_questions_choose_nothing(questions: int, tmp_path: Path) -> None:
    task = made_task(answerable=True, questions=questions) if questions else None
    choice = choose(task, tmp_path)

    assert (choice.model, choice.weight, choice.curve) == ("tuned", 0.3, {})
    assert f"{questions} dev questions are too few" in choice.reason


def test_too_few_questions_leave_parts_as_they_are_configured(tmp_path: Path) -> None:
    parts = PartsRetriever(dense=ChromaRetriever(), words=30, share=0.4)
    choice = choose_retriever(
        None, {"tuned": SameEmbedder()}, metric="mrr@1", copied=False, folder=tmp_path, parts=parts
    )

    assert (choice.part_words, choice.part_share) == (30, 0.4)
