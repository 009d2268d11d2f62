from __future__ import annotations

import gc
import multiprocessing
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from embexp.data.records import Chunk
from embexp.errors import ConfigError, EmbexpError, RetrievalError
from embexp.retrieval import chroma
from embexp.retrieval.chroma import ChromaIndex, ChromaRetriever
from embexp.retrieval.exact import ExactRetriever
from embexp.retrieval.index import Hit
from tests.retrieval.letter_embedder import LetterEmbedder, RandomEmbedder

Make = Callable[..., list[Chunk]]


def ids(index: ChromaIndex, query: str, k: int = 99) -> list[str]:
    return [hit.id for hit in index.search([query], k=k)[0]]


def held(index: ChromaIndex) -> int:
    return index._collection.count()  # type: ignore[no-any-return]


@pytest.mark.parametrize("space", ["cosine", "ip", "l2"])
def test_scores_are_cosines_in_every_space(
    letters: LetterEmbedder, chunks: Make, tmp_path: Path, space: Any
) -> None:
    index = ChromaRetriever(space=space).index(chunks("a", "ab", "b"), letters, path=tmp_path)
    (hits,) = index.search(["a"], k=3)

    assert [hit.id for hit in hits] == ["0", "1", "2"]
    assert [hit.score for hit in hits] == pytest.approx([1, 0.5**0.5, 0], abs=1e-5)


def test_it_finds_what_exact_search_finds(chunks: Make, tmp_path: Path) -> None:
    embedder, corpus = RandomEmbedder(), chunks(*(f"text {number}" for number in range(200)))
    queries = [f"query {number}" for number in range(20)]
    near = ChromaRetriever(batch=64).index(iter(corpus), embedder, path=tmp_path).search(queries, k=10)
    exact = ExactRetriever().index(corpus, embedder, path=tmp_path).search(queries, k=10)

    shared = [len({h.id for h in a} & {h.id for h in b}) for a, b in zip(near, exact, strict=True)]
    assert sum(shared) / 200 > 0.95


def test_indexing_again_encodes_nothing(letters: LetterEmbedder, chunks: Make, tmp_path: Path) -> None:
    corpus = chunks("a", "b", "a", ids=["1", "2", "1"])
    ChromaRetriever().index(corpus, letters, path=tmp_path)
    again = LetterEmbedder()
    index = ChromaRetriever().index(corpus, again, path=tmp_path)

    assert letters.passages == ["a", "b"]
    assert again.passages == []
    assert ids(index, "b") == ["2", "1"]
    assert index.search([], k=1) == []


def test_what_changed_is_written_anew_and_what_is_gone_removed(
    letters: LetterEmbedder, chunks: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chroma, "IDS_PER_CALL", 2)
    old = chunks("a", "b", "c", "d", "e")
    ChromaRetriever().index(old, letters, path=tmp_path)
    again = LetterEmbedder()
    index = ChromaRetriever(batch=1).index([old[0], replace(old[1], text="h")], again, path=tmp_path)

    assert again.passages == ["h"]
    assert held(index) == 2
    assert ids(index, "h") == ["1", "0"]


def test_two_models_share_a_folder(chunks: Make, tmp_path: Path) -> None:
    one, other = LetterEmbedder("one"), LetterEmbedder("other")
    first = ChromaRetriever().index(chunks("a", "b"), one, path=tmp_path)
    second = ChromaRetriever().index(chunks("a"), other, path=tmp_path)

    assert (held(first), held(second)) == (2, 1)


def test_an_index_outlives_the_process_and_a_copy(
    letters: LetterEmbedder, chunks: Make, tmp_path: Path
) -> None:
    ChromaRetriever().index(chunks("a", "b"), letters, path=tmp_path / "one")
    gc.collect()
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    again = LetterEmbedder()
    index = ChromaRetriever().index(chunks("a", "b"), again, path=tmp_path / "two")

    assert again.passages == []
    assert ids(index, "b", k=1) == ["1"]


def test_the_folder_is_let_go_with_the_last_index(
    letters: LetterEmbedder, chunks: Make, tmp_path: Path
) -> None:
    one = ChromaRetriever().index(chunks("a"), letters, path=tmp_path)
    two = ChromaRetriever().index(chunks("a"), letters, path=tmp_path)
    assert one._store is two._store
    del one, two
    gc.collect()

    assert tmp_path.resolve() not in chroma._open_stores


def _hold(path: Path, ready: Any, done: Any) -> None:
    index = ChromaRetriever().index([Chunk(id="1", document_id="d", text="a")], LetterEmbedder(), path=path)
    ready.set()
    done.wait(30)
    del index


def test_a_folder_in_use_by_another_process_is_refused(
    letters: LetterEmbedder, chunks: Make, tmp_path: Path
) -> None:
    context = multiprocessing.get_context("spawn")
    ready, done = context.Event(), context.Event()
    other = context.Process(target=_hold, args=(tmp_path, ready, done))
    other.start()
    try:
        assert ready.wait(30)
        with pytest.raises(RetrievalError, match=r"is in use by another process.*retriever=chroma_server"):
            ChromaRetriever(lock_seconds=0.1).index(chunks("a"), letters, path=tmp_path)
    finally:
        done.set()
        other.join(30)
    assert held(ChromaRetriever().index(chunks("a"), letters, path=tmp_path)) == 1


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"space": "l2"}, r"built with space cosine, not l2: delete .* and run again"),
        ({"ef_search": 7}, r"built with ef_search 100, not 7"),
        ({"max_neighbors": 7}, r"built with max_neighbors 16, not 7"),
    ],
)
def test_other_settings_than_the_index_was_built_with_are_refused(
    letters: LetterEmbedder, chunks: Make, tmp_path: Path, changed: dict[str, Any], message: str
) -> None:
    ChromaRetriever().index(chunks("a"), letters, path=tmp_path)

    with pytest.raises(RetrievalError, match=message):
        ChromaRetriever(**changed).index(chunks("a"), letters, path=tmp_path)


