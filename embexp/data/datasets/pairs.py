"""Your own pairs: a table of queries and passages, and how its columns, labels and splits are read."""

from __future__ import annotations

import json
import logging
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from embexp.data.labels import LabelSettings
from embexp.data.readers.problems import OnError, Problems
from embexp.data.readers.tables import Row, check_columns, read_rows
from embexp.data.records import Document, Generator, Pair, SplitName, Unit
from embexp.data.sampling import check_limit, sample
from embexp.errors import DataError
from embexp.storage.files import sha256_of, sha256_of_file

log = logging.getLogger(__name__)

SPLIT_NAMES: Mapping[str, SplitName] = {
    "train": "train",
    "dev": "dev",
    "valid": "dev",
    "validation": "dev",
    "val": "dev",
    "test": "test",
}
_TEXT_COLUMNS = (
    ("text_a", "text_b"),
    ("sentence1", "sentence2"),
    ("sentence_a", "sentence_b"),
    ("premise", "hypothesis"),
    ("anchor", "positive"),
    ("question", "answer"),
    ("query", "passage"),
)
"""Columns of the query and the passage that are recognised by name."""
_LABEL_COLUMNS = ("score", "similarity", "class")
_WORDS: Mapping[str, float] = {
    **dict.fromkeys(("entailment", "match", "duplicate", "relevant", "yes", "true"), 1.0),
    **dict.fromkeys(
        ("neutral", "no match", "not duplicate", "not relevant", "irrelevant", "no", "false"), 0.0
    ),
    "contradiction": -1.0,
}
"""The values of labels in words: 1 and above answers the query, and each number is a class of its own."""
_MAX_WORDS_SHOWN = 10


@dataclass(kw_only=True)
class PairsFile:
    """Pairs from a jsonl, csv, tsv or parquet file, such as the one that ``embexp.synthesize`` writes.

    Only the query and the positive are required; other columns may be missing as long as they have their
    usual name, and None turns a column off. If there is no ``query`` and ``positive``, the columns are
    recognised by common names, such as text_a and text_b.

    Args:
        path: The file.
        query_column: The question.
        positive_column: The passage that answers it.
        negatives_column: Passages that do not: a list, a list as JSON text, or one text.
        label_column: A similarity, a relevance grade, or a class, as a number or in words.
        label_values: The values of labels in words, beside the usual ones; 1 and above answers the query.
        positive_from: The lowest label of a passage that answers its query; None reads it off the labels.
        label_range: The lowest and the highest label that can occur; None reads them off the labels.
        document_id_column: The document of the passage; without it, equal passages are one document.
        query_id_column: What the judgments of one query share; without it, equal queries are one.
        split_column: train, dev or test, where the file has a split of its own.
        on_error: ``skip`` leaves bad rows out and counts them; ``fail`` stops at the first.
        limit: At most this many pairs, spread evenly; None for all.
        name: The name in tables and file names.
    """

    path: str
    query_column: str = "query"
    positive_column: str = "positive"
    negatives_column: str | None = "negatives"
    label_column: str | None = "label"
    label_values: dict[str, float] | None = None
    positive_from: float | None = None
    label_range: list[float] | None = None
    document_id_column: str | None = "document_id"
    query_id_column: str | None = "query_id"
    split_column: str | None = "split"
    on_error: OnError = "skip"
    limit: int | None = None
    name: str = "pairs"
    unit: Unit = field(default="document", init=False)
    labels: LabelSettings = field(init=False)

    def __post_init__(self) -> None:
        check_limit("limit", self.limit)
        self.labels = LabelSettings(positive_from=self.positive_from, label_range=self.label_range)

    @property
    def source(self) -> str:
        """The file."""
        return self.path

    def fingerprint(self) -> str:
        """Return a digest of the settings and of the file's content.

        Raises:
            DataError: The file does not exist.
        """
        file = Path(self.path).expanduser()
        if not file.is_file():
            raise DataError(f"{self.path} is not a file: check dataset.path for a typing error.")
        settings = {key: value for key, value in asdict(self).items() if key != "path"}
        return sha256_of("pairs", settings, sha256_of_file(file))

    def documents(self) -> Iterator[Document]:
        """Yield every passage once, positives under their document ids.

        Raises:
            DataError: As ``labelled`` does.
        """
        return documents_of(lambda: self._pairs(quiet=True))

    def labelled(self) -> Iterator[Pair]:
        """Yield the pairs in the order of the file, and log what was skipped.

        Raises:
            DataError: The file is missing, empty or lacks a column, or a row is bad and ``on_error``
                is ``fail``.
        """
        return self._pairs(quiet=False)

    def _pairs(self, *, quiet: bool) -> Iterator[Pair]:
        problems = Problems(self.on_error, quiet=quiet)
        columns = PairColumns(
            query=self.query_column,
            positive=self.positive_column,
            negatives=self.negatives_column,
            label=self.label_column,
            label_values=self.label_values,
            document_id=self.document_id_column,
            query_id=self.query_id_column,
            split=self.split_column,
        )
        rows = read_rows(Path(self.path).expanduser(), problems)
        return pairs_of(rows, columns, problems, limit=self.limit, place=self.path)


