"""scores.parquet: one row per system, query and metric, for any tool that reads tables."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from embexp.errors import DataError
from embexp.storage.files import atomic_write
from embexp.types import Scores

COLUMNS = ("system", "query_id", "metric", "value")
ROWS_PER_GROUP = 50_000


def write_scores(path: Path, scores: Iterable[Scores]) -> int:
    """Write every system's value for every query and metric, atomically.

    Args:
        path: The Parquet file; rows stand in groups of 50,000.
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

    found: dict[str, dict[str, dict[str, float]]] = {}
    try:
        with pq.ParquetFile(path) as table:
            for batch in table.iter_batches(columns=list(COLUMNS)):
                _collect(batch, found)
    except (OSError, KeyError, pa.ArrowInvalid) as error:
        raise DataError(f"{path} is no table of scores ({error}); run the benchmark again.") from error
    return [Scores(system, _means(per_query), per_query) for system, per_query in found.items()]


def _collect(batch: Any, found: dict[str, dict[str, dict[str, float]]]) -> None:
    columns = (batch.column(name).to_pylist() for name in COLUMNS)
    for system, query_id, metric, value in zip(*columns, strict=True):
        found.setdefault(system, {}).setdefault(query_id, {})[metric] = value


def _means(per_query: dict[str, dict[str, float]]) -> dict[str, float]:
    values: dict[str, list[float]] = {}
    for metrics in per_query.values():
        for metric, value in metrics.items():
            values.setdefault(metric, []).append(value)
    return {metric: math.fsum(found) / len(found) for metric, found in values.items()}
