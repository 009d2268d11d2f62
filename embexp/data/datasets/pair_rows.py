"""Names that tables of pairs give their columns and their labels, and what we read them as."""

from __future__ import annotations

import json
import logging
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from embexp.data.readers.problems import Problems
from embexp.data.readers.tables import Row, check_columns
from embexp.data.records import Document, Generator, Pair, SplitName
from embexp.errors import DataError
from embexp.storage.files import sha256_of

log = logging.getLogger(__name__)


TEXTS = (
    ("text_a", "text_b"),
    ("sentence1", "sentence2"),
    ("sentence_a", "sentence_b"),
    ("premise", "hypothesis"),
    ("anchor", "positive"),
    ("question", "answer"),
    ("query", "passage"),
)
"""Names of the query's and the passage's column that are read without being told."""
LABELS = ("score", "similarity", "class")
WORDS: Mapping[str, float] = {
    "entailment": 1, "neutral": 0, "contradiction": -1,
    "match": 1, "no match": 0, "duplicate": 1, "not duplicate": 0, "relevant": 1, "not relevant": 0,
    "irrelevant": 0, "yes": 1, "no": 0, "true": 1, "false": 0,
}  # fmt: skip
"""What labels in words are worth: 1 and more answers the query, and every number is a class of its own."""
MOST_SHOWN = 10


@dataclass(frozen=True, kw_only=True)
class PairColumns:
    """Which columns hold a pair; None where there is none.

    A column other than ``query`` and ``positive`` may be missing as long as it has its usual name.
    ``values`` says what labels in words are worth, beside the usual ones.
    """

    query: str = "query"
    positive: str = "positive"
    negatives: str | None = "negatives"
    label: str | None = "label"
    document_id: str | None = "document_id"
    query_id: str | None = "query_id"
    split: str | None = "split"
    values: Mapping[str, float] | None = None

    def required(self) -> list[str]:
        """Return the columns that must be there: the two texts, and every one that the user renamed."""
        usual = PairColumns()
        names = ("negatives", "label", "document_id", "query_id", "split")
        renamed = [getattr(self, name) for name in names if getattr(self, name) != getattr(usual, name)]
        return [self.query, self.positive, *(name for name in renamed if name is not None)]

    def worth(self, word: str) -> float | None:
        """Return what a label in words is worth, or None if that is not known."""
        own = {name.casefold(): float(value) for name, value in (self.values or {}).items()}
        plain = word.casefold()
        found = own.get(plain, WORDS.get(plain.replace("_", " ").replace("-", " ")))
        return None if found is None else float(found)


def recognised(columns: PairColumns, there: Iterable[str], *, place: str, quiet: bool) -> PairColumns:
    """Return the columns to read: where the usual ones are not there, others that are known by their names.

    Args:
        columns: Those that are configured; what the user has named stays.
        there: The columns of the table.
        place: The table, for the log.
        quiet: Whether to say nothing, on a second pass.
    """
    usual, names = PairColumns(), set(there)
    texts = (columns.query, columns.positive)
    if texts != (usual.query, usual.positive) or names.issuperset(texts):
        return columns
    found = next((pair for pair in TEXTS if names.issuperset(pair)), None)
    if found is None:
        return columns
    label = columns.label
    if label == usual.label and label not in names:
        label = next((name for name in LABELS if name in names), label)
    if not quiet:
        log.info(
            "%s: reading %s as the query, %s as the passage%s (dataset.query_column and the like say "
            "otherwise).",
            *(place, *found, f" and {label} as the label" if label in names else ""),
        )
    return replace(columns, query=found[0], positive=found[1], label=label)


def told_words(words: Mapping[str, float], *, place: str) -> None:
    """Say in the log what labels in words were read as."""
    if words:
        listed = ", ".join(f"{word} {value:g}" for word, value in sorted(words.items()))
        log.info("%s: labels in words are worth %s (dataset.label_values says otherwise).", place, listed)


