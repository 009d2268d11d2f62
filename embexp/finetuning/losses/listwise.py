"""Listwise distillation: a teacher's order of a query's passages, and a little weight on its own passage."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from annotated_types import Interval

from embexp.errors import ConfigError
from embexp.finetuning.losses.loss import Gate, Loss
from embexp.finetuning.teachers.teacher import NO_TEACHER
from embexp.ranges import NonNegative, Positive, Share, check_ranges
from embexp.storage.files import sha256_of
from embexp.user_code import identity

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer
    from torch import Tensor, nn


@dataclass(frozen=True, kw_only=True)
class Listwise(Loss):
    """The student's softmax over a query's passages must be the teacher's, with a little InfoNCE (CADET).

    The loss is ``KL(softmax(teacher / teacher_temperature), softmax(cosine / temperature))`` plus
    ``contrastive_weight`` times InfoNCE of the query's own passage at ``contrastive_temperature``, over the
    list's other passages without those that the teacher thinks well of. The teacher's scores are clipped and
    brought to [0, 1] (``passage_lists.py``). The defaults are those of Tamber, Kazi, Sourabh and Lin,
    "Conventional Contrastive Learning Often Falls Short", 2025 (arXiv 2505.19274).

    Args:
        teacher: Scores the passages; a component of its own.
        passages: The passages of a list, the query's own one included.
        temperature: Divides the student's cosines.
        teacher_temperature: Divides the teacher's scores.
        contrastive_weight: The weight of InfoNCE; 0 for none.
        contrastive_temperature: Divides the cosines in InfoNCE.
        false_negatives_from: A passage that the teacher scores above this share of the list's best score is
            no negative in InfoNCE.
        gate: What happens to a teacher that does not order the dev questions' passages better than the
            untuned model: ``fallback`` trains with ``fallback`` instead, ``warn`` uses it and says so,
            ``stop`` ends the run, ``off`` does not ask. A run of the commands has the gate, a training in
            Python does not.
        fallback: The loss that trains instead; a component of its own.
    """

    teacher: Any = None
    passages: Annotated[int, Interval(ge=2, le=10_000)] = 20
    temperature: Positive = 0.05
    teacher_temperature: Positive = 0.3
    contrastive_weight: NonNegative = 0.1
    contrastive_temperature: Positive = 0.01
    false_negatives_from: Share = 0.6
    gate: Gate = "off"
    fallback: Any = None
    columns = "lists"

    def __post_init__(self) -> None:
        check_ranges(self, "loss")

    @property
    def max_negatives(self) -> int:  # type: ignore[override]
        """All passages of a list but the query's own."""
        return self.passages - 1

    def fingerprint(self) -> str:
        """Return the digests of the teacher and of the loss that may take over.

        Raises:
            ConfigError: The teacher, or the loss to fall back on, is missing.
        """
        if self.teacher is None:
            raise ConfigError(NO_TEACHER)
        if self.gate == "fallback" and self.fallback is None:
            raise ConfigError(
                "loss.gate=fallback trains with another loss where the teacher does not help, and "
                "loss.fallback is not set: give one, as in loss@loss.fallback=mnrl, or set loss.gate=warn."
            )
        instead = identity(self.fallback) if self.fallback is not None else ""
        return sha256_of(identity(self.teacher), instead)

    def build(self, model: SentenceTransformer, outputs: int | None) -> nn.Module:
        """Return the loss module over ``model``."""
        return _listwise_loss(model, self)


def _listwise_loss(model: SentenceTransformer, settings: Listwise) -> nn.Module:
    import torch
    from torch import nn
    from torch.nn.functional import cross_entropy, kl_div, log_softmax, normalize, softmax

    class ListwiseLoss(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, features: Sequence[dict[str, Tensor]], labels: Tensor) -> Tensor:
            embeddings = [self.model(column)["sentence_embedding"] for column in features]
            return self.compute_loss_from_embeddings(embeddings, labels)

        def compute_loss_from_embeddings(self, embeddings: Sequence[Tensor], labels: Tensor) -> Tensor:
            """Return the loss of (queries, own passages, other passages …), each of shape (rows, dimension).

            Args:
                embeddings: The columns' embeddings.
                labels: The teacher's scores in [0, 1], shape (rows, passages).
            """
            query, *passages = (normalize(column, dim=-1) for column in embeddings)
            cosines = torch.einsum("rd,prd->rp", query, torch.stack(passages))
            teacher = softmax(labels.to(cosines.dtype) / settings.teacher_temperature, dim=1)
            student = log_softmax(cosines / settings.temperature, dim=1)
            loss = kl_div(student, teacher, reduction="batchmean")
            if settings.contrastive_weight:
                loss = loss + settings.contrastive_weight * self._contrast(cosines, labels)
            return loss

        def _contrast(self, cosines: Tensor, labels: Tensor) -> Tensor:
            best = labels.max(dim=1, keepdim=True).values
            dropped = labels > settings.false_negatives_from * best
            dropped[:, 0] = False
            logits = (cosines / settings.contrastive_temperature).masked_fill(dropped, -torch.inf)
            own = torch.zeros(len(logits), dtype=torch.long, device=logits.device)
            return cross_entropy(logits, own)

    return ListwiseLoss()
