"""An embedder over an exported graph: tokens in, vectors of length 1 out, whatever runs it."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from embexp.exporting.two_encoders import QUERIES
from embexp.models.batches import similar_batches
from embexp.models.encoder import ENCODING_PASSAGES, PLURAL
from embexp.progress import progress
from embexp.storage.files import sha256_of, sha256_of_file

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from embexp.models.vector_files import Vectors

TOKENIZER, PROMPTS = "tokenizer.json", "prompts.json"
BATCH = 256
"""How many texts are tokenised at once."""
TOKENS_PER_RUN = 1_024
"""The size of what is computed at once: in larger parts runtimes on a CPU take up to twice as long."""


class GraphEmbedder(ABC):
    """An Embedder over a folder with a graph, ``tokenizer.json`` and ``prompts.json``; it needs no torch.

    Where the questions have an encoder of their own, ``query/`` in the folder holds the same files for it.

    Args:
        folder: The folder.
        threads: How many threads compute; None leaves it to the library that runs the graph.
    """

    name = ""
    address = ""

    def __init__(self, folder: Path, *, threads: int | None = None) -> None:
        self._folder = folder
        self._threads = threads

    @abstractmethod
    def _run(self, input_ids: NDArray[np.int64], attention_mask: NDArray[np.int64]) -> Vectors:
        """Return the vectors of a batch."""

    @cached_property
    def fingerprint(self) -> str:
        """A digest of the files."""
        files = sorted(file for file in self._folder.rglob("*") if file.is_file())
        digests = [(file.relative_to(self._folder).as_posix(), sha256_of_file(file)) for file in files]
        return sha256_of("graph", digests)

    @cached_property
    def _for_queries(self) -> Self:
        own = self._folder / QUERIES
        return type(self)(own, threads=self._threads) if own.is_dir() else self

    @cached_property
    def _tokenizer(self) -> Any:
        from tokenizers import Tokenizer

        return Tokenizer.from_file(str(self._folder / TOKENIZER))

    @cached_property
    def _prompts(self) -> dict[str, str]:
        return dict(json.loads((self._folder / PROMPTS).read_text(encoding="utf-8")))

    @property
    def dimension(self) -> int:
        """The length of a vector."""
        return int(self.encode_queries(["a"]).shape[1])

    def encode_queries(self, texts: Sequence[str]) -> Vectors:
        """Return L2-normalised float32 vectors, shape (len(texts), dimension)."""
        encoder = self._for_queries
        prompted = [encoder._prompts["query"] + text for text in texts]
        return encoder._encode(prompted, f"Encoding {PLURAL['query']}")

    def encode_passages(self, texts: Sequence[str]) -> Vectors:
        """Return L2-normalised float32 vectors, shape (len(texts), dimension)."""
        return self._encode([self._prompts["passage"] + text for text in texts], ENCODING_PASSAGES)

    def _encode(self, texts: Sequence[str], label: str) -> Vectors:
        import numpy as np

        if not texts:
            return np.empty((0, self.dimension), dtype=np.float32)
        parts: list[Vectors] = []
        batches = similar_batches([len(text) for text in texts], lambda _: BATCH)
        with progress(label, total=len(texts)) as bar:
            for batch in batches:
                tokens = self._batches([texts[number] for number in batch])
                parts += [self._run(ids, mask) for ids, mask in tokens]
                bar.advance(len(batch))
        joined = np.concatenate(parts)
        vectors = np.empty(joined.shape, dtype=np.float32)
        vectors[np.concatenate(batches)] = joined
        return vectors

    def _batches(self, texts: Sequence[str]) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
        """Yield the tokens of texts, the longest first, in batches of ``TOKENS_PER_RUN``, and their masks."""
        import numpy as np

        encoded = self._tokenizer.encode_batch(texts)
        ids, mask = (
            np.array([getattr(each, name) for each in encoded], dtype=np.int64)
            for name in ("ids", "attention_mask")
        )
        start = 0
        while start < len(texts):
            size = max(TOKENS_PER_RUN // max(int(mask[start].sum()), 1), 1)
            rows = slice(start, start + size)
            held = mask[rows].any(axis=0)
            yield ids[rows][:, held], mask[rows][:, held]
            start += size
