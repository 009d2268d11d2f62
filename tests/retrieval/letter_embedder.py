"""Embedders whose vectors can be computed by hand."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

LETTERS = "abcdefgh"


class LetterEmbedder:
    """Embeds a text as the counts of the letters a to h, so that every score can be computed by hand."""

    dimension = len(LETTERS)

    def __init__(self, fingerprint: str = "letters", *, name: str = "", address: str = "") -> None:
        self.fingerprint = fingerprint
        self.name = name
        self.address = address
        self.passages: list[str] = []

    def encode_queries(self, texts: Sequence[str]) -> np.ndarray:
        counts = np.array([[text.count(letter) for letter in LETTERS] for text in texts], dtype=np.float32)
        counts = counts.reshape(len(texts), self.dimension)
        return counts / np.linalg.norm(counts, axis=1, keepdims=True)

    def encode_passages(self, texts: Sequence[str]) -> np.ndarray:
        self.passages.extend(texts)
        return self.encode_queries(texts)


class TurnedEmbedder(LetterEmbedder):
    """Another model of the same dimension: the letters' counts in reverse order."""

    def __init__(self) -> None:
        super().__init__("turned")

    def encode_queries(self, texts: Sequence[str]) -> np.ndarray:
        return np.ascontiguousarray(super().encode_queries(texts)[:, ::-1])


class RandomEmbedder:
    """Embeds each text as a random unit vector, seeded with the text."""

    fingerprint = "random"
    name = address = ""
    dimension = 24

    def encode_queries(self, texts: Sequence[str]) -> np.ndarray:
        rows = [np.random.default_rng(list(text.encode())).standard_normal(self.dimension) for text in texts]
        vectors = np.array(rows, dtype=np.float32)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    encode_passages = encode_queries


class QuarterEmbedder(RandomEmbedder):
    """Embeds each text with four of 24 numbers set to ±0.5: cosines are exact quarters, and often equal."""

    fingerprint = "quarters"

    def encode_queries(self, texts: Sequence[str]) -> np.ndarray:
        vectors = np.zeros((len(texts), self.dimension), dtype=np.float32)
        for row, text in enumerate(texts):
            chosen = np.random.default_rng(list(text.encode()))
            vectors[row, chosen.choice(self.dimension, 4, replace=False)] = chosen.choice([-0.5, 0.5], 4)
        return vectors

    encode_passages = encode_queries