def unknown_words(words: Iterable[str], *, place: str) -> DataError:
    """Return the error for a table whose labels are all words that nobody has said the worth of."""
    shown = sorted(set(words))[:MOST_SHOWN]
    values = ", ".join(f"{word}: {number}" for number, word in enumerate(shown))
    return DataError(
        f"{place}: its labels are words ({', '.join(shown)}): say what each is worth, as in "
        f"'dataset.label_values={{{values}}}', where 1 and more answers the query."
    )


SPLIT_NAMES: dict[str, SplitName] = {
    "train": "train",
    "dev": "dev",
    "valid": "dev",
    "validation": "dev",
    "val": "dev",
    "test": "test",
}


class _RowProblemError(Exception):
    """What is wrong with one row, under the reason it is counted by."""

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(text)
        self.reason = reason


def pairs_of(rows: Iterable[Row], columns: PairColumns, problems: Problems) -> Iterator[Pair]:
    """Yield a pair for each usable row; a row that says the same as an earlier one is counted and dropped.

    Raises:
        DataError: A column is missing, a row is bad and ``on_error`` is ``fail``, or all labels are words
            that nobody has said the worth of.
    """
    seen: set[str] = set()
    words: dict[str, float | None] = {}
    place = ""
    for number, row in enumerate(rows):
        if number == 0:
            place = row.where.rpartition(":")[0]
            columns = recognised(columns, map(str, row.values), place=place, quiet=problems.quiet)
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
        raise unknown_words(words, place=place)
    if not problems.quiet:
        told_words({word: value for word, value in words.items() if value is not None}, place=place)


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
        document_id=row.text(columns.document_id) or text_id(positive),
        query_id=row.text(columns.query_id) or sha256_of(query)[:16],
        chunk_id=row.text("chunk_id"),
        negatives=_texts(row, columns.negatives),
        label=label,
        query_type=row.text("query_type") or "human",
        split=split,
        context_ids=_texts(row, "context_ids"),
        generator=_generator(row),
    )


def text_id(text: str) -> str:
    """Return the id of a passage that brings none: a digest of its text."""
    return sha256_of(text)[:16]


def _label(row: Row, columns: PairColumns, words: dict[str, float | None]) -> float | None:
    """Return a label as a number; what a word was read as is noted in ``words``."""
    value = row.text(columns.label)
    if not value:
        return None
    try:
        label = float(value)
    except ValueError:
        words[value] = columns.worth(value)
        label = math.nan if words[value] is None else words[value]  # type: ignore[assignment]
    if not math.isfinite(label):
        raise _RowProblemError(
            "label not a number",
            f"label {value!r} is not a number; write one such as 1 or 0.5, or say what the word is worth in "
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
    """Return a column of texts that is a list, a list as JSON text, or one bare text."""
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


def documents_of(first_pass: Iterable[Pair], second_pass: Iterable[Pair]) -> Iterator[Document]:
    """Yield the passages of pairs as documents: a positive under its document id, a negative under its own.

    Passages of one document id are joined to one document. Reads the pairs twice and keeps digests of
    the texts, and the texts of those documents alone whose passages are not complete yet.
    """
    positives: set[str] = set()
    missing: Counter[str] = Counter()
    counted: set[tuple[str, str]] = set()
    for pair in first_pass:
        key = (pair.document_id, text_id(pair.positive))
        if key not in counted:
            counted.add(key)
            positives.add(key[1])
            missing[pair.document_id] += 1
    parts: dict[str, list[str]] = {}
    done: set[tuple[str, str]] = set()
    for pair in second_pass:
        negatives = [(text_id(text), text) for text in pair.negatives]
        passages = [(digest, text) for digest, text in negatives if digest not in positives]
        for name, text in [(pair.document_id, pair.positive), *passages]:
            key = (name, text_id(text))
            if key in done:
                continue
            done.add(key)
            parts.setdefault(name, []).append(text)
            missing[name] -= 1
            if missing[name] <= 0:
                yield Document(name, "\n\n".join(parts.pop(name)))
