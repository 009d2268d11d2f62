"""What is trained on: the pairs as rows of the loss's columns, with negatives where it needs them."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from embexp.errors import DataError
from embexp.finetuning.columns import build_rows
from embexp.finetuning.encoding import encode_passages, encode_queries
from embexp.finetuning.labels import label_scale
from embexp.finetuning.negatives import MinedNegatives, NegativeSource, PassagePool, RandomNegatives
from embexp.finetuning.rows import Request, Rows
from embexp.types import Pair

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

    from embexp.finetuning.trainer import SentenceTransformerFineTuner
    from embexp.protocols import Loss, Untuned

log = logging.getLogger(__name__)


def training_rows(
    settings: SentenceTransformerFineTuner,
    model: SentenceTransformer,
    loss: Loss,
    pairs: Sequence[Pair],
    *,
    seed: int,
    untuned: Untuned | None,
) -> Rows:
    """Build the training rows.

    Args:
        settings: The trainer's settings.
        model: The untuned model, at the text length of training.
        loss: Says which columns it reads.
        pairs: The training pairs.
        seed: Of samples and negatives.
        untuned: Knows the model's vectors from earlier runs; None embeds anew.

    Raises:
        DataError: There is one pair alone.
        ConfigError: The pairs cannot fill the loss's columns.
    """
    scale = label_scale(pairs, positive_from=settings.positive_from, label_range=settings.label_range)
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
    if untuned is not None:
        embedder = untuned.embedder(model)
        queries, passages = embedder.encode_queries, embedder.encode_passages
    else:
        size = settings.batch_size
        queries = lambda texts: encode_queries(model, texts, batch_size=size)  # noqa: E731
        passages = lambda texts: encode_passages(model, texts, batch_size=size)  # noqa: E731
    return MinedNegatives(
        pool=pool, encode_queries=queries, encode_passages=passages, seed=seed,
        margin=settings.negative_margin, ranks=(settings.negative_ranks[0], settings.negative_ranks[1]),
        gap=settings.negative_gap, scorer=settings.negative_scorer,
    )  # fmt: skip
