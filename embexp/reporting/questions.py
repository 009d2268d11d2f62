"""queries.jsonl: the test questions of a run with their source documents, for later comparisons."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

from embexp.errors import DataError
from embexp.storage.files import atomic_write
from embexp.types import Query, RetrievalTask

FIELDS = ("id", "text", "cluster", "query_type")


def write_queries(path: Path, queries: Iterable[Query]) -> None:
    """Write the questions one to a line, atomically."""
    with atomic_write(path) as stream:
        for query in queries:
            stream.write(json.dumps(asdict(query), ensure_ascii=False) + "\n")


def write_judgments(path: Path, task: RetrievalTask) -> None:
    """Write one judgment to a line, atomically: question, passage and grade, for a person to look through."""
    passages = {chunk.id: chunk.passage for chunk in task.corpus}
    with atomic_write(path) as stream:
        for query in task.queries:
            for name, grade in task.qrels[query.id].items():
                row = {"query_id": query.id, "chunk_id": name, "grade": grade}
                row |= {"query": query.text, "passage": passages[name]}
                stream.write(json.dumps(row, ensure_ascii=False) + "\n")


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
        return Query(**{name: str(row[name]) for name in FIELDS})
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{place}: not a question ({error!r}); run the benchmark again.") from error
