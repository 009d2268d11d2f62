"""A local retrieval set in the BEIR layout: corpus.jsonl, queries.jsonl, qrels/{train,dev,test}.tsv."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path

from embexp.data.datasets.qrels import SPLITS_USED, JudgedSet, Train
from embexp.data.readers.encodings import encoding_of
from embexp.data.readers.problems import OnError, Problems
from embexp.data.readers.tables import Row, read_rows
from embexp.data.records import Document, Pair, SplitName, Unit
from embexp.data.sampling import check_limit
from embexp.errors import DataError
from embexp.storage.files import sha256_of, sha256_of_file

COLUMNS = ("query-id", "corpus-id", "score")


@dataclass(kw_only=True)
class BeirFolder:
    """A corpus with people's queries and judgments, which keeps its own split.

    Args:
        path: The folder.
        train: ``qrels`` trains on the set's own judgments; ``synthetic`` has training pairs written from
            the corpus and takes only dev and test from the set; ``none`` takes test alone.
        limit: At most this many documents; the judged ones are always kept. None for all.
        limit_queries: At most this many queries of each split, the same ones each time; None for all.
        on_error: ``skip`` leaves bad rows and judgments out and counts them; ``fail`` stops at the first.
        name: How reports call this set; empty takes the folder's name.
    """

    path: str
    train: Train = "qrels"
    limit: int | None = None
    limit_queries: int | None = None
    on_error: OnError = "skip"
    name: str = ""
    unit: Unit = field(default="document", init=False)

    def __post_init__(self) -> None:
        check_limit("limit", self.limit)
        check_limit("limit_queries", self.limit_queries)
        self.name = self.name or Path(self.path).expanduser().resolve().name

    def fingerprint(self) -> str:
        """Return a digest of the settings and of the files that they use.

        Raises:
            DataError: A file is missing.
        """
        settings = {key: value for key, value in asdict(self).items() if key != "path"}
        files = [self._file("corpus.jsonl"), self._file("queries.jsonl"), *self._qrels().values()]
        return sha256_of("beir", settings, [(file.name, sha256_of_file(file)) for file in files])

    def documents(self) -> Iterator[Document]:
        """Yield the corpus in the order of its file.

        Raises:
            DataError: A file is missing, or a row is bad and ``on_error`` is ``fail``.
        """
        return self._judged().documents()

    def labelled(self) -> Iterator[Pair]:
        """Yield a pair for each relevant document of each query; grade 0 makes none.

        Raises:
            DataError: A file is missing, nothing can be used, or a row is bad and ``on_error`` is ``fail``.
        """
        return self._judged().labelled()

    def _judged(self) -> JudgedSet:
        return JudgedSet(
            name=self.path,
            corpus=partial(read_rows, self._file("corpus.jsonl")),
            queries=partial(read_rows, self._file("queries.jsonl")),
            qrels={split: partial(read_qrels_file, file) for split, file in self._qrels().items()},
            limit=self.limit,
            limit_queries=self.limit_queries,
            on_error=self.on_error,
        )

    def _qrels(self) -> dict[SplitName, Path]:
        """Return the qrels files to use; only those of dev may be missing."""
        folder = Path(self.path).expanduser() / "qrels"
        splits = SPLITS_USED[self.train]
        if "train" in splits and folder.is_dir() and not (folder / "train.tsv").is_file():
            raise DataError(
                f"{self.path}/qrels/train.tsv is missing and dataset.train=qrels trains on it: add it, or "
                "set dataset.train=synthetic or dataset.train=none."
            )
        optional = folder / "dev.tsv"
        return {
            split: self._file(f"qrels/{split}.tsv")
            for split in splits
            if split != "dev" or optional.is_file()
        }

    def _file(self, name: str) -> Path:
        folder = Path(self.path).expanduser()
        if not folder.is_dir():
            raise DataError(f"{self.path} is not a folder: check dataset.path for a typing error.")
        if not (folder / name).is_file():
            raise DataError(
                f"{self.path}/{name} is missing: a BEIR folder holds corpus.jsonl, queries.jsonl and "
                "qrels/test.tsv; for bare documents use dataset=folder, for pairs dataset=pairs."
            )
        return folder / name


def read_qrels_file(path: Path, problems: Problems) -> Iterator[Row]:
    """Yield the judgments of a tab-separated file of query, document and grade, with or without a header."""
    with path.open(encoding=encoding_of(path), errors="replace") as stream:
        for number, line in enumerate(stream, start=1):
            fields = line.rstrip("\r\n").split("\t")
            if not line.strip() or (number == 1 and fields[-1].strip() in ("score", "grade", "relevance")):
                continue
            where = f"{path}:{number}"
            if len(fields) == len(COLUMNS):
                yield Row(where, dict(zip(COLUMNS, fields, strict=True)))
            else:
                message = (
                    f"{where}: {len(fields)} columns; write query-id, corpus-id and score with tabs between."
                )
                problems.report("broken line", message)
