"""How much memory a training step takes, and the word beforehand where there is too little."""

from __future__ import annotations

import pytest

from embexp.finetuning.batch_memory import batch_memory, warn_of_batch_memory
from embexp.finetuning.training_rows import Rows
from embexp.models.tiny import TinyModel

ROWS = Rows(columns={"anchor": ["a" * 40] * 3, "positive": ["b" * 4_000] * 3, "label": [1.0] * 3}, keys=[])


def test_the_estimate_counts_weights_and_the_tokens_that_are_read() -> None:
    model = TinyModel(dimension=16, layers=2).load()
    weights = sum(weight.numel() for weight in model.parameters())
    # A row has 40 / 4 + 2 and, cut, 100 tokens. A layer takes 16 * 16 + 6 * 64 numbers for each.
    expected = 4 * (3 * weights + 8 * 112 * 2 * (16 * 16 + 6 * 64))

    assert batch_memory(model, ROWS, rows_at_once=8, max_tokens=100) == expected
    for weight in model.parameters():
        weight.requires_grad = False
    assert batch_memory(model, ROWS, rows_at_once=8, max_tokens=100) == expected - 4 * 3 * weights


@pytest.mark.parametrize(("available", "said"), [(10, True), (10**12, False)])
def test_too_little_memory_is_told_before_the_first_step(
    available: int, said: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("embexp.memory.available_memory", lambda: available)
    warn_of_batch_memory(TinyModel(dimension=16, layers=1).load(), ROWS, rows_at_once=64, max_tokens=None)

    assert ("Training on 64 rows at a time needs about" in caplog.text) is said
    assert ("smaller trainer.batch_size" in caplog.text) is said
