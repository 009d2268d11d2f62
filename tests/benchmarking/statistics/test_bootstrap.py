import numpy as np
import pytest

from embexp.benchmarking.metrics import Scores
from embexp.benchmarking.statistics import bootstrap as module
from embexp.benchmarking.statistics.bootstrap import compare
from embexp.errors import ConfigError, DataError


def scores(system, values):
    per_query = {f"q{at:05}": {"ndcg@10": float(value)} for at, value in enumerate(values)}
    return Scores(system, {"ndcg@10": float(np.mean(values)) if len(values) else 0.0}, per_query)


def compared(differences, *, per_cluster=1, **options):
    differences = np.asarray(differences, dtype=float)
    clusters = {f"q{at:05}": f"d{at // per_cluster}" for at in range(len(differences))}
    base = scores("untuned", np.zeros(len(differences)))
    return compare(base, scores("tuned", differences), clusters=clusters, **{"resamples": 999, **options})


def test_a_clear_gain_is_a_win():
    result = compared(np.random.default_rng(0).normal(0.1, 0.1, 200))
    assert result.verdict == "WIN"
    assert result.interval[0] < result.delta < result.interval[1]
    # 0.1 ± 1.96 * 0.1 / √200 is about 0.1 ± 0.014
    assert result.interval[1] - result.interval[0] == pytest.approx(0.028, abs=0.004)
    assert result.p == 1 / 1000
    assert (result.metric, result.queries, result.clusters) == ("ndcg@10", 200, 200)


def test_a_clear_loss_is_a_regression():
    assert compared(np.random.default_rng(0).normal(-0.1, 0.1, 200)).verdict == "REGRESSION"


def test_no_difference_is_no_evidence():
    result = compared(np.random.default_rng(1).normal(0, 0.2, 200))
    assert result.verdict == "NO EVIDENCE"
    assert result.interval[0] < 0 < result.interval[1]
    assert result.p > 0.05


def test_questions_about_one_document_do_not_count_as_independent():
    rng = np.random.default_rng(2)
    together = np.repeat(rng.normal(0.05, 0.2, 20), 20)
    alone = compared(together)
    clustered = compared(together, per_cluster=20)
    assert clustered.clusters == 20
    width = [result.interval[1] - result.interval[0] for result in (alone, clustered)]
    # 20 equal questions a document: the honest interval is √20 = 4.5 times as wide, and more with so few
    assert width[1] > 4 * width[0]


@pytest.mark.parametrize(("clusters", "verdict"), [(9, "NO EVIDENCE"), (10, "WIN")])
def test_few_documents_give_no_verdict(clusters, verdict):
    differences = np.random.default_rng(3).normal(0.5, 0.01, clusters)
    assert compared(differences).verdict == verdict


@pytest.mark.parametrize(
    ("value", "verdict", "p"),
    [(0.0, "NO EVIDENCE", 1.0), (0.1, "WIN", 1 / 1000), (-0.1, "REGRESSION", 1 / 1000)],
)
def test_the_same_difference_everywhere(value, verdict, p):
    result = compared(np.full(20, value))
    assert (result.verdict, result.p) == (verdict, pytest.approx(p))
    assert result.interval == (pytest.approx(value), pytest.approx(value))


def test_a_single_document_gives_the_widest_interval():
    result = compared([0.3, 0.4], per_cluster=2)
    assert (result.interval, result.p, result.verdict) == ((-1.0, 1.0), 1.0, "NO EVIDENCE")


def test_a_lone_change_is_no_evidence_and_the_interval_stays_finite():
    result = compared([0.9] + [0.0] * 99)
    assert result.verdict == "NO EVIDENCE"
    assert -1.0 <= result.interval[0] < 0 < result.interval[1] <= 1.0


def test_same_seed_same_result_in_blocks_of_any_size(monkeypatch):
    differences = np.random.default_rng(4).normal(0.01, 0.1, 60)
    whole = compared(differences)
    assert whole == compared(differences)
    assert whole.interval != compared(differences, seed=1).interval
    monkeypatch.setattr(module, "CELLS_PER_BLOCK", 60 * 100)
    assert compared(differences).interval == pytest.approx(whole.interval)


def test_interval_and_p_agree():
    for seed in range(60):
        result = compared(np.random.default_rng(seed).normal(0.04, 0.2, 80), resamples=399)
        assert (result.p < 0.05) == (result.verdict != "NO EVIDENCE")


@pytest.mark.parametrize("sizes", ["equal", "unequal"])
def test_the_level_is_kept_on_clustered_data(sizes):
    wrong, missed, cases = 0, 0, 1000
    for case in range(cases):
        rng = np.random.default_rng([case, 5])
        count = np.full(60, 4.0) if sizes == "equal" else np.clip(rng.geometric(0.2, 60), 1, 40).astype(float)
        sums = count * rng.normal(0, 0.15, 60) + rng.normal(0, 0.2, 60) * np.sqrt(count)
        low, high = module._interval(sums, count, resamples=399, seed=case)[0]
        wrong += low > 0 or high < 0
        low, high = module._interval(sums + 0.05 * count, count, resamples=399, seed=case)[0]
        missed += not low <= 0.05 <= high
    assert 0.035 <= wrong / cases <= 0.065
    assert 0.035 <= missed / cases <= 0.065


@pytest.mark.parametrize(
    ("base", "tuned", "options", "error", "message"),
    [
        ([], [], {}, DataError, "asked no question"),
        ([0.1], [0.1, 0.2], {}, DataError, "not asked the same questions .1 differ, such as 'q00001'"),
        ([0.1], [0.1], {"metric": "map@5"}, ConfigError, "has no map@5: choose from ndcg@10"),
        ([0.1], [0.1], {"resamples": 10}, ConfigError, "resamples=10"),
    ],
)
def test_refuses_what_cannot_be_compared(base, tuned, options, error, message):
    with pytest.raises(error, match=message):
        compare(scores("untuned", base), scores("tuned", tuned), clusters={}, **options)
