"""Names that tables of pairs give their columns and their labels, and what we read them as."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from embexp.errors import DataError

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
