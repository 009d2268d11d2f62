"""Near-duplicate texts: MinHash finds candidates, exact Jaccard similarity decides."""

from __future__ import annotations

import logging
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal

from embexp.data.records import Leak, Leaks, Pair, SplitName, Splits
from embexp.data.splitting import SplitSettings
from embexp.progress import track

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Shingles = npt.NDArray[np.uint32]

log = logging.getLogger(__name__)


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


PASSAGE_SHINGLE = 5


QUERY_SHINGLE = 4


EXAMPLES = 50


LONGEST = 1000
"""Characters of a leaking text that an example keeps."""


Matches = Mapping[str, tuple[str, float]]
"""A text to the held-out text that it matches, and their similarity."""


@dataclass(frozen=True)
class _Found:
    documents: set[str]
    passages: Matches
    queries: Matches

    @property
    def by_kind(self) -> tuple[tuple[Literal["question", "passage"], Matches], ...]:
        return ("question", self.queries), ("passage", self.passages)

    def knows(self, pair: Pair) -> bool:
        return pair.document_id in self.documents or pair.positive in self.passages


def audit(splits: Splits, settings: SplitSettings | None = None) -> tuple[Splits, Leaks]:
    """Take out of train, and out of dev, what nearly equals something that is held out from it.

    Train is compared with dev and test, dev with test. Where the test split is the set's own, the
    documents that it shares with training are counted and stay, and only questions are removed.

    Args:
        splits: What ``split_by_document`` returned.
        settings: The similarities from which texts count as the same; the defaults if None.

    Returns:
        The splits without leaks, and the counts of distinct passages and questions found.
    """
    settings = settings or SplitSettings()
    own = any(pair.split for pair in splits.test)
    dev_found = _find(splits.dev, splits.test, settings)
    dev = _without(splits.dev, dev_found, own=own)
    found = _find(splits.train, [*dev, *splits.test], settings)
    train = _without(splits.train, found, own=own)
    leaks = Leaks(
        documents=len(_documents(splits.train) & _documents(splits.test)),
        near_duplicate_chunks=len(found.passages.keys() | dev_found.passages.keys()),
        near_duplicate_queries=len(found.queries.keys() | dev_found.queries.keys()),
        removed_from_train=len(splits.train) - len(train),
        removed_from_dev=len(splits.dev) - len(dev),
        examples=_examples({"train": found, "dev": dev_found}),
    )
    _tell(leaks, own=own)
    return Splits(train, dev, splits.test), leaks


def _find(pairs: Sequence[Pair], held_out: Sequence[Pair], settings: SplitSettings) -> _Found:
    """Find near-duplicates; the passages of a document that both sides share are not counted again."""
    shared = _documents(pairs) & _documents(held_out)
    return _Found(
        documents=shared,
        passages=near_duplicates(
            (pair.positive for pair in pairs if pair.document_id not in shared),
            (pair.positive for pair in held_out if pair.document_id not in shared),
            threshold=settings.near_duplicate_passages,
            width=PASSAGE_SHINGLE,
            what="passages",
        ),
        queries=near_duplicates(
            (pair.query for pair in pairs),
            (pair.query for pair in held_out),
            threshold=settings.near_duplicate_queries,
            width=QUERY_SHINGLE,
            what="questions",
        ),
    )


def _examples(found: Mapping[SplitName, _Found]) -> tuple[Leak, ...]:
    """Return the most alike: questions, then passages, half each where there are enough of both."""
    leaks = [
        Leak(kind, split, text[:LONGEST], held_out[:LONGEST], round(similarity, 3))
        for split, each in found.items()
        for kind, texts in each.by_kind
        for text, (held_out, similarity) in texts.items()
    ]
    leaks.sort(key=lambda leak: (-leak.similarity, leak.text))
    by_kind = [[leak for leak in leaks if leak.kind == kind] for kind in ("question", "passage")]
    few = min(EXAMPLES // 2, *map(len, by_kind))
    kept = [leak for each in by_kind for leak in each[:few]]
    rest = [leak for each in by_kind for leak in each[few:]]
    return (*kept, *rest[: EXAMPLES - len(kept)])


def _without(pairs: Sequence[Pair], found: _Found, *, own: bool) -> list[Pair]:
    return [pair for pair in pairs if pair.query not in found.queries and (own or not found.knows(pair))]


def _documents(pairs: Sequence[Pair]) -> set[str]:
    return {pair.document_id for pair in pairs}


def _tell(leaks: Leaks, *, own: bool) -> None:
    shared = " (the set's own split, so they stay)" if own and leaks.documents else ""
    log.info(
        "Leak audit: %s documents in both train and test%s, %s near-duplicate passages and %s near-duplicate "
        "questions across splits; %s pairs taken out of train and %s out of dev.",
        f"{leaks.documents:,}",
        shared,
        f"{leaks.near_duplicate_chunks:,}",
        f"{leaks.near_duplicate_queries:,}",
        f"{leaks.removed_from_train:,}",
        f"{leaks.removed_from_dev:,}",
    )
