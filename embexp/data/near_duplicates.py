"""Near-duplicate texts: MinHash finds candidates, exact Jaccard similarity decides."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from functools import cached_property
from typing import TYPE_CHECKING

from embexp.progress import track

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Shingles = npt.NDArray[np.uint32]

PERMUTATIONS = 128
SLACK = 0.15
"""MinHash with 128 permutations errs by 0.035 at a similarity of 0.8 (one standard deviation)."""
_WORD = re.compile(r"\w+")


def normalised(text: str) -> str:
    """Return what is left of a text when case, punctuation and spacing are taken away."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return " ".join(_WORD.findall(folded)) or folded.strip()


def shingles(text: str, *, width: int) -> Shingles:
    """Return the distinct runs of ``width`` characters of a text, as sorted 32-bit hashes.

    Multiply-shift hashing of each run (Dietzfelbinger et al., J. Algorithms 25, 1997), vectorised.
    """
    import numpy as np

    codes = np.frombuffer(text.ljust(width).encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
    windows = np.lib.stride_tricks.sliding_window_view(codes.astype(np.uint64), width)
    factors = np.random.default_rng(0).integers(0, 2**63, size=width, dtype=np.uint64) * 2 + 1
    return np.unique(((windows * factors).sum(axis=1, dtype=np.uint64) >> np.uint64(32)).astype(np.uint32))


def jaccard(one: Shingles, other: Shingles) -> float:
    """Return |A ∩ B| / |A ∪ B| of two sets of hashes, each sorted and without repeats."""
    import numpy as np

    common = len(np.intersect1d(one, other, assume_unique=True))
    return common / (len(one) + len(other) - common)


class HeldOutTexts:
    """Texts of a held-out split, ready to be compared with a stream of others.

    Memory grows with the held-out texts alone: a signature of 128 numbers and a set of hashes each.

    Args:
        texts: The held-out texts.
        threshold: The Jaccard similarity from which two texts count as the same.
        width: The length of a shingle, in characters.
    """

    def __init__(self, texts: Iterable[str], *, threshold: float, width: int) -> None:
        from datasketch import MinHashLSH

        self._threshold = threshold
        self._width = width
        given = {normalised(text): text for text in sorted(texts, reverse=True)}
        self._texts = sorted(given)
        self._given = given
        self._sets = [shingles(text, width=width) for text in self._texts]
        self._lsh = MinHashLSH(threshold=max(threshold - SLACK, 0.3), num_perm=PERMUTATIONS)
        self._signatures = [self._signature(values) for values in self._sets]
        for at, signature in enumerate(self._signatures):
            self._lsh.insert(at, signature)

    @cached_property
    def _matrix(self) -> npt.NDArray[np.uint64]:
        import numpy as np

        return np.array([signature.hashvalues for signature in self._signatures])

    def _signature(self, values: Shingles):  # type: ignore[no-untyped-def]
        signature = self._empty.copy()
        signature.update_batch(values.tolist())
        return signature

    @cached_property
    def _empty(self):  # type: ignore[no-untyped-def]
        from datasketch import MinHash

        return MinHash(num_perm=PERMUTATIONS, seed=1, hashfunc=int)

    def nearest(self, text: str) -> tuple[str, float] | None:
        """Return the held-out text that a text equals or nearly equals, with their similarity."""
        normal = normalised(text)
        if normal in self._given:
            return self._given[normal], 1.0
        values = shingles(normal, width=self._width)
        signature = self._signature(values)
        found = self._lsh.query(signature)
        if not found:
            return None
        alike = (self._matrix[found] == signature.hashvalues).mean(axis=1)
        close = [
            (jaccard(values, self._sets[at]), -at)
            for at, estimate in zip(found, alike, strict=True)
            if estimate >= self._threshold - SLACK
        ]
        similarity, at = max(close, default=(0.0, 0))
        return (self._given[self._texts[-at]], similarity) if similarity >= self._threshold else None


def near_duplicates(
    texts: Iterable[str], held_out: Iterable[str], *, threshold: float, width: int, what: str
) -> dict[str, tuple[str, float]]:
    """Return those of ``texts`` that equal or nearly equal a held-out text, with that text and how nearly.

    Args:
        texts: The texts that could leak; each distinct one is looked at once.
        held_out: The texts that they are compared with.
        threshold: The Jaccard similarity from which two texts count as the same.
        width: The length of a shingle, in characters.
        what: What the texts are, for the progress bar.
    """
    distinct = list(dict.fromkeys(texts))
    kept = list(held_out)
    if not distinct or not kept:
        return {}
    against = HeldOutTexts(kept, threshold=threshold, width=width)
    steps = track(distinct, f"Looking for leaks among {what}", total=len(distinct))
    found = ((text, against.nearest(text)) for text in steps)
    return {text: match for text, match in found if match is not None}
