"""Pairs that no untuned model can know, and how well a model has learnt them."""

from __future__ import annotations

import functools
import gc
from collections.abc import Callable, Mapping
from typing import Any

from embexp.data.records import Pair

WORDS = [
    start + end
    for start in ("bar", "den", "fil", "gom", "hus", "kit")
    for end in ("ato", "eli", "ipo", "oru", "umb")
]
JARGON = [
    start + end
    for start in ("lam", "mer", "nid", "pol", "ruk", "sat")
    for end in ("ach", "eth", "isk", "ond", "ulf")
]


def make_pair(number: int, **changes: Any) -> Pair:
    """A query of two words and a passage that says them in jargon: what an untuned model cannot know."""
    one, other = number % 30, (number // 30 + number + 7) % 30
    values: dict[str, Any] = {
        "id": f"p{number}",
        "query": f"{WORDS[one]} {WORDS[other]}",
        "positive": f"{JARGON[one]} {JARGON[other]}",
        "document_id": f"d{number}",
    }
    return Pair(**{**values, **changes})


def mean_reciprocal_rank(pairs: list[Pair]) -> Callable[[Any], Mapping[str, float]]:
    """Score a model by the rank of each query's own passage among all."""

    def score(model: Any) -> Mapping[str, float]:
        queries = model.encode(
            [pair.query for pair in pairs], show_progress_bar=False, normalize_embeddings=True
        )
        passages = model.encode(
            [pair.positive for pair in pairs], show_progress_bar=False, normalize_embeddings=True
        )
        scores = queries @ passages.T
        ranks = (scores > scores.diagonal()[:, None]).sum(axis=1) + 1
        return {"ndcg@10": float((1 / ranks).mean())}

    return score


@functools.cache
def freeze_imports() -> None:
    """Take what the libraries have made at import out of garbage collection: each training collects twice."""
    import embexp.finetuning.training_loop  # noqa: F401

    gc.collect()
    gc.freeze()
