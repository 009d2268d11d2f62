"""``trainer=auto``: a plan made before training, then a choice on dev."""

from __future__ import annotations

import copy
import json
import logging
import math
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from annotated_types import Interval

from embexp.data.records import EXTRACTIVE, Pair
from embexp.data.splitting import HUMAN, Splits
from embexp.finetuning.losses.loss import Loss
from embexp.finetuning.settings import (
    CommonSettings,
    Epochs,
    MaxPairs,
    Select,
    Shares,
    TrainerSettings,
)
from embexp.finetuning.trainer import SentenceTransformerFineTuner
from embexp.finetuning.training import StartingModel, Training, TrainingPlan, TrainingStep
from embexp.ranges import ShareAboveZero
from embexp.storage.files import sha256_of, write_json

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

log = logging.getLogger(__name__)

Auto = Literal["auto"]
Minutes = Annotated[float, Interval(gt=0, le=1_000_000)]
PEOPLE, MODEL, CUT = "written by people", "written by a language model", "cut out of the documents"
SURE_QUESTIONS = 100
"""From this many dev questions of people's words on, the best on dev is taken at its word."""
MIN_STEPS = 24
"""Few labelled pairs are seen more than three times, until there are this many steps."""
MOST_EPOCHS = 8
LABELLED_PAIRS, WEAK_PAIRS = 5000, 2300
TIMED_BATCHES = 4
_MARGIN = 0.9
"""The share of the time left that is planned for."""
_TRUSTED = (HUMAN, "faq", "summary")
"""What dev questions must be to notice when a high learning rate goes too far; comments on code do not."""
_PEOPLES_WORDS = (*_TRUSTED, "comment")
_PLAN = "plan.json"


