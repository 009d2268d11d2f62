"""Near-duplicate texts: MinHash finds candidates, the exact Jaccard similarity of character runs decides."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from embexp.data.words import runs
from embexp.progress import track

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from datasketch import MinHash, MinHashLSH

    Shingles = npt.NDArray[np.uint32]

_PERMUTATIONS = 128
_SLACK = 0.15
"""MinHash with 128 permutations errs by 0.035 at a similarity of 0.8 (one standard deviation)."""


def normalised(text: str) -> str:
    """Return a text without case, punctuation and spacing, or the bare text if nothing is left of it."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return " ".join(runs(folded)) or folded.strip()


class Match(NamedTuple):
    """A text of an index that equals or nearly equals another one, and their Jaccard similarity."""

    text: str
    similarity: float


class NearDuplicateIndex:
    """Texts that can be searched for near-duplicates; texts can be added at any time.

    Memory grows with the texts that are added: a signature of 128 numbers and a set of hashes for each.
    MinHash: Broder, On the resemblance and containment of documents (1997).

    Args:
        threshold: The Jaccard similarity, in (0, 1], from which two texts count as the same; 1 means
            equal texts alone.
        width: The length of a shingle (a run of characters).
        normalise: Returns the form in which texts are compared; by default without case, punctuation and
            spacing.
    """

    def __init__(self, *, threshold: float, width: int, normalise: Callable[[str], str] = normalised) -> None:
        import numpy as np

        self._normalise = normalise
        self._threshold = threshold
        self._width = width
        self._positions: dict[str, int] = {}
        self._texts: list[str] = []
        self._shingles: list[Shingles] = []
        self._signatures = np.empty((64, _PERMUTATIONS), dtype=np.uint64)
        self._last: tuple[str, Shingles, MinHash] | None = None

    def find(self, text: str) -> Match | None:
        """Return the most similar text of the index, the first one if several are equally similar.

        Returns:
            The text as it was added, or None if no text reaches the threshold.
        """
        normal = self._normalise(text)
        if normal in self._positions:
            return Match(self._texts[self._positions[normal]], 1.0)
        if self._threshold >= 1 or not self._texts:
            return None
        shingles, signature = self._prepared(normal)
        candidates = self._lsh.query(signature)
        estimates = (self._signatures[candidates] == signature.hashvalues).mean(axis=1) if candidates else []
        close = [
            (_jaccard(shingles, self._shingles[at]), -at)
            for at, estimate in zip(candidates, estimates, strict=True)
            if estimate >= self._threshold - _SLACK
        ]
        similarity, at = max(close, default=(0.0, 0))
        return Match(self._texts[-at], similarity) if similarity >= self._threshold else None

    def add(self, text: str) -> None:
        """Add a text, unless an equal one is there already."""
        import numpy as np

        normal = self._normalise(text)
        if normal in self._positions:
            return
        at = self._positions[normal] = len(self._texts)
        self._texts.append(text)
        if self._threshold >= 1:
            return
        shingles, signature = self._prepared(normal)
        if at == len(self._signatures):  # doubled when full, so that adding stays linear
            self._signatures = np.concatenate([self._signatures, np.empty_like(self._signatures)])
        self._signatures[at] = signature.hashvalues
        self._shingles.append(shingles)
        self._lsh.insert(at, signature)

    def _prepared(self, normal: str) -> tuple[Shingles, MinHash]:
        if self._last is None or self._last[0] != normal:  # a text is often added right after it was searched
            shingles = _shingles(normal, width=self._width)
            signature = self._no_shingles.copy()
            signature.update_batch(shingles.tolist())
            self._last = (normal, shingles, signature)
        return self._last[1:]

    @cached_property
    def _no_shingles(self) -> MinHash:
        from datasketch import MinHash

        return MinHash(num_perm=_PERMUTATIONS, seed=1, hashfunc=int)

    @cached_property
    def _lsh(self) -> MinHashLSH:
        from datasketch import MinHashLSH

        return MinHashLSH(threshold=max(self._threshold - _SLACK, 0.3), num_perm=_PERMUTATIONS)


def near_duplicates(
    texts: Iterable[str], held_out: Iterable[str], *, threshold: float, width: int, what: str
) -> dict[str, Match]:
    """Return those of ``texts`` that equal or nearly equal a held-out text, each with its best match.

    Args:
        texts: The texts that could leak; equal ones are looked up once.
        held_out: The texts that they are compared with.
        threshold: The Jaccard similarity from which two texts count as the same.
        width: The length of a shingle, in characters.
        what: What the texts are, for the progress bar.
    """
    distinct = list(dict.fromkeys(texts))
    against = sorted(set(held_out), key=lambda text: (normalised(text), text))
    if not distinct or not against:
        return {}
    index = NearDuplicateIndex(threshold=threshold, width=width)
    for text in track(against, f"Reading {what} to compare with", total=len(against)):
        index.add(text)
    steps = track(distinct, f"Looking for leaks among {what}", total=len(distinct))
    matches = ((text, index.find(text)) for text in steps)
    return {text: match for text, match in matches if match is not None}


def similarity(one: str, other: str, *, width: int, normalise: Callable[[str], str] = normalised) -> float:
    """Return the Jaccard similarity of two texts' character runs; see ``NearDuplicateIndex``."""
    return _jaccard(_shingles(normalise(one), width=width), _shingles(normalise(other), width=width))


def _shingles(text: str, *, width: int) -> Shingles:
    """Return the distinct runs of ``width`` characters of a text, as sorted 32-bit hashes.

    Multiply-shift hashing of each run (Dietzfelbinger et al., J. Algorithms 25, 1997), vectorised.
    """
    import numpy as np

    codes = np.frombuffer(text.ljust(width).encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
    windows = np.lib.stride_tricks.sliding_window_view(codes.astype(np.uint64), width)
    factors = np.random.default_rng(0).integers(0, 2**63, size=width, dtype=np.uint64) * 2 + 1
    return np.unique(((windows * factors).sum(axis=1, dtype=np.uint64) >> np.uint64(32)).astype(np.uint32))


def _jaccard(one: Shingles, other: Shingles) -> float:
    """Return |A ∩ B| / |A ∪ B| of two sets of hashes, each sorted and without repeats."""
    import numpy as np

    common = len(np.intersect1d(one, other, assume_unique=True))
    return common / (len(one) + len(other) - common)
