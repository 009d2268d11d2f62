"""The user's own pairs: a file of queries and the passages that answer them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

from embexp.data.datasets.pair_rows import PairColumns, documents_of, pairs_of
from embexp.data.readers.problems import OnError, Problems
from embexp.data.readers.tables import read_rows
from embexp.data.records import Document, Pair, Unit
from embexp.data.sampling import check_limit, sample
from embexp.errors import DataError
from embexp.storage.files import sha256_of, sha256_of_file


@dataclass(kw_only=True)
class PairsFile:
    """Pairs from a jsonl, csv, tsv or parquet file, such as the one that ``embexp.synthesize`` writes.

    Columns with their usual names may be missing, but for the query and the positive; one that is
    named otherwise must be there. None turns a column off. Texts that are called otherwise are recognised
    by the names in ``pairnames.TEXTS``, such as text_a and text_b.

    Args:
        path: The file.
        query_column: The question.
        positive_column: The passage that answers it.
        negatives_column: Passages that do not: a list, a list as JSON text, or one text.
        label_column: A similarity, a relevance grade, or a class, as a number or in words.
        label_values: What labels in words are worth, beside the usual ones; 1 and more answers the query.
        document_id_column: The document the passage is from; without it, equal passages are one.
        query_id_column: What judgments of one query share; without it, equal queries are one.
        split_column: train, dev or test, where the file brings its own split.
        on_error: ``skip`` leaves bad rows out and counts them; ``fail`` stops at the first.
        limit: At most this many pairs, spread evenly; None for all.
        name: How reports call this set.
    """

    path: str
    query_column: str = "query"
    positive_column: str = "positive"
    negatives_column: str | None = "negatives"
    label_column: str | None = "label"
    label_values: dict[str, float] | None = None
    document_id_column: str | None = "document_id"
    query_id_column: str | None = "query_id"
    split_column: str | None = "split"
    on_error: OnError = "skip"
    limit: int | None = None
    name: str = "pairs"
    unit: Unit = field(default="document", init=False)

    def __post_init__(self) -> None:
        check_limit("limit", self.limit)

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
        return documents_of(self._pairs(quiet=True), self._pairs(quiet=True))

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
            values=self.label_values,
            document_id=self.document_id_column,
            query_id=self.query_id_column,
            split=self.split_column,
        )
        rows = read_rows(Path(self.path).expanduser(), problems)
        count = 0
        for pair in sample(pairs_of(rows, columns, problems), self.limit, key=lambda pair: pair.id):
            count += 1
            yield pair
        if not count:
            found = problems.summary()
            raise DataError(
                f"{self.path}: no pair in it{f' (skipped: {found})' if found else ''}. "
                f"Give rows with {self.query_column!r} and {self.positive_column!r}."
            )
        problems.close(f"{self.path}: {count:,} pairs")
