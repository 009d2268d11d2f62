"""The data stage: documents become chunks, and pairs become train, dev and test without leaks."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from embexp.data.chunking import TokenCounter
from embexp.data.labels import LabelScale
from embexp.data.leaks import Leaks, audit
from embexp.data.record_files import read_jsonl, write_jsonl
from embexp.data.records import NEVER_TRAINED, Chunk, Document, Pair
from embexp.data.repeated_lines import REPEATED_LINES
from embexp.data.splitting import Splits, split_by_document
from embexp.data.truncation import PASSAGES, QUERIES, Truncation
from embexp.errors import DataError
from embexp.memory import warn_of_memory
from embexp.pipeline.experiment import Experiment
from embexp.pipeline.truncation import COUNTING_TOKENS, measure_truncation
from embexp.pipeline.unread_language import warn_of_unread_language
from embexp.progress import READING_DOCUMENTS, job, track
from embexp.storage.manifest import write_manifest
from embexp.tracking.provenance import provenance
from embexp.tracking.tracker import TrackedRun
from embexp.user_code import identity, yielded

log = logging.getLogger(__name__)

SPLITS = ("train", "dev", "test")
_MEMORY_OF_FILE = 1.5
"""The memory that records take, for each byte of their file."""
CORPUS_FILES = ("chunks.jsonl", "documents.jsonl")


@dataclass(frozen=True)
class Corpus:
    """Chunks on disk: ``folder/chunks.jsonl``, and the documents' headers in ``folder/documents.jsonl``."""

    key: str
    folder: Path
    documents: int

    def chunks(self) -> list[Chunk]:
        """Return every chunk."""
        path = self.folder / "chunks.jsonl"
        warn_of_memory(
            _MEMORY_OF_FILE * path.stat().st_size,
            "The corpus",
            "if the system ends this process, give it more memory, or take fewer documents (dataset.limit=…)",
        )
        return list(track(read_jsonl(path, Chunk), "Reading chunks", total=self.count))

    def passages(self) -> Iterator[str]:
        """Yield the text of each chunk as it is embedded, one at a time."""
        return (each.passage for each in read_jsonl(self.folder / "chunks.jsonl", Chunk))

    @cached_property
    def count(self) -> int:
        """The number of chunks."""
        with (self.folder / "chunks.jsonl").open("rb") as stream:
            return sum(1 for _ in stream)

    @cached_property
    def repeated_lines(self) -> int:
        """How many lines that most documents repeat were left out of them."""
        return sum(int(each.metadata.get(REPEATED_LINES, 0)) for each in self.headers().values())

    def headers(self) -> dict[str, Document]:
        """Return document id -> document, without the texts."""
        return {each.id: each for each in read_jsonl(self.folder / "documents.jsonl", Document)}


@dataclass(frozen=True)
class WrittenPairs:
    """All pairs of a corpus, in ``path``; ``report`` is the synthesis's account of its work."""

    key: str
    path: Path
    corpus: Corpus
    count: int
    report: dict[str, Any]
    cached: bool

    @property
    def usage(self) -> dict[str, float]:
        """What the language model used for all pairs, recorded answers included; empty without one."""
        if "usage" not in self.report:
            return {}
        return {"requests": self.report["requests"], **self.report["usage"]}


@dataclass(frozen=True)
class Data:
    """A corpus and its splits; ``key`` identifies the content for the stages that follow.

    ``truncation`` has the counts of the passages and the queries that the model does not read to their ends.
    """

    key: str
    folder: Path
    written: WrittenPairs
    chunks: list[Chunk]
    splits: Splits
    leaks: Leaks
    cached: bool
    truncation: Mapping[str, Truncation] = field(default_factory=dict)

    @property
    def counts(self) -> dict[str, Any]:
        """The number of documents, of chunks, and of pairs in each split."""
        pairs = {name: len(getattr(self.splits, name)) for name in SPLITS}
        corpus = self.written.corpus
        counts = {"documents": corpus.documents, "chunks": len(self.chunks), "pairs": pairs}
        return counts if not corpus.repeated_lines else {**counts, REPEATED_LINES: corpus.repeated_lines}


def chunk_documents(experiment: Experiment) -> Corpus:
    """Chunk the data set's documents, or take the chunks from the cache.

    Raises:
        DataError: There is nothing to read, or two documents share an id.
    """
    tokens = experiment.model.tokens()
    inputs = (
        identity(experiment.dataset),
        experiment.settings["chunker"],
        experiment.model.name,
        tokens.limit,
    )
    with experiment.stages.stage("chunks", *inputs) as stage:
        done = stage.done
        if done is None:
            documents = experiment.dataset.documents()
            done = {"documents": write_chunks(experiment, documents, tokens, stage.folder)}
            stage.finish(done, *CORPUS_FILES)
        return Corpus(stage.key, stage.folder, done["documents"])


