"""A corpus, its queries and their qrels in the BEIR manner, wherever the rows come from."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from embexp.data.readers.problems import OnError, Problems
from embexp.data.readers.tables import Row
from embexp.data.records import Document, Pair, SplitName
from embexp.data.sampling import sample
from embexp.errors import DataError

Train = Literal["qrels", "synthetic", "none"]
SPLITS_USED: Mapping[Train, tuple[SplitName, ...]] = {
    "qrels": ("train", "dev", "test"),
    "synthetic": ("dev", "test"),
    "none": ("test",),
}


@dataclass(frozen=True, slots=True)
class Judgment:
    """One line of the qrels."""

    where: str
    split: SplitName
    query_id: str
    document_id: str
    grade: int


@dataclass(frozen=True, kw_only=True)
class JudgedSet:
    """Reads documents and pairs out of a corpus, queries and qrels.

    Args:
        name: Where the set is, for messages.
        corpus: Opens the corpus: rows with ``_id``, ``title`` and ``text``.
        queries: Opens the queries: rows with ``_id`` and ``text``.
        qrels: Opens each split's judgments: rows with ``query-id``, ``corpus-id`` and ``score``.
        limit: At most this many documents beside the judged ones, which are all kept.
        limit_queries: At most this many queries of each split.
        on_error: What to do with a bad row.
    """

    name: str
    corpus: Callable[[Problems], Iterator[Row]]
    queries: Callable[[Problems], Iterator[Row]]
    qrels: Mapping[SplitName, Callable[[Problems], Iterator[Row]]] = field(default_factory=dict)
    limit: int | None = None
    limit_queries: int | None = None
    on_error: OnError = "skip"

    def documents(self) -> Iterator[Document]:
        """Yield the corpus in its own order, streamed.

        Raises:
            DataError: The corpus is empty, or a row is bad and ``on_error`` is ``fail``.
        """
        judged: set[str] = set()
        if self.limit is not None:
            judged = {judgment.document_id for judgment in self._judgments(Problems(quiet=True))}
        problems = Problems(self.on_error)
        count = 0
        for document in sample(self._corpus(problems), self.limit, lambda document: document.id, judged):
            count += 1
            yield document
        if not count:
            raise DataError(f"{self.name}: the corpus holds no document with text; check dataset.path.")
        problems.close(f"{self.name}: {count:,} documents")

    def labelled(self) -> Iterator[Pair]:
        """Yield a pair for each query and document judged relevant, in the order of the qrels.

        Holds the judged queries and documents alone.

        Raises:
            DataError: No judgment can be used, or a row is bad and ``on_error`` is ``fail``.
        """
        problems = Problems(self.on_error)
        relevant = [judgment for judgment in self._judgments(problems) if judgment.grade > 0]
        query_ids = {judgment.query_id for judgment in relevant}
        document_ids = {judgment.document_id for judgment in relevant}
        queries = dict(self._queries(problems, query_ids))
        quiet = Problems(quiet=True)  # bad rows of the corpus are reported where it is read as a whole
        passages = {
            document.id: f"{document.title}\n{document.text}"
            if document.title and document.text
            else document.title or document.text
            for document in self._corpus(quiet)
            if document.id in document_ids
        }
        count = 0
        for judgment in relevant:
            pair = _pair(judgment, queries, passages, problems)
            if pair:
                count += 1
                yield pair
        if not count:
            raise DataError(f"{self.name}: no judgment of a relevant document can be used; check the qrels.")
        problems.close(f"{self.name}: {count:,} judged pairs of {len(query_ids):,} queries")

    def _judgments(self, problems: Problems) -> Iterator[Judgment]:
        for split, rows in self.qrels.items():
            judged = list(_read_qrels(split, rows(problems), problems))
            names = dict.fromkeys(judgment.query_id for judgment in judged)
            chosen = set(sample(names, self.limit_queries, key=str))
            yield from (judgment for judgment in judged if judgment.query_id in chosen)

    def _corpus(self, problems: Problems) -> Iterator[Document]:
        seen: set[str] = set()
        for row in self.corpus(problems):
            name = _identified(row, seen, problems)
            document = Document(name, row.text("text"), row.text("title"), row.where.rpartition("/")[2])
            if name and not document.text and not document.title:
                problems.report(
                    "document without text", f"{row.where}: document {name!r} has no text; add some."
                )
            elif name:
                yield document

    def _queries(self, problems: Problems, wanted: set[str]) -> Iterator[tuple[str, str]]:
        seen: set[str] = set()
        for row in self.queries(problems):
            name = _identified(row, seen, problems)
            if name and not row.text("text"):
                problems.report("query without text", f"{row.where}: query {name!r} has no text; write one.")
            elif name in wanted:
                yield name, row.text("text")


def _identified(row: Row, seen: set[str], problems: Problems) -> str:
    """Return a row's ``_id``; an empty string, once reported, where it is missing or taken."""
    name = row.text("_id")
    if not name:
        problems.report("row without _id", f"{row.where}: no '_id'; give each row its own.")
    elif name in seen:
        problems.report("duplicate id", f"{row.where}: the _id {name!r} is taken; give each row its own.")
        return ""
    seen.add(name)
    return name


def _read_qrels(split: SplitName, rows: Iterator[Row], problems: Problems) -> Iterator[Judgment]:
    seen: set[tuple[str, str]] = set()
    for row in rows:
        query, document, grade = row.text("query-id"), row.text("corpus-id"), row.text("score")
        try:
            number = float(grade)
        except ValueError:
            number = 0.5
        if not number.is_integer():
            message = f"{row.where}: grade {grade!r} is not a whole number; write 0, 1, 2 and so on."
            problems.report("grade not a whole number", message)
        elif (query, document) in seen:
            problems.count("repeated judgment")
        else:
            seen.add((query, document))
            yield Judgment(row.where, split, query, document, int(number))


def _pair(
    judgment: Judgment, queries: Mapping[str, str], passages: Mapping[str, str], problems: Problems
) -> Pair | None:
    query, document = judgment.query_id, judgment.document_id
    if query not in queries:
        message = f"{judgment.where}: query {query!r} is not among the queries; add it or delete this line."
        problems.report("judgment of a missing query", message)
        return None
    if document not in passages:
        message = f"{judgment.where}: document {document!r} is not in the corpus; add it or delete this line."
        problems.report("judgment of a missing document", message)
        return None
    return Pair(
        id=f"{judgment.split}/{query}/{document}",
        query=queries[query],
        positive=passages[document],
        document_id=document,
        query_id=query,
        label=float(judgment.grade),
        split=judgment.split,
    )