@dataclass(frozen=True, kw_only=True)
class AutoFineTuner(CommonSettings):
    """Plans epochs, learning rate, pairs and merging before training, then chooses weights on dev.

    The plan follows from who wrote the training pairs and whether the dev questions can be trusted:

    - *Pairs by people* (half of them or more): three epochs of up to 5,000 pairs at 1e-4, more epochs (up to
      eight) where three make fewer than 24 steps. Good pairs bear a high rate and repetition: of all that was
      measured, these two account for most of the gain (docs/finetuning.md).
    - *Other pairs* (cut out of documents, or written by a language model): one epoch of up to 2,300 pairs,
      since repetition teaches their style. The rate is 1e-4 if dev asks questions in people's own words,
      which notice when it goes too far, and else 5e-5. Plain training on synthetic pairs can lower modern
      models (CADET, arXiv 2505.19274).
    - *Merging*: averages with the untuned weights are candidates too, from a quarter to three quarters; only
      the half where dev can be trusted and pairs cannot, since each costs a dev evaluation.
    - *Selection*: the best on dev, if dev has 100 or more questions in people's own words. Fewer questions
      are noisy, and synthetic ones reward what training on their like teaches: then, among all weights within
      one standard error of the best, those nearest to a preferred share: three quarters of the tuned weights
      after pairs by people, and a half after other pairs, which keeps most of the gain and of what the model
      knew (LM-Cocktail, arXiv 2311.13534). Where both pairs and dev questions were cut out of the documents,
      dev prefers weights that did worse on people's questions: half of the way is taken, unless dev shows
      that it is worse than none of it.
    - *Negatives*: those of the batch, and those that every pair lists. Mined ones made training take half as
      long again for a gain within noise.
    - *Time*: with ``minutes``, a few batches and a dev evaluation are timed first. If the plan does not fit,
      merging is cut to one share, then epochs, then pairs. With pairs by people, all that fit are used. The
      length of passages counts through the measured speed.

    The plan is kept beside the checkpoints: a training that resumes has the same one, whatever the speed now.
    A value that is given replaces the planned one.

    Args:
        minutes: The time for all of the fine-tuning, roughly; None sets no limit.
        epochs, learning_rate, max_pairs, merge, select, preferred_share: As in ``TrainerSettings``, or
            ``auto``.
    """

    minutes: Minutes | None = None
    epochs: Epochs | Auto = "auto"
    learning_rate: ShareAboveZero | Auto = "auto"
    max_pairs: MaxPairs | Auto = "auto"
    merge: Shares | Auto = "auto"
    select: Select | Auto = "auto"
    preferred_share: ShareAboveZero | Auto = "auto"

    def plan(self, splits: Splits) -> TrainingPlan:
        """Return the plan for these pairs, without regard to ``minutes``."""
        kind, trusted = kind_of(splits.train), asks_in_peoples_words(splits.dev, _TRUSTED)
        questions = len({pair.query_key for pair in splits.dev})
        labelled, alone = kind == PEOPLE, kind == CUT and not trusted
        own = "" if asks_in_peoples_words(splits.dev) else "not "
        asked = f"{questions:,} dev questions {own}in people's own words"
        plan = TrainingPlan(
            epochs=_epochs_of_labelled(len(splits.train), self.batch_size) if labelled else 1,
            learning_rate=1e-4 if labelled or trusted else 5e-5,
            max_pairs=WEAK_PAIRS if not labelled else LABELLED_PAIRS if self.minutes is None else None,
            merge=(0.5,) if alone or (trusted and not labelled) else (0.25, 0.5, 0.75),
            select=_rule(alone=alone, sure=trusted and questions >= SURE_QUESTIONS),
            preferred_share=0.75 if labelled else 0.5,
            reason=f"{len(splits.train):,} training pairs, most of them {kind}, and "
            + (asked if questions else "no dev questions"),
            documents_alone=alone,
        )
        return self._with_given(plan)

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
        """Plan, train and choose; arguments and errors are those of ``SentenceTransformerFineTuner.fit``."""
        start, key = time.monotonic(), self._key(model, loss, splits, seed=seed)
        plan = _stored(work_dir / _PLAN, key)
        if plan is None:
            plan = self.plan(splits)
            if self.minutes is not None and splits.train:
                plan = self._timed(plan, model, loss, splits, dev_scores, seed=seed, start=start)
            write_json(work_dir / _PLAN, {"key": key, "plan": asdict(plan)})
        log.info("Plan: %s.", plan)
        training = self._tuner(plan).fit(
            model,
            loss,
            splits,
            dev_scores=dev_scores,
            work_dir=work_dir,
            seed=seed,
            on_step=on_step,
            untuned=untuned,
        )
        return replace(training, plan=plan)

    def run_worker(self, loss: Loss, load: Callable[[], SentenceTransformer]) -> None:
        """Take part in the trainings of rank 0 as a worker until its command ends; write nothing.

        Workers compute gradients only, which no planned setting changes.
        """
        SentenceTransformerFineTuner(**self._common()).run_worker(loss, load)

    def _with_given(self, plan: TrainingPlan) -> TrainingPlan:
        """Replace planned values by those that the settings give."""
        planned = {field.name for field in fields(TrainingPlan)} & {field.name for field in fields(self)}
        given = {name: value for name in planned if (value := getattr(self, name)) != "auto"}
        if "merge" in given:
            given["merge"] = tuple(given["merge"])
        return replace(plan, **given)

    def _common(self) -> dict[str, Any]:
        return {field.name: getattr(self, field.name) for field in fields(CommonSettings)}

    def _tuner(self, plan: TrainingPlan) -> SentenceTransformerFineTuner:
        """Return the fine-tuner that does what was planned."""
        settings = {field.name for field in fields(TrainerSettings)} - self._common().keys()
        return SentenceTransformerFineTuner(
            **self._common(), **{name: getattr(plan, name) for name in settings}
        )

    def _key(self, model: SentenceTransformer, loss: Loss, splits: Splits, *, seed: int) -> str:
        key = self._tuner(self.plan(splits)).training_key(model, loss, splits, seed=seed)
        return sha256_of(key, self.minutes)

    def _timed(
        self,
        plan: TrainingPlan,
        model: SentenceTransformer,
        loss: Loss,
        splits: Splits,
        dev_scores: Callable[[SentenceTransformer], Mapping[str, float]],
        *,
        seed: int,
        start: float,
    ) -> TrainingPlan:
        """Measure the speed on a copy of the model, and return the plan that fits into ``minutes``."""
        before = time.monotonic()
        if splits.dev:
            dev_scores(model)
        evaluation = time.monotonic() - before
        trial = replace(plan, epochs=1, max_pairs=TIMED_BATCHES * self.batch_size, select="tuned")
        with tempfile.TemporaryDirectory() as folder:
            measured = replace(self._tuner(trial), evaluations=0).fit(
                copy.deepcopy(model),
                loss,
                splits,
                dev_scores=dev_scores,
                work_dir=Path(folder),
                seed=seed,
                on_step=lambda _: None,
            )
        seconds = float(self.minutes or 0) * 60 - (time.monotonic() - start)
        fitted = fit_into(
            replace(
                plan,
                pairs_per_second=measured.pairs_per_second,
                evaluation_seconds=round(evaluation, 3),
            ),
            seconds=seconds,
            pairs=len(splits.train),
            evaluations=self.evaluations if splits.dev else 0,
            least=self.batch_size,
        )
        return self._with_given(fitted)


