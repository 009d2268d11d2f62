"""Two trainings, one after the other: the second starts from the weights that the first selected."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from embexp.data.splitting import Splits
from embexp.errors import ConfigError
from embexp.finetuning.losses.loss import Loss
from embexp.finetuning.model_selection import UNTUNED
from embexp.finetuning.settings import TrainerSettings
from embexp.finetuning.trainer import SentenceTransformerFineTuner
from embexp.finetuning.training import FineTuner, StartingModel, Training, TrainingStep
from embexp.storage.files import sha256_of
from embexp.user_code import identity

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

log = logging.getLogger(__name__)

FIRST = "first stage"
"""The name, among the candidates, of the weights that the second stage starts from."""
_FEWEST = 2


@dataclass(frozen=True, kw_only=True)
class TwoStageFineTuner(TrainerSettings):
    """Trains twice: ``first`` with ``first_loss`` on some of the pairs, then by its own settings on all.

    For documents without questions, contrastive training on titles and sentences teaches the model what
    belongs together, and a query encoder of its own then learns the fusion with BM25. Each stage has
    checkpoints of its own, so that a training that was killed goes on in the stage where it was.

    Args:
        first: The trainer of the first stage.
        first_loss: Its loss.
        first_kinds: The kinds of query that the first stage learns from, such as ``title``; None for all.
    """

    first: Any
    first_loss: Any
    first_kinds: list[str] | None = None

    def fingerprint(self) -> str:
        """Return the digest of the models that either stage names."""
        own = super().fingerprint()
        return sha256_of(own, identity(self.first), identity(self.first_loss))

    def fit(
        self,
        model: SentenceTransformer,
        loss: Loss,
        splits: Splits,
        *,
        dev_scores: Callable[[SentenceTransformer], Mapping[str, float]],
        work_dir: Path,
        seed: int,
        on_step: Callable[[TrainingStep], None],
        untuned: StartingModel | None = None,
    ) -> Training:
        """Train in both stages; arguments and errors are those of ``SentenceTransformerFineTuner.fit``.

        Steps are counted through. If dev refuses the second stage's weights, those of the first are selected.
        """
        first = self._first_training(
            model,
            splits,
            dev_scores=dev_scores,
            work_dir=work_dir / "first",
            seed=seed,
            on_step=on_step,
            untuned=untuned,
        )
        steps = first.steps if first else 0
        second = self._second().fit(
            model,
            loss,
            splits,
            dev_scores=dev_scores,
            work_dir=work_dir / "second",
            seed=seed,
            on_step=lambda step: on_step(_later(step, steps)),
            untuned=untuned.selected if first and untuned else untuned,
        )
        return joined(first, second) if first else second

    def run_worker(
        self,
        loss: Loss,  # noqa: ARG002
        load: Callable[[], SentenceTransformer],  # noqa: ARG002
    ) -> None:
        """Refuse to train in several processes.

        Raises:
            ConfigError: Always: the two stages have losses of their own, which workers are not told.
        """
        raise ConfigError(
            "trainer=two_stages trains in one process: start it without torchrun, or choose trainer=auto."
        )

    def _second(self) -> SentenceTransformerFineTuner:
        return SentenceTransformerFineTuner(
            **{each.name: getattr(self, each.name) for each in fields(TrainerSettings)}
        )

    def _first_training(
        self, model: SentenceTransformer, splits: Splits, **arguments: Any
    ) -> Training | None:
        """Train the first stage; return None where the pairs hold none of its kinds."""
        kinds = None if self.first_kinds is None else set(self.first_kinds)
        pairs = [pair for pair in splits.train if kinds is None or pair.query_type in kinds]
        if len(pairs) < _FEWEST:
            log.warning(
                "The first stage is left out: %d of %d training pairs are of its kinds (%s).",
                *(len(pairs), len(splits.train), ", ".join(self.first_kinds or ())),
            )
            return None
        log.info("First stage: %d of %d training pairs.", len(pairs), len(splits.train))
        trainer: FineTuner = self.first
        return trainer.fit(model, self.first_loss, replace(splits, train=pairs), **arguments)


def joined(first: Training, second: Training) -> Training:
    """Return both stages as one training, whose steps are counted through.

    The second stage's untuned weights are those that the first one selected.
    """
    total = replace(
        second,
        pairs=first.pairs + second.pairs,
        steps=first.steps + second.steps,
        seconds=round(first.seconds + second.seconds, 3),
        pairs_per_second=_speed(first, second),
        resumed_from=_resumed_from(first, second),
        plan=first.plan,
        new_tokens=first.new_tokens + second.new_tokens,
        transliterated=second.transliterated,
    )
    if second.selected == UNTUNED:
        log.info("Dev refused the second stage's weights: those of the first stage are selected.")
        return replace(
            total,
            best_step=first.best_step,
            history=first.history,
            selected=first.selected,
            candidates=first.candidates,
            general=first.general,
            reason=first.reason,
            chosen_by_dev=first.chosen_by_dev,
        )
    return replace(
        total,
        best_step=None if second.best_step is None else first.steps + second.best_step,
        history=(*first.history, *(_later(step, first.steps) for step in second.history)),
        candidates=_named(first.candidates, second.candidates),
        general=_named(first.general, second.general),
    )


def _later(step: TrainingStep, steps: int) -> TrainingStep:
    return replace(step, step=step.step + steps)


def _named(first: Mapping[str, float], second: Mapping[str, float]) -> dict[str, float]:
    """Return the scores of the untuned model, of the first stage's weights and of the second's."""
    start = {UNTUNED: first[UNTUNED]} if UNTUNED in first else {}
    return start | {FIRST if name == UNTUNED else name: score for name, score in second.items()}


def _speed(*stages: Training) -> float:
    """Return the pairs a second of both stages, without evaluations."""
    seconds = sum(each.pairs / each.pairs_per_second for each in stages if each.pairs_per_second)
    return round(sum(each.pairs for each in stages) / seconds, 3) if seconds else 0.0


def _resumed_from(first: Training, second: Training) -> int | None:
    if second.resumed_from is not None:
        return first.steps + second.resumed_from
    return first.resumed_from
