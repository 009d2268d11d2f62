from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from embexp.benchmarking import score_files as module
from embexp.benchmarking.metrics import Scores
from embexp.benchmarking.score_files import read_judgments, read_scores, write_judgments, write_scores
from embexp.benchmarking.task import RetrievalTask
from embexp.errors import DataError


def test_a_row_per_system_query_and_metric(tmp_path: Path, scores: dict[str, Scores]) -> None:
    assert write_scores(tmp_path / "scores.parquet", scores.values()) == 3 * 4
    table = pq.read_table(tmp_path / "scores.parquet")
    assert table.column_names == ["system", "query_id", "metric", "value"]
    assert table.slice(0, 1).to_pylist() == [
        {"system": "untuned", "query_id": "q1", "metric": "ndcg@10", "value": 0.0}
    ]


@pytest.mark.parametrize("rows", [1, 5, 50_000])
def test_it_is_read_back_whatever_the_group_size(
    tmp_path: Path, scores: dict[str, Scores], rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ROWS_PER_GROUP", rows)
    write_scores(tmp_path / "scores.parquet", scores.values())
    assert read_scores(tmp_path / "scores.parquet") == list(scores.values())


def test_no_scores_are_an_empty_table(tmp_path: Path) -> None:
    assert write_scores(tmp_path / "scores.parquet", []) == 0
    assert read_scores(tmp_path / "scores.parquet") == []


def test_a_file_that_is_no_table_is_named(tmp_path: Path) -> None:
    (tmp_path / "scores.parquet").write_text("no")
    with pytest.raises(DataError, match=r"scores\.parquet is no table of scores"):
        read_scores(tmp_path / "scores.parquet")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="run the benchmark again"):
        read_scores(tmp_path / "scores.parquet")


def test_a_table_of_something_else_is_named(tmp_path: Path) -> None:
    import pyarrow as pa

    pq.write_table(pa.table({"system": ["a"]}), tmp_path / "scores.parquet")
    with pytest.raises(DataError, match="is no table of scores"):
        read_scores(tmp_path / "scores.parquet")


def test_judgments_are_read_as_they_were_written(task: RetrievalTask, tmp_path: Path) -> None:
    qrels = {query.id: {"c10": 3, "c21": 0} for query in task.queries}
    write_judgments(tmp_path / "judgments.jsonl", replace(task, unit="chunk", qrels=qrels))
    assert read_judgments(tmp_path / "judgments.jsonl") == qrels


def test_a_line_that_is_no_judgment_is_named(tmp_path: Path) -> None:
    path = tmp_path / "judgments.jsonl"
    path.write_text(
        '{"query_id": "q1", "chunk_id": "c1", "grade": 1}\n{"query_id": "q1"}\n', encoding="utf-8"
    )
    with pytest.raises(DataError, match=r"judgments\.jsonl:2: not a judgment"):
        read_judgments(path)
