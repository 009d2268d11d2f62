"""Sets from the Hugging Face Hub, or from a local folder in the Hub's layout."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Any, Literal

from embexp.data.datasets.beir import SPLITS_USED, JudgedRows, Train, grades
from embexp.data.datasets.pairs import SPLIT_NAMES, PairColumns, documents_of, pairs_of
from embexp.data.labels import LabelSettings
from embexp.data.readers.problems import OnError, Problems
from embexp.data.readers.tables import Row, row_of
from embexp.data.records import Document, Pair, SplitName, Unit
from embexp.errors import ConfigError, DataError
from embexp.ranges import Count, Label, check_ranges
from embexp.storage.files import sha256_of, sha256_of_file


@dataclass(kw_only=True)
class HubDataset:
    """A set of the Hub: judged retrieval data in the BEIR layout of ``mteb/...``, or plain pairs.

    Args:
        id: The repository ("mteb/scifact"), or a local folder in the same layout.
        kind: ``beir`` reads the configs corpus, queries and qrels; ``pairs`` reads rows with columns.
        config: The config with the qrels for ``beir`` (usually ``default``), with the rows for ``pairs``.
        splits: The splits to read; empty takes all. Pairs from several splits keep them.
        revision: A branch, tag or commit, to get the same data each time.
        train: As in ``dataset=beir``; only for ``beir``.
        query_column: The question; only for ``pairs``, as the columns below.
        positive_column: The passage that answers it.
        negatives_column: Passages that do not.
        label_column: A similarity, a relevance grade, or a class, as a number or in words.
        label_values: The values of labels in words, beside the usual ones; 1 and above answers the query.
        positive_from: The lowest label of a passage that answers its query; None reads it off the labels.
        label_range: The lowest and the highest label that can occur; None reads them off the labels.
        document_id_column: The document that the passage is from.
        on_error: ``skip`` leaves bad rows out and counts them; ``fail`` stops at the first.
        limit: At most this many documents (``beir``, judged ones are kept) or pairs; None for all.
        limit_queries: At most this many queries of each split; only for ``beir``.
        name: The name in tables and file names; empty takes the repository's name.
    """

    id: str
    kind: Literal["beir", "pairs"] = "pairs"
    config: str | None = None
    splits: list[str] = field(default_factory=list)
    revision: str | None = None
    train: Train = "qrels"
    query_column: str = "query"
    positive_column: str = "positive"
    negatives_column: str | None = "negatives"
    label_column: str | None = "label"
    label_values: dict[str, Label] | None = None
    positive_from: Label | None = None
    label_range: list[Label] | None = None
    document_id_column: str | None = "document_id"
    on_error: OnError = "skip"
    limit: Count | None = None
    limit_queries: Count | None = None
    name: str = ""
    unit: Unit = field(default="document", init=False)
    labels: LabelSettings = field(init=False)

    def __post_init__(self) -> None:
        check_ranges(self, "dataset")
        read = grades if self.kind == "beir" else LabelSettings
        self.labels = read(positive_from=self.positive_from, label_range=self.label_range)
        self.name = self.name or self.id.rstrip("/").rpartition("/")[2]

    @property
    def source(self) -> str:
        """The repository or folder."""
        return self.id

    def fingerprint(self) -> str:
        """Return a digest of the settings and of the data's commit, or of a local folder's files."""
        settings = asdict(self)
        folder = Path(self.id).expanduser()
        if folder.is_dir():
            del settings["id"]
            files = sorted(file for file in folder.rglob("*") if file.is_file())
            return sha256_of(
                "hub", settings, [(str(file.relative_to(folder)), sha256_of_file(file)) for file in files]
            )
        return sha256_of("hub", settings, _commit(self.id, self.revision))

    def documents(self) -> Iterator[Document]:
        """Yield the corpus, or every passage of the pairs once.

        Raises:
            DataError: The set cannot be downloaded or read.
        """
        if self.kind == "beir":
            return self._judged().documents()
        return documents_of(lambda: self._pairs(quiet=True))

    def labelled(self) -> Iterator[Pair]:
        """Yield the judged pairs.

        Raises:
            DataError: The set cannot be downloaded or read.
        """
        return self._judged().labelled() if self.kind == "beir" else self._pairs(quiet=False)

    def _judged(self) -> JudgedRows:
        qrels = self._load(self.config or "default")
        ours = {SPLIT_NAMES.get(name, name): name for name in qrels if not self.splits or name in self.splits}
        used: dict[SplitName, Callable[[Problems], Iterator[Row]]] = {}
        for split in SPLITS_USED[self.train]:
            if split in ours:
                used[split] = partial(_rows, qrels[ours[split]], f"{self.id} qrels/{ours[split]}")
        if "test" not in used or (self.train == "qrels" and "train" not in used):
            needed = "train and test" if self.train == "qrels" else "test"
            raise DataError(
                f"{self.id}: the judgments have the splits {', '.join(qrels)}; dataset.train={self.train} "
                f"needs {needed}. Set dataset.config or dataset.train."
            )
        return JudgedRows(
            name=self.id,
            corpus=self._rows_of("corpus"),
            queries=self._rows_of("queries"),
            qrels=used,
            limit=self.limit,
            limit_queries=self.limit_queries,
            on_error=self.on_error,
        )

    def _rows_of(self, config: str) -> Callable[[Problems], Iterator[Row]]:
        """Return what opens a config with a single split."""
        splits = self._load(config)
        return partial(_rows, next(iter(splits.values())), f"{self.id} {config}")

    def _pairs(self, *, quiet: bool) -> Iterator[Pair]:
        problems = Problems(self.on_error, quiet=quiet)
        columns = PairColumns(
            query=self.query_column,
            positive=self.positive_column,
            negatives=self.negatives_column,
            label=self.label_column,
            label_values=self.label_values,
            document_id=self.document_id_column,
        )
        rows = self._pair_rows(problems)
        return pairs_of(rows, columns, problems, limit=self.limit, place=self.id)

    def _pair_rows(self, problems: Problems) -> Iterator[Row]:
        loaded = self._load(self.config)
        unknown = [name for name in self.splits if name not in loaded]
        if unknown:
            raise ConfigError(f"dataset.splits={self.splits}: {self.id} has {', '.join(loaded)}.")
        names = self.splits or list(loaded)
        for name in names:
            preset = SPLIT_NAMES.get(name) if len(names) > 1 else None
            for row in _rows(loaded[name], f"{self.id} {name}", problems):
                yield Row(row.where, {**row.values, "split": preset}) if preset else row

    def _load(self, config: str | None) -> dict[str, Any]:
        from datasets import load_dataset

        folder = Path(self.id).expanduser()
        source, commit = (
            (str(folder), None) if folder.is_dir() else (self.id, _commit(self.id, self.revision))
        )
        with _hub_errors(self.id, config):
            return dict(load_dataset(source, config, revision=commit))


def _rows(rows: Any, where: str, problems: Problems) -> Iterator[Row]:
    for number, values in enumerate(rows, start=1):
        yield row_of(f"{where}: row {number}", values, problems)


@cache
def _commit(name: str, revision: str | None) -> str | None:
    """Ask the Hub for the commit of a revision; with HF_HUB_OFFLINE set, return the revision as it is.

    Asking first fails at once if the Hub is unreachable, where loading would retry for half a minute.

    Raises:
        DataError: The Hub cannot be reached or has no such set.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.constants import HF_HUB_OFFLINE

    if HF_HUB_OFFLINE:
        return revision
    try:
        return HfApi().dataset_info(name, revision=revision, timeout=10).sha
    except Exception as error:  # its class depends on the HTTP library that the Hub's client uses
        raise _unreachable(name, error) from error


def _unreachable(name: str, error: Exception) -> DataError:
    reason = " ".join(str(error).split())
    local = "dataset=beir dataset.path=… or dataset=pairs dataset.path=…"
    return DataError(
        f"dataset.id={name} cannot be read from the Hugging Face Hub ({reason}). Check the name and the "
        f"network. Without one, use a local copy ({local}), or set "
        "HF_HUB_OFFLINE=1 if it was downloaded before."
    )


@contextmanager
def _hub_errors(name: str, config: str | None) -> Iterator[None]:
    """Turn the errors of the ``datasets`` library into a message with the remedy."""
    try:
        yield
    except OSError as error:
        raise _unreachable(name, error) from error
    except ValueError as error:
        raise DataError(
            f"dataset.id={name}, config {config!r}, cannot be loaded: {error} Set dataset.kind and "
            "dataset.config."
        ) from error
