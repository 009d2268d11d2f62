"""A file of your own questions about a corpus, with or without the ids of what answers them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from embexp.data.datasets.beir import MAX_GRADE
from embexp.data.labels import read_label
from embexp.data.readers.encoding import check_encoding
from embexp.data.readers.problems import OnError, Problems
from embexp.data.readers.tables import Row, check_columns, read_rows, text_of, unpacked
from embexp.errors import DataError
from embexp.storage.files import sha256_of, sha256_of_file


@dataclass(frozen=True, slots=True)
class Question:
    """A question with its place in the file, and the grades of what answers it, by id, if they are known."""

    id: str
    text: str
    where: str
    relevant: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class QuestionFile:
    """A jsonl, csv, tsv or parquet file with a question in each row.

    Relevant ids are a list, a mapping from id to grade, or text with ``;`` between ids. Rows of the same
    question (the same id, or the same text if there is no id column) are merged, so that a table with one
    row for each judgment can be read too.

    Args:
        path: The file.
        text_column: The question.
        id_column: Its id; if the column is missing, the text identifies the question.
        relevant_column: The ids of the documents or chunks that answer it; it may be missing or empty.
        grade_column: One grade for all ids of the row, a whole number; 1 where it is missing.
        encoding: The encoding of a text file, such as cp1252; None lets its bytes decide.
        on_error: ``fail`` stops at the first bad row; ``skip`` leaves bad rows out and counts them.
    """

    path: str
    text_column: str = "text"
    id_column: str = "id"
    relevant_column: str = "relevant"
    grade_column: str = "grade"
    encoding: str | None = None
    on_error: OnError = "fail"

    def __post_init__(self) -> None:
        check_encoding(self.encoding, "benchmark.questions.encoding")

    def fingerprint(self) -> str:
        """Return a digest of the settings and of the file."""
        settings = {key: value for key, value in asdict(self).items() if key != "path"}
        return sha256_of("questions", settings, sha256_of_file(self._file()))

    def questions(self) -> list[Question]:
        """Return the questions in the order of the file.

        Raises:
            DataError: The file is missing or empty, or a row is bad and ``on_error`` is ``fail``.
        """
        problems = Problems(self.on_error, option="benchmark.questions.on_error")
        questions: dict[str, Question] = {}
        for number, row in enumerate(read_rows(self._file(), problems, encoding=self.encoding)):
            if number == 0:
                check_columns(row, [self.text_column], "benchmark.questions.text_column")
            with problems.guard(row.where, "unreadable row"):
                if question := self._question(row, problems):
                    questions[question.id] = _merged(questions.get(question.id), question, problems)
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
            raise DataError(f"benchmark.questions.path={self.path}: there is no such file.")
        return path

    def _question(self, row: Row, problems: Problems) -> Question | None:
        text = row.text(self.text_column)
        if not text:
            message = f"{row.where}: no question in the column {self.text_column!r}; write one."
            problems.report("row without a question", message)
            return None
        grades = self._grades(row, problems)
        if grades is None:
            return None
        return Question(row.text(self.id_column) or sha256_of(text)[:16], text, row.where, grades)

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
    return Question(before.id, before.text, before.where, {**before.relevant, **now.relevant})
