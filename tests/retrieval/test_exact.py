from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from embexp.data.records import Chunk
from embexp.errors import ConfigError, RetrievalError
from embexp.retrieval import index as module
from embexp.retrieval.exact import ExactIndex, ExactRetriever
from embexp.retrieval.index import Hit, best_columns
from tests.retrieval.letter_embedder import LetterEmbedder, QuarterEmbedder

Make = Callable[..., list[Chunk]]


def ids(hits: list[Hit]) -> list[str]:
    return [hit.id for hit in hits]


def test_scores_are_cosines(letters: LetterEmbedder, chunks: Make, tmp_path: Path) -> None:
    index = ExactRetriever().index(chunks("a", "ab", "b", "cc"), letters, path=tmp_path)

    # "a" against "ab": 1 / sqrt(2).
    assert index.search(["a"], k=4) == [
        [
            Hit("0", 1.0),
            Hit("1", pytest.approx(0.5**0.5, abs=1e-6)),  # type: ignore[arg-type]
            Hit("2", 0.0),
            Hit("3", 0.0),
        ]
    ]


@pytest.mark.parametrize("block", [1, 2, 3, 100])
def test_equal_scores_are_ordered_by_id_in_any_block(
    letters: LetterEmbedder, chunks: Make, tmp_path: Path, block: int
) -> None:
    corpus = chunks("b", "a", "a", "ab", "a", "b", ids=["z", "d", "b", "c", "a", "e"])
    index = ExactRetriever(block=block).index(corpus, letters, path=tmp_path)

    assert ids(index.search(["a"], k=2)[0]) == ["a", "b"]
    assert ids(index.search(["a"], k=99)[0]) == ["a", "b", "d", "c", "e", "z"]


@pytest.mark.parametrize("block", [7, 64, 1000])
@pytest.mark.parametrize("k", [1, 10, 300])
def test_blocks_change_nothing(chunks: Make, tmp_path: Path, block: int, k: int) -> None:
    embedder = QuarterEmbedder()
    texts = [f"text {number}" for number in range(300)]
    queries = [f"query {number}" for number in range(300)]
    found = ExactRetriever(block=block).index(chunks(*texts), embedder, path=tmp_path).search(queries, k=k)

    scores = embedder.encode_queries(queries) @ embedder.encode_passages(texts).T
    for row, hits in enumerate(found):
        best = sorted(range(300), key=lambda column: (-scores[row, column], str(column)))[:k]
        assert ids(hits) == [str(column) for column in best]


def test_the_title_is_embedded_with_the_text(letters: LetterEmbedder, tmp_path: Path) -> None:
    ExactRetriever().index([Chunk(id="1", document_id="d", text="b", title="a")], letters, path=tmp_path)

    assert letters.passages == ["a\nb"]


def test_chunks_may_come_from_a_generator(letters: LetterEmbedder, chunks: Make, tmp_path: Path) -> None:
    index = ExactRetriever().index(iter(chunks("a", "b")), letters, path=tmp_path)

    assert ids(index.search(["b"], k=1)[0]) == ["1"]
    assert index.search([], k=1) == []
    assert list(tmp_path.iterdir()) == []


def test_vectors_can_be_searched_without_an_embedder() -> None:
    index = ExactIndex(["x", "y"], np.eye(2, dtype=np.float32), None)

    assert index.nearest(np.array([[0.0, 1.0]], dtype=np.float32), k=1) == [[Hit("y", 1.0)]]
    with pytest.raises(TypeError, match="without an embedder"):
        index.search(["a"], k=1)


@pytest.mark.parametrize(
    ("scores", "k", "columns"),
    [
        ([[1, 3, 2]], 2, [[1, 2]]),
        ([[1, 1, 1, 1]], 2, [[0, 1]]),
        ([[0, 2, 1, 2, 1]], 3, [[1, 3, 2]]),
        ([[5, 4], [4, 5]], 9, [[0, 1], [1, 0]]),
    ],
)
def test_the_best_columns(scores: Any, k: int, columns: Any) -> None:
    assert best_columns(np.array(scores, dtype=np.float32), k).tolist() == columns


def test_a_vector_that_is_not_finite_is_refused(
    letters: LetterEmbedder, chunks: Make, tmp_path: Path
) -> None:
    # A text without any of the letters has length 0, and 0/0 is not a number.
    with pytest.raises(RetrievalError, match=r"gave chunk 1 a vector that is not finite \(1 such in all\)"):
        ExactRetriever().index(chunks("a", "zz"), letters, path=tmp_path)
    with pytest.raises(RetrievalError, match=r"gave query 'zz' a vector"):
        ExactRetriever().index(chunks("a"), letters, path=tmp_path).search(["a", "zz"], k=1)


def test_an_empty_corpus_is_refused(letters: LetterEmbedder, tmp_path: Path) -> None:
    with pytest.raises(RetrievalError, match=r"the corpus has no chunks. Check dataset.path"):
        ExactRetriever().index([], letters, path=tmp_path)


def test_no_hits_cannot_be_asked_for(letters: LetterEmbedder, chunks: Make, tmp_path: Path) -> None:
    with pytest.raises(RetrievalError, match=r"0 hits were asked for"):
        ExactRetriever().index(chunks("a"), letters, path=tmp_path).search(["a"], k=0)


def test_an_impossible_block_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"retriever.block is 0: give a whole number from 1 to"):
        ExactRetriever(block=0)


class ConstantEmbedder(LetterEmbedder):
    """Embeds every text as the same vector of 256 numbers, made in one array."""

    dimension = 256

    def encode_passages(self, texts: Sequence[str]) -> np.ndarray:
        return np.full((len(texts), self.dimension), 1 / 16, dtype=np.float32)


def test_the_vectors_are_in_memory_once(
    chunks: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BLOCK", 500)
    corpus = chunks(*["a"] * 10_000, ids=[f"{7919 * number % 10_007:05}" for number in range(10_000)])
    tracemalloc.start()
    try:
        index = ExactRetriever().index(corpus, ConstantEmbedder(), path=tmp_path)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # Beside the vectors (10 MB): a block of them, their order, and the ids.
    assert index.nbytes == 10_000 * 256 * 4
    assert most < 1.4 * index.nbytes


def test_one_bar_counts_all_blocks(
    letters: LetterEmbedder, chunks: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BLOCK", 2)
    totals: list[int] = []
    job = module.job

    def watched(description: str, *, total: int) -> object:
        totals.append(total)
        return job(description, total=total)

    monkeypatch.setattr(module, "job", watched)
    ExactRetriever().index(chunks("a", "b", "c", "d", "e"), letters, path=tmp_path)
    assert totals == [5]


def test_vectors_that_do_not_fit_are_searched_in_a_file(
    chunks: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    corpus, queries = chunks(*(f"text {number}" for number in range(50))), ["query"]
    plain = ExactRetriever().index(corpus, QuarterEmbedder(), path=tmp_path).search(queries, k=20)
    monkeypatch.setattr("embexp.memory.available_memory", lambda: 1_000)
    monkeypatch.setattr("embexp.memory.address_space_left", lambda: None)
    slow = ExactRetriever().index(corpus, QuarterEmbedder(), path=tmp_path).search(queries, k=20)
    assert slow == plain
    assert "Exact search over 50 passages needs about" in caplog.text
