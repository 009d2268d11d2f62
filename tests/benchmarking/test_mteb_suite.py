"""MTEB tasks that are not retrieval: mteb's own number, and one sentence for what cannot be scored."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from scipy.stats import spearmanr

from embexp.benchmarking.mteb import MtebSuite
from embexp.errors import ConfigError, DataError
from embexp.models.tiny import TinyModel
from tests.mteb_samples import TASKS

pytest.importorskip("mteb", reason='needs pip install "embexp[mteb]"')


@pytest.fixture(autouse=True)
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "my_suite.py"
    path.write_text(TASKS)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "my_suite", raising=False)
    return path


def test_similarity_is_scored_by_the_rank_correlation_of_cosines() -> None:
    model = TinyModel().load()
    found = MtebSuite(tasks=["my_suite.Similar"]).score("my_suite.Similar", model)
    assert {**found, "value": 0} == {
        "task": "Similar",
        "kind": "STS",
        "metric": "cosine_spearman",
        "value": 0,
    }
    from my_suite import Similar

    task = Similar()
    task.load_data()
    rows = task.dataset["test"]
    one, other = (
        model.encode(list(rows[name]), normalize_embeddings=True) for name in ("sentence1", "sentence2")
    )
    expected = spearmanr((one * other).sum(axis=1), rows["score"]).statistic
    assert found["value"] == pytest.approx(expected, abs=1e-4)


def test_a_retrieval_task_can_stand_beside_the_others() -> None:
    found = MtebSuite(tasks=["my_suite.Shop"]).score("my_suite.Shop", TinyModel().load())
    assert (found["kind"], found["metric"]) == ("Retrieval", "ndcg_at_10")
    assert 0 < found["value"] <= 1


def test_the_fingerprint_changes_with_the_file_of_a_class(module: Path) -> None:
    suite = MtebSuite(tasks=["my_suite.Similar"])
    before = suite.fingerprint("my_suite.Similar")
    assert before == suite.fingerprint("my_suite.Similar")
    module.write_text(TASKS + "\n# other data\n")
    assert suite.fingerprint("my_suite.Similar") != before
    assert "STSBenchmark" in MtebSuite(tasks=["STSBenchmark"]).fingerprint("STSBenchmark")


@pytest.mark.parametrize(
    ("tasks", "message"),
    [
        ([], r"suite.tasks is empty: name tasks, as in suite.tasks=\[STSBenchmark\]"),
        (["A", "A"], r"names a task twice: A, A"),
        (["STSBenchmrk"], r"suite.tasks=STSBenchmrk: 'STSBenchmrk' not found. Did you mean"),
        (["my_suite.Missing"], r"suite.tasks=my_suite.Missing is neither"),
        (["my_suite.Pictures"], r"Pictures reads image, and models here read texts"),
    ],
)
def test_what_cannot_be_scored_is_told_before_training(tasks: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        MtebSuite(tasks=tasks).check()


def test_data_that_cannot_be_had_are_one_sentence() -> None:
    suite = MtebSuite(tasks=["my_suite.Unreachable"])
    suite.check()
    with pytest.raises(
        DataError, match=r"MTEB task Unreachable cannot be loaded \(OSError: no network\): check"
    ):
        suite.score("my_suite.Unreachable", TinyModel().load())