@pytest.mark.parametrize(
    ("metadata", "space", "message"),
    [
        ({"fingerprint": "other"}, "cosine", r"built with fingerprint other, not letters"),
        ({"dimension": 3}, "cosine", r"built with dimension 3, not 8"),
        ({}, "l2", r"built with space l2, not cosine"),
    ],
)
def test_a_collection_that_does_not_fit_the_model_is_refused(
    letters: LetterEmbedder,
    chunks: Make,
    tmp_path: Path,
    metadata: dict[str, Any],
    space: str,
    message: str,
) -> None:
    index = ChromaRetriever().index(chunks("a"), letters, path=tmp_path)
    client, name, proper = index._store.client, index._name, index._metadata
    client.delete_collection(name)
    client.create_collection(
        name,
        embedding_function=None,
        configuration={"hnsw": {"space": space}},
        metadata={**proper, "dimension": 8, **metadata},
    )
    with pytest.raises(RetrievalError, match=message):
        ChromaRetriever().index(chunks("a", "b"), letters, path=tmp_path)


def test_a_broken_database_says_what_to_delete(letters: LetterEmbedder, chunks: Make, tmp_path: Path) -> None:
    (tmp_path / "chroma.sqlite3").write_bytes(b"not a database" * 1000)

    with pytest.raises(
        RetrievalError, match=rf"The Chroma database in {tmp_path} failed .*: delete {tmp_path}"
    ):
        ChromaRetriever().index(chunks("a"), letters, path=tmp_path)


def test_a_database_that_fails_in_a_search_is_named(
    letters: LetterEmbedder, chunks: Make, tmp_path: Path
) -> None:
    index = ChromaRetriever().index(chunks("a"), letters, path=tmp_path)
    index._store.client.delete_collection(index._name)

    with pytest.raises(RetrievalError, match=r"The Chroma database in .* failed"):
        index.search(["a"], k=1)


def test_equal_scores_are_ordered_by_id(letters: LetterEmbedder, chunks: Make, tmp_path: Path) -> None:
    index = ChromaRetriever().index(chunks("a", "a", "a", ids=["z", "y", "x"]), letters, path=tmp_path)

    assert index.search(["a"], k=3)[0] == [Hit("x", 1.0), Hit("y", 1.0), Hit("z", 1.0)]


def test_a_vector_that_is_not_finite_is_refused(
    letters: LetterEmbedder, chunks: Make, tmp_path: Path
) -> None:
    with pytest.raises(RetrievalError, match=r"gave chunk 0 a vector that is not finite"):
        ChromaRetriever().index(chunks("zz"), letters, path=tmp_path)


def test_an_empty_corpus_is_refused(letters: LetterEmbedder, tmp_path: Path) -> None:
    with pytest.raises(RetrievalError, match="the corpus has no chunks"):
        ChromaRetriever().index([], letters, path=tmp_path)


def test_telemetry_is_off() -> None:
    assert chroma._client_settings().anonymized_telemetry is False


@pytest.mark.parametrize("key", ["ef_construction", "ef_search", "max_neighbors", "batch"])
def test_impossible_settings_are_refused(key: str) -> None:
    with pytest.raises(ConfigError, match=rf"retriever.{key} is 0: give a whole number from 1 to"):
        ChromaRetriever(**{key: 0})


def test_a_disk_that_is_full_is_named_as_that(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from chromadb.errors import InternalError

    def full(*_: object, **__: object) -> None:
        raise InternalError("error returned from database: (code: 13) database or disk is full")

    monkeypatch.setattr("embexp.retrieval.chroma.ChromaIndex._add", full)
    with pytest.raises(
        EmbexpError, match=r"No space left on the disk that holds the Chroma database in .*free"
    ):
        ChromaRetriever().index(
            [Chunk("c1", "d1", "abc", title="", position=0)], LetterEmbedder(), path=tmp_path
        )


@pytest.mark.parametrize(
    ("vectors", "every"), [(10, 1_000), (50_000, 1_000), (1_000_000, 20_000), (100_000_000, 50_000)]
)
def test_a_large_index_is_written_about_fifty_times(vectors: int, every: int) -> None:
    settings = chroma._writing_settings(vectors)
    assert settings == {"batch_size": every, "sync_threshold": every}


def test_too_little_memory_for_the_graph_is_told_before_it_is_built(
    letters: LetterEmbedder,
    chunks: Make,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr("embexp.memory.available_memory", lambda: 10)
    ChromaRetriever().index(chunks("a", "b"), letters, path=tmp_path)
    assert "The index of 2 passages in Chroma needs about" in caplog.text
    assert "retriever=exact" in caplog.text


def test_an_error_below_a_limit_on_addresses_names_the_limit(
    letters: LetterEmbedder, chunks: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = ChromaRetriever().index(chunks("a", "b"), letters, path=tmp_path)
    index._store.client.delete_collection(index._name)
    monkeypatch.setattr(chroma, "address_space_left", lambda: 2**20)
    with pytest.raises(RetrievalError, match=r"raise the limit \(ulimit -v\), or set retriever=exact"):
        index.search(["a"], k=1)
