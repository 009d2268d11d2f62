import math
import random

import pytest

from embexp.benchmarking.metrics import DEFAULT_METRICS, evaluate, retrieve
from embexp.benchmarking.task import Query, RetrievalTask
from embexp.data.records import Chunk
from embexp.errors import ConfigError, DataError, RetrievalError
from embexp.retrieval.index import Hit


def task_of(qrels, *, chunks=None, unit="document"):
    chunks = chunks or [Chunk(id=f"c-{name}", document_id=name, text=name) for name in "abcdefgh"]
    queries = [Query(id=name, text=f"question {name}", cluster=name) for name in qrels]
    return RetrievalTask("toy", chunks, queries, qrels, unit)


def hits(*names):
    return [Hit(name, 1.0 / rank) for rank, name in enumerate(names, start=1)]


def one(ranking, qrels, *metrics):
    scores = evaluate(task_of({"q": qrels}), {"q": ranking}, system="s", metrics=metrics)
    return [scores.per_query["q"][metric] for metric in metrics]


@pytest.mark.parametrize(
    ("metric", "expected"),
    [
        ("accuracy@1", 0.0),
        ("accuracy@2", 1.0),
        ("precision@4", 2 / 4),  # b and d of four places
        ("recall@4", 2 / 3),  # b and d of b, d, g
        ("f1@4", 2 * (1 / 2) * (2 / 3) / (1 / 2 + 2 / 3)),
        ("f1@1", 0.0),
        ("mrr@10", 1 / 2),
        ("mrr@1", 0.0),
        ("map@4", (1 / 2 + 2 / 4) / 3),
        (
            "ndcg@4",  # gains 1 at rank 2 and 2 at rank 4; ideally 2, 1, 1 at ranks 1, 2, 3
            (1 / math.log2(3) + 2 / math.log2(5)) / (2 + 1 / math.log2(3) + 1 / math.log2(4)),
        ),
    ],
)
def test_metrics_by_hand(metric, expected):
    grades = {"b": 1, "d": 2, "g": 1, "a": 0}
    assert one(hits("a", "b", "c", "d"), grades, metric) == [pytest.approx(expected)]


def test_the_order_given_counts_even_where_scores_are_equal():
    tied = [Hit(name, 0.5) for name in "abcd"]
    assert one(tied, {"b": 1}, "mrr@10") == [1 / 2]
    assert one(tied[::-1], {"b": 1}, "mrr@10") == [1 / 3]


def test_equals_trec_eval_with_ties_and_grades():
    from pytrec_eval import RelevanceEvaluator

    rng = random.Random(0)
    names = [f"d{at:03}" for at in range(60)]
    qrels = {f"q{at}": {name: rng.choice([0, 1, 2, 3]) for name in rng.sample(names, 12)} for at in range(40)}
    qrels = {query: {**grades, names[0]: 1} for query, grades in qrels.items()}
    runs = {query: {name: rng.choice([0.1, 0.2, 0.3]) for name in rng.sample(names, 30)} for query in qrels}
    # trec_eval breaks ties by id from Z to A: handed that order, we must agree with it.
    ordered = {
        query: [
            Hit(name, score) for name, score in sorted(run.items(), key=lambda i: (i[1], i[0]), reverse=True)
        ]
        for query, run in runs.items()
    }
    ours = evaluate(
        task_of(qrels), ordered, system="s", metrics=["ndcg@10", "map@100", "mrr@100", "recall@10"]
    )
    theirs = RelevanceEvaluator(qrels, {"ndcg_cut.10", "map_cut.100", "recip_rank", "recall.10"}).evaluate(
        runs
    )
    for query, values in ours.per_query.items():
        assert values["ndcg@10"] == pytest.approx(theirs[query]["ndcg_cut_10"], abs=1e-6)
        assert values["map@100"] == pytest.approx(theirs[query]["map_cut_100"], abs=1e-6)
        assert values["mrr@100"] == pytest.approx(theirs[query]["recip_rank"], abs=1e-6)
        assert values["recall@10"] == pytest.approx(theirs[query]["recall_10"], abs=1e-6)


