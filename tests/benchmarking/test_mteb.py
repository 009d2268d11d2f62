"""MTEB tasks without a network: a task's class written here, and a folder in MTEB's layout."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from embexp.benchmarking.metrics import evaluate, retrieve
from embexp.benchmarking.mteb import MtebTask
from embexp.errors import ConfigError, DataError
from embexp.models.encoder import ModelEmbedder
from embexp.models.tiny import TinyModel
from embexp.retrieval.exact import ExactRetriever
from tests.mteb_samples import TASKS

pytest.importorskip("mteb", reason='needs pip install "embexp[mteb]"')

README = """---
configs:
- config_name: corpus
  data_files: [{split: corpus, path: corpus.jsonl}]
- config_name: queries
  data_files: [{split: queries, path: queries.jsonl}]
- config_name: default
  data_files: [{split: test, path: test.jsonl}]
---
"""


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "my_tasks.py").write_text(TASKS)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "my_tasks", raising=False)
    return "my_tasks.Shop"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    root = tmp_path / "shopping"
    root.mkdir()
    (root / "README.md").write_text(README)
    tables = {
        "corpus": [{"_id": f"d{n}", "title": "T", "text": f"kettle {n}"} for n in range(3)],
        "queries": [{"_id": "q0", "text": "which kettle"}, {"_id": "q1", "text": "what boils"}],
        "test": [
            {"query-id": "q0", "corpus-id": "d1", "score": 2},
            {"query-id": "q0", "corpus-id": "gone", "score": 1},
            {"query-id": "q1", "corpus-id": "d2", "score": 1},
        ],
    }
    for name, rows in tables.items():
        (root / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return root


def test_a_class_of_one_s_own_becomes_a_retrieval_task(shop: str) -> None:
    task = MtebTask(id=shop).task((), (), unit="chunk")
    assert (task.name, task.unit) == ("Shop", "document")
    assert task.own == {query.id: {query.id} for query in task.queries}
    assert len(task.corpus) == 24
    assert len(task.queries) == 12
    assert task.qrels["kettle0"] == {"kettle0": 2, "kettle1": 1}
    assert task.queries[0].text == "which kettle is number 0"


def test_scores_are_those_of_mteb_itself(shop: str) -> None:
    import mteb
    from my_tasks import Shop

    model = TinyModel().load()
    task = MtebTask(id=shop).task((), (), unit="chunk")
    index = ExactRetriever().index(task.corpus, ModelEmbedder(model, fingerprint="x"), path=Path())
    ours = evaluate(task, retrieve(task, index), system="untuned").mean
    found = mteb.evaluate(
        model, [Shop()], cache=None, show_progress_bar=False, encode_kwargs={"show_progress_bar": False}
    )
    theirs = found.task_results[0].scores["test"][0]
    # MTEB rounds to five digits.
    assert ours["ndcg@10"] == pytest.approx(theirs["ndcg_at_10"], abs=1e-5)
    assert ours["recall@10"] == pytest.approx(theirs["recall_at_10"], abs=1e-5)
    assert ours["precision@10"] == pytest.approx(theirs["precision_at_10"], abs=1e-5)


def test_a_folder_in_the_layout_is_read_and_a_missing_document_left_out(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    task = MtebTask(id=str(folder)).task((), (), unit="chunk")
    assert task.name == "shopping"
    assert (task.corpus[0].document_id, task.corpus[0].passage) == ("d0", "T\nkettle 0")
    assert task.qrels == {"q0": {"d1": 2}, "q1": {"d2": 1}}
    assert "1 judgments name documents that the corpus lacks" in caplog.text


def test_the_limit_keeps_the_corpus_whole(shop: str) -> None:
    task = MtebTask(id=shop, limit=3).task((), (), unit="chunk")
    assert (len(task.queries), len(task.corpus)) == (3, 24)


def test_a_named_task_is_known_before_its_data() -> None:
    from embexp.benchmarking.mteb import _retrieval_task

    assert _retrieval_task("SciFact").metadata.name == "SciFact"
    with pytest.raises(
        ConfigError, match=r"benchmark.id=Scifact: 'Scifact' not found. Did you mean: 'SciFact'"
    ):
        _retrieval_task("Scifact")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"id": "my_tasks.Similar"},
            r"of the kind STS over text, and .* score it beside: suite=mteb suite.tasks=\[my_tasks.Similar\]",
        ),
        ({"id": "my_tasks.Missing"}, r"neither a folder nor a class that can be imported"),
        ({"id": "pathlib.Path"}, r"benchmark.id=pathlib.Path is no task of mteb"),
        (
            {"id": "my_tasks.Shop", "split": "dev"},
            r"Shop has the splits test: choose one with benchmark.split",
        ),
        ({"id": "my_tasks.Shop", "subset": "deu"}, r"Shop has the subsets default: choose one with"),
        ({"id": "  "}, r"benchmark.id is empty"),
    ],
)
def test_what_cannot_be_asked_is_one_sentence(shop: str, settings: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        MtebTask(**settings).task((), (), unit="chunk")


def test_a_folder_without_data_names_the_layout(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"The data of the MTEB task .*empty cannot be loaded"):
        MtebTask(id=str(tmp_path / "empty")).task((), (), unit="chunk")