def _rule(*, alone: bool, sure: bool) -> Select:
    """Return how dev chooses among the weights."""
    if alone:
        return "preferred"
    return "best" if sure else "one_standard_error"


def _epochs_of_labelled(pairs: int, batch_size: int) -> int:
    """Return three, or as many up to eight as make 24 steps."""
    steps = math.ceil(max(pairs, 1) / batch_size)
    return min(max(3, math.ceil(MIN_STEPS / steps)), MOST_EPOCHS)


def kind_of(pairs: Sequence[Pair]) -> str:
    """Return who wrote the pairs: people, if half of them or more are theirs, else who wrote most others."""
    kinds = Counter(
        PEOPLE if pair.generator.kind == HUMAN else CUT if pair.generator.kind == EXTRACTIVE else MODEL
        for pair in pairs
    )
    if 2 * kinds[PEOPLE] >= len(pairs):
        return PEOPLE
    return MODEL if kinds[MODEL] > kinds[CUT] else CUT


def in_peoples_words(pair: Pair) -> bool:
    """Return whether people ask it, or an author wrote it about the passage: a summary, a comment on code."""
    return pair.query_type in _PEOPLES_WORDS


def asks_in_peoples_words(pairs: Sequence[Pair], types: Collection[str] = _PEOPLES_WORDS) -> bool:
    """Return whether most questions are of the types that are in people's own words."""
    return 2 * sum(pair.query_type in types for pair in pairs) > len(pairs)


def fit_into(plan: TrainingPlan, *, seconds: float, pairs: int, evaluations: int, least: int) -> TrainingPlan:
    """Cut a plan down to a time: merging to one share, then epochs, then pairs.

    Args:
        plan: The plan, with the measured speed of training and time of an evaluation.
        seconds: The time that is left.
        pairs: The number of training pairs.
        evaluations: How often the training is scored on dev.
        least: How many pairs are trained on in any case, even if they take longer.
    """
    speed, evaluation = plan.pairs_per_second or math.inf, plan.evaluation_seconds or 0.0
    seen = min(pairs, plan.max_pairs or pairs)

    def affordable(merge: tuple[float, ...]) -> float:
        scored = evaluations + len(merge) if evaluations else 0
        return (_MARGIN * seconds - scored * evaluation) * speed

    merge = plan.merge
    if affordable(merge) < plan.epochs * seen and len(merge) > 1:
        merge = (merge[len(merge) // 2],)
    rows = affordable(merge)
    if rows >= plan.epochs * seen:
        return replace(plan, merge=merge)
    least = min(least, pairs)
    if rows < least:
        log.warning(
            "The time that trainer.minutes leaves (%.0f s) is too short: %d pairs at %.1f pairs a second and "
            "dev evaluations of %.1f s take about %.0f s.",
            *(max(seconds, 0), least, speed, evaluation, seconds + (least - rows) / speed / _MARGIN),
        )
    epochs = min(max(1, round(rows / seen)), plan.epochs)
    return replace(plan, merge=merge, epochs=epochs, max_pairs=max(least, min(seen, int(rows / epochs))))


def _stored(path: Path, key: str) -> TrainingPlan | None:
    """Return the plan that an earlier call made for the same training; None if there is none."""
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    if stored.get("key") != key:
        return None
    return TrainingPlan(**{**stored["plan"], "merge": tuple(stored["plan"]["merge"])})
