"""A corpus, its queries and their qrels in the BEIR layout: a local folder, or rows from elsewhere."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal

from embexp.data.labels import LabelSettings, read_label
from embexp.data.readers.encoding import COMPRESSIONS, check_encoding, format_of, lines_of, open_text
from embexp.data.readers.problems import OnError, Problems
from embexp.data.readers.tables import Row, read_rows
from embexp.data.records import Document, Pair, SplitName, Unit
from embexp.data.sampling import sample
from embexp.errors import DataError
from embexp.ranges import Count, Label, check_ranges
from embexp.storage.files import sha256_of, sha256_of_file

log = logging.getLogger(__name__)

Train = Literal["qrels", "synthetic", "none"]
SPLITS_USED: Mapping[Train, tuple[SplitName, ...]] = {
    "qrels": ("train", "dev", "test"),
    "synthetic": ("dev", "test"),
    "none": ("test",),
}
_FORMATS = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet")
_QRELS_FORMATS = (".tsv", ".txt", ".qrels", ".trec", ".csv", ".jsonl", ".json", ".parquet")
_SPLIT_FILES: Mapping[SplitName, tuple[str, ...]] = {
    "train": ("train",),
    "dev": ("dev", "valid", "validation", "val"),
    "test": ("test",),
}
"""The names that a split's qrels may have."""
_QRELS_COLUMNS = ("query-id", "corpus-id", "score")
_TREC_COLUMNS = ("query-id", "iteration", "corpus-id", "score")
_QRELS_NAMES: Mapping[str, str] = {
    **dict.fromkeys(("query-id", "query_id", "queryid", "qid", "topic", "topic_id", "query"), "query-id"),
    **dict.fromkeys(
        ("corpus-id", "corpus_id", "doc-id", "doc_id", "docid", "docno", "pid", "passage_id", "document_id"),
        "corpus-id",
    ),
    **dict.fromkeys(("score", "grade", "relevance", "rel", "label", "relevancy"), "score"),
    **dict.fromkeys(("iteration", "iter", "q0", "0"), "iteration"),
}
"""The names that the columns of qrels have, and ours."""
_ID_NAMES = ("_id", "id")
MAX_GRADE = 1_000
"""trec_eval counts with a number for each grade up to the highest one."""


@dataclass(kw_only=True)
class BeirFolder:
    """A corpus with people's queries and judgments (corpus.jsonl, queries.jsonl, qrels/{train,dev,test}.tsv).

    The set keeps its own split. Each file may be another kind of table and may be compressed (.gz, .zst); dev
    may be called valid or validation; qrels may have TREC's four columns.

    Args:
        path: The folder.
        train: Where training pairs come from: ``qrels`` takes the set's own judgments; ``synthetic`` writes
            pairs from the corpus and takes only dev and test from the set; ``none`` takes the test alone.
        positive_from: The lowest grade that counts as relevant; None counts 1 and above.
        label_range: The lowest and the highest grade that can occur; None reads them off the qrels.
        limit: At most this many documents; the judged ones are always kept. None for all.
        limit_queries: At most this many queries of each split, the same ones each time; None for all.
        encoding: The encoding of the text files, such as cp1252; None lets their bytes decide.
        on_error: ``skip`` leaves bad rows and judgments out and counts them; ``fail`` stops at the first.
        name: The name in tables and file names; empty takes the folder's name.
    """

    path: str
    train: Train = "qrels"
    positive_from: Label | None = None
    label_range: list[Label] | None = None
    limit: Count | None = None
    limit_queries: Count | None = None
    encoding: str | None = None
    on_error: OnError = "skip"
    name: str = ""
    unit: Unit = field(default="document", init=False)
    labels: LabelSettings = field(init=False)

    def __post_init__(self) -> None:
        check_ranges(self, "dataset")
        check_encoding(self.encoding)
        self.labels = grades(self.positive_from, self.label_range)
        self.name = self.name or Path(self.path).expanduser().resolve().name

    @property
    def source(self) -> str:
        """The folder."""
        return self.path

    def fingerprint(self) -> str:
        """Return a digest of the settings and of the files that they use.

        Raises:
            DataError: A file is missing.
        """
        settings = {key: value for key, value in asdict(self).items() if key != "path"}
        files = [self._file("corpus"), self._file("queries"), *self._qrels().values()]
        return sha256_of("beir", settings, [(file.name, sha256_of_file(file)) for file in files])

    def documents(self) -> Iterator[Document]:
        """Yield the corpus in the order of its file.

        Raises:
            DataError: A file is missing, or a row is bad and ``on_error`` is ``fail``.
        """
        return self._judged().documents()

    def labelled(self) -> Iterator[Pair]:
        """Yield a pair for each relevant document of each query; a judgment of grade 0 yields none.

        Raises:
            DataError: A file is missing, nothing can be used, or a row is bad and ``on_error`` is ``fail``.
        """
        return self._judged().labelled()

    def _judged(self) -> JudgedRows:
        return JudgedRows(
            name=self.path,
            corpus=partial(read_rows, self._file("corpus"), encoding=self.encoding),
            queries=partial(read_rows, self._file("queries"), encoding=self.encoding),
            qrels={
                split: partial(_qrels_rows, file, encoding=self.encoding)
                for split, file in self._qrels().items()
            },
            limit=self.limit,
            limit_queries=self.limit_queries,
            on_error=self.on_error,
        )

    def _qrels(self) -> dict[SplitName, Path]:
        """Return the qrels files to use; only that of dev may be missing."""
        folder = Path(self.path).expanduser() / "qrels"
        found = {
            split: _first(folder, _SPLIT_FILES[split], _QRELS_FORMATS) for split in SPLITS_USED[self.train]
        }
        if "train" in found and folder.is_dir() and found["train"] is None:
            raise DataError(
                f"{self.path}/qrels/train.tsv is missing and dataset.train=qrels trains on it: add it, or "
                "set dataset.train=synthetic or dataset.train=none."
            )
        if found["test"] is None:
            raise self._missing("qrels/test.tsv")
        return {split: file for split, file in found.items() if file}

    def _file(self, name: str) -> Path:
        folder = Path(self.path).expanduser()
        if not folder.is_dir():
            raise DataError(f"{self.path} is not a folder: check dataset.path for a typing error.")
        file = _first(folder, (name,), _FORMATS)
        if file is None:
            raise self._missing(f"{name}.jsonl")
        return file

    def _missing(self, name: str) -> DataError:
        return DataError(
            f"{self.path}/{name} is missing: a BEIR folder holds corpus.jsonl, queries.jsonl and "
            "qrels/test.tsv; for bare documents use dataset=folder, for pairs dataset=pairs."
        )


