"""A run's scores and test questions on disk: scores.parquet, queries.jsonl, judgments.jsonl."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any

from embexp.benchmarking.metrics import Scores
from embexp.benchmarking.task import Query, RetrievalTask
from embexp.errors import DataError
from embexp.storage.files import atomic_write

COLUMNS = ("system", "query_id", "metric", "value")
ROWS_PER_GROUP = 50_000
QUERY_FIELDS = ("id", "text", "cluster", "query_type")


def write_scores(path: Path, scores: Iterable[Scores]) -> int:
    """Write every system's value for every query and metric, atomically.

    Args:
        path: The Parquet file, with row groups of 50,000.
        scores: One system each, written in the order given.

    Returns:
        The number of rows.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    text = pa.dictionary(pa.int32(), pa.string())
    types = (text, pa.string(), text, pa.float64())
    schema = pa.schema(list(zip(COLUMNS, types, strict=True)))
    rows, count = _rows(scores), 0
    with atomic_write(path, "wb") as stream, pq.ParquetWriter(stream, schema, compression="zstd") as writer:
        while group := list(islice(rows, ROWS_PER_GROUP)):
            columns = [
                pa.array(column, kind) for column, kind in zip(zip(*group, strict=True), types, strict=True)
            ]
            writer.write_table(pa.Table.from_arrays(columns, schema=schema))
            count += len(group)
    return count


def _rows(scores: Iterable[Scores]) -> Iterator[tuple[str, str, str, float]]:
    for system in scores:
        for query_id, metrics in system.per_query.items():
            for metric, value in metrics.items():
                yield system.system, query_id, metric, value


def read_scores(path: Path) -> list[Scores]:
    """Return the systems that ``write_scores`` wrote, in the same order, with means over their queries.

    Raises:
        DataError: The file is missing, is no Parquet file, or lacks a column.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    systems: dict[str, dict[str, dict[str, float]]] = {}
    try:
        with pq.ParquetFile(path) as table:
            for batch in table.iter_batches(columns=list(COLUMNS)):
                _collect(batch, systems)
    except (OSError, KeyError, pa.ArrowInvalid) as error:
        raise DataError(f"{path} is no table of scores ({error}); run the benchmark again.") from error
    return [Scores(system, _means(per_query), per_query) for system, per_query in systems.items()]


def _collect(batch: Any, systems: dict[str, dict[str, dict[str, float]]]) -> None:
    columns = (batch.column(name).to_pylist() for name in COLUMNS)
    for system, query_id, metric, value in zip(*columns, strict=True):
        systems.setdefault(system, {}).setdefault(query_id, {})[metric] = value


def _means(per_query: dict[str, dict[str, float]]) -> dict[str, float]:
    values: dict[str, list[float]] = {}
    for metrics in per_query.values():
        for metric, value in metrics.items():
            values.setdefault(metric, []).append(value)
    return {metric: math.fsum(each) / len(each) for metric, each in values.items()}


def write_queries(path: Path, queries: Iterable[Query]) -> None:
    """Write one question per line, atomically."""
    with atomic_write(path) as stream:
        for query in queries:
            stream.write(json.dumps(asdict(query), ensure_ascii=False) + "\n")


def write_judgments(path: Path, task: RetrievalTask) -> None:
    """Write one judgment per line, atomically: question, passage and grade, for a person to review."""
    passages = {chunk.id: chunk.passage for chunk in task.corpus}
    with atomic_write(path) as stream:
        for query in task.queries:
            for name, grade in task.qrels[query.id].items():
                row = {"query_id": query.id, "chunk_id": name, "grade": grade}
                row |= {"query": query.text, "passage": passages[name]}
                stream.write(json.dumps(row, ensure_ascii=False) + "\n")


def read_judgments(path: Path) -> dict[str, dict[str, int]]:
    """Return query id -> chunk id -> grade, as ``write_judgments`` wrote them.

    Raises:
        DataError: The file cannot be read, or a line is no judgment; the message names file and line.
    """
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read ({error}); run the benchmark again.") from error
    qrels: dict[str, dict[str, int]] = {}
    for number, line in enumerate(lines, start=1):
        try:
            row = json.loads(line) if line else None
            if row is not None:
                qrels.setdefault(str(row["query_id"]), {})[str(row["chunk_id"])] = int(row["grade"])
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(
                f"{path}:{number}: not a judgment ({error!r}); run the benchmark again."
            ) from error
    return qrels


def read_queries(path: Path) -> list[Query]:
    """Return the questions that ``write_queries`` wrote.

    Raises:
        DataError: The file cannot be read, or a line is no question; the message names file and line.
    """
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read ({error}); run the benchmark again.") from error
    return [_query(line, f"{path}:{number}") for number, line in enumerate(lines, start=1) if line]


def _query(line: str, place: str) -> Query:
    try:
        row = json.loads(line)
        return Query(**{name: str(row[name]) for name in QUERY_FIELDS})
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{place}: not a question ({error!r}); run the benchmark again.") from error
