"""From pairs to the columns that a loss reads: one file of pairs feeds every loss."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from embexp.data.splitting import Splits
from embexp.errors import ConfigError, DataError
from embexp.finetuning.distillation_rows import ranked_rows, vector_rows
from embexp.finetuning.hard_negatives import MinedNegatives, NegativeSource, PassagePool, RandomNegatives
from embexp.finetuning.training_rows import (
    Request,
    Rows,
    binary_rows,
    class_rows,
    pair_rows,
    scored_rows,
    triplet_rows,
)
from embexp.models.encoder import ModelEmbedder

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

    from embexp.finetuning.losses.loss import Loss
    from embexp.finetuning.trainer import SentenceTransformerFineTuner
    from embexp.finetuning.training import Untuned

log = logging.getLogger(__name__)


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


def training_rows(
    settings: SentenceTransformerFineTuner,
    model: SentenceTransformer,
    loss: Loss,
    splits: Splits,
    *,
    seed: int,
    untuned: Untuned | None,
) -> Rows:
    """Build the training rows.

    Args:
        settings: The trainer's settings.
        model: The untuned model, at the text length of training.
        loss: Says which columns it reads.
        splits: The training pairs, and how the labels of the data set are read.
        seed: Of samples and negatives.
        untuned: Knows the model's vectors from earlier runs; None embeds anew.

    Raises:
        DataError: There is one pair alone.
        ConfigError: The pairs cannot fill the loss's columns.
    """
    pairs, scale = splits.train, splits.label_scale()
    if any(pair.label is not None for pair in pairs):
        log.info("Labels of the training pairs: %s.", scale)
    pool = PassagePool(pairs, is_positive=lambda pair: scale.is_positive(pair.label))
    request = Request(
        pairs=pairs, scale=scale, pool=pool,
        negatives=_negative_source(settings, model, pool, seed=seed, untuned=untuned),
        count=settings.hard_negatives, max_pairs=settings.max_pairs, seed=seed, distinct=settings.distinct,
        max_negatives=getattr(loss, "max_negatives", None), teacher=getattr(loss, "teacher", None),
    )  # fmt: skip
    rows = build_rows(loss.columns, request)
    if len(rows) < 2:
        raise DataError(
            "There is one training pair, and a batch needs two: give more pairs, or lower split.dev and "
            "split.test."
        )
    log.info("Training rows: %d with the columns %s", len(rows), ", ".join(rows.columns))
    return rows


def _negative_source(
    settings: SentenceTransformerFineTuner,
    model: SentenceTransformer,
    pool: PassagePool,
    *,
    seed: int,
    untuned: Untuned | None,
) -> NegativeSource:
    if settings.negatives == "random":
        return RandomNegatives(pool=pool, seed=seed)
    embedder = untuned.embedder(model) if untuned else ModelEmbedder(model, fingerprint="untuned")
    return MinedNegatives(
        pool=pool, seed=seed,
        encode_queries=embedder.encode_queries, encode_passages=embedder.encode_passages,
        margin=settings.negative_margin, ranks=(settings.negative_ranks[0], settings.negative_ranks[1]),
        gap=settings.negative_gap, scorer=settings.negative_scorer,
    )  # fmt: skip