def grades(positive_from: float | None, label_range: list[Label] | None) -> LabelSettings:
    """Return how qrels are read: a grade of 1 and above is relevant unless the user says otherwise."""
    return LabelSettings(
        positive_from=1.0 if positive_from is None else positive_from, label_range=label_range
    )


def _first(folder: Path, names: tuple[str, ...], formats: tuple[str, ...]) -> Path | None:
    """Return the first file of a folder with one of the names and formats; others are named in the log."""
    found = [
        file
        for name in names
        for suffix in formats
        for packed in ("", *COMPRESSIONS)
        if (file := folder / f"{name}{suffix}{packed}").is_file()
    ]
    if len(found) > 1:
        log.warning("%s is read, and not %s.", found[0], ", ".join(file.name for file in found[1:]))
    return found[0] if found else None


def _qrels_rows(path: Path, problems: Problems, *, encoding: str | None = None) -> Iterator[Row]:
    """Yield the judgments of a file: query, document and grade, TREC's four columns, or named columns."""
    if format_of(path) in (".csv", ".jsonl", ".json", ".parquet"):
        for row in read_rows(path, problems, encoding=encoding):
            yield Row(row.where, {_ours(str(name)): value for name, value in row.values.items()})
        return
    columns, judged = list[str](), False
    with open_text(path, problems, encoding=encoding) as stream:
        for number, line in enumerate(lines_of(stream, path, problems), start=1):
            cells = [
                cell.strip() for cell in (line.rstrip("\r\n").split("\t") if "\t" in line else line.split())
            ]
            if not any(cells):
                continue
            if not columns and not judged and _ours(cells[-1]) == "score":
                header = [_ours(cell) for cell in cells]
                columns = header if set(_QRELS_COLUMNS) <= set(header) else []
                continue
            judged = True
            named = columns or {3: _QRELS_COLUMNS, 4: _TREC_COLUMNS}.get(len(cells), ())
            where = f"{path}:{number}"
            if len(named) == len(cells):
                yield Row(where, dict(zip(named, cells, strict=True)))
            else:
                message = (
                    f"{where}: {len(cells)} columns; write query-id, corpus-id and score with tabs between, "
                    "or TREC's four columns."
                )
                problems.report("broken line", message)


def _ours(name: str) -> str:
    return _QRELS_NAMES.get(name.strip().lower(), name)


