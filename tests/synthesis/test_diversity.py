from __future__ import annotations

import numpy as np
import pytest

from embexp.data.records import Generator, Pair
from embexp.synthesis.data_card import data_card
from embexp.synthesis.diversity import (
    Diversity,
    cosines_of,
    distinct,
    diversity_of,
    evenness,
    self_similarity,
    vendi_score,
)


def pair(query: str, kind: str = "question", chunk: str = "c", model: str | None = "m") -> Pair:
    generator = Generator(kind="rag", model=model, persona="an expert" if model else None, difficulty="easy")
    return Pair(
        id=query,
        query=query,
        positive="a passage of five words",
        document_id=f"d{chunk}",
        chunk_id=chunk,
        query_type=kind,
        context_ids=("topic",),
        generator=generator,
    )


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
    assert evenness(counts) == pytest.approx(expected, abs=1e-4)


def test_distinct_counts_different_runs() -> None:
    texts = ["a b a", "A b"]
    assert distinct(texts, 1) == 2 / 5  # a, b of a b a a b
    assert distinct(texts, 2) == 2 / 3  # a b, b a of a b, b a, a b
    assert distinct([], 2) == 0.0


def test_self_similarity_is_the_mean_off_the_diagonal() -> None:
    cosines = np.array([[1.0, 0.5, 0.1], [0.5, 1.0, 0.0], [0.1, 0.0, 1.0]])
    assert self_similarity(cosines) == pytest.approx((0.5 + 0.1 + 0.0) / 3)
    assert self_similarity(np.ones((1, 1))) == 0.0


def test_the_vendi_score_counts_wholly_different_texts() -> None:
    assert vendi_score(np.eye(4)) == pytest.approx(4.0)
    assert vendi_score(np.ones((4, 4))) == pytest.approx(1.0)
    assert vendi_score(np.kron(np.eye(2), np.ones((3, 3)))) == pytest.approx(2.0)
    assert vendi_score(np.zeros((0, 0))) == 0.0


def test_cosines_of_texts() -> None:
    cosines = cosines_of(["cap a deque", "cap a deque", "rent bikes", "?"])
    assert np.diag(cosines) == pytest.approx(np.ones(4))
    assert cosines[0, 1] == pytest.approx(1.0)
    assert cosines[0, 2] == 0.0
    assert cosines_of([]).shape == (0, 0)


class Embedder:
    fingerprint = "f"
    dimension = 2

    def encode_queries(self, texts: list[str]) -> np.ndarray:
        return np.array([[1.0, 0.0] if "a" in text else [0.0, 1.0] for text in texts], dtype=np.float32)

    encode_passages = encode_queries


def test_an_embedder_gives_the_cosines() -> None:
    report = diversity_of([pair("a one"), pair("a two"), pair("the end")], Embedder())
    assert report["self_similarity"] == pytest.approx(1 / 3, abs=1e-4)  # one pair of three is alike
    assert report["vectors"] == "embedder"
    assert "chunk_coverage" not in report


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
    assert report["sample"] == 2


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
    report = diversity_of([])
    assert (report["vendi_score"], report["vendi_share"], report["sample"]) == (0.0, 0.0, 0)


REPORT = {
    "target": 3,
    "accepted": 2,
    "rejected": {"schema": 5, "chatter": 1},
    "requests": 4,
    "usage": {"prompt_tokens": 1000, "completion_tokens": 50, "usd": 0.125},
    "stopped": "All chunks were asked about.",
    "examples_dropped": {"chatter": ["Here are | <script>\nevil (chatter)"]},
    "diversity": {"vendi_score": 1.5, "query_types": {"keyword": 1, "question": 1}},
}


def test_the_card_tells_the_whole_story() -> None:
    card = data_card(
        [pair("one"), pair("two more", "keyword")], REPORT, file="pairs.jsonl", settings={"target": 3}
    )
    assert "\n# Synthetic retrieval pairs\n" in card
    assert "data_files: pairs.jsonl" in card  # so that `datasets` loads the folder too
    assert "2 training pairs" in card
    assert 'pd.read_json("pairs.jsonl", lines=True)' in card
    assert 'load_dataset("json", data_files="pairs.jsonl", split="train")' in card
    assert "| Words in a query, mean | 1.5 |" in card  # 1 and 2 words
    assert "| Words in a passage, mean | 5.0 |" in card
    assert "| Models | m (2) |" in card
    assert "| Price | $0.12 |" in card
    assert "8 queries were written or asked for; 2 were accepted." in card  # 2 + 5 + 1
    assert "| schema | 5 |  |" in card
    assert r"| chatter | 1 | Here are \| &lt;script> evil (chatter) |" in card
    assert "The target of 3 was not reached. All chunks were asked about." in card
    assert "| query_types | keyword 1, question 1 |" in card
    assert '"target": 3' in card
    assert "No licence is set." in card


def test_a_card_of_nothing() -> None:
    card = data_card([], {}, licence="CC0.")
    assert "It was not measured." in card
    assert "CC0." in card
    assert "| Models | none |" in card
