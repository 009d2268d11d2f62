"""The fine-tuner: from pairs to the weights that score best on dev."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from embexp.data.phonetic_keys import script
from embexp.data.splitting import MIN_DEV_QUESTIONS, Splits
from embexp.finetuning.batch_sampler import LENGTH_POOL, plan_batches
from embexp.finetuning.checkpoints import Checkpoints, TrainingLog, training_fingerprint
from embexp.finetuning.context import TrainingContext
from embexp.finetuning.distributed.process_group import announce_training, current_process_group
from embexp.finetuning.loanwords import add_loanwords, respelled, transliterate_queries, unread_letters
from embexp.finetuning.losses.loss import Loss
from embexp.finetuning.model_modes import dropout_rates, training_length
from embexp.finetuning.model_selection import TUNED, UNTUNED, select_weights
from embexp.finetuning.new_tokens import extend_vocabulary
from embexp.finetuning.parameter_efficient import Full, Method
from embexp.finetuning.recovery import Recovery
from embexp.finetuning.settings import TrainerSettings
from embexp.finetuning.training import StartingModel, Training, TrainingStep
from embexp.finetuning.training_rows import check_training_pairs, training_rows
from embexp.models.forward_pass import text_length
from embexp.storage.files import sha256_of, space_checked
from embexp.user_code import identity

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class SentenceTransformerFineTuner(TrainerSettings):
    """Trains with sentence-transformers' trainer: resumable, early stopping, weights selected on dev."""

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
        """Train ``model`` in place; on return it holds the selected weights.

        The untuned model is a candidate: if no other scores higher on dev, ``best_step`` is 0 and the model
        is as it was. Without dev pairs or evaluations the last weights stay.

        Args:
            model: The untuned model.
            loss: The loss to minimise.
            splits: Training and dev pairs.
            dev_scores: Scores a model on dev: metric name to value, higher is better.
            work_dir: Holds checkpoints; a call with the same model, loss, pairs and settings resumes.
            seed: Fixes samples, negatives, batches and dropout; on a CPU, equal seeds give identical weights.
            on_step: Called with each point of the log; a resumed run repeats the earlier points.
            untuned: Embeds texts with the untuned model and keeps the vectors; None embeds anew.

        Raises:
            DataError: There are too few training pairs.
            ConfigError: The pairs cannot fill the loss's columns, or no batch can be made.
            ModelError: Training diverged, or ran out of memory, as often as it may.
            EmbexpError: ``work_dir`` may not be written, or its disk is too full for the checkpoints.
        """
        check_training_pairs(splits)
        checkpoints = Checkpoints(work_dir)
        checkpoints.claim(self.training_key(model, loss, splits, seed=seed))
        new_tokens = extend_vocabulary(model, splits.train, most=self.new_tokens)
        method: Method = self.method or Full()
        letters = unread_letters(self.method, model, splits)
        method.extend(model)
        loanwords = add_loanwords(model, letters, splits.train, most=self.new_tokens)
        if (training := checkpoints.finished()) is not None:
            log.info("Training in %s is complete (%d steps): not training again.", work_dir, training.steps)
            checkpoints.load_model(model)
            transliterate_queries(model, letters)
            for point in training.history:
                on_step(point)
            return replace(training, resumed_from=training.steps)
        _warn_of_few_questions(self, splits)
        untuned = None if new_tokens else untuned
        checkpoints.check_space(model)
        evaluate = _at_own_length(model, dev_scores, untuned)
        with (
            space_checked(work_dir),
            dropout_rates(model, dropout=self.dropout, attention_dropout=self.attention_dropout),
            text_length(model, training_length(model, self.max_tokens)),
        ):
            checkpoints.save_start(model)
            context = TrainingContext(
                settings=self,
                training_log=TrainingLog(on_step=on_step),
                checkpoints=checkpoints,
                recovery=Recovery(settings=self),
                evaluate=evaluate,
                evaluations=self.evaluations if splits.dev else 0,
            )
            training = self._train(
                *(context, model, loss, splits, seed, untuned),
                letters=letters,
                new_tokens=new_tokens,
                loanwords=loanwords,
            )
            checkpoints.finish(training, model)
        transliterate_queries(model, letters)
        return training

    def run_worker(self, loss: Loss, load: Callable[[], SentenceTransformer]) -> None:
        """Take part in the trainings of rank 0 as a worker until its command ends; write nothing."""
        group = current_process_group()
        if group is not None:
            from embexp.finetuning.distributed.worker import run_worker

            run_worker(group, self, loss, load)

    def _train(
        self,
        context: TrainingContext,
        model: SentenceTransformer,
        loss: Loss,
        splits: Splits,
        seed: int,
        untuned: StartingModel | None,
        *,
        letters: Mapping[str, str],
        new_tokens: Sequence[str],
        loanwords: Sequence[str],
    ) -> Training:
        from embexp.finetuning.training_loop import TrainingLoop

        start, group = time.monotonic(), current_process_group()
        rows = training_rows(self, model, loss, splits, seed=seed, untuned=untuned)
        transliterated = next(map(script, letters), None)
        if transliterated:
            log.info(
                "The test questions are in a script that the model has never read (%s): they are "
                "transliterated, and half of the training queries are spelled phonetically.",
                transliterated,
            )
            rows = rows.with_queries(partial(respelled, seed=seed))
        plan = plan_batches(
            rows.keys,
            rows.lengths,
            batch_size=self.batch_size,
            epochs=self.epochs,
            seed=seed,
            length_pool=_length_pool(self, model),
        )
        if group is not None:
            steps = plan.steps * self.epochs
            announce_training(
                group,
                rows.columns,
                new_tokens=new_tokens,
                loanwords=loanwords,
                loss=repr(loss),
                outputs=rows.outputs,
                seed=seed,
                steps=steps,
            )
        trained = TrainingLoop(
            context=context, model=model, loss=loss, rows=rows, plan=plan, seed=seed, group=group
        ).run()
        selected = select_weights(context, model, step=trained.steps)
        progress = context.training_log.progress
        return Training(
            pairs=len(rows),
            steps=trained.steps,
            seconds=round(time.monotonic() - start, 3),
            pairs_per_second=trained.pairs_per_second,
            resumed_from=trained.resumed_from,
            best_step=0 if selected.name == UNTUNED else progress.best_step,
            history=tuple(progress.history),
            selected=selected.name,
            candidates=selected.dev,
            general=selected.general,
            reason=selected.reason,
            chosen_by_dev=selected.by_dev,
            new_tokens=len(new_tokens) + len(loanwords),
            transliterated=transliterated,
        )

    def training_key(self, model: SentenceTransformer, loss: Loss, splits: Splits, *, seed: int) -> str:
        """Return a digest of all that shapes a training: checkpoints of another one are not continued."""
        pairs = [
            sha256_of(
                *(pair.id, pair.query_id, pair.query, pair.positive, pair.negatives, pair.label),
                *(pair.document_id, pair.chunk_id),
            )
            for pair in (*splits.train, *splits.dev)
        ]
        return training_fingerprint(
            model,
            asdict(replace(self, cross_encoder=None)),
            repr(self.method),
            repr(loss),
            [identity(loss), identity(self)],
            sha256_of(*pairs),
            repr(splits.label_scale()),
            len(splits.dev),
            unread_letters(self.method, model, splits),
            seed,
        )