def write_chunks(
    experiment: Experiment, documents: Iterable[Document], tokens: TokenCounter, folder: Path
) -> int:
    """Write chunks.jsonl and documents.jsonl while the documents are read; return their number."""
    headers: dict[str, Document] = {}
    count = write_jsonl(folder / "chunks.jsonl", _chunks(experiment, documents, tokens, headers))
    if not count:
        raise DataError(f"The data set {experiment.dataset.name} has no text: point it at some documents.")
    write_jsonl(folder / "documents.jsonl", headers.values())
    return len(headers)


def _chunks(
    experiment: Experiment, documents: Iterable[Document], tokens: TokenCounter, headers: dict[str, Document]
) -> Iterator[Chunk]:
    """Yield the chunks of each document in turn, and keep only the document's header."""
    owner, chunker = experiment.dataset, experiment.chunker
    with job(READING_DOCUMENTS, total=None) as bar:
        for document in yielded(documents, Document, owner, "documents"):
            if document.id in headers:
                raise DataError(
                    f"The document id {document.id!r} occurs twice, the second time in "
                    f"{document.source or experiment.dataset.name}: give each document an id of its own."
                )
            headers[document.id] = replace(document, text="")
            for chunk in yielded(chunker.chunk(document, tokens), Chunk, chunker, "chunk"):
                yield chunk if chunk.source else replace(chunk, source=document.source)
            bar.advance()


def truncated_texts(experiment: Experiment, written: WrittenPairs) -> dict[str, Truncation]:
    """Return how many passages and questions are longer than the model reads, and say it in the log."""
    corpus = written.corpus
    return measure_truncation(
        experiment,
        experiment.model,
        (corpus.key, written.key),
        {
            PASSAGES: lambda: track(corpus.passages(), COUNTING_TOKENS, total=corpus.count),
            QUERIES: lambda: sorted({pair.query for pair in read_jsonl(written.path, Pair)}),
        },
    )


def split_pairs(experiment: Experiment, written: WrittenPairs) -> Data:
    """Split the pairs by document and remove leaks from training, or take the splits from the cache.

    Raises:
        DataError: The pairs cannot be split, or no training pair is left.
    """
    inputs = (written.key, experiment.settings["split"], experiment.seed)
    with experiment.stages.stage("splits", *inputs) as stage:
        done = stage.done
        if done is None:
            done = _split(experiment, written, stage.folder)
            stage.finish(done, *(f"{name}.jsonl" for name in SPLITS))
    train, dev, test = (list(read_jsonl(stage.folder / f"{name}.jsonl", Pair)) for name in SPLITS)
    warn_of_unread_language(experiment.model, [pair.query for pair in test or dev], train)
    return Data(
        key=stage.key,
        folder=stage.folder,
        written=written,
        chunks=written.corpus.chunks(),
        splits=Splits(train, dev, test, LabelScale(**done["scale"])),
        leaks=TypeAdapter(Leaks).validate_python(done["leaks"]),
        cached=written.cached and stage.done is not None,
        truncation=truncated_texts(experiment, written),
    )


def _split(experiment: Experiment, written: WrittenPairs, folder: Path) -> dict[str, Any]:
    pairs = list(read_jsonl(written.path, Pair))
    trains = any(pair.split != "test" and pair.generator.kind not in NEVER_TRAINED for pair in pairs)
    divided = split_by_document(
        pairs,
        experiment.split,
        seed=experiment.seed,
        need_train=trains,
        labels=experiment.dataset.labels,
    )
    splits, leaks = audit(divided, experiment.split)
    if divided.train and not splits.train:
        raise DataError(
            f"The leak audit removed all {len(divided.train):,} training pairs: each nearly equals a dev or "
            "test question or passage. Give more varied documents, or raise split.near_duplicate_queries "
            "and split.near_duplicate_passages."
        )
    for name in SPLITS:
        write_jsonl(folder / f"{name}.jsonl", (replace(pair, split=name) for pair in getattr(splits, name)))
    return {"leaks": asdict(leaks), "scale": asdict(splits.label_scale())}


def save_data(experiment: Experiment, data: Data, run: TrackedRun, out_dir: Path) -> None:
    """Copy chunks and splits to ``out_dir/data``, each with its manifest, and log the data set."""
    names = ("dataset", "chunker", "synthesis", "llm", "split")
    settings = {name: experiment.settings[name] for name in names}
    commit = provenance().get("git_commit")
    folder = out_dir / "data"
    folder.mkdir(parents=True, exist_ok=True)
    usage = data.written.usage
    for name, records in {"chunks": len(data.chunks), **data.counts["pairs"]}.items():
        source = data.written.corpus.folder if name == "chunks" else data.folder
        target = folder / f"{name}.jsonl"
        shutil.copyfile(source / f"{name}.jsonl", target)
        write_manifest(target, records=records, settings=settings, commit=commit, usage=usage)
    write_jsonl(folder / "leaks.jsonl", data.leaks.examples)
    if usage:
        run.log_metrics(usage_metrics(usage))
    run.log_dataset(name=experiment.dataset.name, source=experiment.dataset.source, digest=data.key)


def usage_metrics(usage: dict[str, float]) -> dict[str, float]:
    """Return the usage of a language model under the tracker's names."""
    return {f"llm/{name}": float(value) for name, value in usage.items()}
