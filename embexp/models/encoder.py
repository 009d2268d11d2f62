"""Turning texts into unit vectors, with a loaded model or with one that is loaded on first use."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from embexp.errors import ConfigError, ModelError
from embexp.models.adapted import AdaptedModel
from embexp.models.addresses import plain_address
from embexp.models.batches import similar_batches
from embexp.models.embedding_cache import EmbeddingCache, Fetched, Role
from embexp.models.embeddings_client import BatchRefusedError, EmbeddingsClient
from embexp.models.folder import TEXTS_PER_CALL
from embexp.models.forward_pass import text_length
from embexp.models.openai_compatible import OpenAICompatibleModel
from embexp.models.precision import (
    encoding_in_bf16,
    mixed_fingerprint,
    mixes_precision,
    model_device,
)
from embexp.models.shared_passages import passages_fingerprint
from embexp.models.sources import ModelSource
from embexp.progress import progress
from embexp.storage.files import sha256_of
from embexp.user_code import identity

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

    from embexp.data.chunking import TokenCounter
    from embexp.models.vector_files import Vectors


class Embedder(Protocol):
    """Turns texts into unit vectors, whose dot product is their cosine similarity.

    Queries and passages have methods of their own, since many models put different prompts before them.
    The same text always gives the same vector; texts may be empty, and may be given in any number.
    """

    @property
    def fingerprint(self) -> str:
        """A digest of the weights and the prompts; vectors are cached and indexed under it."""

    @property
    def name(self) -> str:
        """What the model is called beside others, such as ``tuned pydocs``; empty if it has no name."""

    @property
    def address(self) -> str:
        """What ``SentenceTransformer(…)`` loads to encode in the same way; empty if it would not."""

    @property
    def dimension(self) -> int:
        """The length of a vector."""

    def encode_queries(self, texts: Sequence[str]) -> Vectors:
        """Return L2-normalised float32 vectors, shape (len(texts), dimension)."""

    def encode_passages(self, texts: Sequence[str]) -> Vectors:
        """Return L2-normalised float32 vectors, shape (len(texts), dimension)."""


@runtime_checkable
class CountsTokens(Protocol):
    """An embedder whose tokenizer is at hand, which tells whether the model has read a language."""

    @property
    def tokens(self) -> TokenCounter:
        """The counter that uses the model's tokenizer."""


PLURAL = {"query": "queries", "passage": "passages"}
ENCODING_PASSAGES = f"Encoding {PLURAL['passage']}"
"""The text of the bar while passages are encoded, which a job of many parts shares."""
MAX_BATCH, MIN_BATCH = 64, 4
TOKENS_PER_BATCH = {"float32": 1_024, "bf16": 4_096}
"""The size of a batch on a CPU, padding included: larger ones are no faster, and map more memory anew."""
CHARACTERS_PER_TOKEN = 4
"""An estimate for models whose tokens cannot be counted."""
LONGEST_TOKEN = 16
"""Tokens are counted in as many characters per token of the model's length: a long text has more of them."""


