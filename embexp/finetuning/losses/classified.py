"""Losses over pairs of texts that stand in one of several relations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer
    from torch import nn


@dataclass(frozen=True, kw_only=True)
class Softmax:
    """A classifier over both vectors and their difference must tell the class (arXiv 1908.10084).

    The classifier is trained along and is no part of what comes out.

    Args:
        product: Whether it reads the product of both vectors, too: for vectors that are to be searched by
            their cosine.
    """

    product: bool = True
    columns = "classes"

    def build(self, model: SentenceTransformer, *, outputs: int) -> nn.Module:
        """Return the loss module over ``model`` for ``outputs`` classes."""
        from sentence_transformers.sentence_transformer.losses import SoftmaxLoss

        module: nn.Module = SoftmaxLoss(
            model,
            model.get_embedding_dimension(),
            outputs,
            concatenation_sent_multiplication=self.product,
        )
        return module
