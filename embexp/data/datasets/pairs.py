"""Your own pairs: a table of queries and passages, and how its columns, labels and splits are read."""

from __future__ import annotations

import logging
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from itertools import product
from pathlib import Path
from typing import Any

from embexp.data.datasets.names_for_texts import refuse_names
from embexp.data.labels import LabelSettings, read_label
from embexp.data.readers.encoding import check_encoding
from embexp.data.readers.problems import OnError, Problems, UnreadableError
from embexp.data.readers.tables import Row, check_columns, read_rows, text_of, unpacked
from embexp.data.records import Document, Generator, Pair, SplitName, Unit
from embexp.data.sampling import sample
from embexp.errors import DataError
from embexp.ranges import MAX_LABEL, Count, Label, check_ranges
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
    ("text1", "text2"),
    ("sentence1", "sentence2"),
    ("sentence_a", "sentence_b"),
    ("premise", "hypothesis"),
    *product(
        ("anchor", "query", "question"),
        ("positive", "positives", "pos", "positive_passages", "positive_ctxs"),
    ),
    ("question", "answer"),
    ("query", "passage"),
    *product(("query", "question"), ("answer", "answers", "document", "passage", "context", "text")),
)
"""Columns of the query and the passage that are recognised by name."""
_LABEL_COLUMNS = ("score", "similarity", "class")
_NEGATIVE_COLUMNS = (
    *("negative", "neg", "negs", "hard_negatives", "hard_negative", "negative_passages"),
    *("hard_negative_ctxs", "negative_ctxs"),
)
"""Columns of passages that do not answer the query, recognised by name; the first one is read."""
_NUMBERED_NEGATIVES = re.compile(r"((?:hard_)?neg(?:ative)?s?)[_ ]?(\d+)", re.IGNORECASE)
_WORDS: Mapping[str, float] = {
    **dict.fromkeys(("entailment", "match", "duplicate", "relevant", "yes", "true"), 1.0),
    **dict.fromkeys(
        ("neutral", "no match", "not duplicate", "not relevant", "irrelevant", "no", "false"), 0.0
    ),
    "contradiction": -1.0,
}
"""The values of labels in words: 1 and above answers the query, and each number is a class of its own."""
_MAX_WORDS_SHOWN = 10
_DOCUMENT_KEYS = ("docid", "doc_id", "document_id", "passage_id", "id", "_id")
"""What names the document of a passage that is given as an object, as in Tevatron's and DPR's files."""


