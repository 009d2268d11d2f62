"""Targets of queries: nearer to what the fusion with BM25 ranks first, and held near the query."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from embexp.errors import ConfigError
from embexp.finetuning.losses import QueryDistill
from embexp.finetuning.parameter_efficient import QueryEncoder
from embexp.finetuning.query_targets import fused_targets
from embexp.models.tiny import TinyModel
from embexp.retrieval.bm25_weight import UNRELATED
from tests.finetuning.jargon import make_pair

PASSAGES = ["alpha beam", "gamma delta", "omega sigma"]
VECTORS = {
    "alpha beam": [1.0, 0.0, 0.0],
    "gamma delta": [0.0, 1.0, 0.0],
    "omega sigma": [0.0, 0.0, 1.0],
    "omega": [0.8, 0.6, 0.0],  # the model takes it for the first passage; the words say the last
    **{
        text: [float(at % 3 == 0), float(at % 3 == 1), float(at % 3 == 2)]
        for at, text in enumerate(UNRELATED)
    },
}


class TableEmbedder:
    """Looks vectors up in a table."""

    fingerprint = "table"
    dimension = 3

    def encode_queries(self, texts: Sequence[str]) -> np.ndarray:
        return np.array([VECTORS[text] for text in texts], dtype=np.float32)

    encode_passages = encode_queries


def target(**changes: float) -> np.ndarray:
    options: dict[str, Any] = {"weight": 0.982, "ridge": 0.01, **changes}
    return fused_targets(["omega"], PASSAGES, TableEmbedder(), **options)[0]


def test_the_target_moves_to_the_passage_with_the_querys_rare_word() -> None:
    # The share of omega in the last passage is .526 (k1 .9, average length: 1 / 1.9), and 0 in the others.
    # The centred vectors span a plane, in which the regression is nearly exact: (-.175, -.175, .351). The
    # unrelated texts lie on three axes, so the scale is .708; the query's cosines spread by .340, so its
    # factor is .708 * .05 * .708 / .340 = .074. Times odds of .982 / .018 and that factor, which are 4, and
    # added to the query: (.098, -.102, 1.404), of length 1.411.
    moved = target()

    assert np.linalg.norm(moved) == pytest.approx(1.0, abs=1e-6)
    assert moved == pytest.approx([0.070, -0.072, 0.995], abs=0.02)


def test_without_words_the_target_is_the_query_itself() -> None:
    assert target(weight=0.0) == pytest.approx(VECTORS["omega"], abs=1e-6)


def test_a_large_penalty_holds_the_target_near_the_query() -> None:
    own = np.array(VECTORS["omega"])

    assert own @ target(ridge=100.0) > own @ target(ridge=0.01)


def test_copies_of_one_passage_leave_the_query_where_it_is() -> None:
    # All vectors are their mean, so nothing tells passages apart and there is nothing to regress on.
    copies = fused_targets(["omega"], ["omega sigma"] * 3, TableEmbedder(), weight=0.8, ridge=0.01)

    assert copies[0] == pytest.approx(VECTORS["omega"], abs=1e-5)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"weight": 1.0}, r"loss.weight is 1.0: give a number from 0 and below 1"),
        ({"ridge": -1.0}, r"loss.ridge is -1.0: give a number from 0 to"),
    ],
)
def test_impossible_options_are_refused(option: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        QueryDistill(**option)


def test_training_moves_queries_and_leaves_passages(train: Any) -> None:
    model = TinyModel(seed=1, layers=1).load()
    texts = [make_pair(number).query for number in range(8)]
    before = model.encode_query(texts), model.encode_document(texts)
    training = train(model, QueryDistill(), method=QueryEncoder(), select="tuned", epochs=4)

    assert training.pairs == 96
    assert np.array_equal(model.encode_document(texts), before[1])
    assert not np.allclose(model.encode_query(texts), before[0], atol=1e-3)
    losses = [step.metrics["loss"] for step in training.history if "loss" in step.metrics]
    assert losses[-1] < losses[0]


def test_two_encoders_are_saved_and_loaded_as_one_model(tmp_path: Any) -> None:
    from sentence_transformers import SentenceTransformer

    model = TinyModel(seed=1, layers=1).load()
    plain = model.encode(["a text"])
    QueryEncoder().extend(model)
    model.save_pretrained(str(tmp_path / "model"))
    loaded = SentenceTransformer(str(tmp_path / "model"), device="cpu")

    assert np.allclose(loaded.encode_query(["a text"]), plain, atol=1e-6)
    assert np.allclose(loaded.encode_document(["a text"]), plain, atol=1e-6)
    with pytest.raises(ConfigError, match="treats queries and passages apart already"):
        QueryEncoder().extend(loaded)
