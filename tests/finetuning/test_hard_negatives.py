from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from embexp.data.records import Pair
from embexp.errors import ConfigError
from embexp.finetuning import hard_negatives as module
from embexp.finetuning.hard_negatives import MinedNegatives, PassagePool, RandomNegatives


def pair(number: int, **changes: str) -> Pair:
    values = {
        "id": f"p{number}",
        "query": f"q{number}",
        "positive": f"t{number}",
        "document_id": f"d{number}",
    }
    return Pair(**{**values, **changes})


def pool_of(*pairs: Pair) -> PassagePool:
    return PassagePool(pairs, is_positive=lambda pair: pair.label is None)


def mined(pool: PassagePool, similarity: dict[str, float], **changes: object) -> MinedNegatives:
    """Mine with a made-up model: a query's vector is (1, 0), a passage has the given cosine with it."""

    class Embedder:
        fingerprint, dimension = "made up", 2

        def encode_passages(self, texts: Sequence[str]) -> np.ndarray:
            cosines = np.array([similarity[text] for text in texts], dtype=np.float32)
            return np.stack([cosines, np.sqrt(1 - cosines**2)], axis=1)

        def encode_queries(self, texts: Sequence[str]) -> np.ndarray:
            return np.tile(np.array([[1.0, 0.0]], dtype=np.float32), (len(texts), 1))

    return MinedNegatives(**{"pool": pool, "embedder": Embedder(), "seed": 0, **changes})


def test_answers_of_the_query_and_passages_of_the_document_are_forbidden():
    pairs = [
        pair(0),
        pair(1, query_id="one query"),
        pair(2, query_id="one query"),
        pair(3, query="q0"),  # the same words as pair 0
        pair(4, document_id="d0"),  # the same document as pair 0
        pair(5),
    ]
    pool = pool_of(*pairs)
    assert pool.forbidden(pairs[0]) == {0, 3, 4}
    assert pool.forbidden(pairs[1]) == {1, 2}
    assert pool.answers(pairs[1]) == ["t1", "t2"]


def test_a_passage_judged_low_is_no_answer():
    low = Pair(id="low", query="q0", positive="other", document_id="d9", label=0.0)
    pool = pool_of(pair(0), low)
    assert pool.forbidden(pair(0)) == {0}


@pytest.mark.parametrize("count", [1, 3, 5])
def test_random_negatives_are_distinct_and_allowed(count):
    pairs = [pair(n) for n in range(8)] + [pair(8, document_id="d0")]
    drawn = RandomNegatives(pool=pool_of(*pairs), seed=0).draw(pairs, count)
    assert all(len(set(texts)) == count for texts in drawn)
    assert not set(drawn[0]) & {"t0", "t8"}


def test_random_negatives_follow_the_seed():
    pairs = [pair(n) for n in range(50)]
    draw = [RandomNegatives(pool=pool_of(*pairs), seed=seed).draw(pairs, 2) for seed in (0, 0, 1)]
    assert draw[0] == draw[1] != draw[2]


def test_a_scarce_pool_is_used_up():
    pairs = [pair(n, document_id="d0" if n else "d1") for n in range(300)]
    # Pair 1 may only have the passage of pair 0: a random search alone would miss it.
    assert RandomNegatives(pool=pool_of(*pairs), seed=0).draw([pairs[1]], 1) == [("t0",)]


def test_too_few_passages_are_an_error_with_a_remedy():
    pairs = [pair(n, document_id="d0") for n in range(3)]
    with pytest.raises(ConfigError, match=r"'q0' has only 0 training passages.*trainer.hard_negatives"):
        RandomNegatives(pool=pool_of(*pairs), seed=0).draw(pairs, 1)


def test_mined_negatives_score_below_the_margin_and_come_in_order():
    pairs = [pair(n) for n in range(5)]
    similarity = {"t0": 0.8, "t1": 0.9, "t2": 0.77, "t3": 0.7, "t4": 0.1}
    # 0.95 * 0.8 = 0.76: t1 and t2 lie above it; t3 is the hardest that is left, then t4.
    miner = mined(pool_of(*pairs), similarity, range_max=1)
    assert miner.draw([pairs[0]], 1) == [("t3",)]
    assert mined(pool_of(*pairs), similarity, range_min=1, range_max=2).draw([pairs[0]], 1) == [("t4",)]
    # 0.99 * 0.8 = 0.792 lets t2 in.
    assert mined(pool_of(*pairs), similarity, range_max=1, relative_margin=0.01).draw([pairs[0]], 1) == [
        ("t2",)
    ]


def test_a_negative_score_of_the_positive_lowers_the_ceiling():
    pairs = [pair(n) for n in range(3)]
    # -0.2 - 0.05 * 0.2 = -0.21: t1 lies above it.
    miner = mined(pool_of(*pairs), {"t0": -0.2, "t1": -0.205, "t2": -0.5}, range_max=5)
    assert miner.draw([pairs[0]], 1) == [("t2",)]


