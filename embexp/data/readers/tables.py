"""Reader of tables: the rows of csv, tsv, json and parquet files, streamed, and documents made of them."""

from __future__ import annotations

import difflib
import io
import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from embexp.data.readers.delimited import DECIMAL_COMMA, FORMULA, STRAY_QUOTE, records
from embexp.data.readers.encoding import (
    COMPRESSIONS,
    clean,
    format_of,
    lines_of,
    open_binary,
    open_text,
    text_of_bytes,
)
from embexp.data.readers.problems import Problems, counted
from embexp.data.readers.sizes import MAX_DEPTH, MAX_TABLE_MB, check_size, nested_too_deep
from embexp.data.records import Document
from embexp.errors import DataError

_BATCH = 1_000
SUFFIXES = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet")
"""The formats of tables; each may be compressed too (.gz, .zst)."""
_SHOWN_COLUMNS = 12
_SHOWN_LETTERS = 40
_NOT_A_NUMBER = ("nan", "NaN")
"""What missing numbers become in files of texts."""
_MENDED = {
    STRAY_QUOTE: "a quote in this line opens or closes no cell and is read as text; double it.",
    DECIMAL_COMMA: "a number with a decimal comma is taken as one value; put it in quotes.",
}
_TOO_DEEP = (
    f"lists or objects nested deeper than {MAX_DEPTH} levels; write its texts in columns of their own."
)
_EXPORTED = frozenset(("chunk_id", "context_ids", "generator"))
"""Columns that only the tables have that embexp itself wrote."""
_TEXT_KEYS = ("text", "contents", "content", "passage")


@dataclass(frozen=True, slots=True)
class Row:
    """One row: its values by column, and its place ("pairs.csv:12")."""

    where: str
    values: Mapping[str, Any]

    def text(self, column: str | None) -> str:
        """Return a column as stripped text; an empty string where it is missing or null."""
        return text_of(self.values.get(column)) if column else ""

    def texts(self, column: str | None) -> tuple[str, ...]:
        """Return a column that may hold several texts: a list, a list as JSON text, or one text."""
        texts = (text_of(item) for item in self.items(column))
        return tuple(text for text in texts if text)

    def items(self, column: str | None) -> Sequence[Any]:
        """Return the items of a column that may hold a list; one value is a list of one."""
        value = unpacked(self.values.get(column) if column else None)
        return value if isinstance(value, list | tuple) else [value]


def text_of(value: Any) -> str:
    """Return a value of a table as stripped text.

    What is missing (None, NaN, or "nan" where a number was turned into text) is an empty string, 1.0 is "1",
    the texts of a list become paragraphs, and a mapping that describes a passage becomes its text.
    """
    if isinstance(value, str):
        text = value.strip()
        return "" if text in _NOT_A_NUMBER else text
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, list | tuple):
        return "\n\n".join(text for text in map(text_of, value) if text)
    if isinstance(value, Mapping):
        key = next((key for key in _TEXT_KEYS if isinstance(value.get(key), str)), None)
        if key is None:
            return json.dumps(value, ensure_ascii=False, default=str)
        return "\n".join(part for part in (text_of(value.get("title")), text_of(value[key])) if part)
    return "" if isinstance(value, bytes) else str(value).strip()


def unpacked(value: Any) -> Any:
    """Return the list or mapping that a cell spells out as JSON or as Python, else the cell."""
    text = value.strip() if isinstance(value, str) else ""
    if not text or (text[0], text[-1]) not in (("[", "]"), ("{", "}")):
        return value
    import ast

    for read in (json.loads, ast.literal_eval):
        try:
            found = read(text)
        except (ValueError, SyntaxError, RecursionError, MemoryError, TypeError):
            continue
        return found if isinstance(found, list | tuple | dict) and not nested_too_deep(found) else value
    return value  # a text that merely begins with a bracket


def row_of(where: str, values: Mapping[Any, Any], problems: Problems) -> Row:
    """Return a row whose texts hold no NUL and no half of a surrogate pair, and whose bytes are text.

    Args:
        where: Its place.
        values: Its values by column.
        problems: Counts what has to be replaced.

    Raises:
        DataError: Something has to be replaced and ``on_error`` is ``fail``.
    """
    return Row(
        where,
        {
            _cleaned(str(key), where, problems): _cleaned(value, where, problems)
            for key, value in values.items()
        },
    )