@dataclass(kw_only=True)
class PairsFile:
    """Pairs from a jsonl, json, csv, tsv or parquet file, such as the one that ``embexp.synthesize`` writes.

    Only the query and the positive are required; other columns may be missing as long as they have their
    usual name, and None turns a column off. If there is no ``query`` and ``positive``, the columns are
    recognised by common names, such as text_a and text_b.

    Args:
        path: The file.
        query_column: The question.
        positive_column: The passage that answers it; a list makes a pair of each item.
        negatives_column: Passages that do not: a list, a list as JSON text, or one text.
        label_column: A similarity, a relevance grade, or a class, as a number or in words.
        label_values: The values of labels in words, beside the usual ones; 1 and above answers the query.
        positive_from: The lowest label of a passage that answers its query; None reads it off the labels.
        label_range: The lowest and the highest label that can occur; None reads them off the labels.
        document_id_column: The document of the passage; without it, equal passages are one document.
        query_id_column: What the judgments of one query share; without it, equal queries are one.
        split_column: train, dev or test, where the file has a split of its own.
        weight_column: How often training reads the pair in an epoch, a whole number.
        clicks_column: How often the passage was chosen for the query. Training reads a pair once more for
            each doubling of its clicks; repeated rows add up.
        count_repeats: Count each row as a click where there is no column of clicks.
        min_clicks: Pairs with fewer clicks, over all rows, are left out.
        on_error: ``skip`` leaves bad rows out and counts them; ``fail`` stops at the first.
        limit: At most this many pairs, spread evenly; None for all.
        encoding: The encoding of a text file, such as cp1252; None lets its bytes decide.
        name: The name in tables and file names.
    """

    path: str
    query_column: str = "query"
    positive_column: str = "positive"
    negatives_column: str | None = "negatives"
    label_column: str | None = "label"
    label_values: dict[str, Label] | None = None
    positive_from: Label | None = None
    label_range: list[Label] | None = None
    document_id_column: str | None = "document_id"
    query_id_column: str | None = "query_id"
    split_column: str | None = "split"
    weight_column: str | None = "weight"
    clicks_column: str | None = None
    count_repeats: bool = False
    min_clicks: Count = 1
    on_error: OnError = "skip"
    limit: Count | None = None
    encoding: str | None = None
    name: str = "pairs"
    unit: Unit = field(default="document", init=False)
    labels: LabelSettings = field(init=False)

    def __post_init__(self) -> None:
        check_ranges(self, "dataset")
        check_encoding(self.encoding)
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
        pairs = self._pairs(quiet=False)
        if self.clicks_column is None and not self.count_repeats:
            return pairs
        return weighted_by_clicks(pairs, self._clicks(), least=self.min_clicks)

    def _clicks(self) -> Counter[tuple[str, str]]:
        """Return the clicks of each query and passage, over all rows."""
        clicks: Counter[tuple[str, str]] = Counter()
        problems = Problems(quiet=True)
        columns, labels = self._columns(), _Labels()
        for number, row in enumerate(
            read_rows(Path(self.path).expanduser(), problems, encoding=self.encoding)
        ):
            if number == 0:
                columns = columns.recognised(map(str, row.values), place=self.path, quiet=True)
                if self.clicks_column is not None:
                    check_columns(row, [self.clicks_column], "dataset.clicks_column")
            value = read_label(row.values.get(self.clicks_column))[0] if self.clicks_column else 1.0
            with problems.guard(row.where):
                for pair in _pairs_of_row(row, columns, labels):
                    clicks[pair.query, pair.positive] += max(value or 0.0, 0.0)  # type: ignore[assignment]
        return clicks

    def _pairs(self, *, quiet: bool) -> Iterator[Pair]:
        problems = Problems(self.on_error, quiet=quiet)
        rows = read_rows(Path(self.path).expanduser(), problems, encoding=self.encoding)
        return pairs_of(rows, self._columns(), problems, limit=self.limit, place=self.path)

    def _columns(self) -> PairColumns:
        return PairColumns(
            query=self.query_column,
            positive=self.positive_column,
            negatives=self.negatives_column,
            label=self.label_column,
            label_values=self.label_values,
            document_id=self.document_id_column,
            query_id=self.query_id_column,
            split=self.split_column,
            weight=self.weight_column,
        )