def _length_pool(settings: TrainerSettings, model: SentenceTransformer) -> int:
    from embexp.models.packing import can_pack

    if settings.length_pool is not None:
        return settings.length_pool
    return 0 if can_pack(model) else LENGTH_POOL


def _warn_of_few_questions(settings: TrainerSettings, splits: Splits) -> None:
    """Say before training that dev cannot choose, while something can be done about it."""
    count = len({pair.query_key for pair in splits.dev})
    if settings.select != TUNED and settings.evaluations and count < MIN_DEV_QUESTIONS:
        log.warning(
            "Dev has %d question%s, too few to select weights by (at least %d are needed): add documents or "
            "pairs, or raise split.dev.",
            *(count, "" if count == 1 else "s", MIN_DEV_QUESTIONS),
        )


def _at_own_length(
    model: SentenceTransformer,
    dev_scores: Callable[[SentenceTransformer], Mapping[str, float]],
    untuned: StartingModel | None,
) -> Callable[..., Mapping[str, float]]:
    """Return the dev evaluation of a training, which scores ``model`` at its own text length."""
    own_length = model.max_seq_length

    def evaluate(candidate: SentenceTransformer, *, is_untuned: bool = False) -> Mapping[str, float]:
        with text_length(candidate, own_length):
            return untuned.dev_scores(candidate) if is_untuned and untuned else dev_scores(candidate)

    return evaluate
