"""Documents in six languages, from files to extracted questions and to what BM25 finds for them."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import pytest

from embexp.data.chunking import Headings
from embexp.data.datasets.folder import Folder
from embexp.data.records import Chunk, Document
from embexp.retrieval.bm25 import Bm25Retriever
from embexp.retrieval.exact import ExactRetriever
from embexp.retrieval.hybrid import HybridRetriever
from embexp.synthesis.extractive import Extractive
from tests.pipeline.corpora import LANGUAGES, write_corpus
from tests.pipeline.pipeline_settings import TINY
from tests.retrieval.letter_embedder import RandomEmbedder


class Letters:
    """Counts a token for each letter, as models do for Chinese; four letters are one in spaced scripts."""

    limit = 60

    def count(self, texts: list[str]) -> list[int]:
        return [len(text) if not text.isascii() else len(text) // 4 for text in texts]


def read(folder: Path) -> tuple[list[Document], list[Chunk]]:
    documents = list(Folder(path=str(folder)).documents())
    return documents, [chunk for document in documents for chunk in Headings().chunk(document, Letters())]


def accuracy(found: list[list[str]], wanted: list[str]) -> float:
    return sum(name in names for names, name in zip(found, wanted, strict=True)) / len(wanted)


@pytest.mark.parametrize("language", sorted(LANGUAGES))
def test_bm25_finds_the_document_of_a_question(tmp_path: Path, language: str) -> None:
    questions = write_corpus(tmp_path, language)
    _, chunks = read(tmp_path)
    index = Bm25Retriever().index(chunks, path=tmp_path)
    of_chunk = {chunk.id: chunk.document_id for chunk in chunks}
    found = [[of_chunk[hit.id] for hit in hits] for hits in index.search([*questions.values()], k=3)]
    assert accuracy(found, [*questions]) >= 0.9  # by chance: 3 of 48 documents


@pytest.mark.parametrize("language", sorted(LANGUAGES))
def test_a_hybrid_gains_from_words_in_any_script(tmp_path: Path, language: str) -> None:
    questions = write_corpus(tmp_path, language)
    _, chunks = read(tmp_path)
    embedder = RandomEmbedder()
    of_chunk = {chunk.id: chunk.document_id for chunk in chunks}
    dense = ExactRetriever()
    scores = []
    # How far the cosines of random vectors differ says nothing about a question, so all have one weight.
    hybrid = HybridRetriever(dense=dense, sparse=Bm25Retriever(), adaptive=False)
    for retriever in (dense, hybrid):
        hits = retriever.index(chunks, embedder, path=tmp_path).search([*questions.values()], k=3)
        scores.append(accuracy([[of_chunk[hit.id] for hit in found] for found in hits], [*questions]))
    assert scores[1] > scores[0]


@pytest.mark.parametrize("language", sorted(LANGUAGES))
def test_chunks_lose_nothing_and_end_between_words(tmp_path: Path, language: str) -> None:
    write_corpus(tmp_path, language)
    documents, chunks = read(tmp_path)
    for document in documents:
        parts = [chunk.text for chunk in chunks if chunk.document_id == document.id]
        assert "".join("".join(parts).split()) == "".join(document.text.split())
        assert len(parts) > 1
        for before, after in pairwise(parts):
            assert not (before[-1].isdigit() and after[0].isdigit())


@pytest.mark.parametrize("language", sorted(LANGUAGES))
def test_questions_are_extracted_whole_and_bm25_finds_their_passages(tmp_path: Path, language: str) -> None:
    write_corpus(tmp_path, language)
    documents, chunks = read(tmp_path)
    by_id = {document.id: document for document in documents}
    pairs = list(Extractive(target=200, min_passage_words=4).pairs(chunks, by_id))
    kinds = {pair.query_type for pair in pairs}
    assert "keywords" in kinds
    numbers = {word for document in documents for word in document.text.split() if word.isdigit()}
    for pair in pairs:
        assert len(pair.query) > 1
        assert not [number for number in numbers if pair.query.endswith(number[:2])]
    asked = [pair for pair in pairs if pair.query_type == "keywords"]
    index = Bm25Retriever().index(chunks, path=tmp_path)
    found = [[hit.id for hit in hits] for hits in index.search([pair.query for pair in asked], k=5)]
    assert accuracy(found, [str(pair.chunk_id) for pair in asked]) > 5 * 5 / len(chunks)


def test_a_whole_run_in_chinese_has_a_baseline_that_is_no_straw_man(run, tmp_path: Path) -> None:
    (tmp_path / "kb").mkdir()
    write_corpus(tmp_path / "kb", "zh")
    done = run(
        "run",
        "dataset=folder",
        "dataset.path=kb",
        "hydra.run.dir=X",
        "synthesis.query_types=[title,keywords]",
        *TINY,
    )
    assert done.code == 0, done.err
    outcome = json.loads((tmp_path / "X" / "outcome.json").read_text(encoding="utf-8"))
    assert outcome["scores"]["bm25"]["accuracy@1"] >= 0.5  # by chance: 1 of 48 documents
    assert "is in the language 'zh'; stemming: none, stop words: chinese" in (
        tmp_path / "X" / "run.log"
    ).read_text(encoding="utf-8")
