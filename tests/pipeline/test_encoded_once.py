"""Over a whole run, no text goes through the same weights twice, except near ties in float32."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
import torch

from embexp.finetuning.checkpoints import weights_digest
from embexp.models.encoder import ModelEmbedder
from embexp.models.routes import encoder_of, has_two_encoders
from tests.pipeline.pipeline_settings import TINY

MIXED = ["model.dimension=256", "model.layers=1", "tracker=none"]
FIRST_STAGE = ["trainer.first_kinds=null", "trainer.first.evaluations=2"]
Encoded = Counter[tuple[str, str, bool, str]]


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> Encoded:
    """Count, while the test runs, how often weights encode a text, as what, and whether in bf16."""
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True)
    counts: Encoded = Counter()
    original = ModelEmbedder._encode

    def counting(self, texts, encode, label):
        role = label.split()[-1]
        route = "query" if role == "queries" else "document"
        used = encoder_of(self._model, route) if has_two_encoders(self._model) else self._model
        weights = weights_digest(used)
        counts.update((weights, role, self._bf16, text) for text in texts)
        return original(self, texts, encode, label)

    monkeypatch.setattr(ModelEmbedder, "_encode", counting)
    return counts


def test_no_text_is_encoded_twice(run, kb: Path, encoded: Encoded) -> None:
    asked = [
        *MIXED,
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


@pytest.mark.parametrize(
    ("trained", "encoders_of_passages"),
    [
        # Passages have the vectors of the untuned model.
        (["trainer=query_encoder", "loss=query_distill"], 1),
        # The untuned model, and the tuned and merged weights of the first stage, which the second one keeps.
        (["trainer=two_stages", "loss=query_distill", *FIRST_STAGE], 3),
    ],
    ids=["query encoder", "two stages"],
)
def test_passages_are_encoded_once_whatever_the_query_encoder_learns(
    run, kb: Path, encoded: Encoded, trained: list[str], encoders_of_passages: int
) -> None:
    rates = ["trainer.evaluations=3", "trainer.learning_rate=1e-2", "trainer.select=tuned"]
    done = run("run", "dataset=folder", f"dataset.path={kb}", *TINY, *MIXED, *trained, *rates)
    assert done.code == 0, done.err

    assert {key: count for key, count in encoded.items() if count > 1} == {}
    assert len({weights for weights, role, *_ in encoded if role == "passages"}) == encoders_of_passages
    assert len({weights for weights, role, *_ in encoded if role == "queries"}) > encoders_of_passages