@dataclass(frozen=True, kw_only=True)
class PairColumns:
    """The columns that hold a pair; None where there is none.

    A column other than ``query`` and ``positive`` may be missing as long as it has its usual name.
    ``label_values`` gives the values of labels in words, beside the usual ones. ``numbered`` are further
    columns of negatives, such as negative_1 and negative_2.
    """

    query: str = "query"
    positive: str = "positive"
    negatives: str | None = "negatives"
    label: str | None = "label"
    document_id: str | None = "document_id"
    query_id: str | None = "query_id"
    split: str | None = "split"
    weight: str | None = None
    label_values: Mapping[str, float] | None = None
    numbered: tuple[str, ...] = ()

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
        names = {name.casefold(): name for name in reversed(list(existing))}
        found = self._with_texts(names)._with_negatives(names)
        if not quiet:
            found._log_choice(self, names, place)
        return found

    def _with_texts(self, names: Mapping[str, str]) -> PairColumns:
        usual = PairColumns()
        texts = (self.query, self.positive)
        if texts != (usual.query, usual.positive) or set(names.values()).issuperset(texts):
            return self
        pair = next((pair for pair in (texts, *_TEXT_COLUMNS) if names.keys() >= set(pair)), None)
        if pair is None:
            return self
        label = self.label
        if label == usual.label and label not in names.values():
            label = next((names[name] for name in ("label", *_LABEL_COLUMNS) if name in names), label)
        return replace(self, query=names[pair[0]], positive=names[pair[1]], label=label)

    def _with_negatives(self, names: Mapping[str, str]) -> PairColumns:
        if self.negatives != PairColumns().negatives or self.negatives in names.values():
            return self
        numbered = [match for name in names if (match := _NUMBERED_NEGATIVES.fullmatch(name))]
        in_order = sorted(numbered, key=lambda match: (match[1], int(match[2])))
        one = next(
            (names[name] for name in ("negatives", *_NEGATIVE_COLUMNS) if name in names), self.negatives
        )
        return replace(self, negatives=one, numbered=tuple(names[match[0]] for match in in_order))

    def _log_choice(self, asked: PairColumns, names: Mapping[str, str], place: str) -> None:
        """Log the columns that were recognised, and those that look like negatives and are not read."""
        existing = set(names.values())
        if (self.query, self.positive) != (asked.query, asked.positive):
            log.info(
                "%s: reading %s as the query, %s as the passage%s (dataset.query_column and the like choose "
                "other columns).",
                *(place, self.query, self.positive),
                f" and {self.label} as the label" if self.label in existing else "",
            )
        read = [name for name in (self.negatives, *self.numbered) if name in existing]
        if read and (self.negatives, self.numbered) != (asked.negatives, asked.numbered):
            log.info("%s: reading %s as negatives (dataset.negatives_column).", place, ", ".join(read))
        alike = [
            own
            for name, own in sorted(names.items())
            if (name in ("negatives", *_NEGATIVE_COLUMNS) or _NUMBERED_NEGATIVES.fullmatch(name))
            and own not in (*read, self.query, self.positive)
        ]
        if alike:
            log.warning(
                "%s: %s looks like negatives and is not read; dataset.negatives_column=%s reads it.",
                *(place, ", ".join(alike), alike[0]),
            )


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
    pairs = refuse_names(_distinct_pairs(rows, columns, problems), column=columns.positive, place=place)
    for pair in sample(pairs, limit, key=lambda pair: pair.id):
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
    labels = _Labels()
    place = ""
    for number, row in enumerate(rows):
        if number == 0:
            place = row.where.rpartition(":")[0]
            columns = columns.recognised(map(str, row.values), place=place, quiet=problems.quiet)
            check_columns(
                row, columns.required(), "dataset.query_column, dataset.positive_column and the like"
            )
        found: list[Pair] = []
        with problems.guard(row.where, "unreadable row"):
            found = _pairs_of_row(row, columns, labels)
        for pair in found:
            if pair.id not in seen:
                seen.add(pair.id)
                yield pair
            elif row.text("id"):
                problems.report(
                    "duplicate id", f"{row.where}: the id {pair.id!r} is taken; give each pair its own."
                )
            else:
                problems.count("repeated row", row.where.rpartition("/")[2])
    if labels.words and not seen:
        raise _unknown_words(labels.words, place=place)
    if not problems.quiet:
        labels.log(place)


@dataclass
class _Labels:
    """The labels of a table that are no plain numbers, and how they are read."""

    words: dict[str, float | None] = field(default_factory=dict)
    forms: dict[str, tuple[str, float]] = field(default_factory=dict)
    """Form -> an example and its value."""

    def log(self, place: str) -> None:
        """Log the values of words, and an example of each form of numbers."""
        if self.words:
            values = sorted((word, value) for word, value in self.words.items() if value is not None)
            listed = ", ".join(f"{word} {value:g}" for word, value in values)
            log.info("%s: labels in words are read as %s (dataset.label_values changes that).", place, listed)
        for form, (text, value) in self.forms.items():
            log.info(
                "%s: labels such as %r are read as numbers, %g for this one (%s).", place, text, value, form
            )


def _unknown_words(words: Iterable[str], *, place: str) -> DataError:
    shown = sorted(set(words))[:_MAX_WORDS_SHOWN]
    values = ", ".join(f"{word}: {number}" for number, word in enumerate(shown))
    return DataError(
        f"{place}: its labels are words ({', '.join(shown)}): give each a value, as in "
        f"'dataset.label_values={{{values}}}', where 1 and above answers the query."
    )


