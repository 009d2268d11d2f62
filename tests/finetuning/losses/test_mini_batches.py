"""Losses in mini-batches: the same gradients in less memory."""

from __future__ import annotations

import copy

import pytest

from embexp.finetuning.losses import (
    Angle,
    CachedMnrl,
    Cosent,
    DistillKl,
    EmbedDistill,
    Gist,
    Listwise,
    MarginMse,
    Matryoshka,
    Mnrl,
    MnrlSymmetric,
    OnlineContrastive,
    Softmax,
    Triplet,
)
from embexp.finetuning.losses.mini_batches import in_mini_batches

LOSSES = [
    Mnrl(),
    MnrlSymmetric(),
    Gist(),
    Triplet(),
    OnlineContrastive(),
    Cosent(),
    Angle(),
    Matryoshka(loss=Mnrl(), dims=[32]),
    Matryoshka(loss=CachedMnrl(), dims=[32]),
    Softmax(),
    Softmax(product=False),
    MarginMse(teacher=None),
    DistillKl(teacher=None),
    EmbedDistill(teacher=None),
    Listwise(),
    Matryoshka(loss=MarginMse(teacher=None), dims=[32]),
]


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: type(loss).__name__)
def test_mini_batches_give_the_same_gradients(loss, model):
    import torch

    model.eval()
    texts = {"triplets": 3, "ranked": 3, "lists": 4}.get(loss.columns, 2)
    columns = [[f"text {number} {column}" for number in range(6)] for column in range(texts)]
    labels = {
        "binary": torch.tensor([1, 0, 1, 0, 1, 0]),
        "classes": torch.tensor([0, 1, 2, 0, 1, 2]),
        "ranked": torch.linspace(-1, 1, 12).reshape(6, 2),
        "lists": torch.linspace(0, 1, 18).reshape(6, 3),
        "vectors": torch.linspace(-1, 1, 6 * 2 * 8).reshape(6, 2, 8),
    }.get(loss.columns, torch.linspace(0, 1, 6))
    outputs = {"classes": 3, "vectors": 8}.get(loss.columns)
    results = []
    for size in (None, 2):
        one = copy.deepcopy(model)
        torch.manual_seed(0)  # some losses have weights of their own
        module = loss.build(one, outputs)
        if size is not None:
            module = in_mini_batches(module, one, mini_batch_size=size)
        features = [one.preprocess(column) for column in columns]
        value = module(features, labels)
        value.backward()
        gradients = [p.grad for p in module.parameters() if p.grad is not None]
        results.append((value.detach(), gradients))
    (whole, expected), (in_parts, gradients) = results
    assert torch.allclose(whole, in_parts, atol=1e-5)
    assert all(torch.allclose(a, b, atol=1e-4) for a, b in zip(expected, gradients, strict=True))