def _cleaned(value: Any, where: str, problems: Problems) -> Any:
    if isinstance(value, str):
        text = clean(value)
        if text != value:
            nuls = value.count("\0")
            if nuls:
                problems.mend(
                    "NUL character removed",
                    f"{where}: {counted(nuls, 'NUL character')} removed; delete such characters.",
                    times=nuls,
                )
            if halves := text.count("\ufffd") - value.count("\ufffd"):
                problems.mend(
                    "half of a surrogate pair replaced",
                    f"{where}: {counted(halves, 'half')} of a surrogate pair, such as half an emoji, "
                    "replaced by \ufffd; write such characters whole.",
                    times=halves,
                )
        return text
    if isinstance(value, bytes | bytearray):
        return text_of_bytes(bytes(value), where, problems)
    if isinstance(value, list | tuple):
        return [_cleaned(item, where, problems) for item in value]
    if isinstance(value, Mapping):
        return {
            _cleaned(str(key), where, problems): _cleaned(item, where, problems)
            for key, item in value.items()
        }
    return value


def read_rows(path: Path, problems: Problems, *, encoding: str | None = None) -> Iterator[Row]:
    """Yield the rows of a table file.

    Args:
        path: The file; it may be compressed (.gz, .zst).
        problems: Counts or raises what cannot be used or has to be mended.
        encoding: The encoding of a text file; None lets the bytes decide.

    Raises:
        DataError: The file is missing, is not a table or cannot be read, or a row is broken and ``on_error``
            is ``fail``.
    """
    suffix = format_of(path)
    if suffix not in SUFFIXES:
        raise DataError(
            f"{path}: {suffix or 'no suffix'} is not a table; give one of {', '.join(SUFFIXES)}, which may "
            "be compressed (.gz, .zst)."
        )
    if not path.is_file():
        raise DataError(f"{path} does not exist: check dataset.path for a typing error.")
    if suffix == ".json" or (suffix == ".parquet" and path.suffix.lower() in COMPRESSIONS):
        check_size(path, MAX_TABLE_MB, remedy="write it as JSON Lines or CSV, which is streamed")
    if suffix == ".parquet":
        yield from _parquet(path, problems)
        return
    with open_text(
        path, problems, encoding=encoding, newline="" if suffix in (".csv", ".tsv") else None
    ) as stream:
        reader = {".json": _json, ".csv": _delimited, ".tsv": _delimited}.get(suffix, _jsonl)
        for where, values in reader(path, stream, problems):
            if nested_too_deep(values):
                problems.report("broken row", f"{where}: {_TOO_DEEP}")
            else:
                yield row_of(where, values, problems)


def _jsonl(path: Path, stream: IO[str], problems: Problems) -> Iterator[tuple[str, Mapping[Any, Any]]]:
    for number, line in enumerate(lines_of(stream, path, problems), start=1):
        if not line.strip():
            continue
        where = f"{path}:{number}"
        try:
            values = json.loads(line)
        except (ValueError, RecursionError) as error:
            problems.report("broken line", f"{where}: not JSON ({error}); fix or delete this line.")
            continue
        if isinstance(values, dict):
            yield where, values
        else:
            kind = type(values).__name__
            problems.report("broken line", f"{where}: a {kind} instead of an object {{…}}; fix this line.")


def _json(path: Path, stream: IO[str], problems: Problems) -> Iterator[tuple[str, Mapping[Any, Any]]]:
    """Yield the objects of a list, of a list within an object, of columns, or of JSON Lines."""
    source = stream.read().replace("\0", "")
    try:
        content = json.loads(source)
    except (ValueError, RecursionError) as error:
        first = source.lstrip().partition("\n")[0].strip()
        if not first.startswith("{") or not first.endswith("}"):
            raise DataError(f"{path}: not JSON ({error}); correct it or write JSON Lines.") from error
        yield from _jsonl(path, io.StringIO(source), problems)
        return
    for number, values in enumerate(_objects(content), start=1):
        where = f"{path}: item {number}"
        if isinstance(values, dict):
            yield where, values
        else:
            kind = type(values).__name__
            problems.report("broken item", f"{where}: a {kind} instead of an object {{…}}; correct it.")


def _objects(content: Any) -> Sequence[Any]:
    """Return the items of a JSON file: a list, the only list in an object, columns, or objects by id."""
    if not isinstance(content, dict):
        return content if isinstance(content, list) else [content]
    values = list(content.values())
    columns = [list(value.values()) if isinstance(value, dict) else value for value in values]
    if columns and all(isinstance(column, list) for column in columns):
        same = len({len(column) for column in columns}) == 1
        plain = not any(isinstance(item, dict) for column in columns for item in column)
        if same and plain and (len(columns) > 1 or isinstance(values[0], list)):
            return [dict(zip(content, row, strict=True)) for row in zip(*columns, strict=True)]
    lists = [value for value in values if isinstance(value, list) and value and isinstance(value[0], dict)]
    if len(lists) == 1:
        return lists[0]
    if len(values) > 1 and all(isinstance(value, dict) for value in values):
        return [{"_id": key, "id": key, **value} for key, value in content.items()]
    return [content]


