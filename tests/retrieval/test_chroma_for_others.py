"""What other programs find in a run's Chroma database: readable collections that answer their own calls."""

from __future__ import annotations

import gc
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from embexp.data.records import Chunk
from embexp.errors import RetrievalError
from embexp.models.embedding_cache import EmbeddingCache
from embexp.models.encoder import SourceEmbedder
from embexp.models.sources import LocalModel
from embexp.models.tiny import TinyModel
from embexp.retrieval.bm25 import Bm25Retriever
from embexp.retrieval.chroma import ChromaRetriever, _collection_name
from embexp.retrieval.hybrid import HybridRetriever
from embexp.retrieval.serving import follow_models
from tests.retrieval.letter_embedder import LetterEmbedder

CHUNKS = [
    Chunk("c1", "kettle.md", "How to seal the lid against steam.", "Lids", 0, "kettle.md"),
    Chunk("c2", "fuse.md", "Replace the fuse in the plug.", "Fuses", 0, "fuse.md"),
    Chunk("c3", "fuse.md", "The fuse is rated at 13 ampere.", "", 1, "fuse.md"),
]
NAME = "tuned-my-kettles"
PAGE = Path(__file__).resolve().parents[2] / "docs" / "retrieval.md"
NEEDS = ("chromadb", "langchain_chroma", "llama_index.embeddings.huggingface")
EXAMPLES = [
    pytest.param(needs, code, id=needs)
    for needs, code in zip(
        NEEDS,
        re.findall(r"```py\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL),
        strict=True,
    )
]
QUESTION = "how is the lid sealed?"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tuned") / "model"
    TinyModel().load().save(str(folder))
    return folder


@pytest.fixture(scope="module")
def written(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an index that embexp has written and let go."""
    folder = tmp_path_factory.mktemp("run") / "index"
    ChromaRetriever().index(CHUNKS, embedder(model), path=folder)
    gc.collect()
    return folder


def embedder(model: Path, **options: Any) -> SourceEmbedder:
    cache = EmbeddingCache(model.parent / "cache")
    return SourceEmbedder(LocalModel(path=str(model), **options), cache, name="tuned my kettles!")


@pytest.fixture
def no_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuse to load any model, which takes longer than all else of a run whose stages are cached."""
    import sentence_transformers

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a model was loaded")

    monkeypatch.setattr(sentence_transformers, "SentenceTransformer", refuse)


@pytest.fixture
def copied(written: Path, tmp_path: Path) -> Path:
    """A copy for another program: in one process, a folder has one kind of Chroma client at a time."""
    return Path(shutil.copytree(written, tmp_path / "copied"))


def best(written: Path, model: Path, question: str) -> Chunk:
    """Return the chunk that embexp itself finds first."""
    (hits,) = ChromaRetriever().index(CHUNKS, embedder(model), path=written).search([question], k=1)
    return next(chunk for chunk in CHUNKS if chunk.id == hits[0].id)


def collection(folder: Path, name: str = NAME) -> Any:
    import chromadb

    return chromadb.PersistentClient(str(folder)).get_collection(name)


def test_a_collection_has_a_name_texts_and_where_they_come_from(copied: Path) -> None:
    rows = collection(copied).get(ids=["c2"])
    assert rows["documents"] == ["Replace the fuse in the plug."]
    (metadata,) = rows["metadatas"]
    assert {key: metadata[key] for key in ("title", "document_id", "source", "position")} == {
        "title": "Fuses",
        "document_id": "fuse.md",
        "source": "fuse.md",
        "position": 0,
    }


def test_chroma_answers_texts_with_the_model_itself(written: Path, copied: Path, model: Path) -> None:
    rows = collection(copied).query(query_texts=[QUESTION], n_results=3)
    own = ChromaRetriever().index(CHUNKS, embedder(model), path=written).search([QUESTION], k=3)[0]
    assert rows["ids"][0] == [hit.id for hit in own]
    assert 1 - np.array(rows["distances"][0]) == pytest.approx([hit.score for hit in own], abs=1e-5)


def test_langchain_answers(written: Path, copied: Path, model: Path) -> None:
    langchain = pytest.importorskip("langchain_chroma", reason="langchain-chroma is not installed")
    store = langchain.Chroma(collection_name=NAME, persist_directory=str(copied))
    (document,) = store.similarity_search(QUESTION, k=1)
    own = (
        ChromaRetriever().index(CHUNKS, embedder(model), path=written).search(["how is the lid sealed?"], k=1)
    )
    (chunk,) = [chunk for chunk in CHUNKS if chunk.id == own[0][0].id]
    assert document.page_content == chunk.text
    assert document.metadata["source"] == chunk.source


def test_llama_index_answers(written: Path, copied: Path, model: Path) -> None:
    core = pytest.importorskip("llama_index.core", reason="llama-index is not installed")
    chroma = pytest.importorskip("llama_index.vector_stores.chroma", reason="llama-index is not installed")
    from llama_index.core.base.embeddings.base import BaseEmbedding
    from sentence_transformers import SentenceTransformer

    class Tuned(BaseEmbedding):
        def _get_text_embedding(self, text: str) -> list[float]:
            return SentenceTransformer(str(model)).encode(text).tolist()  # type: ignore[no-any-return]

        _get_query_embedding = _get_text_embedding

        async def _aget_query_embedding(self, query: str) -> list[float]:
            return self._get_text_embedding(query)

    store = chroma.ChromaVectorStore(chroma_collection=collection(copied))
    index = core.VectorStoreIndex.from_vector_store(store, embed_model=Tuned())
    (result,) = index.as_retriever(similarity_top_k=1).retrieve(QUESTION)
    own = (
        ChromaRetriever().index(CHUNKS, embedder(model), path=written).search(["how is the lid sealed?"], k=1)
    )
    (chunk,) = [chunk for chunk in CHUNKS if chunk.id == own[0][0].id]
    assert result.node.get_content() == chunk.text
    assert result.node.metadata["source"] == chunk.source


@pytest.fixture(scope="module")
def run_folder(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with X/model and X/index, as the examples of the documentation name them."""
    folder = tmp_path_factory.mktemp("examples")
    shutil.copytree(model, folder / "X" / "model")
    cache = EmbeddingCache(folder / "cache")
    named = SourceEmbedder(LocalModel(path=str(folder / "X" / "model")), cache, name="tuned pydocs")
    ChromaRetriever().index(CHUNKS, named, path=folder / "X" / "index")
    gc.collect()
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(("needs", "code"), EXAMPLES)
def test_the_examples_of_the_documentation_run(run_folder: Path, needs: str, code: str) -> None:
    pytest.importorskip(needs, reason=f"{needs} is not installed")
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "ANONYMIZED_TELEMETRY": "False"}
    command = [sys.executable, "-c", code]
    done = subprocess.run(
        command, cwd=run_folder, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert sum(chunk.text in done.stdout for chunk in CHUNKS) == 3


@pytest.mark.parametrize("options", [{"query_prompt": "query: "}, {"passage_prompt": "passage: "}])
def test_a_model_with_prompts_is_not_named_for_it_would_encode_otherwise(
    model: Path, tmp_path: Path, options: dict[str, str]
) -> None:
    ChromaRetriever().index(CHUNKS, embedder(model, **options), path=tmp_path)
    gc.collect()
    stored = collection(tmp_path).configuration_json.get("embedding_function") or {}
    assert stored.get("name") != "sentence_transformer"


@pytest.mark.parametrize("hybrid", [False, True])
@pytest.mark.usefixtures("no_model")
def test_a_copied_run_names_its_own_model(written: Path, model: Path, tmp_path: Path, hybrid: bool) -> None:
    shutil.copytree(written, tmp_path / "index")
    shutil.copytree(model, tmp_path / "model")
    retriever = (
        HybridRetriever(dense=ChromaRetriever(), sparse=Bm25Retriever()) if hybrid else ChromaRetriever()
    )
    follow_models(retriever, [embedder(tmp_path / "model")], tmp_path / "index")
    gc.collect()
    stored = collection(tmp_path / "index").configuration_json["embedding_function"]["config"]
    assert stored["model_name"] == str((tmp_path / "model").resolve())


@pytest.mark.usefixtures("no_model")
def test_no_model_is_loaded_to_open_a_collection(written: Path, model: Path) -> None:
    assert ChromaRetriever().open(embedder(model), path=written)._collection.count() == 3


def test_a_folder_that_another_client_of_this_process_has_open_is_told(copied: Path, model: Path) -> None:
    import chromadb

    # Its settings differ from embexp's whatever the environment says, and the client is kept open.
    client = chromadb.PersistentClient(str(copied), settings=chromadb.Settings(allow_reset=True))
    theirs = client.get_collection(NAME)
    with pytest.raises(RetrievalError, match=r"is open in this process with another Chroma client: close"):
        ChromaRetriever().open(embedder(model), path=copied)
    assert theirs.count() == 3


def test_a_name_that_another_model_had_is_written_anew(tmp_path: Path) -> None:
    chunks = [Chunk("1", "d", "a"), Chunk("2", "d", "b")]
    ChromaRetriever().index(chunks, LetterEmbedder("one", name="tuned kb"), path=tmp_path)
    other = LetterEmbedder("other", name="tuned kb")
    index = ChromaRetriever().index(chunks[:1], other, path=tmp_path)
    assert other.passages == ["a"]
    assert index._collection.count() == 1


def test_what_a_chunk_says_beside_its_text_is_brought_up_to_date(tmp_path: Path) -> None:
    letters = LetterEmbedder(name="tuned kb")
    chunks = [Chunk("1", "d", "a", source="old.md")]
    ChromaRetriever().index(chunks, letters, path=tmp_path)
    index = ChromaRetriever().index([replace(chunks[0], source="new.md")], letters, path=tmp_path)
    assert index._collection.get()["metadatas"][0]["source"] == "new.md"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("tuned pydocs", "tuned-pydocs"),
        ("untuned my/data set_2.csv", "untuned-my-data-set-2-csv"),
        ("tuned 文档", "tuned"),
        ("tuned " + "x" * 90, "tuned-" + "x" * 54),
        ("文档", ""),
        ("", ""),
    ],
)
def test_names_fit_chroma(name: str, expected: str) -> None:
    assert _collection_name(LetterEmbedder(name=name)) == expected
