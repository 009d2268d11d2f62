"""The gradients of a batch, which rank 0 and workers compute with the same trainer."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from embexp.data.splitting import Splits
from embexp.finetuning import SentenceTransformerFineTuner
from embexp.finetuning.distributed.gradients import GradientTrainer, training_arguments, trains_in_bf16
from embexp.finetuning.losses import Mnrl
from embexp.finetuning.losses.mini_batches import build_loss
from embexp.finetuning.training_rows import training_rows
from embexp.models.tiny import TinyModel
from tests.finetuning.jargon import freeze_imports, make_pair


@pytest.mark.parametrize(("bf16", "expected"), [(True, torch.bfloat16), (False, torch.float32)])
def test_a_trainer_that_is_asked_for_gradients_alone_has_the_precision_of_the_settings(
    tmp_path: Path, *, bf16: bool, expected: torch.dtype
) -> None:
    """A worker never calls ``train``, in which the library would prepare the model."""
    freeze_imports()
    settings = SentenceTransformerFineTuner(batch_size=4, bf16=bf16)
    model, computed = TinyModel(seed=1, layers=1).load(), set()
    linear = next(module for module in model.modules() if isinstance(module, torch.nn.Linear))
    linear.register_forward_hook(
        lambda module, _, output: computed.add(output.dtype) if module.training else None
    )
    splits = Splits(train=[make_pair(n) for n in range(4)], dev=[], test=[])
    rows = training_rows(settings, model, Mnrl(), splits, seed=0, untuned=None)
    trainer = GradientTrainer(
        group=None,
        bf16=trains_in_bf16(settings, model),
        model=model,
        loss=build_loss(Mnrl(), model, outputs=None, seed=0, batch_size=4, mini_batch_size=None),
        args=training_arguments(settings, model, rows, folder=tmp_path, steps=1, seed=0, learning_rate=1e-3),
        train_dataset=rows.dataset(),
    )
    inputs = trainer.data_collator([trainer.train_dataset[at] for at in range(4)])
    trainer.gradients(model, inputs, range(4))

    assert computed == {expected}
    assert linear.weight.grad is not None
    assert linear.weight.grad.dtype == torch.float32
