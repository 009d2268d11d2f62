"""A table of people's questions about the files of a folder, as labelled pairs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from embexp.data.datasets.file_names import FileNames
from embexp.data.datasets.pairs import weight_of_clicks
from embexp.data.datasets.questions import Question, QuestionFile
from embexp.data.readers.problems import Problems
from embexp.data.readers.tables import read_rows
from embexp.data.records import TEST_ONLY, Generator, Pair
from embexp.errors import DataError
from embexp.storage.files import sha256_of


@dataclass(frozen=True, kw_only=True)
class FolderQuestions(QuestionFile):
    """The table that ``dataset.questions`` names.

    Args:
        test_only: Whether the questions are kept for the test.
    """

    test_only: bool = False
    group: ClassVar[str] = "dataset"
    path_key: ClassVar[str] = "dataset.questions"
    columns_key: ClassVar[str] = "dataset.question_column and dataset.file_column"
    telling_words: ClassVar[Mapping[str, frozenset[str]]] = {
        **QuestionFile.telling_words,
        "relevant_column": frozenset({"file", "files", "filename", "document", "documents", "doc", "docs"}),
    }

    def pairs(self, names: Sequence[str], *, quiet: bool = False) -> Iterator[Pair]:
        """Yield a pair for each question and each file that answers it; the passage is not chosen yet.

        Args:
            names: The files of the folder.
            quiet: Whether to log nothing, for another look at the same table.

        Raises:
            DataError: The table cannot be read, or most of its rows name no file of the folder.
        """
        problems, files = Problems(self.on_error, quiet=quiet), FileNames(names)
        questions = self.questions(quiet=quiet)
        answered: list[tuple[Question, str]] = []
        for question in questions:
            answered += [(question, name) for name in self._files_of(question, files, problems)]
        self._check(questions, answered, files)
        graded = any(grade != 1 for question in questions for grade in question.relevant.values())
        kind = TEST_ONLY if self.test_only else "human"
        for question, asked in answered:
            name = files.find(asked) or asked
            yield Pair(
                id=sha256_of(question.id, name)[:16],
                query=question.text,
                positive="",
                document_id=name,
                query_id=question.id,
                label=float(question.relevant[asked]) if graded else None,
                generator=Generator(kind=kind),
                weight=weight_of_clicks(question.counts.get(asked, 1.0)),
            )
        problems.close(
            f"{self.path}: {len({question.id for question, _ in answered}):,} questions with files"
        )

    @staticmethod
    def _files_of(question: Question, files: FileNames, problems: Problems) -> Iterator[str]:
        """Yield the names in a question's row that name a file; report the others."""
        if not question.relevant:
            problems.report(
                "question without a file", f"{question.where}: no file answers this question; name one."
            )
        for asked in question.relevant:
            try:
                found = files.find(asked)
            except DataError as error:
                problems.report("file name with several meanings", f"{question.where}: {error}")
                continue
            if found is None:
                message = f"{question.where}: {asked!r} is no file of the folder: {files.hint(asked)}"
                problems.report("unknown file name", message)
            else:
                yield asked

    def _check(
        self, questions: Sequence[Question], answered: Sequence[tuple[Question, str]], files: FileNames
    ) -> None:
        """Refuse a table of which most rows name no file: another column or another folder was meant."""
        known = {question.id for question, _ in answered}
        if len(known) * 2 > len(questions):
            return
        if not any(question.relevant for question in questions):
            existing = ", ".join(map(str, next(read_rows(self._file(), Problems(quiet=True))).values))
            raise DataError(
                f"{self.path}: none of the columns {existing} is known as that of the files that answer, or "
                "it is empty. dataset.file_column names it."
            )
        bare = next(question for question in questions if question.id not in known)
        shown = next(iter(bare.relevant), "")
        remedy = "dataset.file_column names the column of the files"
        if " " in shown:
            remedy += "; answers as texts are for dataset=pairs"
        raise DataError(
            f"{bare.where}: {shown[:80]!r} is no file of the folder, and {len(questions) - len(known):,} of "
            f"{len(questions):,} questions name none: {files.hint(shown)} {remedy[0].upper()}{remedy[1:]}."
        )
