"""The weight of BM25 beside vectors, query by query: larger where the nearest cosines differ little."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from embexp.data.spelling import mostly_spelled
from embexp.models.encoder import CountsTokens, Embedder

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from embexp.models.vector_files import Vectors

NEAREST = 20
"""The passages nearest to a query, whose cosines are compared."""
USUAL_SPREAD = 0.05
"""The standard deviation of their cosines at which BM25 has its given weight, for a scale of 1."""
MOST = 4.0
"""The most that the odds of BM25 are multiplied by: copies of a passage have no spread at all."""
UNREAD = 20.0
"""What they are multiplied by for a query in a language that the model has never read: words alone count."""
LEAST_SCALE = 0.01
UNRELATED = (
    "The goalkeeper saved two penalties in the last minute.",
    "Boil the lentils until they are soft, then add cumin.",
    "The central bank left its interest rate unchanged.",
    "Glaciers in the valley have retreated by three kilometres.",
    "Her second novel is set in a village without a name.",
    "The patient was given antibiotics for ten days.",
    "Press and hold the power button to restart the router.",
    "The treaty was signed by eleven countries in 1951.",
    "Tighten the bolts of the front wheel with a torque wrench.",
    "The orchestra will play two symphonies on Sunday evening.",
    "Tomatoes need at least six hours of sun a day.",
    "A function that calls itself needs a condition to stop.",
    "The court dismissed the tenant's appeal.",
    "Our train was forty minutes late because of snow.",
    "Penguins share the work of keeping their egg warm.",
    "The cathedral's tower was rebuilt after the fire.",
)


def cosine_scale(embedder: Embedder) -> float:
    """Return 1 minus the mean cosine of texts that have nothing in common, at least .01.

    Cosines of some models fill most of [0, 1], those of others [0.7, 1] only. Divided by this scale, their
    differences can be compared.
    """
    import numpy as np

    vectors = embedder.encode_passages(UNRELATED)
    count = len(UNRELATED)
    mean = (np.square(vectors.sum(axis=0)).sum() - count) / (count * (count - 1))
    return max(1.0 - float(mean), LEAST_SCALE)


def unread_queries(embedder: Embedder, queries: Sequence[str]) -> NDArray[np.bool_]:
    """Return of each query whether the tokenizer spells most of its words or does not know their letters.

    Args:
        embedder: The model; one whose tokens cannot be counted counts as having read everything.
        queries: The queries.

    Returns:
        Shape (queries,).
    """
    import numpy as np

    if not isinstance(embedder, CountsTokens):
        return np.zeros(len(queries), dtype=bool)
    return np.array(mostly_spelled(embedder.tokens, queries), dtype=bool)


def bm25_factors(spreads: Vectors, scale: float, unread: NDArray[np.bool_] | None = None) -> Vectors:
    """Return what the odds of BM25, ``weight / (1 - weight)``, are multiplied by for each query.

    A model that cannot tell a query's nearest passages apart gives them nearly the same cosine. There BM25
    is right more often, so its odds are multiplied by the usual spread over the query's.

    Args:
        spreads: The standard deviation of the cosines of each query's ``NEAREST`` passages; shape (queries,).
        scale: The model's ``cosine_scale``, which BM25 is multiplied by, too.
        unread: What ``unread_queries`` returns; None where the model has read all queries' language.

    Returns:
        Positive factors of at most ``MOST``, and ``UNREAD`` for unread queries; shape (queries,).
    """
    import numpy as np

    factors = scale * np.minimum(USUAL_SPREAD * scale / np.maximum(spreads, 1e-9), MOST)
    if unread is not None:
        factors = np.where(unread, UNREAD, factors)
    return np.asarray(factors, dtype=np.float32)
