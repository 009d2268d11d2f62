from __future__ import annotations

import json

import pytest

from embexp.data.datasets import hub
from embexp.data.datasets.hub import HubDataset
from embexp.errors import ConfigError, DataError

README = """---
configs:
- config_name: corpus
  data_files: [{split: corpus, path: corpus.jsonl}]
- config_name: queries
  data_files: [{split: queries, path: queries.jsonl}]
- config_name: default
  data_files:
  - {split: train, path: train.jsonl}
  - {split: validation, path: dev.jsonl}
  - {split: test, path: test.jsonl}
---
"""


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    datasets.disable_progress_bars()


@pytest.fixture
def judged(tmp_path):
    root = tmp_path / "judged"
    root.mkdir()
    (root / "README.md").write_text(README)
    tables = {
        "corpus": [{"_id": "d1", "title": "T", "text": "x"}, {"_id": "d2", "title": "", "text": "y"}],
        "queries": [{"_id": f"q{number}", "text": f"question {number}"} for number in range(3)],
        "train": [{"query-id": "q0", "corpus-id": "d1", "score": 2.0}],
        "dev": [{"query-id": "q1", "corpus-id": "d1", "score": 1.0}],
        "test": [{"query-id": "q2", "corpus-id": "d2", "score": 1.0}],
    }
    for name, rows in tables.items():
        (root / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(root)


@pytest.fixture
def rows(tmp_path):
    root = tmp_path / "rows"
    root.mkdir()
    (root / "train.csv").write_text("query,positive\na,b\nc,d\n")
    (root / "test.csv").write_text("query,positive\ne,f\n")
    return str(root)


def test_judged_data_in_the_beir_layout(judged):
    data = HubDataset(id=judged, kind="beir")
    assert [document.id for document in data.documents()] == ["d1", "d2"]
    pairs = [(pair.query, pair.positive, pair.label, pair.split) for pair in data.labelled()]
    assert pairs == [
        ("question 0", "T\nx", 2.0, "train"),
        ("question 1", "T\nx", 1.0, "dev"),
        ("question 2", "y", 1.0, "test"),
    ]
    assert (data.name, data.unit) == ("judged", "document")


def test_judged_data_can_be_used_for_testing_alone(judged):
    data = HubDataset(id=judged, kind="beir", splits=["test"], train="none")
    assert [pair.split for pair in data.labelled()] == ["test"]


def test_judgments_without_a_needed_split(judged):
    with pytest.raises(
        DataError, match=r"have the splits train, validation, test; dataset.train=qrels needs train"
    ):
        list(HubDataset(id=judged, kind="beir", splits=["test"]).labelled())


def test_pairs_of_several_splits_keep_them(rows):
    data = HubDataset(id=rows)
    assert [(pair.query, pair.split) for pair in data.labelled()] == [
        ("a", "train"),
        ("c", "train"),
        ("e", "test"),
    ]
    assert [document.text for document in data.documents()] == ["b", "d", "f"]


def test_pairs_of_one_split_are_ours_to_split(rows):
    assert [pair.split for pair in HubDataset(id=rows, splits=["train"]).labelled()] == [None, None]


def test_a_limit(rows):
    assert len(list(HubDataset(id=rows, limit=1).labelled())) == 1


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"splits": ["exam"]}, ConfigError, r"dataset.splits=\['exam'\]: .*rows has train, test"),
        ({"config": "exam"}, DataError, "config 'exam', cannot be loaded"),
        ({"query_column": "question"}, DataError, "no column 'question'; there are query, positive"),
    ],
)
def test_what_the_set_does_not_have(rows, options, error, message):
    with pytest.raises(error, match=message):
        list(HubDataset(id=rows, **options).labelled())


def test_a_set_without_usable_pairs(rows, tmp_path):
    (tmp_path / "rows" / "test.csv").write_text("query,positive\n,f\n")
    with pytest.raises(DataError, match=r"no pair in it \(skipped: 1 pair without text\)"):
        list(HubDataset(id=rows, splits=["test"]).labelled())


def test_an_empty_folder_cannot_be_loaded(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="empty"):
        list(HubDataset(id=str(tmp_path / "empty")).labelled())


def test_offline_the_message_names_the_local_ways():
    with pytest.raises(
        DataError, match=r"dataset.id=nobody/nothing cannot be read .*dataset=beir dataset.path=…"
    ):
        list(HubDataset(id="nobody/nothing").labelled())


def test_offline_a_revision_is_taken_as_it_is():
    assert (
        HubDataset(id="a/b", revision="1").fingerprint() != HubDataset(id="a/b", revision="2").fingerprint()
    )


def test_online_the_hub_is_asked_for_the_commit_and_may_refuse(monkeypatch):
    import huggingface_hub
    from huggingface_hub import constants

    class Info:
        sha = "abc"

    def answer(self, name, revision, timeout):
        if name == "no/body":
            raise ConnectionError("Name or service\nnot known")
        return Info()

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub.HfApi, "dataset_info", answer)
    hub._commit.cache_clear()
    assert hub._commit("some/body", None) == "abc"
    with pytest.raises(DataError, match=r"dataset.id=no/body cannot be read .*\(Name or service not known\)"):
        HubDataset(id="no/body").fingerprint()
    hub._commit.cache_clear()


def test_the_fingerprint_of_a_local_folder_follows_its_files(rows, tmp_path):
    first = HubDataset(id=rows).fingerprint()
    assert HubDataset(id=rows).fingerprint() == first
    (tmp_path / "rows" / "test.csv").write_text("query,positive\ne,g\n")
    assert HubDataset(id=rows).fingerprint() != first
