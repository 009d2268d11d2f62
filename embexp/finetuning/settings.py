"""The settings of a training and their checks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from annotated_types import Interval

from embexp.errors import ConfigError
from embexp.ranges import (
    Count,
    CountOrZero,
    InnerShare,
    NonNegative,
    Positive,
    Seconds,
    ShareAboveZero,
    ShareBelowOne,
    check_ranges,
)
from embexp.user_code import identity

Epochs = Annotated[int, Interval(ge=1, le=10_000)]
MaxPairs = Annotated[int, Interval(ge=2, le=1_000_000_000)] | None
Shares = list[InnerShare] | tuple[InnerShare, ...]
Select = Literal["best", "one_standard_error", "preferred", "tuned"]


@dataclass(frozen=True, kw_only=True)
class CommonSettings:
    """What every trainer is told. Settings that mirror a library's carry their names.

    Args:
        batch_size: The most rows in a batch; each row uses the other passages of its batch as negatives.
        lr_scheduler_type: How the learning rate falls after the warm-up, as in ``TrainingArguments``.
        warmup_ratio: The share of steps over which the learning rate rises from 0.
        weight_decay: AdamW's decay, on weights only.
        max_grad_norm: The norm that gradients are clipped to.
        max_tokens: Texts are truncated to this length while training (and mining); the model's own limit is
            restored afterwards. None keeps it throughout.
        evaluations: Dev evaluations, evenly spread from before the first step to after the last; 0 for none.
        metric: The dev metric that selects the weights.
        patience: Stop after this many evaluations without improvement; None trains to the end.
        hard_negatives: Negatives for each positive. None uses those that the pairs list, and finds one for
            losses that need it; 0 gives in-batch losses none.
        negatives: How missing ones are found: mined with the untuned model, or drawn at random.
        relative_margin: A mined negative scores at least this share of the positive's score (its absolute
            value) below the positive, as in ``mine_hard_negatives``; None sets no such limit.
        absolute_margin: A mined negative scores at least this much below the positive, as in
            ``mine_hard_negatives``; None sets no such limit.
        range_min: Skip this many of the highest-ranked candidates, as in ``mine_hard_negatives``.
        range_max: Draw from candidates up to this rank, as in ``mine_hard_negatives``.
        cross_encoder: A teacher that rescores positives and candidates before the margins apply; None uses
            the untuned model's scores.
        distinct: What two rows of a batch must not share, besides query and passage texts.
        length_pool: Batches within whose rows lengths are sorted, which saves padding; 0 leaves them mixed;
            None sorts within 8, except where texts are computed without padding.
        dropout: Dropout of hidden states; None keeps the model's own.
        attention_dropout: Dropout of attention weights; None keeps the model's own.
        bf16: Mixed precision; None uses it where the GPU or the CPU multiplies bf16 in hardware.
        checkpoint_seconds: The longest time between two checkpoints.
        retries: How often a training that diverges returns to its last good checkpoint, each time at half
            the learning rate.
        new_tokens: At most so many tokens are added for words that the model's tokenizer spells letter by
            letter, if these are most words of the training questions, or for loanwords
            (``loanwords.py``); 0 adds none.
        method: Which weights to train, as a component of its own; None trains all.
        forgetting_floor: With a general set (``benchmark@forgetting=…``), the share of the untuned model's
            score there that selected weights must keep; None sets no such limit.
    """

    batch_size: Annotated[int, Interval(ge=2, le=1_000_000)] = 64
    lr_scheduler_type: Literal["linear", "cosine", "constant_with_warmup"] = "linear"
    warmup_ratio: ShareBelowOne = 0.1
    weight_decay: ShareBelowOne = 0.01
    max_grad_norm: Positive = 1.0
    max_tokens: Annotated[int, Interval(ge=8, le=1_000_000)] | None = 128
    evaluations: Annotated[int, Interval(ge=0, le=10_000)] = 4
    metric: str = "ndcg@10"
    patience: Annotated[int, Interval(ge=1, le=10_000)] | None = None
    hard_negatives: Annotated[int, Interval(ge=0, le=1_000)] | None = None
    negatives: Literal["mined", "random"] = "mined"
    relative_margin: ShareBelowOne | None = 0.05
    absolute_margin: NonNegative | None = None
    range_min: CountOrZero = 0
    range_max: Count = 20
    cross_encoder: Any = None
    distinct: Literal["text", "chunk", "document"] = "chunk"
    length_pool: Annotated[int, Interval(ge=0, le=1_000_000)] | None = None
    dropout: ShareBelowOne | None = None
    attention_dropout: ShareBelowOne | None = None
    bf16: bool | None = False
    checkpoint_seconds: Seconds = 300.0
    retries: Annotated[int, Interval(ge=0, le=100)] = 3
    new_tokens: Annotated[int, Interval(ge=0, le=100_000)] = 4000
    method: Any = None
    forgetting_floor: ShareAboveZero | None = 0.95

    def __post_init__(self) -> None:
        check_ranges(self, "trainer")
        if self.range_min >= self.range_max:
            raise ConfigError(
                f"trainer.range_min={self.range_min} and trainer.range_max={self.range_max}: the first must "
                "be below the second, such as 0 and 20."
            )
        if isinstance(self.method, Mapping):
            raise ConfigError(
                f"trainer.method is {dict(self.method)}, which names no method: choose trainer=lora, "
                "last_layers or query_encoder, or give trainer.method._target_=embexp.finetuning.Lora."
            )

    def fingerprint(self) -> str:
        """Return the digest of the cross-encoder that rescores mined negatives; "" if there is none."""
        return identity(self.cross_encoder) if self.cross_encoder is not None else ""


@dataclass(frozen=True, kw_only=True)
class TrainerSettings(CommonSettings):
    """All settings of one training.

    Args:
        epochs: Passes over the training rows.
        learning_rate: The peak of the schedule.
        max_pairs: How many positives (or labelled pairs) to train on, sampled by seed; None for all.
        merge: Shares of the tuned weights in averages with the untuned ones, each scored on dev.
        select: ``best`` selects the best on dev among untuned, tuned and merged weights;
            ``one_standard_error`` the weights nearest to ``preferred_share`` among those within one standard
            error of the best; ``preferred`` the weights nearest to ``preferred_share``, unless dev shows that
            they are worse than the untuned ones; ``tuned`` the trained ones whatever dev says.
        preferred_share: The share of the tuned weights to select where dev cannot decide.
    """

    epochs: Epochs = 1
    learning_rate: ShareAboveZero = 5e-5
    max_pairs: MaxPairs = 2000
    merge: Shares = ()
    select: Select = "best"
    preferred_share: ShareAboveZero = 0.5
