"""Any loss over whole batches, worked off in mini-batches: the same result in less memory (GradCache)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer
    from torch import nn


def in_pieces(module: Any, model: SentenceTransformer, *, mini_batch_size: int) -> nn.Module | None:
    """Return a loss module that embeds ``mini_batch_size`` texts at a time and gives the same gradients.

    Embeddings are computed without gradients first, then the loss and its gradient at the embeddings,
    then the embeddings again, a mini-batch at a time, with gradients (arXiv 2101.06983).

    Args:
        module: The loss over ``model``.
        model: The model.
        mini_batch_size: How many texts are embedded at once.

    Returns:
        The module, or None where this loss or this model cannot be worked off like that.
    """
    from sentence_transformers.base.losses.gradcache import has_static_embedding_input, uses_gradient_cache
    from sentence_transformers.sentence_transformer.losses import (
        CachedGISTEmbedLoss,
        GISTEmbedLoss,
        MatryoshkaLoss,
    )

    if has_static_embedding_input(model):
        return None
    if isinstance(module, MatryoshkaLoss):
        inner = in_pieces(module.loss, model, mini_batch_size=mini_batch_size)
        if inner is None or inner is module.loss:
            return module if inner is not None else None
        weights = list(module.matryoshka_weights)
        nested: nn.Module = MatryoshkaLoss(
            model, inner, list(module.matryoshka_dims), matryoshka_weights=weights
        )
        return nested
    if uses_gradient_cache(module):
        module.mini_batch_size = min(module.mini_batch_size, mini_batch_size)
        cached: nn.Module = module
        return cached
    if isinstance(module, GISTEmbedLoss):
        guided: nn.Module = CachedGISTEmbedLoss(
            model, module.guide, temperature=module.temperature, margin=module.margin,
            margin_strategy=module.margin_strategy, mini_batch_size=mini_batch_size,
        )  # fmt: skip
        return guided
    if hasattr(module, "compute_loss_from_embeddings"):
        return _cached(module, model, mini_batch_size)
    return None


def _cached(module: Any, model: SentenceTransformer, size: int) -> nn.Module:
    import torch
    from sentence_transformers.base.losses.gradcache import CachedLossMixin
    from torch import nn

    compute = module.compute_loss_from_embeddings

    class InPieces(CachedLossMixin, nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.model, self.mini_batch_size = model, size
            self.inner = module

        def calculate_loss(self, reps: Any, labels: Any = None, *, with_backward: bool = False) -> Any:
            loss = compute([torch.cat(column) for column in reps], labels)
            if with_backward:
                loss.backward()
                loss = loss.detach()
            return loss

        def forward(self, sentence_features: Any, labels: Any) -> Any:
            return CachedLossMixin.forward_cached(self, sentence_features, labels)

    return InPieces()
