"""Rows that carry a teacher's scores or vectors."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from embexp.errors import ConfigError, DataError
from embexp.finetuning.batch_sampler import Keys
from embexp.finetuning.losses.distillation import DistillKl, EmbedDistill, MarginMse
from embexp.finetuning.preparation import build_rows
from embexp.finetuning.teachers import Labels
from tests.finetuning.test_training_rows import pair, request


class Lengths:
    """Scores a pair by the length of both texts; its vectors hold the length and 1."""

    def __init__(self, wrong: float | None = None) -> None:
        self.wrong = wrong

    def fingerprint(self) -> str:
        return "lengths"

    def scores(self, pairs: Sequence[tuple[str, str]]) -> np.ndarray:
        return np.array([self.wrong or len(query + passage) for query, passage in pairs], dtype=np.float32)


class Vectors(Lengths):
    def encode_queries(self, texts: Sequence[str]) -> np.ndarray:
        return np.array([[len(text), 1, 0] for text in texts], dtype=np.float32)

    def encode_passages(self, texts: Sequence[str]) -> np.ndarray:
        return np.array([[len(text), 0, 1] for text in texts], dtype=np.float32)


def test_a_teacher_scores_the_positive_and_the_negatives():
    pairs = [pair(0, negatives=("abc", "abcd")), pair(1, negatives=("x", "yz", "abcdef"))]
    rows = build_rows("ranked", request(pairs, teacher=Lengths()))
    assert rows.columns == {
        "anchor": ["q0", "q1"],
        "positive": ["t0", "t1"],
        "negative_1": ["abc", "x"],
        "negative_2": ["abcd", "yz"],
        # The third negative of q1 has no counterpart in the other row.
        "scores": [[4.0, 5.0, 6.0], [4.0, 3.0, 4.0]],
    }
    assert rows.keys == [Keys()] * 2
    assert rows.outputs is None


def test_negatives_are_found_where_pairs_bring_none():
    rows = build_rows("ranked", request([pair(0), pair(1)], teacher=Lengths(), count=2))
    assert rows.columns["negative_2"] == ["n1 of q0", "n1 of q1"]
    assert np.array(rows.columns["scores"]).shape == (2, 3)


def test_labels_of_one_query_s_passages_serve_as_scores():
    pairs = [
        pair(0, query="q", label=1.0), pair(1, query="q", label=4.0), pair(2, query="q", label=2.0),
        pair(3, label=4.0),  # the only passage of its query
    ]  # fmt: skip
    rows = build_rows("ranked", request(pairs, teacher=Labels(scale=20)))
    assert rows.columns["anchor"] == ["q", "q"]
    assert rows.columns["positive"] == ["t1", "t1"]
    found = dict(zip(rows.columns["negative_1"], rows.columns["scores"], strict=True))
    # 4 of 4 is 1, times 20; 1 of 4 is 5, 2 of 4 is 10.
    assert found == {"t0": [20.0, 5.0], "t2": [20.0, 10.0]}


def test_labels_fill_as_many_negatives_as_are_asked_for():
    pairs = [pair(number, query="q", label=float(number)) for number in range(6)]
    rows = build_rows("ranked", request(pairs, teacher=Labels(scale=5), count=2))
    # Five others make two rows of two; the fifth is left over.
    assert rows.columns["positive"] == ["t5", "t5"]
    assert [scores[0] for scores in rows.columns["scores"]] == [5.0, 5.0]
    assert [len(scores) for scores in rows.columns["scores"]] == [3, 3]


@pytest.mark.parametrize(
    "pairs", [[pair(0), pair(1)], [pair(0, query="q", label=1.0), pair(1, query="q", label=1.0)]]
)
def test_labels_that_cannot_stand_in_for_a_teacher_are_named(pairs):
    with pytest.raises(ConfigError, match=r"no query has 2 passages with different labels.*cross_encoder"):
        build_rows("ranked", request(pairs, teacher=Labels()))


def test_labels_score_nothing_else():
    with pytest.raises(ConfigError, match=r"cannot score 1 other pairs.*negative_scorer=cross_encoder"):
        Labels().scores([("q", "t")])


@pytest.mark.parametrize("kind", ["ranked", "vectors"])
def test_a_missing_teacher_is_named(kind):
    with pytest.raises(ConfigError, match=r"loss.teacher is not set.*teacher@loss.teacher=cross_encoder"):
        build_rows(kind, request([pair(0)]))


@pytest.mark.parametrize("wrong", [float("nan"), float("inf")])
def test_a_score_that_is_no_number_is_named(wrong):
    with pytest.raises(DataError, match=rf"scores 'q0' with 't0' as {wrong}.*choose another teacher"):
        build_rows("ranked", request([pair(0)], teacher=Lengths(wrong)))


def test_vectors_of_all_pairs_are_learnt_whatever_their_labels():
    pairs = [pair(0, label=0.0), pair(1, query="query", label=1.0)]
    rows = build_rows("vectors", request(pairs, teacher=Vectors()))
    assert rows.columns["anchor"] == ["q0", "query"]
    assert rows.columns["positive"] == ["t0", "t1"]
    assert np.array_equal(rows.columns["label"], [[[2, 1, 0], [2, 0, 1]], [[5, 1, 0], [2, 0, 1]]])
    assert rows.outputs == 3
    assert np.shape(rows.dataset()[0]["label"]) == (2, 3)


def test_a_teacher_without_vectors_is_named():
    with pytest.raises(ConfigError, match=r"Lengths gives scores alone.*bi_encoder.*margin_mse"):
        build_rows("vectors", request([pair(0)], teacher=Lengths()))


@pytest.mark.parametrize("loss", [MarginMse(teacher=Lengths()), DistillKl(teacher=Lengths())])
def test_the_loss_is_lowest_where_the_student_agrees_with_the_teacher(loss, model):
    import torch

    module = loss.build(model)
    query, near, far = (torch.tensor([vector]) for vector in ([1.0, 0.0], [1.0, 0.0], [0.0, 1.0]))
    # The student's scores are 20 and 0.
    agreed, other = torch.tensor([[20.0, 0.0]]), torch.tensor([[0.0, 20.0]])
    assert module.compute_loss_from_embeddings([query, near, far], agreed).item() == pytest.approx(
        0, abs=1e-5
    )
    expected = {"MarginMse": 40.0**2, "DistillKl": 20.0}[type(loss).__name__]
    # (20 - 0 - (0 - 20))² for the margins; for KL nearly log(1 / softmax(0, 20)) = 20.
    found = module.compute_loss_from_embeddings([query, near, far], other).item()
    assert found == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(("outputs", "projected"), [(64, False), (32, True), (128, True)])
def test_a_projection_is_trained_where_lengths_differ(outputs, projected, model):
    module = EmbedDistill(teacher=Vectors()).build(model, outputs=outputs)
    assert (module.projection is not None) is projected
    if projected:
        assert tuple(module.projection.weight.shape) == (outputs, 64)


def test_a_loss_s_digest_is_its_teacher_s():
    for loss in (MarginMse(teacher=Lengths()), DistillKl(teacher=Lengths()), EmbedDistill(teacher=Vectors())):
        assert loss.fingerprint() == "lengths"
