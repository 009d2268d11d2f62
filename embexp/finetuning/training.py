"""The record of a training, and what a fine-tuner and its caller agree on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

from embexp.data.splitting import Splits
from embexp.models.embedding_cache import EmbeddingCache
from embexp.models.encoder import Embedder, ModelEmbedder

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

    from embexp.finetuning.losses.loss import Loss

GENERAL = "general_"
"""The prefix of metrics on a general set, which show what a model in training forgets."""

MERGED = "merged_"
"""The prefix of metrics of merged weights, whose point in the log has their ``merge_weight``, too."""


def merged_name(weight: float) -> str:
    """Return the name of weights that are merged from the untuned and the tuned ones: ``merged 0.5``."""
    return f"merged {weight:g}"


@dataclass(frozen=True, slots=True)
class TrainingStep:
    """One point of the training log: ``metrics`` holds loss, learning_rate, … or dev metrics."""

    step: int
    metrics: Mapping[str, float]


class DevScores(dict[str, float]):
    """Mean metrics on dev; ``per_question`` is question id -> metric -> value behind them."""

    def __init__(
        self, mean: Mapping[str, float], per_question: Mapping[str, Mapping[str, float]] | None = None
    ) -> None:
        super().__init__(mean)
        self.per_question = per_question or {}


def question_scores(scores: Mapping[str, float], metric: str) -> list[float]:
    """Return the score of each dev question, in the order of their ids; empty where only means are known."""
    if not isinstance(scores, DevScores):
        return []
    values = [scores.per_question[name].get(metric) for name in sorted(scores.per_question)]
    return [float(value) for value in values if value is not None]


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingPlan:
    """What ``trainer=auto`` decided before training; ``embexp.finetuning.auto`` has the rules.

    Attributes:
        epochs, learning_rate, max_pairs, merge, select, preferred_share: The settings of the training.
        reason: What they follow from, in a sentence.
        documents_alone: Whether the pairs were cut out of the documents and dev asks no people's words:
            what ``experiment=label_free`` is for.
        pairs_per_second: The measured speed of training; None without a time budget.
        evaluation_seconds: The measured time of a dev evaluation; None without a time budget.
    """

    epochs: int
    learning_rate: float
    max_pairs: int | None
    merge: tuple[float, ...]
    select: Literal["best", "one_standard_error", "preferred", "tuned"]
    preferred_share: float
    reason: str
    documents_alone: bool = False
    pairs_per_second: float | None = None
    evaluation_seconds: float | None = None

    def __str__(self) -> str:
        pairs = "all pairs" if self.max_pairs is None else f"up to {self.max_pairs:,} pairs"
        shares = ", ".join(f"{share:g}" for share in self.merge) or "none"
        rule = self.select.replace("_", " ")
        return (
            f"{self.reason}: {self.epochs} {'epoch' if self.epochs == 1 else 'epochs'} of {pairs} at a "
            f"learning rate of {self.learning_rate:g}, merged shares {shares}, selected by dev ({rule})"
        )


@dataclass(frozen=True, slots=True)
class Training:
    """The summary of a fine-tune.

    Args:
        pairs: How many rows were trained on.
        steps: Optimizer steps.
        seconds: Wall-clock time of this call; an earlier, interrupted call is not included.
        pairs_per_second: Rows per second of training steps, without dev evaluations and checkpoints.
        resumed_from: The step of the checkpoint that training resumed from.
        best_step: The step of the best weights on dev; 0 if the untuned model was selected.
        history: The training log.
        selected: Which weights were selected: untuned, tuned, "merged 0.5".
        candidates: The dev score of each candidate.
        general: The score of each candidate on a general set, if there is one.
        reason: Why these weights were selected; None if there was no choice.
        chosen_by_dev: Whether dev could choose them.
        plan: What ``trainer=auto`` decided; None for settings that were given.
        new_tokens: How many tokens were added for words that the tokenizer spelled letter by letter; where a
            script is transliterated, for phonetic spellings of the documents' words.
        transliterated: The script, such as ``CYRILLIC``, that is transliterated in queries; None for none.
    """

    pairs: int
    steps: int
    seconds: float
    pairs_per_second: float
    resumed_from: int | None = None
    best_step: int | None = None
    history: tuple[TrainingStep, ...] = ()
    selected: str | None = None
    candidates: Mapping[str, float] = field(default_factory=dict)
    general: Mapping[str, float] = field(default_factory=dict)
    reason: str | None = None
    chosen_by_dev: bool = True
    plan: TrainingPlan | None = None
    new_tokens: int = 0
    transliterated: str | None = None

    def selected_score(self, metric: str) -> float | None:
        """Return a metric's value on dev with the selected weights; None if they were never scored.

        It may be below the highest value on dev: ``trainer.select=tuned`` keeps trained weights that are
        worse than the untuned ones, and ``trainer.forgetting_floor`` rules weights out.
        """
        merged = f"{MERGED}{metric}"
        for point in reversed(self.history):
            if (self.selected or "").startswith("merged "):
                if merged in point.metrics and self.selected == merged_name(point.metrics["merge_weight"]):
                    return point.metrics[merged]
            elif point.step == self.best_step and f"dev_{metric}" in point.metrics:
                return point.metrics[f"dev_{metric}"]
        return None

    def dev(self, metric: str) -> list[float]:
        """Return a metric's values on dev, in the order of the steps."""
        name = f"dev_{metric}"
        return [step.metrics[name] for step in self.history if name in step.metrics]