def test_a_question_without_hits_scores_zero_and_counts():
    scores = evaluate(
        task_of({"q": {"a": 1}, "r": {"b": 1}, "s": {"c": 1}}), {"q": hits("a"), "r": []}, system="x"
    )
    assert scores.system == "x"
    assert scores.mean["ndcg@10"] == pytest.approx(1 / 3)
    assert scores.per_query["r"] == scores.per_query["s"] == dict.fromkeys(DEFAULT_METRICS, 0.0)


def test_a_repeated_hit_counts_once():
    assert one(hits("a", "a", "b"), {"b": 1}, "mrr@10") == [1 / 2]


@pytest.mark.parametrize(
    ("metric", "message"),
    [
        ("ndgc@10", "did you mean ndcg@10"),
        ("ndcg", "no metric 'ndcg'"),
        ("bleu@4", "choose from"),
        ("ndcg@0", "ndcg"),
    ],
)
def test_refuses_a_metric_that_does_not_exist(metric, message):
    with pytest.raises(ConfigError, match=message):
        one([], {"a": 1}, metric)


@pytest.mark.parametrize(
    ("qrels", "message"),
    [
        ({}, "has no questions"),
        ({"q": {}}, "'q' .* has no relevant document"),
        ({"q": {"a": 0}}, "no relevant"),
    ],
)
def test_refuses_a_task_without_judgments(qrels, message):
    with pytest.raises(DataError, match=message):
        evaluate(task_of(qrels), {}, system="s")


class FixedIndex:
    """Returns the same ranking for every question, and remembers how deep it was searched."""

    def __init__(self, ranking):
        self.ranking = ranking
        self.calls = []

    def search(self, queries, *, k):
        self.calls.append((len(queries), k))
        return [self.ranking[:k] for _ in queries]


def test_documents_stand_at_the_rank_of_their_best_chunk():
    chunks = [
        Chunk(id=f"{document}{at}", document_id=document, text="x") for document in "ab" for at in range(2)
    ]
    index = FixedIndex(hits("b1", "a0", "b0", "a1"))
    found = retrieve(task_of({"q": {"a": 1}}, chunks=chunks), index, k=5)
    assert found == {"q": [Hit("b", 1.0), Hit("a", 0.5)]}


def test_searches_deeper_until_enough_documents_are_found():
    chunks = [Chunk(id=f"long{at}", document_id="long", text="x") for at in range(20)]
    chunks += [Chunk(id=name, document_id=name, text="x") for name in "abc"]
    index = FixedIndex(hits(*[f"long{at}" for at in range(20)], "a", "b", "c"))
    found = retrieve(task_of({"q": {"a": 1}}, chunks=chunks), index, k=3)
    assert [hit.id for hit in found["q"]] == ["long", "a", "b"]
    assert [k for _, k in index.calls] == [6, 12, 23]


def test_stops_where_the_system_has_no_more_hits():
    index = FixedIndex(hits("c-a"))
    assert retrieve(task_of({"q": {"a": 1}}), index, k=4) == {"q": [Hit("a", 1.0)]}
    assert len(index.calls) == 1


def test_chunks_are_units_of_their_own_and_questions_go_in_batches():
    index = FixedIndex(hits("c-a", "c-b", "c-c"))
    task = task_of({f"q{at}": {"c-a": 1} for at in range(5)}, unit="chunk")
    found = retrieve(task, index, k=2, batch_size=2)
    assert found["q4"] == [Hit("c-a", 1.0), Hit("c-b", 0.5)]
    assert index.calls == [(2, 2), (2, 2), (1, 2)]


@pytest.mark.parametrize(
    ("ranking", "message"),
    [
        ([Hit("c-a", float("nan"))], "contain NaN"),
        ([Hit("gone", 1.0)], "'gone', which is not in the corpus"),
    ],
)
def test_refuses_scores_and_chunks_that_cannot_be(ranking, message):
    with pytest.raises(RetrievalError, match=message):
        retrieve(task_of({"q": {"a": 1}}), FixedIndex(ranking))
