"""trainer=two_stages: what each stage trains on, and what the joined record says."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from embexp.data.splitting import Splits
from embexp.errors import ConfigError
from embexp.finetuning import SentenceTransformerFineTuner, TwoStageFineTuner
from embexp.finetuning.losses import Mnrl, QueryDistill
from embexp.finetuning.parameter_efficient import QueryEncoder
from embexp.finetuning.training import Training, TrainingStep
from embexp.finetuning.two_stages import FIRST, joined
from embexp.models.tiny import TinyModel
from tests.finetuning.jargon import freeze_imports, mean_reciprocal_rank

SMALL: dict[str, Any] = {"batch_size": 32, "learning_rate": 3e-3, "evaluations": 1, "bf16": True}


@pytest.fixture
def fit(splits: Splits, tmp_path: Path) -> Callable[..., tuple[Any, Training, list[int]]]:
    """Train in two stages; return the model, the record and the steps that were told."""
    freeze_imports()

    def run(first_kinds: list[str] | None = None, folder: str = "work") -> tuple[Any, Training, list[int]]:
        titles = [replace(pair, query_type="title") for pair in splits.train[:64]]
        mixed = replace(splits, train=[*titles, *splits.train[64:]])
        trainer = TwoStageFineTuner(
            first=SentenceTransformerFineTuner(epochs=2, **SMALL),
            first_loss=Mnrl(),
            first_kinds=first_kinds,
            method=QueryEncoder(),
            select="tuned",
            **SMALL,
        )
        model, told = TinyModel(seed=1, layers=1).load(), []
        training = trainer.fit(
            model,
            QueryDistill(),
            mixed,
            dev_scores=mean_reciprocal_rank(list(splits.dev)),
            work_dir=tmp_path / folder,
            seed=0,
            on_step=lambda step: told.append(step.step),
        )
        return model, training, told

    return run


def test_the_first_stage_learns_from_its_kinds_and_the_second_from_all(fit: Any) -> None:
    model, training, told = fit(["title"])

    assert training.pairs == 64 + 96
    assert training.steps == 2 * 2 + 3
    assert told == sorted(told)
    assert told[-1] == training.steps == training.history[-1].step
    queries, passages = model.encode_query(["bar den"]), model.encode_document(["bar den"])
    assert not np.allclose(queries, passages, atol=1e-3)  # the second stage trained queries alone


def test_a_finished_training_is_not_repeated(fit: Any, caplog: pytest.LogCaptureFixture) -> None:
    first, before, told = fit(["title"])
    with caplog.at_level(logging.INFO):
        second, after, again = fit(["title"])

    assert caplog.text.count("not training again") == 2
    assert again == told
    assert after.steps == after.resumed_from == before.steps
    assert np.array_equal(first.encode_query(["bar den"]), second.encode_query(["bar den"]))


def test_a_second_stage_that_begins_anew_ends_with_the_same_weights(fit: Any, tmp_path: Path) -> None:
    """Both stages train in bf16, whether or not the first one has just done so; neither encodes in it."""
    whole, *_ = fit(["title"])
    shutil.rmtree(tmp_path / "work" / "second")
    again, *_ = fit(["title"])

    assert np.array_equal(whole.encode_query(["bar den"]), again.encode_query(["bar den"]))


def test_without_pairs_of_its_kinds_the_first_stage_is_left_out(
    fit: Any, caplog: pytest.LogCaptureFixture
) -> None:
    _, training, _ = fit(["faq"])

    assert training.pairs == 96
    assert "first stage is left out: 0 of 96 training pairs are of its kinds (faq)" in caplog.text


def record(selected: str, candidates: dict[str, float], *, steps: int, best: int) -> Training:
    return Training(
        pairs=10 * steps,
        steps=steps,
        seconds=1.5,
        pairs_per_second=10.0,
        best_step=best,
        history=(TrainingStep(steps, {"dev_ndcg@10": max(candidates.values())}),),
        selected=selected,
        candidates=candidates,
    )


def test_the_joined_record_counts_steps_through() -> None:
    first = record("tuned", {"untuned": 0.4, "tuned": 0.5}, steps=4, best=4)
    both = joined(first, record("tuned", {"untuned": 0.5, "tuned": 0.6}, steps=3, best=3))

    assert (both.pairs, both.steps, both.seconds, both.best_step) == (70, 7, 3.0, 7)
    assert both.pairs_per_second == 10.0
    assert both.candidates == {"untuned": 0.4, FIRST: 0.5, "tuned": 0.6}
    assert both.selected_score("ndcg@10") == 0.6


def test_what_dev_refuses_in_the_second_stage_leaves_the_first() -> None:
    first = record("tuned", {"untuned": 0.4, "tuned": 0.5}, steps=4, best=4)
    both = joined(first, record("untuned", {"untuned": 0.5, "tuned": 0.3}, steps=3, best=0))

    assert (both.selected, both.best_step, both.candidates) == ("tuned", 4, first.candidates)
    assert both.selected_score("ndcg@10") == 0.5


def test_several_processes_are_refused() -> None:
    trainer = TwoStageFineTuner(first=SentenceTransformerFineTuner(), first_loss=Mnrl())
    with pytest.raises(ConfigError, match="trains in one process: start it without torchrun"):
        trainer.run_worker(Mnrl(), lambda: None)  # type: ignore[arg-type,return-value]
