"""Readers of tables with a document in each row: csv, tsv, jsonl and parquet."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from embexp.knowledge.problems import Problems
from embexp.knowledge.rows import check_columns, read_rows
from embexp.types import Document


@dataclass(frozen=True, kw_only=True)
class DocumentColumns:
    """Which columns hold a document: only the text must be there."""

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
