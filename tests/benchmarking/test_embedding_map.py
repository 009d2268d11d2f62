from __future__ import annotations

import numpy as np
import pytest
from pydantic import TypeAdapter

from embexp.benchmarking.embedding_map import EmbeddingMap, _project, draw_map
from embexp.benchmarking.metrics import Scores
from embexp.benchmarking.task import Query, RetrievalTask
from embexp.data.records import Chunk


class Known:
    """Embeds texts as the vectors that it was given."""

    fingerprint = "known"
    dimension = 3

    def __init__(self, **vectors):
        self.vectors = vectors

    def encode_queries(self, texts):
        found = np.array([self.vectors[text] for text in texts], dtype=np.float32)
        return found / np.linalg.norm(found, axis=1, keepdims=True)

    encode_passages = encode_queries


def scores(system, values):
    return Scores(system, {}, {f"q{n}": {"m": value} for n, value in enumerate(values)})


@pytest.fixture
def task():
    corpus = [Chunk(f"c{n}", f"d{n}", f"text{n}") for n in range(3)] + [Chunk("c0b", "d0", "late")]
    queries = [Query(f"q{n}", f"asks{n}", f"d{n}") for n in range(3)]
    return RetrievalTask("kb", corpus, queries, {f"q{n}": {f"d{n}": 1} for n in range(3)}, "document")


@pytest.fixture
def models():
    axes = np.eye(3)
    passages = {f"text{n}": axes[n] for n in range(3)}
    untuned = Known(**passages, late=[1, 1, 0], asks0=[1, 1, 0], asks1=[1, 1, 0], asks2=[1, 0, 1])
    tuned = Known(**passages, late=[1, 1, 0], asks0=[1, 1, 0], asks1=[0, 1, 0], asks2=[1, 0, 0])
    return untuned, tuned


def test_questions_are_tied_to_the_nearest_chunk_of_their_document(task, models):
    before, after = scores("untuned", [0, 0, 1]), scores("tuned", [0, 1, 0])
    found = draw_map(task, *models, {"untuned": before, "tuned": after}, metric="m", seed=0)
    told = {
        (found.spots[question].text, found.spots[answer].text, delta)
        for question, answer, delta in found.links
    }
    assert told == {("asks1", "text1", 1), ("asks2", "text2", -1)}
    kinds = [spot.kind for spot in found.spots]
    assert (kinds.count("question"), kinds.count("passage")) == (3, 4)
    # untuned: asks0 meets "late" exactly, asks1 and asks2 lie at 45° from their answers
    assert found.answer[0] == pytest.approx((1 + 2 * 0.5**0.5) / 3)
    # tuned: asks1 meets its answer, asks2 stands at right angles to it
    assert found.answer[1] == pytest.approx(2 / 3)
    stored = TypeAdapter(EmbeddingMap)
    assert stored.validate_json(stored.dump_json(found)) == found


def test_too_few_questions_make_no_map(task, models):
    few = RetrievalTask("kb", task.corpus, task.queries[:2], task.qrels, "document")
    assert draw_map(few, *models, {}, metric="m", seed=0) is None


def test_a_question_whose_answer_is_not_in_the_corpus_is_left_out(task, models):
    before, after = scores("untuned", [0, 0, 1, 0]), scores("tuned", [0, 1, 0, 1])
    more = RetrievalTask(
        "kb",
        task.corpus,
        [*task.queries, Query("q3", "asks of nothing here", "gone")],
        {**task.qrels, "q3": {"gone": 1}},
        "document",
    )
    found = draw_map(more, *models, {"untuned": before, "tuned": after}, metric="m", seed=0)
    assert "asks of nothing here" not in {spot.text for spot in found.spots}


def distances(points):
    return np.linalg.norm(points[:, None] - points[None], axis=2)


def test_two_dimensions_are_shown_as_they_are():
    flat = np.random.default_rng(0).normal(size=(20, 2)) @ np.random.default_rng(1).normal(size=(2, 8))
    before, after, shares = _project(flat, flat)
    assert before == pytest.approx(after)
    assert distances(before) == pytest.approx(distances(flat))
    assert shares == pytest.approx((1.0, 1.0))


def test_a_turned_and_shifted_space_falls_on_the_first():
    rng = np.random.default_rng(2)
    vectors = rng.normal(size=(30, 6))
    turn = np.linalg.qr(rng.normal(size=(6, 6)))[0]
    before, after, _ = _project(vectors, vectors @ turn + 3.0)
    assert after == pytest.approx(before)


def test_models_of_different_dimension_share_a_plane():
    vectors = np.random.default_rng(3).normal(size=(30, 4))
    before, after, _ = _project(vectors, np.pad(vectors, ((0, 0), (2, 0))))
    assert before.shape == after.shape == (30, 2)
    assert after == pytest.approx(before)


def test_the_share_of_the_variance_is_that_of_two_components():
    # four axes with variances 4, 1, 1, 1: two of them show 5 of 7
    vectors = np.concatenate([np.diag([2.0, 1.0, 1.0, 1.0]), -np.diag([2.0, 1.0, 1.0, 1.0])])
    assert _project(vectors, vectors)[2] == pytest.approx((5 / 7, 5 / 7))


def test_points_that_are_all_alike_have_no_variance():
    assert _project(np.ones((5, 3)), np.ones((5, 3)))[2] == (0.0, 0.0)