class ModelEmbedder:
    """An Embedder over a loaded sentence-transformers model.

    The model's prompts ``query`` and ``document`` go before the texts. Vectors are computed in the precision
    of the loaded weights, float32 unless you changed it, or with ``bf16`` in mixed precision.

    Args:
        model: The model; it may be trained between calls if there is no cache.
        fingerprint: A digest of its weights and prompts, under which vectors are cached.
        batch_size: Texts per batch; None means 64, and fewer for long texts on a CPU.
        cache: Where vectors are kept on disk, those in mixed precision apart; None encodes every time.
        label: The start of the progress bar's text.
        name: What the model is called beside others.
        address: What ``SentenceTransformer(…)`` loads to encode in the same way.
        bf16: Encode in mixed precision where the device does that in hardware, 1.6 times as fast on such a
            CPU.
        max_tokens: Where texts are cut while they are encoded; None leaves the model's own length.
    """

    def __init__(
        self,
        model: SentenceTransformer,
        *,
        fingerprint: str,
        batch_size: int | None = None,
        cache: EmbeddingCache | None = None,
        label: str = "Encoding",
        name: str = "",
        address: str = "",
        bf16: bool = False,
        max_tokens: int | None = None,
    ) -> None:
        if batch_size is not None and batch_size < 1:
            raise ConfigError(f"The batch size for encoding is {batch_size}: give 1 or more, such as 64.")
        self.fingerprint = fingerprint
        self.name = name
        self.address = address
        self._model = model
        self._batch_size = batch_size
        self._cache = cache
        self._label = label
        self._max_tokens = max_tokens
        self._bf16 = bf16 and mixes_precision(self.dimension, model.device.type)

    @property
    def dimension(self) -> int:
        """The length of a vector."""
        return int(self._model.get_embedding_dimension() or 0)

    def encode_queries(self, texts: Sequence[str]) -> Vectors:
        """Return L2-normalised float32 vectors, shape (len(texts), dimension).

        Raises:
            ModelError: A vector is not finite.
        """
        return self._cached("query", texts, self._model.encode_query)

    def encode_passages(self, texts: Sequence[str]) -> Vectors:
        """Return L2-normalised float32 vectors, shape (len(texts), dimension).

        Raises:
            ModelError: A vector is not finite.
        """
        return self._cached("passage", texts, self._model.encode_document)

    def _cached(self, role: Role, texts: Sequence[str], encode: Callable[..., Any]) -> Vectors:
        import numpy as np

        if not texts:
            return np.empty((0, self.dimension), dtype=np.float32)

        def encode_missing(missing: Sequence[str]) -> Vectors:
            with text_length(self._model, self._max_tokens):
                return self._encode(missing, encode, f"{self._label} {PLURAL[role]}")

        if self._cache is None:
            return encode_missing(texts)
        key = mixed_fingerprint(self.fingerprint) if self._bf16 else self.fingerprint
        return self._cache.get_or_encode(key, role, texts, encode_missing)

    def _encode(self, texts: Sequence[str], encode: Callable[..., Any], label: str) -> Vectors:
        import numpy as np

        batches, parts = similar_batches(self._lengths(texts), self._size), []
        precision = encoding_in_bf16(self._model) if self._bf16 else nullcontext()
        with progress(label, total=len(texts)) as bar, precision:
            for batch in batches:
                part = encode(
                    [texts[number] for number in batch],
                    batch_size=len(batch),
                    normalize_embeddings=True,
                    convert_to_numpy=True,
                    show_progress_bar=False,
                )
                parts.append(np.asarray(part, dtype=np.float32))
                bar.advance(len(batch))
        vectors = np.empty((len(texts), parts[0].shape[1]), dtype=np.float32)
        vectors[np.concatenate(batches)] = np.concatenate(parts)
        _check_finite(vectors, texts)
        return vectors

    def _lengths(self, texts: Sequence[str]) -> list[int]:
        """Return the texts' lengths in tokens, estimated where the model is no transformer for text."""
        from sentence_transformers.base.modules import Transformer
        from transformers import PreTrainedTokenizerBase

        first, most = self._model[0], self._model.max_seq_length
        tokenizer = first.tokenizer if isinstance(first, Transformer) else None
        if not isinstance(tokenizer, PreTrainedTokenizerBase) or not isinstance(most, int):
            return [len(text) // CHARACTERS_PER_TOKEN + 1 for text in texts]
        lengths: list[int] = []
        for start in range(0, len(texts), TEXTS_PER_CALL):
            cut = [text[: most * LONGEST_TOKEN] for text in texts[start : start + TEXTS_PER_CALL]]
            found = tokenizer(cut, truncation=True, max_length=most, return_attention_mask=False)
            lengths += [len(ids) for ids in found["input_ids"]]
        return lengths

    def _size(self, longest: int) -> int:
        """Return the batch size for texts of up to ``longest`` tokens."""
        if self._batch_size is not None:
            return self._batch_size
        if self._model.device.type != "cpu":
            return MAX_BATCH
        tokens = TOKENS_PER_BATCH["bf16" if self._bf16 else "float32"]
        return min(max(tokens // max(longest, 1), MIN_BATCH), MAX_BATCH)


def _check_finite(vectors: Vectors, texts: Sequence[str]) -> None:
    import numpy as np

    broken = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
    if len(broken):
        raise ModelError(
            f"The model gave no finite vector for {len(broken)} of {len(texts)} texts, the first being "
            f"{texts[broken[0]][:60]!r}: its weights are broken, as after a training that diverged. "
            "Train again with a lower learning rate, or choose another model."
        )


class SourceEmbedder:
    """An Embedder that loads the model of ``source`` when the first text is not in the cache.

    A model behind a service is asked instead: one request's vectors are on disk before the next is sent.
    Vectors of an adapted model are cached as those of the model below; its queries are adapted afterwards.
    Passages of a model of which only the query encoder was trained are cached as those of the untuned one.

    It also measures. ``seconds`` sums up, by role, the time that encoding took, now or in the run that filled
    the cache. ``wall`` is the time that the calls took in this process, including reading the cache and
    loading the model. ``known`` counts the texts that were in the cache.

    Args:
        source: The model.
        cache: Where vectors are kept on disk.
        name: What the model is called beside others; a vector database shows it.
        bf16: Encode in mixed precision where the device does that in hardware, except the texts that
            ``require_float32`` was told of.
    """

    def __init__(
        self, source: ModelSource, cache: EmbeddingCache, *, name: str = "", bf16: bool = False
    ) -> None:
        self.fingerprint = identity(source)
        self.name = name
        self.seconds: dict[Role, float] = {"query": 0.0, "passage": 0.0}
        self.wall = 0.0
        self.known = 0
        self._adapted = source if isinstance(source, AdaptedModel) else None
        self._source = self._adapted.below if self._adapted else source
        self._cache = cache
        own = identity(self._source)
        self._cached_as: Mapping[Role, str] = {
            "query": own,
            "passage": passages_fingerprint(self._source, own),
        }
        self._service: _Service | None = None
        if isinstance(self._source, OpenAICompatibleModel):
            self._service = _Service(self._source, cache, own)
        self._bf16 = bf16
        self._in_float32: dict[Role, set[str]] = {"query": set(), "passage": set()}

    @cached_property
    def address(self) -> str:
        """What ``SentenceTransformer(…)`` loads to encode in the same way; empty if it would not."""
        return plain_address(self._adapted or self._source)

    @cached_property
    def tokens(self) -> TokenCounter:
        """The counter that uses the model's tokenizer; no weights are loaded."""
        return self._source.tokens()

    @cached_property
    def mixed(self) -> bool:
        """Whether vectors are in mixed precision, unless float32 is required for a text."""
        if not self._bf16 or self._service is not None:
            return False
        keys = [key for own in self._cached_as.values() for key in (own, mixed_fingerprint(own))]
        stored = map(self._cache.dimension, keys)
        known = next((dimension for dimension in stored if dimension is not None), None)
        return mixes_precision(self._embedder.dimension if known is None else known, model_device())

    def require_float32(self, role: Role, texts: Iterable[str]) -> None:
        """Encode these texts in float32 from now on."""
        self._in_float32[role].update(texts)

    def in_precision(self, role: Role, texts: Sequence[str], *, bf16: bool) -> Vectors:
        """Return the texts' vectors in float32, or with ``bf16`` in mixed precision, whatever is required."""
        return self._adapt(role, self._fetch(role, texts, bf16=bf16 and self.mixed))

    @cached_property
    def _model(self) -> SentenceTransformer:
        return self._source.load()

    @cached_property
    def _embedder(self) -> ModelEmbedder:
        return ModelEmbedder(self._model, fingerprint=self.fingerprint)

    @cached_property
    def _mixed_embedder(self) -> ModelEmbedder:
        return ModelEmbedder(self._model, fingerprint=self.fingerprint, bf16=True)

    @cached_property
    def dimension(self) -> int:
        """The length of a vector; a service that was not asked before is sent one short text."""
        if self._service is None:
            return self._embedder.dimension
        return int(self.encode_queries([PROBE]).shape[1])

    def encode_queries(self, texts: Sequence[str]) -> Vectors:
        """Return L2-normalised float32 vectors, shape (len(texts), dimension)."""
        return self._in_either("query", texts)

    def encode_passages(self, texts: Sequence[str]) -> Vectors:
        """Return L2-normalised float32 vectors, shape (len(texts), dimension)."""
        return self._in_either("passage", texts)

    def _in_either(self, role: Role, texts: Sequence[str]) -> Vectors:
        """Return the vectors, those of texts for which float32 is required in float32."""
        start = time.monotonic()
        mixed = self.mixed
        self.wall += time.monotonic() - start
        vectors = self._fetch(role, texts, bf16=mixed)
        required = [row for row, text in enumerate(texts) if text in self._in_float32[role]] if mixed else []
        if required:
            vectors = vectors.copy()
            vectors[required] = self._fetch(role, [texts[row] for row in required], bf16=False)
        return self._adapt(role, vectors)

    def _adapt(self, role: Role, vectors: Vectors) -> Vectors:
        """Return the vectors that an adapter of queries makes of those of the model below."""
        return self._adapted.adapter.apply(vectors) if self._adapted and role == "query" else vectors

    def _fetch(self, role: Role, texts: Sequence[str], *, bf16: bool) -> Vectors:
        start = time.monotonic()
        if self._service is None:
            key = self._cached_as[role]
            fetched = self._cache.fetch(
                mixed_fingerprint(key) if bf16 else key,
                role,
                texts,
                lambda missing: self._encode(role, missing, bf16=bf16),
                prepare=lambda: self._embedder.dimension,
                label=f"Encoding {PLURAL[role]}",
            )
        elif texts:
            fetched = self._service.fetch(role, texts)
        else:
            import numpy as np

            fetched = Fetched(np.empty((0, self.dimension), dtype=np.float32), 0.0, 0)
        self.wall += time.monotonic() - start
        self.seconds[role] += fetched.seconds
        self.known += fetched.known
        return fetched.vectors

    def _encode(self, role: Role, texts: Sequence[str], *, bf16: bool) -> Vectors:
        embedder = self._mixed_embedder if bf16 else self._embedder
        return embedder.encode_queries(texts) if role == "query" else embedder.encode_passages(texts)


class Adapter(Protocol):
    """Maps unit vectors to unit vectors; ``VectorAdapter`` does it with numpy."""

    @property
    def dimension(self) -> int:
        """The length of the vectors that it gives."""

    def apply(self, vectors: Vectors) -> Vectors:
        """Return the mapped vectors, float32, shape (len(vectors), dimension)."""


class AdaptedEmbedder:
    """An Embedder whose queries go through an adapter.

    Args:
        embedder: Encodes with the model below.
        adapter: The adapter.
        fingerprint: A digest of both.
    """

    def __init__(self, embedder: Embedder, adapter: Adapter, *, fingerprint: str = "adapted") -> None:
        self.fingerprint = fingerprint
        self.name = embedder.name
        self.address = ""
        self._embedder = embedder
        self._adapter = adapter

    @property
    def dimension(self) -> int:
        """The length of a vector."""
        return self._adapter.dimension

    def encode_queries(self, texts: Sequence[str]) -> Vectors:
        """Return the adapted vectors, L2-normalised float32, shape (len(texts), dimension)."""
        return self._adapter.apply(self._embedder.encode_queries(texts))

    def encode_passages(self, texts: Sequence[str]) -> Vectors:
        """Return the vectors of the model below, shape (len(texts), dimension)."""
        return self._embedder.encode_passages(texts)


class PairedEmbedder:
    """An Embedder whose queries and passages are encoded by an embedder each.

    Args:
        queries: Encodes the queries.
        passages: Encodes the passages.
    """

    def __init__(self, *, queries: Embedder, passages: Embedder) -> None:
        self.fingerprint = sha256_of(queries.fingerprint, passages.fingerprint)
        self.name, self.address = queries.name, ""
        self.dimension = queries.dimension
        self.encode_queries = queries.encode_queries
        self.encode_passages = passages.encode_passages


PROBE = "How long is a vector?"
"""What a service is asked to learn the length of its vectors."""


class _Service:
    """Fetches vectors from a service into the cache, in blocks of one request each.

    Args:
        source: The model behind the service.
        cache: Where vectors are kept, with a record of what they cost.
        fingerprint: The model's digest.
    """

    def __init__(self, source: OpenAICompatibleModel, cache: EmbeddingCache, fingerprint: str) -> None:
        self._source, self._cache, self._fingerprint = source, cache, fingerprint
        self._block = source.batch_size

    @cached_property
    def _client(self) -> EmbeddingsClient:
        return self._source.connect(self._cache.spending_file(self._fingerprint))

    def fetch(self, role: Role, texts: Sequence[str]) -> Fetched:
        """Return the vectors of ``texts``; those that are not on disk are asked for.

        Where the service refuses a request for its size, what follows goes in smaller ones.

        Raises:
            EmbexpError: The service gives no vectors; those that it gave are on disk.
        """
        asked = 0
        with progress(f"Embedding {PLURAL[role]} with {self._source.name}") as bar:

            def embed(missing: Sequence[str]) -> Vectors:
                nonlocal asked
                vectors = self._client.embed(
                    [self._source.sent_text(role, text) for text in missing],
                    fields=self._source.fields(role),
                )
                asked += len(missing)
                bar.advance(len(missing))
                return vectors

            before = 0
            while True:
                try:
                    fetched = self._cache.fetch(
                        self._fingerprint,
                        role,
                        texts,
                        embed,
                        prepare=lambda: self._client,
                        block=self._block,
                    )
                    return Fetched(fetched.vectors, fetched.seconds, fetched.known - before)
                except BatchRefusedError as error:
                    self._block, before = max(error.size // 2, 1), asked
