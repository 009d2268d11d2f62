from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from embexp.data.splitting import Splits
from embexp.finetuning.trainer import SentenceTransformerFineTuner
from embexp.finetuning.training import Training, TrainingStep
from embexp.models.tiny import TinyModel
from tests.finetuning.jargon import freeze_imports, make_pair, mean_reciprocal_rank


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
            model,
            loss,
            given,
            dev_scores=dev_scores,
            work_dir=work_dir,
            seed=seed,
            on_step=on_step,
            untuned=untuned,
        )

    return run
