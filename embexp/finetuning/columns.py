"""From pairs to the columns that a loss reads: one file of pairs feeds every loss."""

from __future__ import annotations

from collections.abc import Callable

from embexp.errors import ConfigError
from embexp.finetuning.anchored import pair_rows, triplet_rows
from embexp.finetuning.judged import binary_rows, class_rows, scored_rows
from embexp.finetuning.rows import Request, Rows
from embexp.finetuning.taught import ranked_rows, vector_rows

BUILDERS: dict[str, Callable[[Request], Rows]] = {
    "pairs": pair_rows,
    "triplets": triplet_rows,
    "scored": scored_rows,
    "binary": binary_rows,
    "classes": class_rows,
    "ranked": ranked_rows,
    "vectors": vector_rows,
}


def build_rows(kind: str, request: Request) -> Rows:
    """Build the rows of one kind of columns.

    Args:
        kind: A loss's ``columns``: pairs, triplets, scored, binary, classes, ranked or vectors.
        request: The pairs and how to use them.

    Raises:
        ConfigError: These rows cannot be built from these pairs; the message says what is missing.
    """
    if kind not in BUILDERS:
        raise ConfigError(
            f"The loss reads {kind!r} columns, which cannot be built; known are "
            f"{', '.join(sorted(BUILDERS))}."
        )
    return BUILDERS[kind](request)
