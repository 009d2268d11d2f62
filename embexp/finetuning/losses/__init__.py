"""The losses: one short class each over sentence-transformers' own, in a file for each family."""

from __future__ import annotations

from typing import TYPE_CHECKING

from embexp.package import lazy_exports

if TYPE_CHECKING:
    from embexp.finetuning.losses.distillation import DistillKl, EmbedDistill, MarginMse, QueryDistill
    from embexp.finetuning.losses.in_batch import CachedGist, CachedMnrl, Gist, Mnrl, MnrlSymmetric
    from embexp.finetuning.losses.listwise import Listwise
    from embexp.finetuning.losses.loss import Loss
    from embexp.finetuning.losses.margins import Contrastive, OnlineContrastive, Triplet
    from embexp.finetuning.losses.matryoshka import Matryoshka
    from embexp.finetuning.losses.scored import Angle, Cosent, Cosine, Softmax

__all__ = [
    "Angle",
    "CachedGist",
    "CachedMnrl",
    "Contrastive",
    "Cosent",
    "Cosine",
    "DistillKl",
    "EmbedDistill",
    "Gist",
    "Listwise",
    "Loss",
    "MarginMse",
    "Matryoshka",
    "Mnrl",
    "MnrlSymmetric",
    "OnlineContrastive",
    "QueryDistill",
    "Softmax",
    "Triplet",
]

__getattr__ = lazy_exports(
    __name__,
    {
        "distillation": "DistillKl EmbedDistill MarginMse QueryDistill",
        "in_batch": "CachedGist CachedMnrl Gist Mnrl MnrlSymmetric",
        "listwise": "Listwise",
        "loss": "Loss",
        "margins": "Contrastive OnlineContrastive Triplet",
        "matryoshka": "Matryoshka",
        "scored": "Angle Cosent Cosine Softmax",
    },
)
