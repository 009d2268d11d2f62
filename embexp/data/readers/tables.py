"""Reader of tables: the rows of jsonl, csv, tsv and parquet files, streamed, and documents made of them."""

from __future__ import annotations

import csv
import difflib
import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from embexp.data.readers.encoding import open_text
from embexp.data.readers.problems import Problems
from embexp.data.records import Document
from embexp.errors import DataError

_BATCH = 1_000
SUFFIXES = (".jsonl", ".csv", ".tsv", ".parquet")


@dataclass(frozen=True, slots=True)
class Row:
    """One row: its values by column, and its place ("pairs.csv:12")."""

    where: str
    values: Mapping[str, Any]

    def text(self, column: str | None) -> str:
        """Return a column as stripped text; an empty string where it is missing or null."""
        value = self.values.get(column) if column else None
        return "" if value is None else str(value).strip()


def read_rows(path: Path, problems: Problems) -> Iterator[Row]:
    """Yield the rows of a table file.

    Raises:
        DataError: The file is missing or is not a table, or a line is broken and ``on_error`` is ``fail``.
    """
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise DataError(f"{path}: {suffix or 'no suffix'} is not a table; give one of {', '.join(SUFFIXES)}.")
    if not path.is_file():
        raise DataError(f"{path} does not exist: check dataset.path for a typing error.")
    reader = {".jsonl": _jsonl, ".parquet": _parquet}.get(suffix, _csv)
    yield from reader(path, problems)


def _jsonl(path: Path, problems: Problems) -> Iterator[Row]:
    with open_text(path, problems) as stream:
        for number, line in enumerate(stream, start=1):
            if not line.strip():
                continue
            where = f"{path}:{number}"
            try:
                values = json.loads(line)
            except (ValueError, RecursionError) as error:
                problems.report("broken line", f"{where}: not JSON ({error}); fix or delete this line.")
                continue
            if not isinstance(values, dict):
                kind = type(values).__name__
                problems.report(
                    "broken line", f"{where}: a {kind} instead of an object {{…}}; fix this line."
                )
                continue
            yield Row(where, values)


def _csv(path: Path, problems: Problems) -> Iterator[Row]:
    csv.field_size_limit(min(sys.maxsize, 2**31 - 1))  # the default of 128 KiB rejects long texts
    with open_text(path, problems, newline="") as stream:
        first = stream.readline()
        stream.seek(0)
        delimiter = "\t" if path.suffix.lower() == ".tsv" else max(",;\t|", key=first.count)
        reader = csv.reader(stream, delimiter=delimiter, strict=True)
        header: list[str] | None = None
        while True:
            line = reader.line_num + 1
            try:
                values = next(reader, None)
            except csv.Error as error:
                problems.report("broken line", f"{path}:{line}: not CSV ({error}); check the quotes there.")
                continue
            if values is None:
                return
            if not values:
                continue
            if header is None:
                header = [name.strip() for name in values]
            elif len(values) == len(header):
                yield Row(
                    f"{path}:{line}", dict(zip(header, (value or None for value in values), strict=True))
                )
            else:
                counts = f"{len(values)} columns where the header has {len(header)}"
                problems.report("broken line", f"{path}:{line}: {counts}; fix this line or quote its text.")


def _parquet(path: Path, problems: Problems) -> Iterator[Row]:  # noqa: ARG001 - one signature for all
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        number = 0
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=_BATCH):
                for values in batch.to_pylist():
                    number += 1
                    yield Row(f"{path}: row {number}", values)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path}: not a Parquet file that can be read ({error}); write it again.") from error


def check_columns(row: Row, required: Iterable[str], option: str) -> None:
    """Reject a table that lacks a column.

    Args:
        row: The table's first row.
        required: The columns that must be there.
        option: The config keys that name columns, for the remedy ("dataset.query_column").

    Raises:
        DataError: The message lists the existing columns, and the nearest name.
    """
    columns = [str(name) for name in row.values]
    for name in required:
        if name not in row.values:
            near = difflib.get_close_matches(name, columns, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise DataError(
                f"{row.where}: no column {name!r}; there are {', '.join(columns) or 'none'}.{hint} "
                f"Name the right one with {option}."
            )


@dataclass(frozen=True, kw_only=True)
class DocumentColumns:
    """The columns that hold a document; only the text is required."""

    text: str = "text"
    title: str = "title"
    id: str = "id"


def read_table(path: Path, columns: DocumentColumns, problems: Problems) -> Iterator[Document]:
    """Yield a document for each row; rows without text are counted, not reported.

    Raises:
        DataError: The text column is missing, or a row is bad and ``on_error`` is ``fail``.
    """
    seen: set[str] = set()
    for number, row in enumerate(read_rows(path, problems), start=1):
        if number == 1:
            check_columns(row, [columns.text], "dataset.text_column")
        text = row.text(columns.text)
        if not text:
            problems.count("row without text")
            continue
        name = row.text(columns.id) or str(number)
        if name in seen:
            problems.report("duplicate id", f"{row.where}: the id {name!r} is taken; give each row its own.")
            continue
        seen.add(name)
        yield Document(f"{path.name}#{name}", text, row.text(columns.title), path.name)
