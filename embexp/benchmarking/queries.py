"""Your own questions about the run's corpus as the benchmark."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Annotated

from annotated_types import Interval

from embexp.benchmarking.benchmark import BenchmarkOptions
from embexp.benchmarking.repeated_texts import settle_repeated_texts
from embexp.benchmarking.task import Query, RetrievalTask
from embexp.data.datasets.file_names import FileNames
from embexp.data.datasets.questions import Question, QuestionFile
from embexp.data.labels import LabelScale
from embexp.data.records import Chunk, Pair, Unit
from embexp.errors import ConfigError, DataError
from embexp.ranges import Count


@dataclass(frozen=True, kw_only=True)
class OwnQueries(BenchmarkOptions):
    """Asks the questions of a file, with the relevant ids from the file or judged by a language model.

    The ids are of documents or of chunks of the run's corpus. Where no question has ids, the configured
    ``llm`` grades what the systems find. ``BenchmarkOptions`` has the arguments that all benchmarks share.

    Args:
        questions: Reads the file, such as ``embexp.data.datasets.QuestionFile``.
        name: The task's name.
        limit: The most questions to ask, from the top of the file; None for all.
        judge_depth: How many of each system's hits a language model judges.
        merge_duplicates: Whether copies of a document that answers a question are right as well.
    """

    questions: QuestionFile
    name: str = "queries"
    limit: Count | None = None
    judge_depth: Annotated[int, Interval(ge=1, le=1_000)] = 10
    merge_duplicates: bool = True

    def check_inputs(self, *, judge: bool) -> None:
        """Refuse a file that cannot be used, before any document is read.

        Raises:
            DataError: The file or a column is missing, a row is bad, or only some questions have ids.
            ConfigError: No question has ids and there is no language model to judge; a model is missing.
        """
        BenchmarkOptions.check_inputs(self, judge=judge)
        asked = self._asked()
        if not asked[0].relevant and not judge:
            raise ConfigError(
                f"None of the {len(asked):,} questions of benchmark={self.name} names what answers "
                "it, and llm is not set: give their ids in the column 'relevant', or choose a language model "
                "to judge what is found, as in llm=groq."
            )

    def check(self, chunks: Sequence[Chunk], *, judge: bool) -> None:
        """Refuse a file that cannot be scored, before anything is trained.

        Raises:
            DataError: A row is bad, an id is not in the corpus, or only some questions have ids.
            ConfigError: No question has ids, and there is no language model to judge.
        """
        self.check_inputs(judge=judge)
        self.task(chunks, (), unit="chunk")

    def task(
        self,
        chunks: Sequence[Chunk],
        pairs: Sequence[Pair],  # noqa: ARG002
        *,
        unit: Unit,  # noqa: ARG002
        scale: LabelScale | None = None,  # noqa: ARG002
    ) -> RetrievalTask:
        """Return the task over the chunks, with the file's judgments or with none yet.

        The unit is the chunk if all ids are of chunks, else the document.

        Raises:
            DataError: A row is bad, an id is not in the corpus, or only some questions have ids.
        """
        asked = self._asked()
        if len(chunks) < 2:
            raise DataError(
                f"The corpus of the {self.name} benchmark has {len(chunks)} chunk: retrieval needs two or "
                "more to choose from, so add documents."
            )
        if not asked[0].relevant:
            queries = [Query(question.id, question.text, question.id) for question in asked]
            task = RetrievalTask(self.name, chunks, queries, {}, "chunk", judge_depth=self.judge_depth)
        else:
            task = self._judged(chunks, asked)
        return settle_repeated_texts(task, merge=self.merge_duplicates)

    def _asked(self) -> list[Question]:
        """Return the questions to ask, of which all name what answers them, or none.

        Raises:
            DataError: A row is bad, or only some questions have ids.
        """
        asked = self.questions.questions()[: self.limit]
        judged = [question for question in asked if question.relevant]
        if judged and len(judged) < len(asked):
            bare = next(question for question in asked if not question.relevant)
            raise DataError(
                f"{bare.where}: this question names no relevant ids, and {judged[0].where} does: name some, "
                "or put the questions without ids into a file of their own, for a language model to judge."
            )
        return asked

    def _judged(self, chunks: Sequence[Chunk], asked: Sequence[Question]) -> RetrievalTask:
        owners = {chunk.id: chunk.document_id for chunk in chunks}
        documents = set(owners.values())
        asked = _with_ids(asked, {*owners, *documents}, FileNames(documents))
        of_chunks = all(name in owners for question in asked for name in question.relevant)
        qrels: dict[str, dict[str, int]] = {}
        queries = []
        for question in asked:
            grades: dict[str, int] = {}
            for name, grade in question.relevant.items():
                unit = name if of_chunks or name in documents else owners[name]
                grades[unit] = max(grade, grades.get(unit, 0))
            best = max(grades, key=lambda name: grades[name])
            if not grades[best]:
                raise DataError(
                    f"{question.where}: every id of this question has the grade 0: name one that answers it, "
                    "or delete the row."
                )
            qrels[question.id] = grades
            queries.append(Query(question.id, question.text, owners[best] if of_chunks else best))
        return RetrievalTask(self.name, chunks, queries, qrels, "chunk" if of_chunks else "document")


def _with_ids(asked: Sequence[Question], ids: Collection[str], documents: FileNames) -> list[Question]:
    """Return the questions with the ids that they mean, where they name documents by a part of the path.

    Raises:
        DataError: A name is of no document and no chunk, or of several.
    """
    found = []
    for question in asked:
        relevant: dict[str, int] = {}
        for name, grade in question.relevant.items():
            try:
                meant = name if name in ids else documents.find(name)
            except DataError as error:
                raise DataError(f"{question.where}: {error}") from error
            if meant is None or meant not in ids:
                raise _unknown(question, name, ids)
            relevant[meant] = max(grade, relevant.get(meant, 0))
        found.append(replace(question, relevant=relevant))
    return found


def _unknown(question: Question, name: str, known: Collection[str]) -> DataError:
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"ids look like {min(known)!r}."
    return DataError(
        f"{question.where}: {name!r} is neither a document nor a chunk of the corpus: {hint} Chunks and "
        "their documents are listed in data/chunks.jsonl of a run."
    )
