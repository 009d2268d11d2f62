"""Passages that are found by one of their parts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from embexp.data.records import Chunk
from embexp.errors import ConfigError, RetrievalError
from embexp.models.vector_files import Vectors
from embexp.retrieval.bm25 import Bm25Retriever
from embexp.retrieval.chroma import ChromaRetriever
from embexp.retrieval.exact import ExactRetriever
from embexp.retrieval.hybrid import HybridRetriever
from embexp.retrieval.parts import PartsIndex, PartsRetriever, parts_of
from tests.retrieval.letter_embedder import LetterEmbedder

LONG = Chunk("long", "d", "A cab. A bad cab, a fad.\n\nHe had a head. Feed the deaf, a bee!", "Heading", 3)
SHORT = Chunk("short", "d", "Face the facade.")
OTHER = Chunk("other", "d", "Dead heads. Deaf dads heed. Beef, a babe, a bed.")
CORPUS = [LONG, SHORT, OTHER]


def cosine(embedder: LetterEmbedder, query: str, text: str) -> float:
    return float(embedder.encode_queries([query])[0] @ embedder.encode_queries([text])[0])


def test_a_passage_is_cut_between_sentences_and_each_part_has_its_title() -> None:
    assert list(parts_of(LONG, 8)) == [
        Chunk("long#1", "d", "A cab. A bad cab, a fad.", "Heading", 3),
        Chunk("long#2", "d", "He had a head. Feed the deaf, a bee!"[:14], "Heading", 3),
        Chunk("long#3", "d", "Feed the deaf, a bee!", "Heading", 3),
    ]


@pytest.mark.parametrize(
    ("text", "words", "parts"),
    [
        ("Face the facade.", 4, []),
        ("one two three four five six", 4, ["one two three four", "five six"]),
        ("我们在北京。他们在上海。", 6, ["我们在北京。", "他们在上海。"]),
        ("  \n ", 4, []),
        ("", 4, []),
    ],
)
def test_no_word_is_lost(text: str, words: int, parts: list[str]) -> None:
    assert [part.text for part in parts_of(Chunk("c", "d", text), words)] == parts


@pytest.mark.parametrize("dense", [ExactRetriever(), ChromaRetriever()])
@pytest.mark.parametrize("share", [0.0, 0.4, 1.0])
def test_a_passage_scores_by_itself_and_by_its_best_part(
    dense: Any, share: float, letters: LetterEmbedder, tmp_path: Path
) -> None:
    index = PartsRetriever(dense=dense, words=8, share=share).index(iter(CORPUS), letters, path=tmp_path)
    queries = ["a cab", "feed bees", "facade"]
    results = index.search(queries, k=3)

    assert index.parts == 5
    for query, hits in zip(queries, results, strict=True):
        expected = {}
        for chunk in CORPUS:
            whole = cosine(letters, query, chunk.passage)
            best = max((cosine(letters, query, part.passage) for part in parts_of(chunk, 8)), default=whole)
            expected[chunk.id] = (1 - share) * whole + share * best
        assert {hit.id: hit.score for hit in hits} == pytest.approx(expected, abs=2e-6)
        assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
        assert index.search([query], k=1) == [hits[:1]]


def test_a_part_finds_its_passage_though_other_passages_are_nearer(
    letters: LetterEmbedder, tmp_path: Path
) -> None:
    filler = "Dada dada dada dada. " * 8
    corpus = [Chunk("hidden", "d", f"{filler}Gaga gaga gig.\n{filler}")]
    corpus += [Chunk(f"near{at}", "d", "gh dg"[: 4 + at % 2]) for at in range(5)]

    assert (
        ExactRetriever().index(corpus, letters, path=tmp_path).search(["gaga gig"], k=3)[0][0].id != "hidden"
    )
    found = PartsRetriever(dense=ExactRetriever(), words=4, share=0.9).index(corpus, letters, path=tmp_path)
    assert found.search(["gaga gig"], k=1)[0][0].id == "hidden"


def test_passages_without_parts_score_as_by_themselves(letters: LetterEmbedder, tmp_path: Path) -> None:
    index = PartsRetriever(dense=ExactRetriever(), words=50).index(CORPUS, letters, path=tmp_path)
    exact = ExactRetriever().index(CORPUS, letters, path=tmp_path)

    assert index.parts == 0
    assert index.search(["a cab", "bee"], k=2) == exact.search(["a cab", "bee"], k=2)
    assert index.search([], k=2) == []


def test_copies_of_a_passage_tie_in_the_order_of_their_ids(letters: LetterEmbedder, tmp_path: Path) -> None:
    copies = [Chunk(name, "d", LONG.text, LONG.title) for name in ("c", "a", "b")]
    index = PartsRetriever(dense=ExactRetriever(), words=8).index(copies, letters, path=tmp_path)

    assert [hit.id for hit in index.search(["bad cab"], k=3)[0]] == ["a", "b", "c"]


def test_words_are_fused_with_passages_and_parts(letters: LetterEmbedder, tmp_path: Path) -> None:
    dense = PartsRetriever(dense=ExactRetriever(), words=8)
    hybrid = HybridRetriever(dense=dense, sparse=Bm25Retriever(), weight=0.0)
    parts = dense.index(CORPUS, letters, path=tmp_path)

    assert hybrid.index(CORPUS, letters, path=tmp_path).search(["a cab"], k=3) == parts.search(["a cab"], k=3)


def test_the_collection_of_passages_holds_no_parts(letters: LetterEmbedder, tmp_path: Path) -> None:
    retriever = PartsRetriever(dense=ChromaRetriever(), words=8)
    first = retriever.index(CORPUS, letters, path=tmp_path).search(["a cab"], k=3)

    assert {hit.id for hit in ChromaRetriever().open(letters, path=tmp_path).search(["a cab"], k=9)[0]} == {
        "long",
        "short",
        "other",
    }
    again = LetterEmbedder()
    assert retriever.index(CORPUS, again, path=tmp_path).search(["a cab"], k=3) == first
    assert again.passages == []  # both collections were there


def test_a_removed_passage_is_not_found_by_its_parts(letters: LetterEmbedder, tmp_path: Path) -> None:
    retriever = PartsRetriever(dense=ChromaRetriever(), words=8)
    retriever.index(CORPUS, letters, path=tmp_path)

    left = retriever.index([SHORT, OTHER], letters, path=tmp_path).search(["a cab"], k=3)
    assert {hit.id for hit in left[0]} == {"short", "other"}
    assert retriever.index([SHORT], letters, path=tmp_path).search(["a cab"], k=3)[0][0].id == "short"


class FewNeighbours:
    """An index of vectors that finds nothing near, as an approximate one may."""

    def nearest(self, vectors: Vectors, *, k: int) -> list[list[Any]]:
        return [[] for _ in vectors]

    def cosines(self, vectors: Vectors, ids: Any) -> list[list[float]]:
        return [[] for _ in vectors]

    search = nearest


def test_an_index_that_finds_nothing_gives_no_hits(letters: LetterEmbedder) -> None:
    index = PartsIndex(FewNeighbours(), FewNeighbours(), {"a": ["a#1", "a#2"]}, letters, 0.5)

    assert index.nearest(np.ones((1, 8), dtype=np.float32), k=3) == [[]]


def test_bad_settings_and_an_empty_corpus_are_refused(letters: LetterEmbedder, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"retriever\.share"):
        PartsRetriever(dense=ExactRetriever(), share=1.5)
    with pytest.raises(ConfigError, match=r"retriever\.words"):
        PartsRetriever(dense=ExactRetriever(), words=0)
    with pytest.raises(RetrievalError, match="nothing to index"):
        PartsRetriever(dense=ExactRetriever()).index([], letters, path=tmp_path)
    index = PartsRetriever(dense=ExactRetriever()).index(CORPUS, letters, path=tmp_path)
    with pytest.raises(RetrievalError, match="0 hits"):
        index.search(["a"], k=0)


@pytest.mark.parametrize(
    ("dense", "said"),
    [
        ("chroma", "'chroma', which is no retriever"),
        (None, "None, which is no retriever"),
        (Bm25Retriever(), "Bm25Retriever, which has no vectors"),
        (
            HybridRetriever(dense=ExactRetriever(), sparse=Bm25Retriever()),
            "HybridRetriever, which has no vectors",
        ),
    ],
)
def test_what_has_no_vectors_is_refused(dense: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=rf"retriever\.dense is {said}: give"):
        PartsRetriever(dense=dense)
    with pytest.raises(ConfigError, match=rf"retriever\.dense is {said}: give"):
        HybridRetriever(dense=dense, sparse=Bm25Retriever())


def test_words_are_searched_by_bm25() -> None:
    with pytest.raises(ConfigError, match=r"retriever\.sparse is 'bm25': give"):
        HybridRetriever(dense=ExactRetriever(), sparse="bm25")  # type: ignore[arg-type]