def _pairs_of_row(row: Row, columns: PairColumns, labels: _Labels) -> list[Pair]:
    """Return a pair for each passage that a row lists as positive, for each of its queries.

    Raises:
        UnreadableError: The row has no text, or a label or split that cannot be read.
    """
    positives = [item for item in row.items(columns.positive) if text_of(item)]
    for texts, column in ((row.texts(columns.query), columns.query), (positives, columns.positive)):
        if not texts:
            raise UnreadableError(
                "pair without text", f"{row.where}: column {column!r} is empty; fill it or delete this row."
            )
    label, split = _label(row, columns, labels), _split(row, columns.split)
    query_id = row.text(columns.query_id)
    shared = Pair(
        id=row.text("id"),
        query="",
        positive="",
        document_id=row.text(columns.document_id),
        chunk_id=row.text("chunk_id"),
        negatives=tuple(text for name in (columns.negatives, *columns.numbered) for text in row.texts(name)),
        label=label,
        query_type=row.text("query_type") or "human",
        split=split,
        context_ids=row.texts("context_ids"),
        generator=_generator(row),
        weight=_weight(row, columns.weight),
    )
    pairs: list[Pair] = []
    for query, passage in product(row.texts(columns.query), positives):
        text = text_of(passage)
        number = f"-{len(pairs) + 1}" if pairs else ""
        pair = replace(
            shared,
            id=f"{shared.id}{number}" if shared.id else sha256_of(query, text, label, split)[:16],
            query=query,
            positive=text,
            document_id=_own_document(passage) or shared.document_id or _text_id(text),
            query_id=query_id or sha256_of(query)[:16],
        )
        pairs.append(pair)
    return pairs


def _own_document(passage: Any) -> str:
    """Return the document id that a passage in the form of an object names, else an empty string."""
    if not isinstance(passage, Mapping):
        return ""
    return next((text for key in _DOCUMENT_KEYS if (text := text_of(passage.get(key)))), "")


def _label(row: Row, columns: PairColumns, labels: _Labels) -> float | None:
    """Return a label as a number, and note in ``labels`` how one that is no plain number is read."""
    value = row.values.get(columns.label) if columns.label else None
    text = "" if value is None else str(value).strip()
    if not text:
        return None
    label, form = read_label(value)
    if label is not None and form:
        labels.forms.setdefault(form, (text, label))
    if label is None:
        label = columns.value_of(text)
        if label is not None or not isinstance(value, float):
            labels.words[text] = label
    if label is None:
        raise UnreadableError(
            "label not a number",
            f"{row.where}: label {text[:80]!r} is not a number; write one such as 1 or 0.5, or give the word "
            "a value in dataset.label_values.",
        )
    if abs(label) > MAX_LABEL:
        raise UnreadableError(
            "label out of range",
            f"{row.where}: label {text[:80]!r} is beyond {MAX_LABEL:,}; correct it.",
        )
    return label


def _split(row: Row, column: str | None) -> SplitName | None:
    value = row.text(column)
    if value and value.lower() not in SPLIT_NAMES:
        raise UnreadableError(
            "unknown split",
            f"{row.where}: split {value!r} is none of train, dev and test; use one of them.",
        )
    return SPLIT_NAMES[value.lower()] if value else None


def _weight(row: Row, column: str | None) -> int:
    value = row.text(column)
    if not value or column is None:
        return 1
    number, _ = read_label(row.values[column])
    if number is None or number < 1:
        raise UnreadableError(
            "weight not a number",
            f"{row.where}: weight {value[:80]!r} is not a number from 1 up; write one, or leave it empty.",
        )
    return round(number)


def weighted_by_clicks(
    pairs: Iterable[Pair], clicks: Mapping[tuple[str, str], float], *, least: int
) -> Iterator[Pair]:
    """Yield the pairs with enough clicks, each with their weight, and log how many have too few."""
    dropped = 0
    for pair in pairs:
        count = clicks[pair.query, pair.positive]
        if count < least:
            dropped += 1
            continue
        yield replace(pair, weight=weight_of_clicks(count))
    if dropped:
        log.info("%s pairs have fewer than %d clicks and are left out.", f"{dropped:,}", least)


def weight_of_clicks(count: float) -> int:
    """Return how often training reads a pair in an epoch: once more for each doubling of its clicks."""
    return 1 + int(math.log2(count)) if count >= 1 else 1


def _generator(row: Row) -> Generator:
    value = unpacked(row.values.get("generator"))
    if not isinstance(value, Mapping) or not isinstance(value.get("kind"), str):
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
