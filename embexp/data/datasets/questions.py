"""A file of your own questions about a corpus, with or without the ids of what answers them."""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

from embexp.data.datasets.beir import MAX_GRADE
from embexp.data.labels import read_label
from embexp.data.readers.encoding import check_encoding
from embexp.data.readers.problems import OnError, Problems
from embexp.data.readers.tables import Row, check_columns, read_rows, text_of, unpacked
from embexp.errors import DataError
from embexp.ranges import Count, check_ranges
from embexp.storage.files import sha256_of, sha256_of_file

log = logging.getLogger(__name__)

_KNOWN_COLUMNS = (
    ("text_column", "text", ("question", "query", "search term", "search_term", "search", "q", "utterance")),
    (
        "relevant_column",
        "relevant",
        (
            *("file", "files", "filename", "file_name", "file name", "document", "documents", "doc", "docs"),
            *("path", "page", "article", "answer_file", "source", "url", "link", "clicked"),
            *("document_id", "doc_id"),
        ),
    ),
    ("clicks_column", "clicks", ("click", "count", "counts", "n", "weight", "hits", "views", "frequency")),
)
"""Setting, usual column, and the names by which the column is recognised where the usual one is missing."""
_WORD = re.compile(r"[^\W_]+")


@dataclass(frozen=True, slots=True)
class Question:
    """A question with its place in the file, and the grades of what answers it, by id, if they are known.

    ``counts`` says how often each answer was given: the sum of the column of clicks over the rows, each of
    which counts once where there is no such column.
    """

    id: str
    text: str
    where: str
    relevant: Mapping[str, int] = field(default_factory=dict)
    counts: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class QuestionFile:
    """A jsonl, csv, tsv or parquet file with a question in each row.

    Relevant ids are a list, a mapping from id to grade, or text with ``;`` between ids. Rows of the same
    question (the same id, or the same text if there is no id column) are merged, so that a table with one
    row for each judgment or click can be read too. If there is no column of the usual name, the columns of
    the question, of its answers and of clicks are recognised by common names, such as query, file and count,
    and the question's by a word in its name, such as "user_question".

    Args:
        path: The file.
        text_column: The question.
        id_column: Its id; if the column is missing, the text identifies the question.
        relevant_column: The ids of the documents or chunks that answer it; it may be missing or empty.
        grade_column: One grade for all ids of the row, a whole number; 1 where it is missing.
        clicks_column: How often the answers of the row were chosen; 1 where it is missing.
        min_clicks: Answers that were chosen less often than this, over all rows, are left out.
        encoding: The encoding of a text file, such as cp1252; None lets its bytes decide.
        on_error: ``fail`` stops at the first bad row; ``skip`` leaves bad rows out and counts them.
    """

    path: str
    text_column: str = "text"
    id_column: str = "id"
    relevant_column: str = "relevant"
    grade_column: str = "grade"
    clicks_column: str = "clicks"
    min_clicks: Count = 1
    encoding: str | None = None
    on_error: OnError = "fail"
    group: ClassVar[str] = "benchmark.questions"
    path_key: ClassVar[str] = "benchmark.questions.path"
    columns_key: ClassVar[str] = "benchmark.questions.text_column and the like"
    telling_words: ClassVar[Mapping[str, frozenset[str]]] = {
        "text_column": frozenset({"question", "questions", "query", "queries"})
    }
    """Setting -> words that tell the column where they stand in a longer name."""

    def __post_init__(self) -> None:
        check_ranges(self, self.group)
        check_encoding(self.encoding, f"{self.group}.encoding")

    def fingerprint(self) -> str:
        """Return a digest of the settings and of the file."""
        settings = {key: value for key, value in asdict(self).items() if key != "path"}
        return sha256_of("questions", settings, sha256_of_file(self._file()))

    def questions(self, *, quiet: bool = False) -> list[Question]:
        """Return the questions in the order of the file.

        Args:
            quiet: Whether to log nothing, for a further reading of the same file.

        Raises:
            DataError: The file is missing or empty, or a row is bad and ``on_error`` is ``fail``.
        """
        problems = Problems(self.on_error, quiet=quiet, option=f"{self.group}.on_error")
        questions: dict[str, Question] = {}
        columns = self
        for number, row in enumerate(read_rows(self._file(), problems, encoding=self.encoding)):
            if number == 0:
                columns = self._recognised(list(map(str, row.values)), quiet=quiet)
                check_columns(row, columns._required(), self.columns_key)
            with problems.guard(row.where, "unreadable row"):
                if question := columns._question(row, problems):
                    questions[question.id] = _merged(questions.get(question.id), question, problems)
        if self.min_clicks > 1:
            questions = self._often_chosen(questions, problems)
        if not questions:
            raise DataError(
                f"{self.path} holds no question (skipped: {problems.summary() or 'nothing'}): give a row for "
                f"each, with the columns {self.text_column} and {self.relevant_column}."
            )
        problems.close(f"{self.path}: {len(questions):,} questions")
        return list(questions.values())

    def _file(self) -> Path:
        path = Path(self.path).expanduser()
        if not path.is_file():
            raise DataError(f"{self.path_key}={self.path}: there is no such file.")
        return path

    def _recognised(self, existing: Sequence[str], *, quiet: bool) -> QuestionFile:
        """Return these settings with columns recognised by name where those of the usual name are missing."""
        names = {name.casefold().strip(): name for name in reversed(existing)}
        found: dict[str, str] = {}
        for key, usual, known in _KNOWN_COLUMNS:
            asked = str(vars(self)[key])
            if asked == usual and asked not in existing:
                taken = set(found.values())
                fitting = [
                    names[name] for name in (usual, *known) if name in names and names[name] not in taken
                ]
                words = self.telling_words.get(key, frozenset())
                telling = [
                    name
                    for lower, name in names.items()
                    if name not in taken and not words.isdisjoint(_WORD.findall(lower))
                ]
                if fitting or len(telling) == 1:
                    found[key] = (*fitting, *telling)[0]
        if found and not quiet:
            chosen = ", ".join(f"{name} as {key.removesuffix('_column')}" for key, name in found.items())
            log.info("%s: reading the columns %s.", self.path, chosen)
        return replace(self, **found)  # type: ignore[arg-type]

    def _required(self) -> list[str]:
        """Return the columns that must exist: the question, and each one that was renamed."""
        renamed = [str(vars(self)[key]) for key, usual, _ in _KNOWN_COLUMNS if vars(self)[key] != usual]
        return list(dict.fromkeys([self.text_column, *renamed]))

    def _often_chosen(self, questions: dict[str, Question], problems: Problems) -> dict[str, Question]:
        """Leave out answers with too few clicks, and questions that have no other."""
        kept: dict[str, Question] = {}
        for name, question in questions.items():
            often = {key for key, count in question.counts.items() if count >= self.min_clicks}
            if len(often) < len(question.relevant):
                problems.count(f"answer with fewer than {self.min_clicks} clicks", question.text[:40])
            if often:
                relevant = {key: grade for key, grade in question.relevant.items() if key in often}
                counts = {key: count for key, count in question.counts.items() if key in often}
                kept[name] = replace(question, relevant=relevant, counts=counts)
        return kept

    def _question(self, row: Row, problems: Problems) -> Question | None:
        text = row.text(self.text_column)
        if not text:
            message = f"{row.where}: no question in the column {self.text_column!r}; write one."
            problems.report("row without a question", message)
            return None
        grades = self._grades(row, problems)
        if grades is None:
            return None
        clicks = self._clicks(row)
        if clicks is None:
            shown = row.text(self.clicks_column)[:80]
            message = (
                f"{row.where}: clicks {shown!r} is not a number from 0 up; write one, or leave it empty."
            )
            problems.report("clicks not a number", message)
            return None
        name = row.text(self.id_column) or sha256_of(text)[:16]
        return Question(name, text, row.where, grades, dict.fromkeys(grades, clicks))

    def _clicks(self, row: Row) -> float | None:
        """Return the clicks of a row, 1 where there is no number of them; None if it cannot be read."""
        value = row.values.get(self.clicks_column)
        if value is None or not text_of(value):
            return 1.0
        number, _ = read_label(value)
        return number if number is not None and number >= 0 else None

    def _grades(self, row: Row, problems: Problems) -> dict[str, int] | None:
        """Return the grades by id; report a row that cannot be read, and return None."""
        value = _parsed(row.values.get(self.relevant_column))
        shared = row.values.get(self.grade_column)
        given = value.items() if isinstance(value, Mapping) else ((name, shared) for name in value)
        grades: dict[str, int] = {}
        for name, grade in given:
            if isinstance(value, Mapping) and grade is None:
                continue  # in Parquet each row of a struct has all keys
            number = _whole(1 if grade in (None, "") else grade)
            if number is None:
                shown = str(grade)[:80]
                message = f"{row.where}: grade {shown!r} is not a whole number from 0 up; write 0, 1, 2 or 3."
                problems.report("grade not a whole number", message)
                return None
            if text := text_of(name):
                grades[text] = number
        return grades


def _parsed(value: Any) -> Mapping[Any, Any] | Iterable[Any]:
    """Return the list or mapping of ids that a cell holds, in whatever form."""
    read = unpacked(value)
    if isinstance(read, Mapping | list | tuple):
        return read
    return text_of(value).split(";")


def _whole(value: Any) -> int | None:
    number, _ = read_label(value)
    return int(number) if number is not None and number.is_integer() and 0 <= number <= MAX_GRADE else None


def _merged(before: Question | None, now: Question, problems: Problems) -> Question:
    if before is None:
        return now
    if before.text != now.text:
        problems.report(
            "question with another text",
            f"{now.where}: the id {now.id!r} is in {before.where} with another text; give each its own.",
        )
        return before
    counts = Counter(before.counts)
    counts.update(now.counts)
    return replace(before, relevant={**before.relevant, **now.relevant}, counts=dict(counts))