@dataclass(frozen=True, slots=True)
class _Judgment:
    """One line of the qrels."""

    where: str
    split: SplitName
    query_id: str
    document_id: str
    grade: int


@dataclass(frozen=True, kw_only=True)
class JudgedRows:
    """Documents and pairs from the rows of a corpus, its queries and qrels.

    Args:
        name: Where the set is, for messages.
        corpus: Opens the corpus: rows with ``_id``, ``title`` and ``text``.
        queries: Opens the queries: rows with ``_id`` and ``text``.
        qrels: Opens each split's judgments: rows with ``query-id``, ``corpus-id`` and ``score``.
        limit: At most this many documents; the judged ones are always kept.
        limit_queries: At most this many queries of each split.
        on_error: What to do with a bad row.
    """

    name: str
    corpus: Callable[[Problems], Iterator[Row]]
    queries: Callable[[Problems], Iterator[Row]]
    qrels: Mapping[SplitName, Callable[[Problems], Iterator[Row]]] = field(default_factory=dict)
    limit: Count | None = None
    limit_queries: Count | None = None
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

        Only the judged queries and documents are held in memory.

        Raises:
            DataError: No judgment can be used, or a row is bad and ``on_error`` is ``fail``.
        """
        problems = Problems(self.on_error)
        relevant = [judgment for judgment in self._judgments(problems) if judgment.grade > 0]
        query_ids = {judgment.query_id for judgment in relevant}
        document_ids = {judgment.document_id for judgment in relevant}
        queries = dict(self._queries(problems, query_ids))
        quiet = Problems(quiet=True)  # ``documents`` reports the bad rows of the corpus
        passages = {
            document.id: "\n".join(part for part in (document.title, document.text) if part)
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

    def _judgments(self, problems: Problems) -> Iterator[_Judgment]:
        for split, rows in self.qrels.items():
            judgments = list(_judgments_of(split, rows(problems), problems))
            names = dict.fromkeys(judgment.query_id for judgment in judgments)
            chosen = set(sample(names, self.limit_queries, key=str))
            yield from (judgment for judgment in judgments if judgment.query_id in chosen)

    def _corpus(self, problems: Problems) -> Iterator[Document]:
        seen: set[str] = set()
        for row in self.corpus(problems):
            name = _new_id(row, seen, problems)
            document = Document(name, row.text("text"), row.text("title"), row.where.rpartition("/")[2])
            if name and not document.text and not document.title:
                problems.report(
                    "document without text", f"{row.where}: document {name!r} has no text; add some."
                )
            elif name:
                yield document

    def _queries(self, problems: Problems, query_ids: set[str]) -> Iterator[tuple[str, str]]:
        seen: set[str] = set()
        for row in self.queries(problems):
            name = _new_id(row, seen, problems)
            if name and not row.text("text"):
                problems.report("query without text", f"{row.where}: query {name!r} has no text; write one.")
            elif name in query_ids:
                yield name, row.text("text")


def _new_id(row: Row, seen: set[str], problems: Problems) -> str:
    """Return a row's ``_id``; report one that is missing or taken, and return an empty string."""
    name = next((text for key in _ID_NAMES if (text := _id_of(row, key))), "")
    if not name:
        problems.report("row without _id", f"{row.where}: no '_id'; give each row its own.")
    elif name in seen:
        problems.report("duplicate id", f"{row.where}: the _id {name!r} is taken; give each row its own.")
        return ""
    seen.add(name)
    return name


def _id_of(row: Row, column: str) -> str:
    """Return an id; one that became a number with a fraction on its way through a table is whole again."""
    text = row.text(column)
    return text.removesuffix(".0") if text.removesuffix(".0").isdecimal() else text


def _judgments_of(split: SplitName, rows: Iterator[Row], problems: Problems) -> Iterator[_Judgment]:
    seen: set[tuple[str, str]] = set()
    for row in rows:
        query, document, grade = _id_of(row, "query-id"), _id_of(row, "corpus-id"), row.text("score")
        number, _ = read_label(grade)
        if number is None or not number.is_integer() or abs(number) > MAX_GRADE:
            message = (
                f"{row.where}: grade {grade[:80]!r} is not a whole number up to {MAX_GRADE:,}; "
                "write 0, 1, 2 and so on."
            )
            problems.report("grade not a whole number", message)
        elif (query, document) in seen:
            problems.count("repeated judgment")
        else:
            seen.add((query, document))
            yield _Judgment(row.where, split, query, document, int(number))


def _pair(
    judgment: _Judgment, queries: Mapping[str, str], passages: Mapping[str, str], problems: Problems
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
