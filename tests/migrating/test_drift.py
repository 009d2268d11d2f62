"""Adapters are fitted to texts that two models have encoded, and the one that keeps most hits is chosen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest

from embexp.benchmarking.metrics import Scores
from embexp.benchmarking.statistics import Comparison
from embexp.benchmarking.task import Query, RetrievalTask
from embexp.data.records import Chunk
from embexp.errors import ConfigError, DataError
from embexp.migrating import adapter_score
from embexp.migrating.adapter_score import Questions, divide_questions, fit_and_score
from embexp.migrating.drift import (
    DriftAdapter,
    EncodedTexts,
    fit_linear,
    fit_low_rank,
    fit_orthogonal,
    fit_residual,
)
from embexp.models.vector_adapter import VectorAdapter

RANDOM = np.random.default_rng(7)


def unit(vectors: np.ndarray) -> np.ndarray:
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


OLD = unit(RANDOM.standard_normal((200, 16)))
ROTATION = np.linalg.qr(RANDOM.standard_normal((16, 16)))[0]
TURNED = unit(OLD @ ROTATION.T)  # the old space, seen by a model that turned it


def texts(new: np.ndarray, **changed: np.ndarray) -> EncodedTexts:
    given = {"questions": new[:0], "held_out": unit(new[:40] + 0.1 * new[40:80])}
    return EncodedTexts(new, OLD, **{**given, **changed})


def test_a_rotation_is_undone() -> None:
    adapter = fit_orthogonal(TURNED, OLD)
    np.testing.assert_allclose(adapter.apply(TURNED), OLD, atol=1e-5)
    np.testing.assert_allclose(adapter.weights["weight"], ROTATION, atol=1e-5)


def test_a_space_of_another_length_is_reached() -> None:
    new = np.concatenate([OLD, np.zeros((200, 4))], axis=1).astype(np.float32)
    fitted = DriftAdapter().fit(texts(new, held_out=new[:40]), seed=0)
    assert list(fitted.kept) == ["orthogonal", "linear"]
    np.testing.assert_allclose(fitted.adapter.apply(new), OLD, atol=1e-5)
    with pytest.raises(
        ConfigError, match=r"20 numbers and the untuned model's 16.*add one of orthogonal, linear"
    ):
        DriftAdapter(kinds=["low_rank"]).fit(texts(new), seed=0)


def test_the_linear_map_repeats_the_scores_of_the_tuned_model() -> None:
    stretched = np.diag(np.linspace(0.2, 2, 16))
    new = (OLD @ stretched).astype(
        np.float32
    )  # another model, whose passages are no rotation of the old ones
    questions = unit(RANDOM.standard_normal((30, 16)))
    wanted = questions @ new.T
    found = questions @ fit_linear(new, OLD).weights["weight"] @ OLD.T
    np.testing.assert_allclose(found, wanted, atol=0.01)
    # Taking new vectors to old ones would undo the stretching instead of repeating it.
    rotated = questions @ fit_orthogonal(new, OLD).weights["weight"] @ OLD.T
    assert np.abs(rotated - wanted).max() > 0.3


def test_where_nothing_is_known_vectors_stay_as_they_are() -> None:
    flat = OLD.copy()
    flat[:, 8:] = 0
    linear = fit_linear(unit(flat @ np.diag([2.0] * 8 + [1.0] * 8)), unit(flat))
    np.testing.assert_allclose(linear.weights["weight"][8:, 8:], np.eye(8), atol=1e-6)


def test_a_change_of_low_rank_is_found() -> None:
    change = RANDOM.standard_normal((16, 2)) @ RANDOM.standard_normal((2, 16)) / 8
    weight = (np.eye(16) + change).astype(np.float32)
    linear = VectorAdapter("linear", {"weight": weight, "bias": np.zeros(16, dtype=np.float32)})
    fits = {rank: fit_low_rank(OLD, linear, rank=rank) for rank in (1, 2, 64)}
    errors = {rank: np.abs(each.apply(OLD) - linear.apply(OLD)).max() for rank, each in fits.items()}
    assert fits[2].weights["down"].shape == (16, 2)
    assert fits[64].weights["down"].shape == (16, 16)
    assert max(errors[2], errors[64]) < 1e-5 < 0.05 < errors[1]


def test_a_residual_map_bends_what_no_linear_map_can() -> None:
    bent = unit(OLD + 0.8 * np.maximum(OLD[:, ::-1], 0))
    adapter = fit_residual(OLD, bent, hidden=32, seed=0)
    found = (adapter.apply(OLD) * bent).sum(axis=1).mean()
    assert 1 - found < (1 - (OLD * bent).sum(axis=1).mean()) / 2
    again = fit_residual(OLD, bent, hidden=32, seed=0)
    np.testing.assert_array_equal(again.weights["up"], adapter.weights["up"])


def test_the_kind_that_keeps_most_hits_is_chosen() -> None:
    fitted = DriftAdapter(kinds=["identity", "orthogonal"]).fit(texts(TURNED), seed=0)
    assert fitted.kind == "orthogonal"
    assert fitted.kept["orthogonal"] == 1 > fitted.kept["identity"]


def test_a_lead_that_is_noise_counts_as_none(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = {"linear": 0.884, "low_rank": 0.886}
    monkeypatch.setattr(EncodedTexts, "kept_hits", lambda _, adapter: kept[adapter.kind])
    assert DriftAdapter(kinds=["linear", "low_rank"], rank=4).fit(texts(TURNED), seed=0).kind == "linear"
    kept["low_rank"] = 0.95
    assert DriftAdapter(kinds=["linear", "low_rank"], rank=4).fit(texts(TURNED), seed=0).kind == "low_rank"


def test_of_equal_kinds_the_first_is_chosen() -> None:
    fitted = DriftAdapter(kinds=["identity", "orthogonal"]).fit(texts(OLD), seed=0)
    assert (fitted.kind, fitted.kept) == ("identity", {"identity": 1, "orthogonal": 1})


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"rank": 0}, "migrate.rank is 0"),
        ({"hidden": -1}, "migrate.hidden is -1"),
        ({"max_texts": 0}, "max_texts"),
    ],
)
def test_numbers_out_of_range_are_refused(changed: dict[str, int], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        DriftAdapter(**changed)


class Table:
    """An embedder of texts that are looked up; questions and passages have one vector each."""

    name = address = ""

    def __init__(self, fingerprint: str, vectors: Mapping[str, np.ndarray]) -> None:
        self.fingerprint = fingerprint
        self._vectors = vectors
        self.dimension = len(next(iter(vectors.values())))

    def encode_queries(self, texts: Sequence[str]) -> np.ndarray:
        return np.array([self._vectors[text] for text in texts], dtype=np.float32).reshape(-1, self.dimension)

    encode_passages = encode_queries


def corpus_of(count: int) -> tuple[RetrievalTask, Table, Table]:
    """A task that a turned model answers, and the old one only by half: it does not know odd questions."""
    passages = {f"passage {number}": OLD[number] for number in range(count)}
    known = {f"question {number}": OLD[number] for number in range(count)}
    unknown = {text: unit(RANDOM.standard_normal((1, 16)))[0] for text in list(known)[1::2]}
    untuned = Table("untuned", {**passages, **known, **unknown})
    tuned = Table("tuned", {text: vector @ ROTATION.T for text, vector in {**passages, **known}.items()})
    queries = [Query(f"q{number}", f"question {number}", f"d{number}") for number in range(60)]
    task = RetrievalTask(
        "test",
        [Chunk(f"c{number}", f"d{number}", f"passage {number}") for number in range(count)],
        queries,
        {f"q{number}": {f"c{number}": 1} for number in range(60)},
        "chunk",
    )
    return task, tuned, untuned


def test_an_adapter_is_scored_on_the_old_index(tmp_path: Path) -> None:
    task, tuned, untuned = corpus_of(150)
    questions = Questions([f"question {n}" for n in range(60, 80)], [f"question {n}" for n in range(80, 150)])
    adapter, report = fit_and_score(
        DriftAdapter(kinds=["identity", "orthogonal"]),
        *(tuned, untuned, task, questions),
        metric="ndcg@10",
        folder=tmp_path,
    )
    assert report.kind == "orthogonal"
    assert adapter.kind == "linear"
    assert report.scores["tuned"] == report.scores["adapted"] == 1
    assert report.scores["unadapted"] < report.scores["untuned"] < 0.7
    assert report.gain.better
    assert report.share == pytest.approx(1)
    assert report.share_interval == pytest.approx((1, 1))


def scores(system: str, values: Sequence[float]) -> Scores:
    per_query = {f"q{number}": {"ndcg@10": value} for number, value in enumerate(values)}
    return Scores(system, {"ndcg@10": sum(values) / len(values)}, per_query)


def test_the_share_is_paired() -> None:
    """Adapted gains half of what tuned gains on every question: the share is 1/2 without doubt."""
    gains = RANDOM.uniform(0.1, 0.9, size=40)
    found = adapter_score._share_kept(
        {
            "untuned": scores("untuned", [0.0] * 40),
            "tuned": scores("tuned", gains.tolist()),
            "adapted": scores("adapted", (gains / 2).tolist()),
        },
        "ndcg@10",
        {},
        seed=0,
    )
    assert found == pytest.approx((0.5, 0.5))


def test_without_a_sure_gain_no_share_is_told(tmp_path: Path) -> None:
    task, tuned, _ = corpus_of(150)
    _, report = fit_and_score(
        DriftAdapter(kinds=["identity"]),
        *(tuned, tuned, task, Questions([], ["question 149"])),
        metric="ndcg@10",
        folder=tmp_path,
    )
    assert isinstance(report.gain, Comparison)
    assert (report.gain.delta, report.share, report.share_interval) == (0, None, None)


@pytest.mark.parametrize(
    ("training", "dev", "sizes"),
    [(100, 60, (100, 60)), (100, 10, (80, 30)), (10, 0, (8, 2)), (0, 1, (0, 1))],
)
def test_few_dev_questions_are_helped_by_training_questions(
    training: int, dev: int, sizes: tuple[int, int]
) -> None:
    divided = divide_questions(
        [f"t{number}" for number in range(training)] * 2,
        [f"d{number}" for number in range(dev)],
        asked=["x"],
        seed=0,
    )
    assert (len(divided.training), len(divided.held_out)) == sizes
    assert not set(divided.training) & set(divided.held_out)


def test_a_run_without_questions_is_told() -> None:
    with pytest.raises(DataError, match="no dev questions and fewer than three training questions"):
        divide_questions(["a", "b", "x"], ["x"], asked=["x"], seed=0)
