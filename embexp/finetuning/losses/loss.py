"""The protocol of a loss, and what the options of several losses share."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, Protocol

from embexp.finetuning.teachers.teacher import Teacher

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer
    from torch import nn

Gate = Literal["fallback", "warn", "stop", "off"]
"""What happens to a teacher that does not order the dev questions' passages better than the untuned model."""


class Loss(Protocol):
    """A loss: which columns it reads, and how to build its module over a model.

    A loss of your own subclasses this protocol, sets ``columns`` and implements ``build``; the other members
    have defaults that fit a loss without a teacher. Its ``repr`` must show all its options (a dataclass's
    does): it is part of the key under which a training is cached.

    Attributes:
        columns: The kind of training rows that the loss reads:

            - ``pairs``: anchor, positive[, negative_1 …]
            - ``triplets``: anchor, positive, negative
            - ``scored``: text_a, text_b, score in [0, 1]
            - ``binary``: text_a, text_b, label (0 or 1)
            - ``classes``: text_a, text_b, label (the number of a class)
            - ``ranked``: anchor, positive, negative_1 …, scores (the teacher's score for each passage)
            - ``lists``: as ``ranked``, with scores in [0, 1] and passages that any retriever would find
            - ``vectors``: anchor, positive, label (the teacher's vectors of both)
            - ``targets``: anchor, label (the vector that the query should have)

        max_negatives: The most negatives of a row that the loss reads; None for any number.
        teacher: The teacher whose scores or vectors the loss learns from.
        gate: What happens to a teacher that does not help on dev; ``off`` does not ask.
        fallback: The loss that trains where ``gate`` is ``fallback`` and the teacher does not help.
        dims: Shorter vector lengths that the loss trains; the benchmark scores the tuned model at each.
    """

    columns: str
    max_negatives: int | None = None
    teacher: Teacher | None = None
    gate: Gate = "off"
    fallback: Loss | None = None
    dims: Sequence[int] = ()

    def fingerprint(self) -> str:
        """Return a digest of the files that shape the loss besides its options, such as a guide's weights."""
        return ""

    @abstractmethod
    def build(self, model: SentenceTransformer, outputs: int | None) -> nn.Module:
        """Return the loss module over ``model``.

        Args:
            model: The model to train.
            outputs: For ``classes`` the number of classes, for ``vectors`` the length of the teacher's
                vectors, None for all other columns.
        """


Distance = Literal["cosine", "euclidean", "manhattan"]


def library_loss(name: str, model: SentenceTransformer, *arguments: object, **options: object) -> nn.Module:
    """Return a loss module of sentence-transformers, whose losses are imported only here.

    Args:
        name: The name of its class.
        model: The model.
        arguments: Further positional arguments of the class.
        options: Its keyword arguments.
    """
    from sentence_transformers.sentence_transformer import losses

    module: nn.Module = getattr(losses, name)(model, *arguments, **options)
    return module
