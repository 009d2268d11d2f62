from __future__ import annotations

import numpy as np
import pytest

from embexp.synthesis.diversity import (
    Diversity,
    _cosines_of,
    _distinct,
    _evenness,
    _self_similarity,
    _vendi_score,
)
from tests.synthesis.synthesis_fakes import simple_pair as pair


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ([5, 5], 1.0),
        ([7], 0.0),
        ([], 0.0),
        # shares 3/4 and 1/4: (0.75 ln(4/3) + 0.25 ln 4) / ln 2 = 0.8113
        ([3, 1, 0], 0.8113),
    ],
)
def test_evenness(counts: list[int], expected: float) -> None:
    assert _evenness(counts) == pytest.approx(expected, abs=1e-4)


def test_distinct_counts_different_runs() -> None:
    texts = ["a b a", "A b"]
    assert _distinct(texts, 1) == 2 / 5  # a, b of a b a a b
    assert _distinct(texts, 2) == 2 / 3  # a b, b a of a b, b a, a b
    assert _distinct([], 2) == 0.0


def test_self_similarity_is_the_mean_off_the_diagonal() -> None:
    cosines = np.array([[1.0, 0.5, 0.1], [0.5, 1.0, 0.0], [0.1, 0.0, 1.0]])
    assert _self_similarity(cosines) == pytest.approx((0.5 + 0.1 + 0.0) / 3)
    assert _self_similarity(np.ones((1, 1))) == 0.0


def test_the_vendi_score_counts_wholly_different_texts() -> None:
    assert _vendi_score(np.eye(4)) == pytest.approx(4.0)
    assert _vendi_score(np.ones((4, 4))) == pytest.approx(1.0)
    assert _vendi_score(np.kron(np.eye(2), np.ones((3, 3)))) == pytest.approx(2.0)
    assert _vendi_score(np.zeros((0, 0))) == 0.0


def test_cosines_of_texts() -> None:
    cosines = _cosines_of(["cap a deque", "cap a deque", "rent bikes", "?"])
    assert np.diag(cosines) == pytest.approx(np.ones(4))
    assert cosines[0, 1] == pytest.approx(1.0)
    assert cosines[0, 2] == 0.0
    assert _cosines_of([]).shape == (0, 0)


def test_the_report_covers_chunks_documents_and_topics() -> None:
    measured = Diversity(chunks=4, documents=4, topics=2)
    for one in (pair("first query", chunk="a"), pair("second query", "keyword", chunk="b")):
        measured.add(one)
    report = measured.report()
    assert (report["chunk_coverage"], report["document_coverage"], report["topic_coverage"]) == (
        0.5,
        0.5,
        0.5,
    )
    assert report["query_types"] == {"keyword": 1, "question": 1}
    assert report["type_evenness"] == 1.0
    assert report["personas"] == {"an expert": 2}
    assert report["distinct_1"] == 3 / 4
    assert (report["sample"], report["vectors"]) == (2, "tf-idf")


def test_the_sample_is_bounded_and_depends_on_the_set_alone() -> None:
    queries = [f"query number {at}" for at in range(50)]
    forwards, backwards = Diversity(sample=10), Diversity(sample=10)
    for query in queries:
        forwards.add(pair(query))
    for query in reversed(queries):
        backwards.add(pair(query))
    assert forwards.queries() == backwards.queries()
    assert len(forwards.queries()) == 10
    assert len(forwards._queries) <= 21


def test_nothing_has_no_diversity() -> None:
    report = Diversity().report()
    assert (report["vendi_score"], report["vendi_share"], report["sample"]) == (0.0, 0.0, 0)