class StartingModel(Protocol):
    """The model that a training starts from, with its vectors kept on disk."""

    @property
    def selected(self) -> StartingModel | None:
        """The same for the weights that the training selects, from which a second training may start."""

    def embedder(self, model: SentenceTransformer) -> Embedder:
        """Return an embedder over ``model``, whose training has not begun."""

    def dev_scores(self, model: SentenceTransformer) -> Mapping[str, float]:
        """Score ``model``, whose training has not begun, on dev."""


@dataclass(frozen=True, kw_only=True)
class UntunedModel:
    """The untuned model with its vectors kept on disk: several runs of one model embed each text once.

    Args:
        fingerprint: The model's digest.
        max_tokens: Its own text length, at which texts are embedded; those of training may be shorter.
        cache: Where the vectors are kept.
        score: Scores an embedder on dev.
        selected: As in ``StartingModel``; None embeds anew.
    """

    fingerprint: str
    max_tokens: int | None
    cache: EmbeddingCache
    score: Callable[[Embedder], Mapping[str, float]]
    selected: StartingModel | None = None

    def embedder(self, model: SentenceTransformer) -> Embedder:
        """Return an embedder over ``model``, which must be untuned, with the vectors of a benchmark."""
        return ModelEmbedder(
            model, fingerprint=self.fingerprint, cache=self.cache, bf16=True, max_tokens=self.max_tokens
        )

    def dev_scores(self, model: SentenceTransformer) -> Mapping[str, float]:
        """Score ``model``, which must be untuned, on dev."""
        return self.score(self.embedder(model))


class FineTuner(Protocol):
    """Trains a model on pairs, in one process or several."""

    def fingerprint(self) -> str:
        """Return a digest of the models that the settings name, such as a cross-encoder; "" if none.

        Together with the settings it keys the cached training.
        """

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
        """Train ``model`` in place; on return it holds the weights that scored best on dev.

        Args:
            model: The untuned model.
            loss: The loss to minimise.
            splits: Training and dev pairs; the test pairs are not read.
            dev_scores: Scores a model on dev: metric name to value, higher is better. With ``DevScores`` the
                choice of weights knows how sure it can be.
            work_dir: Holds checkpoints; a call that finds some there resumes from the newest.
            seed: Fixes every random choice.
            on_step: Called with each point of the log; a resumed run repeats the earlier points.
            untuned: Embeds texts with the untuned model and keeps the vectors; None embeds anew.
        """

    def run_worker(self, loss: Loss, load: Callable[[], SentenceTransformer]) -> None:
        """Take part in the trainings of rank 0 as a worker until its command ends; write nothing.

        Args:
            loss: The loss, configured as on rank 0.
            load: Loads the untuned model.

        Raises:
            ConfigError: This fine-tuner trains in one process only.
        """
