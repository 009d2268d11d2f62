"""Near ties are encoded in float32, and the order of relevant units is then that of float32."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from embexp.benchmarking.float32_order import _near_ties, order_as_float32
from embexp.benchmarking.metrics import evaluate, retrieve
from embexp.benchmarking.systems import score_embedder
from embexp.benchmarking.task import Query, RetrievalTask
from embexp.data.records import Chunk
from embexp.models.embedding_cache import EmbeddingCache
from embexp.models.encoder import SourceEmbedder
from embexp.models.tiny import TinyModel
from embexp.retrieval.exact import ExactRetriever
from embexp.retrieval.index import Hit

CORPUS = [Chunk(name, name[0], f"text {name}") for name in ("a1", "a2", "b1", "c1", "d1")]
HITS = {"q": [Hit("a1", 0.9), Hit("b1", 0.8995), Hit("a2", 0.8994), Hit("c1", 0.7), Hit("d1", 0.6999)]}


def near_ties(qrels, *, cutoff: int = 10, **more) -> set[tuple[str, str]]:
    task = RetrievalTask("t", CORPUS, [Query("q", "why?", "a")], {"q": qrels}, "document", **more)
    return {(one[5:], two[5:]) for _, one, two in _near_ties(task, HITS, margin=1e-3, cutoff=cutoff)}


@pytest.mark.parametrize(
    ("qrels", "expected"),
    [
        ({"a": 1}, {("a1", "b1"), ("a2", "b1")}),  # either passage of a may give its score
        ({"b": 1}, {("a1", "b1"), ("a2", "b1")}),
        ({"a": 1, "b": 1}, set()),  # whichever is first, the gain is the same
        ({"a": 2, "b": 1}, {("a1", "b1"), ("a2", "b1")}),
        ({"a": 1, "b": 1, "d": 1}, {("c1", "d1")}),
        ({"a": 0, "b": -1}, set()),  # neither is relevant
    ],
)
def test_near_ties_are_those_of_units_that_differ_in_relevance(qrels, expected) -> None:
    assert near_ties(qrels) == expected


def test_near_ties_below_the_cutoff_do_not_count_and_those_across_it_do() -> None:
    assert near_ties({"d": 1}, cutoff=2) == set()
    assert near_ties({"d": 1}, cutoff=3) == {("c1", "d1")}


def test_a_question_that_is_its_own_document_has_no_near_tie_with_it() -> None:
    assert near_ties({"b": 1}, own={"q": frozenset("a")}) == set()


def test_before_a_judge_has_graded_every_near_tie_counts() -> None:
    task = RetrievalTask("t", CORPUS, [Query("q", "why?", "a")], {}, "chunk", judge_depth=5)
    found = {(one[5:], two[5:]) for _, one, two in _near_ties(task, HITS, margin=1e-3, cutoff=10)}
    assert found == {("a1", "b1"), ("a1", "a2"), ("b1", "a2"), ("c1", "d1")}


def task_of(passages: int, questions: int) -> RetrievalTask:
    corpus = [Chunk(f"c{at:03}", f"c{at:03}", f"passage {at}") for at in range(passages)]
    queries = [Query(f"q{at}", f"question {at}", f"c{at:03}") for at in range(questions)]
    return RetrievalTask("t", corpus, queries, {query.id: {query.cluster: 1} for query in queries}, "chunk")


class Drawn(SourceEmbedder):
    """Has drawn vectors; those in mixed precision are off by ``error`` in a drawn direction.

    A question resembles the passage of its number, so that this is often but not always among the first ten.
    """

    mixed = True

    def __init__(self, error: float) -> None:
        self.error, self.wall, self._adapted = error, 0.0, None
        self._in_float32 = {"query": set(), "passage": set()}

    def _fetch(self, role, texts, *, bf16):
        return np.stack([self._vector(role, text, bf16=bf16) for text in texts]).astype(np.float32)

    def _vector(self, role, text, *, bf16):
        number = int(text.split()[1])
        vector = np.random.default_rng(number).normal(size=32)
        if role == "query":
            vector += 1.5 * np.random.default_rng([number, 1]).normal(size=32)
        if bf16:
            vector += self.error * np.random.default_rng([number, 2, role == "query"]).normal(size=32)
        return vector / np.linalg.norm(vector)


@pytest.mark.parametrize(
    ("most", "everything"), [(0.0, True), (1.0, False)]
)  # where all texts are encoded in float32, and where near ties are
def test_scores_are_those_of_float32(
    most: float, everything: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("embexp.benchmarking.float32_order.MOST", most)
    task, exact, coarse = task_of(400, 100), Drawn(error=0.0), Drawn(error=0.01)
    index = ExactRetriever().index(task.corpus, coarse, path=tmp_path)
    before = evaluate(task, retrieve(task, index, k=100), system="before")
    expected = score_embedder(task, exact, system="exact", folder=tmp_path)
    found = score_embedder(task, coarse, system="coarse", folder=tmp_path)

    assert before.mean["ndcg@10"] != pytest.approx(expected.mean["ndcg@10"], abs=1e-4)
    assert found.mean["ndcg@10"] == pytest.approx(expected.mean["ndcg@10"], abs=1e-9)
    assert found.mean["mrr@10"] == pytest.approx(expected.mean["mrr@10"], abs=1e-9)
    settled = sum(len(each) for each in coarse._in_float32.values())
    assert settled == 500 if everything else 0 < settled < 250


def test_nothing_is_encoded_again_without_mixed_precision(tmp_path: Path) -> None:
    embedder = SourceEmbedder(TinyModel(layers=1), EmbeddingCache(tmp_path), bf16=True)
    assert order_as_float32(task_of(10, 3), embedder, tmp_path) == 0
