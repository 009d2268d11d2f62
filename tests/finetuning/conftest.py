from __future__ import annotations

import functools
import gc
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from embexp.finetuning.trainer import SentenceTransformerFineTuner
from embexp.models.tiny import TinyModel
from embexp.types import Pair, Splits, Training, TrainingStep

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
    import embexp.finetuning.loop  # noqa: F401

    gc.collect()
    gc.freeze()


@pytest.fixture
def model() -> Any:
    return TinyModel(seed=1, layers=1).load()


@pytest.fixture
def splits() -> Splits:
    return Splits(
        train=[make_pair(n) for n in range(96)], dev=[make_pair(n) for n in range(100, 160)], test=[]
    )


@pytest.fixture
def train(splits: Splits, tmp_path: Any) -> Callable[..., Training]:
    """Train a model on the small set with a few sensible settings; keywords change them."""
    freeze_imports()

    def run(model: Any, loss: Any, **changes: Any) -> Training:
        options: dict[str, Any] = {"epochs": 3, "batch_size": 32, "learning_rate": 3e-3, "evaluations": 3}
        given = changes.pop("splits", splits)
        dev_scores = changes.pop("dev_scores", mean_reciprocal_rank(list(splits.dev)))
        on_step: Callable[[TrainingStep], None] = changes.pop("on_step", lambda step: None)
        work_dir = changes.pop("work_dir", tmp_path / "work")
        seed = changes.pop("seed", 0)
        untuned = changes.pop("untuned", None)
        return SentenceTransformerFineTuner(**{**options, **changes}).fit(
            model, loss, given, dev_scores=dev_scores, work_dir=work_dir, seed=seed, on_step=on_step,
            untuned=untuned,
        )  # fmt: skip

    return run