def test_an_absolute_margin_keeps_close_scores_out():
    pairs = [pair(n) for n in range(4)]
    similarity = {"t0": 0.4, "t1": 0.37, "t2": 0.31, "t3": 0.2}
    # 0.95 * 0.4 = 0.38 lets t1 in; 0.4 - 0.1 = 0.3 keeps t1 and t2 out.
    assert mined(pool_of(*pairs), similarity, range_max=1).draw([pairs[0]], 1) == [("t1",)]
    assert mined(pool_of(*pairs), similarity, range_max=1, absolute_margin=0.1).draw([pairs[0]], 1) == [
        ("t3",)
    ]
    # The lower of the two ceilings decides: 0.7 * 0.4 = 0.28.
    miner = mined(pool_of(*pairs), similarity, range_max=1, absolute_margin=0.05, relative_margin=0.3)
    assert miner.draw([pairs[0]], 1) == [("t3",)]


def test_a_candidate_exactly_at_the_margin_is_kept_as_in_the_library():
    pairs = [pair(n) for n in range(3)]
    # 1 - 0.25 is exactly 0.75, the score of t1; sentence-transformers drops only what lies above.
    similarity = {"t0": 1.0, "t1": 0.75, "t2": 0.5}
    for margins in ({"relative_margin": 0.25}, {"relative_margin": None, "absolute_margin": 0.25}):
        assert mined(pool_of(*pairs), similarity, range_max=1, **margins).draw([pairs[0]], 1) == [("t1",)]


def test_without_margins_every_other_passage_is_a_candidate():
    pairs = [pair(n) for n in range(3)]
    similarity = {"t0": 0.2, "t1": 0.9, "t2": 0.1}
    assert mined(pool_of(*pairs), similarity, range_max=1, relative_margin=None).draw([pairs[0]], 1) == [
        ("t1",)
    ]


class Judge:
    """A cross-encoder that knows its scores by heart."""

    def __init__(self, scores: dict[str, float]) -> None:
        self.known = scores
        self.asked: list[tuple[str, str]] = []

    def fingerprint(self) -> str:
        return "judge"

    def scores(self, pairs: Sequence[tuple[str, str]]) -> np.ndarray:
        self.asked += pairs
        return np.array([self.known[passage] for _, passage in pairs])


def test_a_cross_encoder_decides_which_of_the_model_s_candidates_are_negatives():
    pairs = [pair(n) for n in range(6)]
    similarity = {"t0": 0.5, "t1": 0.9, "t2": 0.8, "t3": 0.7, "t4": 0.6, "t5": 0.1}
    judge = Judge({"t0": 8.0, "t1": 9.0, "t2": 7.7, "t3": -2.0, "t4": 3.0, "t5": 7.0})
    miner = mined(pool_of(*pairs), similarity, range_max=4, cross_encoder=judge)
    # The model's best four are t1 to t4, all above the positive by its own scores. The judge's ceiling is
    # 0.95 * 8 = 7.6: t1 and t2 may be answers. t5 was no candidate.
    (drawn,) = miner.draw([pairs[0]], 2)
    assert set(drawn) == {"t3", "t4"}
    assert judge.asked == [("q0", text) for text in ("t0", "t1", "t2", "t3", "t4")]


def test_ranks_go_by_the_cross_encoder_s_order():
    pairs = [pair(n) for n in range(4)]
    similarity = {"t0": 0.5, "t1": 0.9, "t2": 0.8, "t3": 0.7}
    judge = Judge({"t0": 8.0, "t1": 1.0, "t2": 3.0, "t3": 2.0})
    miner = mined(pool_of(*pairs), similarity, range_min=2, range_max=3, cross_encoder=judge)
    assert miner.draw([pairs[0]], 1) == [("t1",)]


def test_other_answers_and_the_document_are_never_mined():
    pairs = [pair(0), pair(1, query="q0"), pair(2, document_id="d0"), pair(3)]
    similarity = {"t0": 0.9, "t1": 0.6, "t2": 0.5, "t3": 0.1}
    assert mined(pool_of(*pairs), similarity).draw([pairs[0]], 1) == [("t3",)]


def test_missing_hard_ones_are_drawn_at_random(caplog):
    caplog.set_level("INFO")
    pairs = [pair(n) for n in range(4)]
    similarity = {"t0": 0.1, "t1": 0.9, "t2": 0.9, "t3": 0.05}
    (drawn,) = mined(pool_of(*pairs), similarity).draw([pairs[0]], 2)
    assert drawn[0] == "t3"
    assert drawn[1] in {"t1", "t2"}
    assert "Mined 1 hard negatives from 4 training passages; 1 more" in caplog.text


def test_blocks_do_not_change_what_is_mined(monkeypatch):
    generator = np.random.default_rng(0)
    pairs = [pair(n, document_id=f"d{n // 3}") for n in range(60)]
    similarity = {f"t{n}": float(generator.uniform(-0.9, 0.9)) for n in range(60)}
    whole = mined(pool_of(*pairs), similarity, range_min=2, range_max=9).draw(pairs, 3)
    monkeypatch.setattr(module, "PASSAGES_PER_BLOCK", 7)
    monkeypatch.setattr(module, "QUERIES_PER_BLOCK", 5)
    assert mined(pool_of(*pairs), similarity, range_min=2, range_max=9).draw(pairs, 3) == whole
