"""Our settings as those of sentence-transformers' trainer."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from embexp.data.splitting import Splits
from embexp.errors import ConfigError, DataError
from embexp.finetuning.batch_sampler import plan_batches
from embexp.finetuning.checkpoints import Checkpoints, fingerprint_of
from embexp.finetuning.distributed.process_group import current
from embexp.finetuning.model_modes import dropout_rates, prompts_for, routes_for, text_length, training_length
from embexp.finetuning.model_selection import UNTUNED, Delivery
from embexp.finetuning.parameter_efficient import Full, Method
from embexp.finetuning.preparation import training_rows
from embexp.finetuning.recovery import Job, train
from embexp.finetuning.training import Training, TrainingStep
from embexp.finetuning.training_rows import QUERY_COLUMNS, Rows
from embexp.progress import progress
from embexp.storage.files import sha256_of, space_checked

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer, SentenceTransformerTrainingArguments

    from embexp.finetuning.losses.loss import Loss
    from embexp.finetuning.training import Untuned

log = logging.getLogger(__name__)


POINTS_IN_LOG = 100


def training_arguments(
    settings: SentenceTransformerFineTuner,
    model: SentenceTransformer,
    rows: Rows,
    *,
    folder: Path,
    steps: int,
    seed: int,
    learning_rate: float,
) -> SentenceTransformerTrainingArguments:
    """Return the arguments of a training; ``learning_rate`` stands for the one in ``settings``.

    Args:
        settings: Our settings.
        model: The model, for its prompts and routes.
        rows: The training rows, for their columns.
        folder: Where checkpoints go.
        steps: The steps of all epochs.
        seed: Of dropout.
        learning_rate: The peak of the schedule.
    """
    import torch
    from sentence_transformers import SentenceTransformerTrainingArguments

    cuda, columns = torch.cuda.is_available(), list(rows.columns)
    return SentenceTransformerTrainingArguments(
        output_dir=str(folder),
        num_train_epochs=settings.epochs,
        per_device_train_batch_size=settings.batch_size,
        learning_rate=learning_rate,
        lr_scheduler_type=settings.scheduler,
        warmup_steps=settings.warmup_ratio,
        weight_decay=settings.weight_decay,
        max_grad_norm=settings.max_grad_norm,
        bf16=mixed_precision(model.device.type) if settings.bf16 is None else settings.bf16,
        use_cpu=model.device.type == "cpu",
        prompts=prompts_for(model, columns, query_columns=QUERY_COLUMNS) or None,
        router_mapping=routes_for(model, columns, query_columns=QUERY_COLUMNS) or None,
        seed=seed,
        logging_steps=max(1, steps // POINTS_IN_LOG),
        logging_first_step=True,
        logging_nan_inf_filter=False,
        eval_strategy="no",
        save_strategy="no",
        disable_tqdm=True,
        report_to="none",
        dataloader_pin_memory=cuda,
    )


def mixed_precision(device: str) -> bool:
    """Say whether a device multiplies bf16 matrices in hardware: a GPU of today, or a CPU with such units.

    On a CPU with avx512_bf16 or AMX a product of bf16 matrices is more than twice as quick as one of
    float32; weights, gradients and the optimizer stay float32 (Micikevicius et al. 2018, arXiv 1710.03740).
    """
    import torch

    if device == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    units = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return device == "cpu" and bool(units)


def check_settings(settings: SentenceTransformerFineTuner) -> None:
    """Check the settings of a trainer.

    Raises:
        ConfigError: One is out of its range; the message names it.
    """
    least = {
        "epochs": 1, "batch_size": 2, "max_tokens": 8, "max_pairs": 2, "evaluations": 0, "patience": 1,
        "hard_negatives": 0, "length_pool": 0, "retries": 0,
    }  # fmt: skip
    for name, lowest in least.items():
        value = getattr(settings, name)
        if value is not None and value < lowest:
            raise ConfigError(f"trainer.{name}={value}: must be {lowest} or more.")
    if not (math.isfinite(settings.negative_gap) and settings.negative_gap >= 0):
        raise ConfigError(f"trainer.negative_gap={settings.negative_gap}: must be 0 or more.")
    for name in ("learning_rate", "max_grad_norm", "checkpoint_seconds"):
        value = getattr(settings, name)
        if not (math.isfinite(value) and value > 0):
            raise ConfigError(f"trainer.{name}={value}: must be above 0.")
    for name in ("warmup_ratio", "weight_decay", "dropout", "attention_dropout"):
        value = getattr(settings, name)
        if value is not None and not 0 <= value < 1:
            raise ConfigError(f"trainer.{name}={value}: must be in [0, 1).")
    for name in ("negative_margin", "forgetting_floor"):
        value = getattr(settings, name)
        if value is not None and not 0 < value <= 1:
            raise ConfigError(f"trainer.{name}={value}: must be in (0, 1].")
    ranks = list(settings.negative_ranks)
    if len(ranks) != 2 or not 0 <= ranks[0] < ranks[1]:
        raise ConfigError(f"trainer.negative_ranks={ranks}: give two rising ranks, such as [0, 20].")
    if not all(0 < weight < 1 for weight in settings.merge):
        raise ConfigError(
            f"trainer.merge={list(settings.merge)}: give shares between 0 and 1, such as [0.5]."
        )


@dataclass(frozen=True, kw_only=True)
class SentenceTransformerFineTuner:
    """Trains with sentence-transformers' trainer: checkpoints, dev-based choice of weights, early stopping.

    Args:
        epochs: Passes over the training rows.
        batch_size: The most rows in a batch; each row meets the other passages of its batch as negatives.
        learning_rate: The peak of the schedule.
        scheduler: How the learning rate falls after the warm-up.
        warmup_ratio: The share of steps over which the learning rate rises from 0.
        weight_decay: AdamW's decay, on weights only.
        max_grad_norm: The norm that gradients are clipped to.
        max_tokens: Texts are cut here while training (and mining); the model's own limit returns afterwards.
            None keeps it throughout.
        max_pairs: How many positives (or judgments) to train on, sampled by seed; None for all.
        evaluations: Scorings on dev, evenly spread from before the first step to after the last; 0 for none.
        metric: The dev metric that chooses the weights.
        patience: After how many evaluations without gain to stop; None trains to the end.
        hard_negatives: Negatives for each positive. None takes those that the pairs bring, and one for losses
            that cannot do without; 0 gives in-batch losses none.
        negatives: How missing ones are found: mined with the untuned model, or drawn at random.
        negative_margin: A mined negative scores below this share of the positive's score.
        negative_gap: A mined negative scores at least this much below the positive.
        negative_scorer: A teacher (cross-encoder) that scores the candidates again; None trusts the model.
        negative_ranks: From which to before which rank of the candidates to draw.
        distinct: What two rows of a batch must not share, besides query and passage texts.
        length_pool: Batches within whose rows lengths are sorted, which saves padding; 0 leaves them mixed.
        dropout: Dropout of hidden states; None keeps the model's own.
        attention_dropout: Dropout of attention weights; None keeps the model's own.
        bf16: Mixed precision; None uses it where the GPU or the CPU multiplies bf16 in hardware.
        checkpoint_seconds: The longest time between two checkpoints.
        retries: How often a training that diverges goes back to its last good checkpoint, each time at
            half the learning rate.
        method: What to train, as a component of its own; None trains all weights.
        deliver: What comes out: ``best`` is the best on dev among untuned, tuned and merged weights,
            ``tuned`` the trained ones whatever dev says.
        forgetting_floor: Where a general set is asked, too (``benchmark@forgetting=…``): the share of the
            untuned model's score there that delivered weights must keep; None asks for nothing.
        merge: Shares of the tuned weights in means with the untuned ones, to be tried on dev.
    """

    epochs: int = 1
    batch_size: int = 64
    learning_rate: float = 5e-5
    scheduler: Literal["linear", "cosine", "constant_with_warmup"] = "linear"
    warmup_ratio: float = 0.1
    weight_decay: float = 0.01
    max_grad_norm: float = 1.0
    max_tokens: int | None = 128
    max_pairs: int | None = 2000
    evaluations: int = 4
    metric: str = "ndcg@10"
    patience: int | None = None
    hard_negatives: int | None = None
    negatives: Literal["mined", "random"] = "mined"
    negative_margin: float = 0.95
    negative_gap: float = 0.0
    negative_scorer: Any = None
    negative_ranks: list[int] | tuple[int, int] = (0, 20)
    distinct: Literal["text", "chunk", "document"] = "chunk"
    length_pool: int = 8
    dropout: float | None = None
    attention_dropout: float | None = None
    bf16: bool | None = False
    checkpoint_seconds: float = 300.0
    retries: int = 3
    method: Any = None
    deliver: Literal["best", "tuned"] = "best"
    forgetting_floor: float | None = 0.95
    merge: list[float] | tuple[float, ...] = ()

    def __post_init__(self) -> None:
        check_settings(self)

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
        untuned: Untuned | None = None,
    ) -> Training:
        """Train ``model`` in place; on return it holds the weights that scored best on dev.

        The untuned model is a candidate: where nothing beat it, ``best_step`` is 0 and the model is as it
        was. Without dev pairs or evaluations the last weights stay.

        Args:
            model: The untuned model.
            loss: What to minimise.
            splits: Training pairs; dev pairs only decide whether there is anything to score.
            dev_scores: Scores the model on dev: metric name to value, higher is better.
            work_dir: Keeps checkpoints; a call with the same model, loss, pairs and settings goes on.
            seed: Of sampling, negatives, batches and dropout; on a CPU it fixes the result to the last bit.
            on_step: Told of each point of the log; a resumed run hears the earlier points again.
            untuned: Knows the untuned model's vectors from earlier runs; None embeds anew.

        Raises:
            DataError: There are too few training pairs.
            ConfigError: The pairs cannot fill the loss's columns, or no batch can be made.
            ModelError: The loss diverged, or the memory did not suffice, as often as it may.
            EmbexpError: ``work_dir`` may not be written, or its disk is too full for the checkpoints.
        """
        if not splits.train:
            raise DataError(
                "There is no training pair: give more documents or pairs, or lower split.dev and split.test."
            )
        checkpoints = Checkpoints(work_dir)
        checkpoints.claim(self._fingerprint(model, loss, splits, seed))
        method: Method = self.method or Full()
        if (training := checkpoints.finished()) is not None:
            log.info(
                "Training had ended in %s at step %d: nothing is trained again.", work_dir, training.steps
            )
            method.extend(model)
            checkpoints.load_model(model)
            for point in training.history:
                on_step(point)
            return replace(training, resumed_from=training.steps)
        checkpoints.check_space(model)
        method.extend(model)
        with (
            space_checked(work_dir),
            dropout_rates(model, dropout=self.dropout, attention_dropout=self.attention_dropout),
        ):
            checkpoints.save_start(model)
            return self._train(model, loss, splits, dev_scores, checkpoints, seed, on_step, untuned)

    def follow(self, loss: Loss, load: Callable[[], SentenceTransformer]) -> None:
        """Help the trainings of the process that leads, until its command ends; write nothing.

        Args:
            loss: The loss that the leader trains with.
            load: Loads the untuned model.
        """
        from embexp.finetuning.distributed.worker import follow

        team = current()
        if team is not None:
            follow(team, self, loss, load)

    def _train(
        self,
        model: SentenceTransformer,
        loss: Loss,
        splits: Splits,
        dev_scores: Callable[[SentenceTransformer], Mapping[str, float]],
        checkpoints: Checkpoints,
        seed: int,
        on_step: Callable[[TrainingStep], None],
        untuned: Untuned | None,
    ) -> Training:
        from embexp.finetuning.distributed.worker import announce_training
        from embexp.finetuning.training_loop import Recorder

        start, own_length = time.monotonic(), model.max_seq_length

        def evaluate(trained: SentenceTransformer, *, first: bool = False) -> Mapping[str, float]:
            with text_length(trained, own_length):
                return untuned.dev_scores(trained) if first and untuned else dev_scores(trained)

        with text_length(model, training_length(model, self.max_tokens)):
            rows = training_rows(self, model, loss, splits, seed=seed, untuned=untuned)
            plan = plan_batches(
                rows.keys, rows.lengths, batch_size=self.batch_size, epochs=self.epochs, seed=seed,
                length_pool=self.length_pool,
            )  # fmt: skip
            total, team = plan.steps * self.epochs, current()
            if team is not None:
                announce_training(team, rows, seed=seed, steps=total)
            job = Job(
                model=model, loss=loss, method=self.method or Full(), rows=rows, plan=plan,
                checkpoints=checkpoints, learning_rate=self.learning_rate, batch_size=self.batch_size,
                retries=self.retries, seed=seed, team=team,
                arguments=lambda rate: training_arguments(
                    self, model, rows, folder=checkpoints.folder, steps=total, seed=seed, learning_rate=rate
                ),
            )  # fmt: skip
            with progress("Training", total=total) as bar:
                recorder = Recorder(
                    checkpoints=checkpoints, metric=self.metric, patience=self.patience, evaluate=evaluate,
                    schedule=evaluation_steps(total, self.evaluations if splits.dev else 0),
                    checkpoint_seconds=self.checkpoint_seconds, on_step=on_step, bar=bar,
                )  # fmt: skip
                trained = train(job, recorder)
            chosen = Delivery(
                deliver=self.deliver, merge=self.merge, metric=self.metric, floor=self.forgetting_floor
            ).choose(
                model, checkpoints, recorder.progress, evaluate=evaluate,
                record=lambda metrics: recorder.record(trained.steps, metrics),
            )  # fmt: skip
        training = Training(
            pairs=len(rows), steps=trained.steps, seconds=round(time.monotonic() - start, 3),
            pairs_per_second=trained.pairs_per_second, resumed_from=trained.resumed_from,
            best_step=0 if chosen.name == UNTUNED else recorder.progress.best_step,
            history=tuple(recorder.progress.history), delivered=chosen.name, candidates=chosen.dev,
            general=chosen.general,
        )  # fmt: skip
        checkpoints.finish(training, model)
        return training

    def _fingerprint(self, model: SentenceTransformer, loss: Loss, splits: Splits, seed: int) -> str:
        told = [
            sha256_of(pair.id, pair.query_id, pair.query, pair.positive, pair.negatives, pair.label,
                      pair.document_id, pair.chunk_id)
            for pairs in (splits.train, splits.dev) for pair in pairs
        ]  # fmt: skip
        others = [part.fingerprint() for part in (loss, self.negative_scorer) if hasattr(part, "fingerprint")]
        return fingerprint_of(
            model, asdict(replace(self, negative_scorer=None)), repr(self.method), repr(loss), others,
            sha256_of(*told), repr(splits.label_scale()), len(splits.dev), seed,
        )  # fmt: skip


def evaluation_steps(total: int, evaluations: int) -> frozenset[int]:
    """Return the steps after which to score on dev: evenly spread, the first at 0, the last at the end.

    ``evaluation_steps(90, 4)`` is {0, 30, 60, 90}; one evaluation alone comes at the end.
    """
    if evaluations < 2:
        return frozenset([total] * evaluations)
    return frozenset(round(total * number / (evaluations - 1)) for number in range(evaluations))
