"""The examples of docs/production.md serve a tuned model as they stand on the page."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sentence_transformers import SentenceTransformer

PAGE = Path(__file__).resolve().parents[2] / "docs" / "production.md"
PLACE = "outputs/DATE/TIME/model"
QUESTION = "how do I cap a deque?"
TEXTS = ("A deque with maxlen is bounded.", "Parse a JSON document.")


def example(name: str) -> str:
    """Return the code of the page's section on serving that imports a library."""
    section = PAGE.read_text(encoding="utf-8").split("\n## Serve\n")[1].split("\n## ")[0]
    (code,) = [code for code in re.findall(r"```py\n(.*?)```", section, re.DOTALL) if f" {name}" in code]
    assert PLACE in code
    return code


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A model with a prompt for questions."""
    from embexp.models.tiny import TinyModel

    made = TinyModel(dimension=16, layers=1).load()
    made.prompts = {"query": "question: ", "document": ""}
    made.save(str(tmp_path / "model"))
    return tmp_path / "model"


def executed(name: str, model: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.chdir(model.parent)
    names: dict[str, Any] = {"__name__": "example"}
    exec(example(name).replace(PLACE, str(model)), names)
    return names


def test_fastapi_answers_with_the_vectors_of_the_model(model: Path, tmp_path: Path) -> None:
    testclient = pytest.importorskip("fastapi.testclient", reason="fastapi is not installed")
    code = example("fastapi")
    assert len(code.splitlines()) <= 20
    (tmp_path / "serve.py").write_text(code.replace(PLACE, str(model)), encoding="utf-8")
    spec = importlib.util.spec_from_file_location("serve", tmp_path / "serve.py")
    assert spec
    assert spec.loader
    served = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(served)
    client = testclient.TestClient(served.app)
    loaded = SentenceTransformer(str(model), device="cpu")
    for role, encode in (("query", loaded.encode_query), ("document", loaded.encode_document)):
        answer = client.post("/embed", json={"texts": [QUESTION, ""], "role": role})
        wanted = encode([QUESTION, ""], normalize_embeddings=True)
        np.testing.assert_allclose(answer.json()["vectors"], wanted, atol=1e-5)
    for wrong in ({"texts": []}, {"texts": ["a"] * 257}, {"texts": ["a"], "role": "both"}, {"texts": "a"}):
        assert client.post("/embed", json=wrong).status_code == 422


def test_chroma_encodes_with_the_model(
    model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    collection = executed("chromadb", model, monkeypatch)["collection"]
    assert TEXTS[0] in capsys.readouterr().out
    loaded = SentenceTransformer(str(model), device="cpu")
    question, *texts = loaded.encode([QUESTION, *TEXTS], normalize_embeddings=True)
    found = collection.query(query_texts=[QUESTION], n_results=2)
    wanted = dict(zip(("deque", "json"), (1 - question @ text for text in texts), strict=True))
    got = dict(zip(found["ids"][0], found["distances"][0], strict=True))
    assert got == pytest.approx(wanted, abs=1e-5)


def test_langchain_puts_the_prompt_before_questions_alone(
    model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("langchain_core", reason="langchain-core is not installed")
    store = executed("langchain_core", model, monkeypatch)["store"]
    printed = capsys.readouterr().out
    assert all(text in printed for text in TEXTS)
    loaded = SentenceTransformer(str(model), device="cpu")
    wanted = (
        loaded.encode_query(QUESTION, normalize_embeddings=True)
        @ loaded.encode_document(list(TEXTS), normalize_embeddings=True).T
    )
    got = {
        document.page_content: score for document, score in store.similarity_search_with_score(QUESTION, k=2)
    }
    assert got == pytest.approx(dict(zip(TEXTS, wanted, strict=True)), abs=1e-5)


@pytest.mark.slow
def test_llama_index_searches_with_the_model(
    saved: Path, model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    library = pytest.importorskip("llama_index.embeddings.huggingface", reason="llama-index is not installed")
    made = executed("llama_index", saved, monkeypatch)
    printed = capsys.readouterr().out
    assert all(text in printed for text in TEXTS)
    with_prompt = library.HuggingFaceEmbedding(str(model), query_instruction="question: ")
    for folder, embedding in ((saved, made["model"]), (model, with_prompt)):
        wanted = SentenceTransformer(str(folder), device="cpu").encode_query(
            QUESTION, normalize_embeddings=True
        )
        np.testing.assert_allclose(embedding.get_query_embedding(QUESTION), wanted, atol=1e-5)