def _delimited(path: Path, stream: IO[str], problems: Problems) -> Iterator[tuple[str, Mapping[Any, Any]]]:
    found = records(lines_of(stream, path, problems), tabs=format_of(path) == ".tsv")
    first = next(found, None)
    if first is None:
        return
    if first.problem:
        raise DataError(f"{path}:{first.line}: the header is {first.problem}")
    header = _distinct(name.strip() for name in first.cells)
    exported = _EXPORTED.issubset(header)
    for record in found:
        where = f"{path}:{record.line}"
        if record.problem:
            problems.report("broken line", f"{where}: {record.problem}")
            continue
        if record.mended:
            problems.mend(record.mended, f"{where}: {_MENDED[record.mended]}")
        cells = map(_unquoted, record.cells) if exported else record.cells
        values = zip(header, cells, strict=False)
        yield where, {name: value or None for name, value in values if name}


def _unquoted(cell: str) -> str:
    """Return a cell without the apostrophe that keeps a spreadsheet from running it."""
    return cell[1:] if cell.startswith("'") and FORMULA.match(cell, 1) else cell


def _distinct(names: Iterable[str]) -> list[str]:
    """Return the names of columns, numbered from the second of the same name on: negative, negative_2."""
    seen: Counter[str] = Counter()
    distinct = []
    for name in names:
        seen[name] += 1
        distinct.append(f"{name}_{seen[name]}" if name and seen[name] > 1 else name)
    return distinct


def _parquet(path: Path, problems: Problems) -> Iterator[Row]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    number = 0
    try:
        with (
            open_binary(path) as stream,
            pq.ParquetFile(
                io.BytesIO(stream.read()) if path.suffix.lower() in COMPRESSIONS else path
            ) as file,
        ):
            for batch in file.iter_batches(batch_size=_BATCH):
                for values in _values_of(batch):
                    number += 1
                    where = f"{path}: row {number}"
                    if isinstance(values, Exception):
                        problems.report(
                            "broken row", f"{where}: its values cannot be read ({values}); correct them."
                        )
                    elif nested_too_deep(values):
                        problems.report("broken row", f"{where}: {_TOO_DEEP}")
                    else:
                        yield row_of(where, values, problems)
    except (pa.ArrowException, OSError, EOFError) as error:
        raise DataError(f"{path}: not a Parquet file that can be read ({error}); write it again.") from error


def _values_of(batch: Any) -> Iterator[Mapping[str, Any] | Exception]:
    """Yield the values of each row of a batch, or the error of a row such as one with a date too far away."""
    try:
        yield from batch.to_pylist()
        return
    except (ValueError, OverflowError):
        pass
    for at in range(batch.num_rows):
        try:
            yield batch.slice(at, 1).to_pylist()[0]
        except (ValueError, OverflowError) as error:
            yield error


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
            if any(len(column) > _SHOWN_LETTERS for column in columns):
                hint += " The first line of the file has to name its columns."
            raise DataError(
                f"{row.where}: no column {name!r}; there are {_shown(columns)}.{hint} "
                f"Name the right one with {option}."
            )


def _shown(columns: Sequence[str]) -> str:
    short = [name if len(name) <= _SHOWN_LETTERS else f"{name[:_SHOWN_LETTERS]}…" for name in columns]
    short = [repr(name) if "," in name else name for name in short]
    more = f" and {len(short) - _SHOWN_COLUMNS:,} more" if len(short) > _SHOWN_COLUMNS else ""
    return ", ".join(short[:_SHOWN_COLUMNS]) + more or "none"


@dataclass(frozen=True, kw_only=True)
class DocumentColumns:
    """The columns that hold a document; only the text is required."""

    text: str = "text"
    title: str = "title"
    id: str = "id"


def read_table(
    path: Path, columns: DocumentColumns, problems: Problems, *, encoding: str | None = None
) -> Iterator[Document]:
    """Yield a document for each row; rows without text are counted, not reported.

    Args:
        path: The file.
        columns: The columns that hold a document.
        problems: Counts or raises what cannot be used or has to be mended.
        encoding: The encoding of a text file; None lets the bytes decide.

    Raises:
        DataError: The text column is missing, or a row is bad and ``on_error`` is ``fail``.
    """
    seen: set[str] = set()
    for number, row in enumerate(read_rows(path, problems, encoding=encoding), start=1):
        if number == 1:
            check_columns(row, [columns.text], "dataset.text_column")
        text = row.text(columns.text)
        if not text:
            problems.count("row without text", row.where.rpartition("/")[2])
            continue
        name = row.text(columns.id) or str(number)
        if name in seen:
            problems.report("duplicate id", f"{row.where}: the id {name!r} is taken; give each row its own.")
            continue
        seen.add(name)
        yield Document(f"{path.name}#{name}", text, row.text(columns.title), path.name)
