"""``trainer=query_adapter``: tunes the vectors of queries, from cached vectors alone; weights stay closed."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from annotated_types import Interval

from embexp.data.splitting import Splits
from embexp.errors import ConfigError
from embexp.finetuning.adapter_training import (
    AdapterObjective,
    AdapterRows,
    adapter_rows,
    towards_identity,
    train_adapter,
)
from embexp.finetuning.losses.in_batch import CachedMnrl, Mnrl
from embexp.finetuning.losses.loss import Loss
from embexp.finetuning.model_selection import TUNED, UNTUNED, Candidate, choose, forgets
from embexp.finetuning.settings import Epochs, MaxPairs, Select, Shares
from embexp.finetuning.training import (
    GENERAL,
    MERGED,
    StartingModel,
    Training,
    TrainingStep,
    merged_name,
    question_scores,
)
from embexp.models.adapted import AdaptedModel, router_of
from embexp.models.encoder import Embedder, ModelEmbedder
from embexp.models.sources import ModelSource
from embexp.models.vector_adapter import AdapterKind, VectorAdapter, identity_adapter
from embexp.ranges import Count, NonNegative, ShareAboveZero, check_ranges

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

    from embexp.models.vector_files import Vectors

log = logging.getLogger(__name__)

LEAST_STEPS = 100
Score = Callable[[VectorAdapter], Mapping[str, float]]
"""Scores the model with an adapter on dev."""


@dataclass(frozen=True, kw_only=True)
class QueryAdapterFineTuner:
    """Trains an adapter of the query vectors; passages keep their vectors, so that an index stays valid.

    The texts are embedded once, through the cache of vectors, and no gradient goes through the model: it may
    be behind a service. A query has to find its passage among all training passages (InfoNCE, with the
    ``scale`` of ``loss=mnrl``). The untuned model, the best adapter on dev and those on the way between them
    are candidates, as for other trainers.

    Args:
        kind: ``linear`` is a matrix, ``low_rank`` adds a product of two narrow ones to a vector, ``residual``
            adds a small network with one hidden layer.
        hidden: The rank of ``low_rank``, and the width of the hidden layer of ``residual``.
        epochs: Passes over the training rows, more where these make fewer than a hundred steps.
        batch_size: The most rows in a batch.
        learning_rate: Adam's rate, which falls linearly to 0.
        ridge: The penalty on the mean squared distance that the adapter moves a query.
        max_pairs: How many positives to train on, sampled by seed; None for all.
        max_passages: Up to so many passages a query is ranked against all of them, else against a sample.
        hard_negatives: The nearest passages of each query that a sample holds in any case.
        evaluations: Dev evaluations, evenly spread from before the first step to after the last; 0 for none.
        metric: The dev metric that selects the adapter.
        merge: Shares of the way from the untuned to the tuned vectors, each scored on dev.
        select, preferred_share: As in ``TrainerSettings``.
        forgetting_floor: As in ``TrainerSettings``.
    """

    kind: AdapterKind = "linear"
    hidden: Annotated[int, Interval(ge=1, le=100_000)] = 256
    epochs: Epochs = 20
    batch_size: Annotated[int, Interval(ge=2, le=1_000_000)] = 128
    learning_rate: ShareAboveZero = 1e-3
    ridge: NonNegative = 1.0
    max_pairs: MaxPairs = None
    max_passages: Count = 4096
    hard_negatives: Annotated[int, Interval(ge=0, le=1_000)] = 16
    evaluations: Annotated[int, Interval(ge=0, le=10_000)] = 6
    metric: str = "ndcg@10"
    merge: Shares = (0.25, 0.5, 0.75)
    select: Select = "best"
    preferred_share: ShareAboveZero = 0.75
    forgetting_floor: ShareAboveZero | None = 0.95

    def __post_init__(self) -> None:
        check_ranges(self, "trainer")

    def fingerprint(self) -> str:
        """Return "": the settings name no models."""
        return ""

    def check(self, model: ModelSource, loss: Loss) -> None:
        """Refuse what an adapter cannot be trained with.

        Raises:
            ConfigError: The model has an adapter already, or the loss is no ranking of passages.
        """
        if isinstance(model, AdaptedModel):
            raise ConfigError(
                f"model.path={model.path} has an adapter of its queries already: tune the model below it, "
                f"{model.below.name}, again."
            )
        _scale_of(loss)

    def fit_adapter(
        self,
        embedder: Embedder,
        loss: Loss,
        splits: Splits,
        *,
        corpus: Sequence[tuple[str, str]] = (),
        score: Score,
        seed: int,
        on_step: Callable[[TrainingStep], None],
    ) -> tuple[Training, VectorAdapter]:
        """Train an adapter on the vectors of a model, and return the one that dev selects.

        Args:
            embedder: The untuned model.
            loss: ``Mnrl`` or ``CachedMnrl``, for its scale.
            splits: Training and dev pairs; the test pairs are not read.
            corpus: (document id, passage) of further training documents, whose passages are negatives.
            score: Scores the model with an adapter on dev: metric name to value, higher is better.
            seed: Fixes every random choice.
            on_step: Called with each point of the log.

        Raises:
            DataError: There is no training pair.
            ConfigError: The loss is another one, or the metric that decides is not among the dev metrics.
            ModelError: Training diverged.
        """
        start, scale = time.monotonic(), _scale_of(loss)
        rows = adapter_rows(splits, corpus, max_pairs=self.max_pairs, seed=seed)
        queries, passages = embedder.encode_queries(rows.queries), embedder.encode_passages(rows.passages)
        log.info("Training a %s adapter on %d queries and %d passages.", self.kind, len(rows), len(passages))
        found = _Progress(self, score if splits.dev and self.evaluations else None, on_step)
        begun = time.monotonic()
        objective = AdapterObjective(
            scale=scale,
            ridge=self.ridge,
            epochs=self._epochs_of(len(rows)),
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            max_passages=self.max_passages,
            hard_negatives=self.hard_negatives,
            seed=seed,
        )
        untuned = identity_adapter(self.kind, int(queries.shape[1]), hidden=self.hidden, seed=seed)
        found.evaluate(0, untuned)
        self._train(found, untuned, rows, objective, queries, passages)
        seconds = max(time.monotonic() - begun - found.seconds, 1e-9)
        training, adapter = found.selected(untuned, steps=objective.steps(len(rows)))
        return (
            replace(
                training,
                pairs=len(rows),
                seconds=round(time.monotonic() - start, 3),
                pairs_per_second=round(objective.epochs * len(rows) / seconds, 1),
            ),
            adapter,
        )

    def _epochs_of(self, rows: int) -> int:
        """Return the passes over so many rows."""
        return max(self.epochs, math.ceil(LEAST_STEPS / math.ceil(rows / self.batch_size)))

    def _train(
        self,
        found: _Progress,
        untuned: VectorAdapter,
        rows: AdapterRows,
        objective: AdapterObjective,
        queries: Vectors,
        passages: Vectors,
    ) -> None:
        """Do the steps; log the loss of each epoch and score evenly spread ones on dev."""
        steps = objective.steps(len(rows))
        spread = max(self.evaluations - 1, 1)
        scored = {round(steps * at / spread) for at in range(1, spread + 1)}
        each_epoch = steps // objective.epochs
        losses: list[float] = []
        for step, loss, rate, current in train_adapter(untuned, rows, queries, passages, objective):
            losses.append(loss)
            if step % each_epoch == 0:
                found.record(step, {"loss": sum(losses) / len(losses), "learning_rate": rate})
                losses.clear()
            if step == steps or step in scored:
                found.evaluate(step, current())

    def fit(
        self,
        model: SentenceTransformer,
        loss: Loss,
        splits: Splits,
        *,
        dev_scores: Callable[[SentenceTransformer], Mapping[str, float]],
        work_dir: Path,  # noqa: ARG002 - a training of seconds keeps no checkpoints
        seed: int,
        on_step: Callable[[TrainingStep], None],
        untuned: StartingModel | None = None,
    ) -> Training:
        """Put a trained adapter behind ``model``; see ``FineTuner.fit``.

        ``dev_scores`` encodes the dev texts anew each time: ``fit_adapter`` with a cache is faster.
        """
        from sentence_transformers import SentenceTransformer

        embedder = untuned.embedder(model) if untuned else ModelEmbedder(model, fingerprint="untuned")

        def score(adapter: VectorAdapter) -> Mapping[str, float]:
            modules = [*model, router_of(adapter).to(model.device)]
            return dev_scores(SentenceTransformer(modules=modules, prompts=model.prompts))

        training, adapter = self.fit_adapter(embedder, loss, splits, score=score, seed=seed, on_step=on_step)
        model.append(router_of(adapter).to(model.device))
        return training

    def run_worker(self, loss: Loss, load: Callable[[], SentenceTransformer]) -> None:  # noqa: ARG002
        """Refuse to train in several processes.

        Raises:
            ConfigError: Always.
        """
        raise ConfigError(
            "trainer=query_adapter trains in one process, in seconds: start it without torchrun."
        )


@dataclass
class _Progress:
    """The log of a training, and the best adapter on dev so far."""

    settings: QueryAdapterFineTuner
    score: Score | None
    on_step: Callable[[TrainingStep], None]
    history: list[TrainingStep] = field(default_factory=list)
    candidates: dict[str, Candidate] = field(default_factory=dict)
    best: VectorAdapter | None = None
    best_step: int | None = None
    seconds: float = 0.0

    def record(self, step: int, metrics: Mapping[str, float]) -> None:
        """Add a point to the log."""
        self.history.append(TrainingStep(step, metrics))
        self.on_step(self.history[-1])

    def evaluate(self, step: int, adapter: VectorAdapter) -> None:
        """Score an adapter on dev, and keep it if it is the best of those that were trained.

        Raises:
            ConfigError: The metric that decides is not among the dev metrics.
        """
        if self.score is None:
            if step:
                self.best, self.best_step = adapter, step
            return
        candidate = self._candidate(
            step, adapter, name=TUNED if step else UNTUNED, share=1.0 if step else 0.0
        )
        known = self.candidates.get(candidate.name)
        if known is None or candidate.score > known.score:
            self.candidates[candidate.name] = candidate
            if step:
                self.best, self.best_step = adapter, step

    def _candidate(
        self,
        step: int,
        adapter: VectorAdapter,
        *,
        name: str,
        share: float,
        extra: Mapping[str, float] | None = None,
    ) -> Candidate:
        """Score an adapter on dev and log it."""
        start, metric = time.monotonic(), self.settings.metric
        metrics = self.score(adapter) if self.score else {}
        if metric not in metrics:
            raise ConfigError(
                f"trainer.metric={metric}: the dev evaluation gives "
                f"{', '.join(sorted(metrics)) or 'nothing'}; choose one of these."
            )
        prefix = "dev_" if extra is None else MERGED
        self.record(
            step, {**(extra or {}), **{f"{prefix}{key}": float(value) for key, value in metrics.items()}}
        )
        log.info("Step %d: %s, dev %s %.4f", step, name, metric, metrics[metric])
        self.seconds += time.monotonic() - start
        return Candidate(
            name=name,
            share=share,
            score=float(metrics[metric]),
            questions=question_scores(metrics, metric),
            general=metrics.get(f"{GENERAL}{metric}"),
        )

    def selected(self, untuned: VectorAdapter, *, steps: int) -> tuple[Training, VectorAdapter]:
        """Return the adapter that dev selects, and the record of the training without its times."""
        settings, best = self.settings, self.best or untuned
        training = Training(pairs=0, steps=steps, seconds=0.0, pairs_per_second=0.0, best_step=self.best_step)
        if self.score is None or settings.select == TUNED:
            dev = {name: each.score for name, each in self.candidates.items() if name == TUNED}
            return replace(training, history=tuple(self.history), selected=TUNED, candidates=dev), best
        adapters = {UNTUNED: untuned, TUNED: best}
        for share in settings.merge:
            name = merged_name(share)
            adapters[name] = towards_identity(best, share)
            self.candidates[name] = self._candidate(
                steps, adapters[name], name=name, share=share, extra={"merge_weight": share}
            )
        all_of_them = list(self.candidates.values())
        general = {each.name: each.general for each in all_of_them if each.general is not None}
        choice = choose(
            [each for each in all_of_them if not forgets(each, all_of_them[0], settings)], settings
        )
        chosen = choice.candidate.name
        if chosen == UNTUNED:
            log.warning("No adapter scored above the untuned model on dev: it is kept.")
        log.info("Selected the %s vectors (%s).", chosen, choice.reason)
        return (
            replace(
                training,
                best_step=0 if chosen == UNTUNED else self.best_step,
                history=tuple(self.history),
                selected=chosen,
                candidates={each.name: each.score for each in all_of_them},
                general=general,
                reason=choice.reason,
                chosen_by_dev=choice.by_dev,
            ),
            adapters[chosen],
        )


def _scale_of(loss: Loss) -> float:
    """Return the factor of the cosines before the softmax.

    Raises:
        ConfigError: The loss is no plain ranking of passages.
    """
    if isinstance(loss, Mnrl | CachedMnrl):
        return loss.scale
    raise ConfigError(
        f"trainer=query_adapter trains an adapter on vectors, by ranking passages, and cannot use the loss "
        f"{type(loss).__name__}: set loss=mnrl. A model with weights takes other losses with "
        "trainer=default, or with trainer=query_encoder."
    )
