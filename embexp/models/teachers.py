"""Models as teachers: a cross-encoder's scores, or another bi-encoder's similarities and vectors.

What a teacher has said is kept on disk under its fingerprint and the texts, a block at a time, so that
nothing is asked twice: not by another trial, nor after a kill.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from embexp.errors import ConfigError, ModelError
from embexp.models.embedder import ModelEmbedder
from embexp.models.embedding_cache import EmbeddingCache, Role
from embexp.models.loading import Overrides, fingerprint_of, offline
from embexp.models.sources import HubModel
from embexp.progress import progress, without_bars
from embexp.storage.files import sha256_of

if TYPE_CHECKING:
    from embexp.protocols import ModelSource, Vectors

BLOCK = 512
"""Texts or pairs that are scored before what was found is written: the most that a kill can cost."""


@dataclass(frozen=True, kw_only=True)
class CrossEncoderTeacher:
    """A cross-encoder: it reads query and passage together, which is slow and exact.

    Args:
        model: Its folder, or its name on the Hugging Face Hub (owner/name).
        max_tokens: Both texts together are cut here; None keeps the model's own limit.
        batch_size: How many pairs go through it at once.
        cache: The folder that keeps its scores; None keeps none.
    """

    model: str
    max_tokens: int | None = None
    batch_size: int = 32
    cache: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise ConfigError(f"teacher.batch_size={self.batch_size}: must be 1 or more.")
        if self.max_tokens is not None and self.max_tokens < 8:
            raise ConfigError(f"teacher.max_tokens={self.max_tokens}: must be 8 or more, or null.")

    def fingerprint(self) -> str:
        """Return a digest that changes with the weights or the length.

        Raises:
            ModelError: There is no such model.
        """
        folder = self._folder()
        return sha256_of("cross-encoder", fingerprint_of(folder, Overrides()), self.max_tokens)

    def scores(self, pairs: Sequence[tuple[str, str]]) -> Vectors:
        """Return the logit of each (query, passage), shape (len(pairs),).

        Raises:
            ModelError: There is no such model, or it gives more than one number for a pair.
        """
        loaded: list[Any] = []

        def score(block: Sequence[str]) -> Vectors:
            if not loaded:
                loaded.append(self._load())
            return self._predict(loaded[0], [json.loads(pair) for pair in block])

        texts = [json.dumps(pair, ensure_ascii=False) for pair in pairs]
        found = _kept(self.cache, self.fingerprint(), "pair", texts, score, label="Scoring with the teacher")
        return found[:, 0]

    def _predict(self, encoder: Any, pairs: list[list[str]]) -> Vectors:
        import numpy as np
        import torch

        logits = encoder.predict(
            pairs,
            batch_size=self.batch_size,
            activation_fn=torch.nn.Identity(),
            show_progress_bar=False,
            convert_to_numpy=True,
        )
        return np.asarray(logits, dtype=np.float32).reshape(len(pairs), 1)

    def _folder(self) -> Path:
        folder = Path(self.model).expanduser()
        if folder.is_dir():
            return folder
        if self.model.startswith((".", "/", "~")) or self.model.count("/") != 1:
            raise ModelError(
                f"The teacher {self.model!r} is no folder: give the folder of a saved cross-encoder, or a "
                "name of the Hugging Face Hub, such as cross-encoder/ms-marco-MiniLM-L6-v2."
            )
        return HubModel(name=self.model, id=self.model).folder()

    def _load(self) -> Any:
        from sentence_transformers import CrossEncoder

        folder = self._folder()
        try:
            with offline(), without_bars():
                encoder = CrossEncoder(
                    str(folder),
                    local_files_only=True,
                    trust_remote_code=False,
                    model_kwargs={"use_safetensors": True},
                )
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError) as error:
            raise ModelError(
                f"The teacher in {folder} does not load as a cross-encoder ({str(error).splitlines()[0]}): "
                "choose another, or teacher@loss.teacher=bi_encoder for a model that gives vectors."
            ) from error
        if encoder.num_labels != 1:
            raise ModelError(
                f"The teacher {self.model} gives {encoder.num_labels} numbers for a pair: choose a "
                "cross-encoder that gives one score, such as cross-encoder/ms-marco-MiniLM-L6-v2."
            )
        if self.max_tokens is not None:
            encoder.max_length = min(self.max_tokens, encoder.max_length or self.max_tokens)
        return encoder


@dataclass(frozen=True, kw_only=True)
class BiEncoderTeacher:
    """Another embedding model, larger or trained before: its similarities, or its vectors.

    Args:
        model: The model, as an option of the group ``model``.
        scale: A score is this many times the cosine, to be like a cross-encoder's logits.
        batch_size: How many texts go through it at once.
        cache: The folder that keeps its vectors; None keeps none.
    """

    model: Any
    scale: float = 20.0
    batch_size: int = 64
    cache: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if not self.scale > 0:
            raise ConfigError(f"teacher.scale={self.scale}: must be above 0.")

    def fingerprint(self) -> str:
        """Return a digest that changes with the weights, the prompts or the scale."""
        return sha256_of("bi-encoder", self.model.fingerprint(), self.scale)

    def scores(self, pairs: Sequence[tuple[str, str]]) -> Vectors:
        """Return the scaled cosine of each (query, passage), shape (len(pairs),)."""
        import numpy as np

        queries = self.encode_queries([query for query, _ in pairs])
        passages = self.encode_passages([passage for _, passage in pairs])
        found: Vectors = self.scale * np.einsum("ij,ij->i", queries, passages)
        return found

    def encode_queries(self, texts: Sequence[str]) -> Vectors:
        """Return unit vectors of queries, shape (len(texts), dimension)."""
        return self._encode("query", texts)

    def encode_passages(self, texts: Sequence[str]) -> Vectors:
        """Return unit vectors of passages, shape (len(texts), dimension)."""
        return self._encode("passage", texts)

    def _encode(self, role: Role, texts: Sequence[str]) -> Vectors:
        source: ModelSource = self.model
        loaded: list[ModelEmbedder] = []

        def encode(block: Sequence[str]) -> Vectors:
            if not loaded:
                loaded.append(
                    ModelEmbedder(
                        source.load(),
                        fingerprint="teacher",
                        batch_size=self.batch_size,
                        label="Teacher encodes",
                    )
                )
            return loaded[0].encode_queries(block) if role == "query" else loaded[0].encode_passages(block)

        label = (
            "Encoding queries with the teacher" if role == "query" else "Encoding passages with the teacher"
        )
        return _kept(self.cache, source.fingerprint(), role, texts, encode, label=label)


def _kept(
    cache: str | None,
    fingerprint: str,
    role: Role,
    texts: Sequence[str],
    ask: Callable[[Sequence[str]], Vectors],
    *,
    label: str,
) -> Vectors:
    """Return the rows of ``texts``, asking for those alone that are not on disk yet; each text once."""
    import numpy as np

    place = {text: row for row, text in enumerate(dict.fromkeys(texts))}
    store = EmbeddingCache(Path(cache)) if cache is not None else None
    parts = []
    with progress(label, total=len(place)) as bar:
        for block in _blocks(list(place)):
            parts.append(store.get_or_encode(fingerprint, role, block, ask) if store else ask(block))
            bar.advance(len(block))
    return np.concatenate(parts)[[place[text] for text in texts]]


def _blocks(texts: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(texts), BLOCK):
        yield texts[start : start + BLOCK]