@dataclass(frozen=True, kw_only=True)
class PairColumns:
    """The columns that hold a pair; None where there is none.

    A column other than ``query`` and ``positive`` may be missing as long as it has its usual name.
    ``label_values`` gives the values of labels in words, beside the usual ones.
    """

    query: str = "query"
    positive: str = "positive"
    negatives: str | None = "negatives"
    label: str | None = "label"
    document_id: str | None = "document_id"
    query_id: str | None = "query_id"
    split: str | None = "split"
    label_values: Mapping[str, float] | None = None

    def required(self) -> list[str]:
        """Return the columns that must exist: the two texts, and each one that was renamed."""
        usual, own = asdict(PairColumns()), asdict(self)
        optional = ("negatives", "label", "document_id", "query_id", "split")
        renamed = [own[name] for name in optional if own[name] != usual[name]]
        return [self.query, self.positive, *(name for name in renamed if name is not None)]

    def value_of(self, word: str) -> float | None:
        """Return the value of a label in words, or None if it is not known."""
        own = {name.casefold(): float(value) for name, value in (self.label_values or {}).items()}
        plain = word.casefold()
        return own.get(plain, _WORDS.get(plain.replace("_", " ").replace("-", " ")))

    def recognised(self, existing: Iterable[str], *, place: str, quiet: bool) -> PairColumns:
        """Return the columns to read: these, or ones recognised by name if the usual ones do not exist.

        Args:
            existing: The columns of the table.
            place: The table, for the log.
            quiet: Whether to log nothing, on a second pass.
        """
        usual, names = PairColumns(), set(existing)
        texts = (self.query, self.positive)
        if texts != (usual.query, usual.positive) or names.issuperset(texts):
            return self
        query, positive = next((pair for pair in _TEXT_COLUMNS if names.issuperset(pair)), texts)
        if (query, positive) == texts:
            return self
        label = self.label
        if label == usual.label and label not in names:
            label = next((name for name in _LABEL_COLUMNS if name in names), label)
        if not quiet:
            log.info(
                "%s: reading %s as the query, %s as the passage%s (dataset.query_column and the like choose "
                "other columns).",
                *(place, query, positive, f" and {label} as the label" if label in names else ""),
            )
        return replace(self, query=query, positive=positive, label=label)


def pairs_of(
    rows: Iterable[Row], columns: PairColumns, problems: Problems, *, limit: int | None, place: str
) -> Iterator[Pair]:
    """Yield a pair for each usable row, at most ``limit`` of them, and log what was skipped.

    Args:
        rows: The rows of the table.
        columns: The columns that hold a pair.
        problems: Counts or raises bad rows; rows that repeat an earlier one are counted and dropped.
        limit: At most this many pairs, spread evenly; None for all.
        place: The table, for messages.

    Raises:
        DataError: There is no pair, a column is missing, a row is bad and ``on_error`` is ``fail``, or all
            labels are words without a known value.
    """
    count = 0
    for pair in sample(_distinct_pairs(rows, columns, problems), limit, key=lambda pair: pair.id):
        count += 1
        yield pair
    if not count:
        skipped = problems.summary()
        raise DataError(
            f"{place}: no pair in it{f' (skipped: {skipped})' if skipped else ''}. "
            f"Give rows with {columns.query!r} and {columns.positive!r}."
        )
    problems.close(f"{place}: {count:,} pairs")


def _distinct_pairs(rows: Iterable[Row], columns: PairColumns, problems: Problems) -> Iterator[Pair]:
    seen: set[str] = set()
    words: dict[str, float | None] = {}
    place = ""
    for number, row in enumerate(rows):
        if number == 0:
            place = row.where.rpartition(":")[0]
            columns = columns.recognised(map(str, row.values), place=place, quiet=problems.quiet)
            check_columns(
                row, columns.required(), "dataset.query_column, dataset.positive_column and the like"
            )
        try:
            pair = _pair(row, columns, words)
        except _RowProblemError as problem:
            problems.report(problem.reason, f"{row.where}: {problem}")
            continue
        if pair.id not in seen:
            seen.add(pair.id)
            yield pair
        elif row.text("id"):
            problems.report(
                "duplicate id", f"{row.where}: the id {pair.id!r} is taken; give each pair its own."
            )
        else:
            problems.count("repeated row")
    if words and not seen:
        raise _unknown_words(words, place=place)
    if words and not problems.quiet:
        values = sorted((word, value) for word, value in words.items() if value is not None)
        listed = ", ".join(f"{word} {value:g}" for word, value in values)
        log.info("%s: labels in words are read as %s (dataset.label_values changes that).", place, listed)


