"""Near ties are encoded in float32, and the order of relevant units is then that of float32."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
import torch

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


def task_of_words(documents: int, questions: int) -> RetrievalTask:
    draw = random.Random(0)
    words = ["".join(draw.choices("abcdefgh", k=4)) for _ in range(60)]
    corpus = [
        Chunk(f"c{at:03}", f"c{at:03}", " ".join(draw.choices(words, k=draw.randint(3, 9))))
        for at in range(documents)
    ]
    asked = draw.sample(corpus, questions)
    queries = [Query(f"q{at}", " ".join(chunk.text.split()[:3]), chunk.id) for at, chunk in enumerate(asked)]
    return RetrievalTask("t", corpus, queries, {query.id: {query.cluster: 1} for query in queries}, "chunk")


class Coarse(SourceEmbedder):
    """Has vectors in mixed precision that are off by ``error`` in a random direction."""

    error = 0.05

    def _encode(self, role, texts, *, bf16):
        vectors = super()._encode(role, texts, bf16=False)
        if not bf16:
            return vectors
        for row, text in enumerate(texts):
            noise = np.random.default_rng(list(f"{role} {text}".encode())).normal(size=vectors.shape[1])
            vectors[row] += self.error * noise / np.linalg.norm(noise)
        return vectors


@pytest.mark.parametrize(
    ("most", "everything"), [(0.0, True), (1.0, False)]
)  # where all texts are encoded in float32, and where near ties are
def test_scores_are_those_of_float32(
    most: float, everything: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True)
    monkeypatch.setattr("embexp.benchmarking.float32_order.MOST", most)
    source, task = TinyModel(dimension=256, layers=1), task_of_words(300, 60)
    exact = SourceEmbedder(source, EmbeddingCache(tmp_path / "exact"))
    coarse = Coarse(source, EmbeddingCache(tmp_path / "coarse"), bf16=True)
    index = ExactRetriever().index(task.corpus, coarse, path=tmp_path)
    before = evaluate(task, retrieve(task, index, k=100), system="before")
    expected = score_embedder(task, exact, system="exact", folder=tmp_path)
    found = score_embedder(task, coarse, system="coarse", folder=tmp_path)

    texts = [*(query.text for query in task.queries), *(chunk.passage for chunk in task.corpus)]
    assert coarse.mixed
    assert before.mean["ndcg@10"] != pytest.approx(expected.mean["ndcg@10"], abs=1e-4)
    assert found.mean["ndcg@10"] == pytest.approx(expected.mean["ndcg@10"], abs=1e-9)
    assert found.mean["mrr@10"] == pytest.approx(expected.mean["mrr@10"], abs=1e-9)
    settled = sum(len(each) for each in coarse._in_float32.values())
    assert settled == len(set(texts)) if everything else 0 < settled < len(texts)


def test_nothing_is_encoded_again_without_mixed_precision(tmp_path: Path) -> None:
    embedder = SourceEmbedder(TinyModel(layers=1), EmbeddingCache(tmp_path), bf16=True)
    assert order_as_float32(task_of_words(10, 3), embedder, tmp_path) == 0
