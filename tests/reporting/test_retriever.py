"""The retriever to serve in words: its gain, how to serve it, and when not to."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from embexp.reporting.outcome import Outcome
from embexp.reporting.retriever import (
    dev_rows,
    retriever_advice,
    retriever_headline,
    retriever_label,
    retriever_summary,
    serving_note,
)
from embexp.reporting.verdict import advice


def changed(outcome: Outcome, *, verdict: str = "WIN", model_verdict: str = "WIN", **values: Any) -> Outcome:
    """Return the outcome with other verdicts of retriever and model, and other values of the retriever."""
    assert outcome.retriever
    assert outcome.comparison
    comparison = replace(outcome.retriever.comparison, verdict=verdict)
    return outcome.model_copy(
        update={
            "retriever": replace(outcome.retriever, comparison=comparison, **values),
            "comparison": replace(outcome.comparison, verdict=model_verdict),
        }
    )


def test_the_gain_is_one_line_with_its_verdict_last(served: Outcome) -> None:
    assert retriever_headline(served) == (
        "Retriever: the tuned model with BM25 at weight 0.4: ndcg@10 0.500 → 0.800, +0.300 "
        "(95% interval +0.100 … +0.500): WIN"
    )
    assert retriever_summary(served).startswith("The tuned model with BM25 at weight 0.4: ndcg@10")


def test_a_win_says_how_to_serve_it_and_why_it_was_chosen(served: Outcome) -> None:
    assert retriever_advice(served) == [
        "Serve it with retriever=hybrid retriever.weight=0.4, as embexp.search does.",
        "Reason: within one standard error of the best on 200 dev questions (ndcg@10 0.640, best 0.650).",
    ]


def test_bm25_is_served_with_its_settings(served: Outcome) -> None:
    words = {"k1": 2.0, "stemmer": None, "fuzzy": False, "stopwords": "english"}
    options = " ".join(f"retriever.sparse.{each}" for each in ("k1=2.0", "stemmer=null", "fuzzy=false"))
    first = retriever_advice(changed(served, bm25=words, translated=True))[0]
    assert first.startswith(f"Serve it with retriever=hybrid retriever.weight=0.4 {options} ")
    assert (
        " retriever.sparse.stopwords=english retriever.sparse.translations=translations.json, a file" in first
    )


def test_a_run_without_a_retriever_says_nothing_of_one(outcome: Outcome) -> None:
    assert (retriever_headline(outcome), retriever_summary(outcome), retriever_advice(outcome)) == (
        "",
        "",
        [],
    )


@pytest.mark.parametrize(
    ("model", "weight", "label", "line"),
    [
        ("tuned", 0.2, "tuned + BM25 0.2", "the tuned model with BM25 at weight 0.2: ndcg@10 0.500 → 0.800"),
        ("untuned", 0.4, "untuned + BM25 0.4", "the untuned model with BM25 at weight 0.4: ndcg@10 0.500 →"),
        ("tuned", 0.0, "tuned", "the tuned model alone: ndcg@10 0.500 → 0.800, +0.300"),
        ("untuned", 0.0, "untuned", "the untuned model alone, as before: ndcg@10 0.500"),
    ],
)
def test_model_and_weight_are_named(
    served: Outcome, model: str, weight: float, label: str, line: str
) -> None:
    other = changed(served, model=model, weight=weight)
    assert other.retriever
    assert retriever_label(other.retriever) == label
    assert retriever_headline(other).startswith(f"Retriever: {line}")


@pytest.mark.parametrize(
    ("weight", "words", "share", "label", "name", "options"),
    [
        (
            0.3,
            50,
            0.5,
            "tuned + parts + BM25 0.3",
            "the tuned model with BM25 at weight 0.3 and parts of passages",
            "retriever=hybrid_parts retriever.weight=0.3",
        ),
        (
            0.3,
            30,
            0.4,
            "tuned + parts + BM25 0.3",
            "the tuned model with BM25 at weight 0.3 and parts of passages",
            "retriever=hybrid_parts retriever.weight=0.3 retriever.dense.words=30 retriever.dense.share=0.4",
        ),
        (
            0.0,
            50,
            0.25,
            "tuned + parts",
            "the tuned model with parts of passages",
            "retriever=parts retriever.share=0.25",
        ),
    ],
)
def test_parts_are_named_and_served(
    served: Outcome, weight: float, words: int, share: float, label: str, name: str, options: str
) -> None:
    other = changed(served, weight=weight, part_words=words, part_share=share)
    assert other.retriever
    assert retriever_label(other.retriever) == label
    assert retriever_headline(other).startswith(f"Retriever: {name}: ndcg@10 0.500 → 0.800")
    assert retriever_advice(other)[0] == f"Serve it with {options}, as embexp.search does."


def test_parts_and_word_translations_are_both_named(served: Outcome) -> None:
    other = changed(served, part_words=50, part_share=0.5, translated=True)

    assert "with BM25 at weight 0.4, parts of passages and word translations:" in retriever_headline(other)


@pytest.mark.parametrize("model", ["tuned", "untuned"])
def test_a_model_alone_needs_no_options(served: Outcome, model: str) -> None:
    assert served.retriever
    assert retriever_advice(changed(served, model=model, weight=0.0)) == [
        f"Reason: {served.retriever.reason}."
    ]


@pytest.mark.parametrize(
    ("verdict", "model_verdict", "sentence"),
    [
        (
            "NO EVIDENCE",
            "NO EVIDENCE",
            "It is not clearly better than the untuned model alone; to try it, set",
        ),
        ("REGRESSION", "NO EVIDENCE", "Serve the untuned model alone: on the test questions it"),
        ("NO EVIDENCE", "WIN", "Serve the tuned model alone: only that is clearly better"),
        ("REGRESSION", "WIN", "Serve the tuned model alone: only that is clearly better"),
    ],
)
def test_a_retriever_that_did_not_win_is_not_recommended(
    served: Outcome, verdict: str, model_verdict: str, sentence: str
) -> None:
    points = retriever_advice(changed(served, verdict=verdict, model_verdict=model_verdict))
    assert points[0].startswith(sentence)
    assert len(points) == 2


def test_a_model_that_scores_higher_alone_is_named(served: Outcome) -> None:
    points = retriever_advice(changed(served, scores={"ndcg@10": 0.7}))
    assert "On the test questions the tuned model alone scores higher (0.750)" in points[0]


def test_a_gain_of_words_alone_is_not_credited_to_training(served: Outcome) -> None:
    doubtful = changed(served, model_verdict="NO EVIDENCE")
    assert retriever_advice(doubtful)[1] == (
        "BM25 may account for all of the gain: on dev, the untuned model scores 0.550 at the same weight, "
        "the tuned model 0.640."
    )
    assert not [point for point in retriever_advice(changed(doubtful, model_verdict="WIN")) if "may" in point]
    assert len(retriever_advice(changed(served, model_verdict="NO EVIDENCE", curve={}))) == 2


@pytest.mark.parametrize(
    ("model", "weight", "model_verdict", "start"),
    [
        ("tuned", 0.4, "WIN", "Use the tuned model"),
        ("untuned", 0.4, "WIN", "For search by vectors alone, use the tuned model"),
        ("tuned", 0.4, "REGRESSION", "For search by vectors alone, keep the untuned model"),
        ("untuned", 0.4, "REGRESSION", "Keep the untuned model"),
        ("tuned", 0.0, "REGRESSION", "Keep the untuned model"),
    ],
)
def test_advice_on_the_model_and_on_the_retriever_do_not_contradict_each_other(
    served: Outcome, model: str, weight: float, model_verdict: str, start: str
) -> None:
    other = changed(served, model=model, weight=weight, model_verdict=model_verdict)
    assert advice(other)[0].startswith(start)


def test_the_hybrid_is_not_recommended_twice(served: Outcome) -> None:
    better = {**served.scores, "hybrid": {"ndcg@10": 0.9}}
    assert not [point for point in advice(served.model_copy(update={"scores": better})) if "hybrid" in point]
    older = served.model_copy(update={"scores": better, "retriever": None})
    assert any("retriever=hybrid" in point for point in advice(older))


def test_a_benchmark_without_a_tuned_model_has_a_retriever_too(served: Outcome) -> None:
    alone = changed(served, model="untuned").model_copy(
        update={"comparison": None, "training": None, "scores": {"untuned": {"ndcg@10": 0.5}}}
    )
    assert retriever_headline(alone).startswith("Retriever: the untuned model with BM25 at weight 0.4")
    assert retriever_advice(alone)[0] == "Serve it with retriever=hybrid retriever.weight=0.4."


@pytest.mark.parametrize(
    ("model", "weight", "verdict", "note"),
    [
        ("tuned", 0.4, "WIN", "Served: the tuned model with BM25 at weight 0.4 (the last column)."),
        (
            "tuned",
            0.0,
            "NO EVIDENCE",
            "Served: the tuned model alone. On the test questions it is not",
        ),
        (
            "tuned",
            0.0,
            "REGRESSION",
            "Served: the tuned model alone. On the test questions the untuned",
        ),
        ("untuned", 0.0, "NO EVIDENCE", "Served: the untuned model alone."),
    ],
)
def test_a_search_says_what_is_served_and_what_the_test_says_of_it(
    served: Outcome, model: str, weight: float, verdict: str, note: str
) -> None:
    retriever = changed(served, verdict=verdict, model=model, weight=weight).retriever
    assert retriever
    text = serving_note(retriever, in_last_column=weight > 0)
    assert text.startswith(note)
    assert ("On the test questions" in text) == ("On the test questions" in note)


def test_dev_scores_are_a_row_for_each_model(served: Outcome) -> None:
    assert served.retriever
    untuned, tuned = dev_rows(served.retriever)
    assert (untuned.model, untuned.chosen) == ("untuned", None)
    assert (tuned.model, tuned.chosen, tuned.scores[4]) == ("tuned", 4, 0.64)
    assert dev_rows(replace(served.retriever, curve={})) == []