def _unknown_words(words: Iterable[str], *, place: str) -> DataError:
    shown = sorted(set(words))[:_MAX_WORDS_SHOWN]
    values = ", ".join(f"{word}: {number}" for number, word in enumerate(shown))
    return DataError(
        f"{place}: its labels are words ({', '.join(shown)}): give each a value, as in "
        f"'dataset.label_values={{{values}}}', where 1 and above answers the query."
    )


class _RowProblemError(Exception):
    """What is wrong with one row; ``reason`` is the name under which it is counted."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


def _pair(row: Row, columns: PairColumns, words: dict[str, float | None]) -> Pair:
    query, positive = row.text(columns.query), row.text(columns.positive)
    for text, column in ((query, columns.query), (positive, columns.positive)):
        if not text:
            raise _RowProblemError(
                "pair without text", f"column {column!r} is empty; fill it or delete this row."
            )
    label = _label(row, columns, words)
    split = _split(row, columns.split)
    return Pair(
        id=row.text("id") or sha256_of(query, positive, label, split)[:16],
        query=query,
        positive=positive,
        document_id=row.text(columns.document_id) or _text_id(positive),
        query_id=row.text(columns.query_id) or sha256_of(query)[:16],
        chunk_id=row.text("chunk_id"),
        negatives=_texts(row, columns.negatives),
        label=label,
        query_type=row.text("query_type") or "human",
        split=split,
        context_ids=_texts(row, "context_ids"),
        generator=_generator(row),
    )


def _label(row: Row, columns: PairColumns, words: dict[str, float | None]) -> float | None:
    """Return a label as a number, and note in ``words`` the value of one in words."""
    text = row.text(columns.label)
    if not text:
        return None
    try:
        label: float | None = float(text)
    except ValueError:
        label = words[text] = columns.value_of(text)
    if label is None or not math.isfinite(label):
        raise _RowProblemError(
            "label not a number",
            f"label {text!r} is not a number; write one such as 1 or 0.5, or give the word a value in "
            "dataset.label_values.",
        )
    return label


def _split(row: Row, column: str | None) -> SplitName | None:
    value = row.text(column)
    if value and value.lower() not in SPLIT_NAMES:
        raise _RowProblemError(
            "unknown split", f"split {value!r} is none of train, dev and test; use one of them."
        )
    return SPLIT_NAMES[value.lower()] if value else None


def _texts(row: Row, column: str | None) -> tuple[str, ...]:
    """Return a column of texts: a list, a list as JSON text, or one bare text."""
    value = _unpacked(row, column)
    if value is None:
        return ()
    texts = value if isinstance(value, (list, tuple)) else [value]
    return tuple(str(text).strip() for text in texts if text is not None and str(text).strip())


def _unpacked(row: Row, column: str | None) -> Any:
    value = row.values.get(column) if column else None
    if isinstance(value, str) and value.lstrip()[:1] in ("[", "{"):
        try:
            return json.loads(value)
        except ValueError:
            return value  # a text that merely begins with a bracket
    return value


def _generator(row: Row) -> Generator:
    value = _unpacked(row, "generator")
    if not isinstance(value, Mapping) or "kind" not in value:
        return Generator(kind="human")
    known = {field.name: value[field.name] for field in fields(Generator) if field.name in value}
    return Generator(**known)


def documents_of(pairs: Callable[[], Iterator[Pair]]) -> Iterator[Document]:
    """Yield the passages of pairs as documents: a positive under its document id, a negative under its own.

    Passages with the same document id are joined to one document. ``pairs`` is called twice, so that only
    digests are kept, and the texts of documents whose passages are not complete yet.
    """
    positives: set[str] = set()
    missing: Counter[str] = Counter()
    counted: set[tuple[str, str]] = set()
    for pair in pairs():
        key = (pair.document_id, _text_id(pair.positive))
        if key not in counted:
            counted.add(key)
            positives.add(key[1])
            missing[pair.document_id] += 1
    parts: dict[str, list[str]] = {}
    done: set[tuple[str, str]] = set()
    for pair in pairs():
        negatives = [(_text_id(text), text) for text in pair.negatives]
        passages = [(digest, text) for digest, text in negatives if digest not in positives]
        for name, text in [(pair.document_id, pair.positive), *passages]:
            key = (name, _text_id(text))
            if key in done:
                continue
            done.add(key)
            parts.setdefault(name, []).append(text)
            missing[name] -= 1
            if missing[name] <= 0:
                yield Document(name, "\n\n".join(parts.pop(name)))


def _text_id(text: str) -> str:
    """Return the id of a passage that has none of its own: a digest of its text."""
    return sha256_of(text)[:16]
