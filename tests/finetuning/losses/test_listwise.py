"""Listwise distillation: its arithmetic, and what it refuses."""

from __future__ import annotations

import math
from typing import Any

import pytest

from embexp.errors import ConfigError
from embexp.finetuning.losses import Listwise, Matryoshka, Mnrl
from embexp.finetuning.teachers import HybridTeacher
from embexp.models.tiny import TinyModel

COSINES = [0.8, 0.6, 0.0]
"""Of the query (1, 0) to its own passage and to two others."""


def softmax(values: list[float]) -> list[float]:
    powers = [math.exp(value) for value in values]
    return [power / sum(powers) for power in powers]


def built(**options: Any) -> Any:
    return Listwise(teacher=HybridTeacher(), fallback=Mnrl(), **options).build(
        TinyModel(layers=1).load(), None
    )


def loss_of(module: Any, scores: list[float]) -> float:
    import torch

    columns = [[1.0, 0.0], *([cosine, math.sqrt(1 - cosine**2)] for cosine in COSINES)]
    # Lengths do not count: each vector is doubled.
    embeddings = [2 * torch.tensor([column], dtype=torch.float64) for column in columns]
    return float(module.compute_loss_from_embeddings(embeddings, torch.tensor([scores])))


def divergence(scores: list[float]) -> float:
    teacher = softmax([score / 0.3 for score in scores])
    student = softmax([cosine / 0.05 for cosine in COSINES])
    return sum(p * math.log(p / q) for p, q in zip(teacher, student, strict=True))


@pytest.mark.parametrize(
    ("scores", "negatives"),
    [
        ([1.0, 0.2, 0.1], [1, 2]),
        ([1.0, 0.7, 0.1], [2]),  # 0.7 is above 0.6 of the best, and no negative
        ([0.5, 1.0, 0.1], [2]),  # the query's own passage stays, however the teacher scores it
        ([1.0, 0.59, 0.61], [1]),
    ],
)
def test_the_loss_is_the_divergence_and_a_tenth_of_infonce(scores: list[float], negatives: list[int]) -> None:
    pytest.importorskip("torch")
    logits = [COSINES[at] / 0.01 for at in (0, *negatives)]
    contrast = -math.log(softmax([logit - logits[0] for logit in logits])[0])

    assert loss_of(built(), scores) == pytest.approx(divergence(scores) + 0.1 * contrast, rel=1e-5)


def test_without_its_weight_nothing_is_contrasted() -> None:
    scores = [1.0, 0.2, 0.1]

    assert loss_of(built(contrastive_weight=0), scores) == pytest.approx(divergence(scores), rel=1e-5)


def test_the_teacher_s_own_order_costs_nothing() -> None:
    """The student's cosines divided by .05 differ as the teacher's scores divided by .3 do."""
    assert loss_of(built(contrastive_weight=0, temperature=0.3), COSINES) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"teacher": None, "fallback": Mnrl()}, "loss.teacher is not set: choose one"),
        (
            {"teacher": HybridTeacher(), "gate": "fallback"},
            r"loss.fallback is not set: give one, as in loss@loss.fallback=mnrl",
        ),
    ],
)
def test_what_is_missing_is_named_before_training(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Listwise(**options).fingerprint()


@pytest.mark.parametrize("options", [{"passages": 1}, {"temperature": 0}, {"false_negatives_from": 1.5}])
def test_settings_out_of_range_are_named(options: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=rf"loss\.{next(iter(options))} is"):
        Listwise(**options)  # type: ignore[arg-type]


def test_its_digest_changes_with_its_teacher() -> None:
    one, other = (
        Listwise(teacher=HybridTeacher(weight=weight), fallback=Mnrl()).fingerprint() for weight in (0.2, 0.4)
    )
    assert one != other


def test_matryoshka_falls_back_on_the_same_lengths() -> None:
    inner = Listwise(teacher=HybridTeacher(), gate="fallback", fallback=Mnrl())
    loss = Matryoshka(loss=inner, dims=[8])

    assert loss.gate == "fallback"
    assert loss.columns == "lists"
    assert loss.fallback == Matryoshka(loss=Mnrl(), dims=[8])
