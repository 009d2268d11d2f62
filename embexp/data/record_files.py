"""Records as files: JSON Lines to work with, CSV and Parquet to export."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, fields
from functools import cache
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from embexp.data.readers.delimited import FORMULA
from embexp.data.records import Chunk, Document, Generator, Pair
from embexp.errors import DataError
from embexp.storage.files import atomic_write

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

_Record = TypeVar("_Record", Chunk, Document, Pair)
_ROWS_PER_GROUP = 10_000


def write_jsonl(path: Path, records: Iterable[DataclassInstance]) -> int:
    """Write records (dataclasses) one to a line, atomically, and return their number."""
    count = 0
    encoder = json.JSONEncoder(ensure_ascii=False, default=asdict)  # asdict: for a record within a record
    with atomic_write(path) as stream:
        for record in records:
            row = {name: getattr(record, name) for name in _names(type(record))}
            stream.write(encoder.encode(row) + "\n")
            count += 1
    return count


@cache
def _names(kind: type[DataclassInstance]) -> tuple[str, ...]:
    return tuple(field.name for field in fields(kind))


def read_jsonl(path: Path, kind: type[_Record]) -> Iterator[_Record]:
    """Yield the records of a file that ``write_jsonl`` wrote.

    Raises:
        DataError: A line is not JSON or lacks a field; the message names file and line.
    """
    known = {field.name for field in fields(kind)}
    with path.open(encoding="utf-8") as stream:
        for number, line in enumerate(stream, start=1):
            try:
                row = json.loads(line)
                yield kind(**{key: _frozen(key, value) for key, value in row.items() if key in known})
            except (ValueError, TypeError, AttributeError) as error:
                raise DataError(
                    f"{path}:{number}: not a {kind.__name__} record ({error}); write the file again."
                ) from error


_REPEATED = frozenset({"document_id", "source", "title"})
"""Fields whose texts many records share: they are kept in memory once."""


def _frozen(key: str, value: Any) -> Any:
    if key in _REPEATED and isinstance(value, str):
        return sys.intern(value)
    if key == "generator":
        return Generator(**value)
    return tuple(value) if isinstance(value, list) else value


def _flat_rows(pairs: Iterable[Pair]) -> Iterator[dict[str, object]]:
    """Yield pairs as flat rows; lists and mappings become JSON text, which any table can hold."""
    for pair in pairs:
        row: dict[str, object] = {}
        for key, value in asdict(pair).items():
            nested = isinstance(value, (list, tuple, Mapping))
            row[key] = json.dumps(value, ensure_ascii=False) if nested else value
        yield row


def _as_text(value: object) -> object:
    """Put an apostrophe before a text that a spreadsheet would run as a formula, or that begins with one."""
    return f"'{value}" if isinstance(value, str) and FORMULA.match(value) else value


def export_csv(path: Path, pairs: Iterable[Pair]) -> int:
    """Write pairs as CSV, one row each, atomically, and return their number.

    No cell can run as a formula; reading the file again gives the same texts.
    """
    import csv

    count = 0
    with atomic_write(path) as stream:
        writer = csv.DictWriter(stream, [field.name for field in fields(Pair)], lineterminator="\n")
        writer.writeheader()
        for row in _flat_rows(pairs):
            writer.writerow({column: _as_text(value) for column, value in row.items()})
            count += 1
    return count


def export_parquet(path: Path, pairs: Iterable[Pair]) -> int:
    """Write pairs as Parquet in row groups of 10,000, atomically, and return their number."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    numbers = {"label": pa.float64(), "weight": pa.int64()}
    schema = pa.schema([(field.name, numbers.get(field.name, pa.string())) for field in fields(Pair)])
    rows, count = _flat_rows(pairs), 0
    with atomic_write(path, "wb") as stream, pq.ParquetWriter(stream, schema) as writer:
        while group := list(islice(rows, _ROWS_PER_GROUP)):
            writer.write_table(pa.Table.from_pylist(group, schema=schema))
            count += len(group)
    return count
