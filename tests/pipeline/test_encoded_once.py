"""Over a whole run, no text goes through the same weights twice, except near ties in float32."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
import torch

from embexp.finetuning.checkpoints import weights_digest
from embexp.models.encoder import ModelEmbedder
from tests.pipeline.pipeline_settings import TINY


def test_no_text_is_encoded_twice(run, kb: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True)
    encoded: Counter[tuple[str, str, bool, str]] = Counter()
    original = ModelEmbedder._encode

    def counting(self, texts, encode, label):
        weights = weights_digest(self._model)
        encoded.update((weights, label.split()[-1], self._bf16, text) for text in texts)
        return original(self, texts, encode, label)

    monkeypatch.setattr(ModelEmbedder, "_encode", counting)
    asked = [
        *("model.dimension=256", "model.layers=1", "tracker=none"),
        *("trainer=default", "trainer.hard_negatives=1"),
        *("benchmark.seeds=2", "benchmark.models=[tiny]", "benchmark.systems=[int8]"),
    ]
    done = run("run", "dataset=folder", f"dataset.path={kb}", *TINY, *asked)
    assert done.code == 0, done.err

    assert {key: count for key, count in encoded.items() if count > 1} == {}
    mixed = {(weights, role, text) for weights, role, bf16, text in encoded if bf16}
    again = {(weights, role, text) for weights, role, bf16, text in encoded if not bf16}
    small = {weights for weights, _, bf16, _ in encoded} - {weights for weights, *_ in mixed}
    assert len(small) == 1  # the further model has 64 dimensions, and all its vectors are in float32
    assert {key for key in again if key[0] not in small} < mixed
    # The untuned model, and of both trainings each of the weights that dev scored.
    assert len({weights for weights, *_ in mixed}) >= 5
