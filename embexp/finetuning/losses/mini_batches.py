"""Any loss over whole batches, computed in mini-batches: the same gradients in less memory (GradCache)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from embexp.errors import ConfigError, ModelError

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer
    from torch import Tensor, nn

    from embexp.finetuning.losses.loss import Loss


def build_loss(
    loss: Loss,
    model: SentenceTransformer,
    *,
    outputs: int | None,
    seed: int,
    batch_size: int,
    mini_batch_size: int | None,
) -> nn.Module:
    """Build a loss over a model, in mini-batches of ``mini_batch_size`` rows unless that is None.

    Raises:
        ConfigError: The loss does not support the model.
        ModelError: The loss cannot be computed in mini-batches.
    """
    import torch

    name = type(loss).__name__
    torch.manual_seed(seed)
    try:
        module = loss.build(model, outputs)
    except ValueError as error:
        raise ConfigError(
            f"{name} cannot be used with this model: {error} Choose another loss (loss=mnrl)."
        ) from error
    if mini_batch_size is None:
        return module
    smaller = in_mini_batches(module, model, mini_batch_size=mini_batch_size)
    if smaller is None:
        raise ModelError(
            f"The memory does not suffice for trainer.batch_size={batch_size}, and {name} on this model "
            "cannot be computed in mini-batches: set a lower trainer.batch_size."
        )
    return smaller


def in_mini_batches(module: Any, model: SentenceTransformer, *, mini_batch_size: int) -> nn.Module | None:
    """Return a loss module that embeds ``mini_batch_size`` texts at a time and gives the same gradients.

    Embeddings are computed without gradients first, then the loss and its gradient with respect to the
    embeddings, then the embeddings again, one mini-batch at a time, with gradients (arXiv 2101.06983).

    Args:
        module: The loss over ``model``.
        model: The model.
        mini_batch_size: How many texts are embedded at once.

    Returns:
        The module, or None if this loss or this model does not allow it.
    """
    from sentence_transformers.base.losses.gradcache import has_static_embedding_input, uses_gradient_cache
    from sentence_transformers.sentence_transformer.losses import (
        CachedGISTEmbedLoss,
        GISTEmbedLoss,
        MatryoshkaLoss,
    )

    if has_static_embedding_input(model):
        return None
    result: nn.Module
    if isinstance(module, MatryoshkaLoss):
        inner = in_mini_batches(module.loss, model, mini_batch_size=mini_batch_size)
        if inner is None or inner is module.loss:
            return module if inner is not None else None
        result = MatryoshkaLoss(
            model, inner, list(module.matryoshka_dims), matryoshka_weights=list(module.matryoshka_weights)
        )
        return result
    if uses_gradient_cache(module):
        module.mini_batch_size = min(module.mini_batch_size, mini_batch_size)
        result = module
        return result
    if isinstance(module, GISTEmbedLoss):
        result = CachedGISTEmbedLoss(
            model,
            module.guide,
            temperature=module.temperature,
            margin=module.margin,
            margin_strategy=module.margin_strategy,
            mini_batch_size=mini_batch_size,
        )
        return result
    compute = _over_embeddings(module)
    return _cached(module, compute, model, mini_batch_size) if compute else None


def _over_embeddings(module: Any) -> Callable[[list[Tensor], Tensor], Tensor] | None:
    """Return the loss as a function of the columns' embeddings and the labels; None if it is not one."""
    import torch
    from sentence_transformers.sentence_transformer.losses import EmbedDistillLoss, SoftmaxLoss

    def of_classes(embeddings: list[Tensor], labels: Tensor) -> Tensor:
        first, second = embeddings
        parts = [first, second, torch.abs(first - second)]
        if module.concatenation_sent_multiplication:
            parts.append(first * second)
        loss: Tensor = module.loss_fct(module.classifier(torch.cat(parts, dim=1)), labels.view(-1))
        return loss

    def of_vectors(embeddings: list[Tensor], labels: Tensor) -> Tensor:
        loss: Tensor = module.compute_loss_from_embeddings(embeddings, list(labels.unbind(dim=1)))
        return loss

    if isinstance(module, SoftmaxLoss):
        return of_classes
    if isinstance(module, EmbedDistillLoss):
        return of_vectors
    return getattr(module, "compute_loss_from_embeddings", None)


def _cached(
    module: Any, compute: Callable[[list[Tensor], Tensor], Tensor], model: SentenceTransformer, size: int
) -> nn.Module:
    import torch
    from sentence_transformers.base.losses.gradcache import CachedLossMixin
    from torch import nn

    class InMiniBatches(CachedLossMixin, nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.model, self.mini_batch_size = model, size
            self.inner = module

        def calculate_loss(self, reps: Any, labels: Any = None, *, with_backward: bool = False) -> Any:
            loss = compute([torch.cat(column) for column in reps], labels)
            if with_backward:
                loss.backward()  # type: ignore[no-untyped-call]
                loss = loss.detach()
            return loss

        def forward(self, sentence_features: Any, labels: Any) -> Any:
            return CachedLossMixin.forward_cached(self, sentence_features, labels)

    return InMiniBatches()
