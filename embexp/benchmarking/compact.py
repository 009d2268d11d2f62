"""Smaller vectors of the same model: fewer dimensions, or a byte or a bit for each of them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from embexp.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from embexp.models.encoder import Embedder
    from embexp.models.vector_files import Vectors

FORM = re.compile(r"int8|binary|dimensions=([1-9]\d*)")
EPSILON = 1e-12
FLOAT_BYTES = 4


def check_systems(systems: Sequence[str]) -> None:
    """Refuse names other than int8, binary and dimensions=N.

    Raises:
        ConfigError: There is no such system.
    """
    for name in systems:
        if FORM.fullmatch(name) is None:
            raise ConfigError(
                f"benchmark.systems names {name!r}: choose from int8, binary and dimensions=N, as in "
                "'benchmark.systems=[int8,\"dimensions=128\"]'."
            )


class CompactEmbedder:
    """Embeds as another embedder does, with vectors that take less space.

    - ``dimensions=N`` keeps the first N numbers of queries and passages (Kusupati et al., Matryoshka
      Representation Learning, NeurIPS 2022); a model that was not trained for it loses much.
    - ``int8`` rounds passages to 255 steps of their greatest absolute number: a quarter of the size.
    - ``binary`` keeps the signs of passages (Yamada et al., ACL 2021): a 32nd of the size.

    With ``int8`` and ``binary``, queries stay whole.

    Args:
        embedder: The embedder whose vectors are shortened.
        form: One of the names above.
    """

    def __init__(self, embedder: Embedder, form: str) -> None:
        check_systems([form])
        self.fingerprint = f"{embedder.fingerprint} {form}"
        self.name = f"{embedder.name} {form}"
        self.address = ""
        self._embedder = embedder
        self._form = form
        self._kept = int(form.partition("=")[2] or 0)

    @property
    def dimension(self) -> int:
        """The length of a vector."""
        return self._kept or self._embedder.dimension

    def stored_bytes(self, dimension: int) -> int:
        """Return the bytes of a passage's vector of ``dimension`` numbers; int8 adds 4 for the step size."""
        if self._form == "int8":
            return dimension + FLOAT_BYTES
        return -(-dimension // 8) if self._form == "binary" else FLOAT_BYTES * dimension

    def encode_queries(self, texts: Sequence[str]) -> Vectors:
        """Return L2-normalised float32 vectors, shape (len(texts), dimension)."""
        vectors = self._embedder.encode_queries(texts)
        return self._cut(vectors) if self._kept else vectors

    def encode_passages(self, texts: Sequence[str]) -> Vectors:
        """Return the stored vectors, decoded: L2-normalised float32, shape (len(texts), dimension)."""
        import numpy as np

        vectors = self._embedder.encode_passages(texts)
        if self._kept:
            return self._cut(vectors)
        if self._form == "binary":
            return _unit(np.where(vectors > 0, 1.0, -1.0).astype(np.float32))
        steps = np.abs(vectors).max(axis=1, keepdims=True) / 127
        return _unit(np.round(vectors / np.maximum(steps, EPSILON)))

    def _cut(self, vectors: Vectors) -> Vectors:
        if self._kept > vectors.shape[1]:
            raise ConfigError(
                f"benchmark.systems asks for dimensions={self._kept}, and the model has {vectors.shape[1]}: "
                "ask for fewer."
            )
        return _unit(vectors[:, : self._kept])


def _unit(vectors: Vectors) -> Vectors:
    import numpy as np

    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit: Vectors = (vectors / np.maximum(norms, EPSILON)).astype(np.float32)
    return unit
