"""Documents become chunks, once for each combination of documents, chunker and model length."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from embexp.data.chunking import TokenCounter, truncated
from embexp.data.record_files import read_jsonl, write_jsonl
from embexp.data.records import Chunk, Document
from embexp.errors import DataError
from embexp.pipeline.experiment import Experiment
from embexp.progress import track

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Corpus:
    """Chunks on disk: ``folder/chunks.jsonl``, and the documents' headers in ``folder/documents.jsonl``."""

    key: str
    folder: Path
    documents: int

    def chunks(self) -> list[Chunk]:
        """Return every chunk."""
        return list(read_jsonl(self.folder / "chunks.jsonl", Chunk))

    def headers(self) -> dict[str, Document]:
        """Return the documents by id, without their texts."""
        return {each.id: each for each in read_jsonl(self.folder / "documents.jsonl", Document)}


def chunk_documents(experiment: Experiment) -> Corpus:
    """Chunk the data set's documents, unless an earlier run has done so.

    Raises:
        DataError: There is nothing to read, or two documents share an id.
    """
    tokens = experiment.model.tokens()
    inputs = (
        experiment.dataset.fingerprint(),
        experiment.settings["chunker"],
        experiment.model.name,
        tokens.limit,
    )
    with experiment.stages.stage("chunks", *inputs) as stage:
        done = stage.done
        if done is None:
            done = {
                "documents": write_chunks(experiment, experiment.dataset.documents(), tokens, stage.folder)
            }
            stage.finish(done)
        return Corpus(stage.key, stage.folder, done["documents"])


def write_chunks(
    experiment: Experiment, documents: Iterable[Document], tokens: TokenCounter, folder: Path
) -> int:
    """Write chunks.jsonl and documents.jsonl as the documents stream by, and return how many there were."""
    headers: dict[str, Document] = {}
    count = write_jsonl(folder / "chunks.jsonl", _chunks(experiment, documents, tokens, headers))
    if not count:
        raise DataError(f"The data set {experiment.dataset.name} holds no text: point it at some documents.")
    write_jsonl(folder / "documents.jsonl", headers.values())
    _warn_of_truncation(folder / "chunks.jsonl", count, tokens)
    return len(headers)


def _chunks(
    experiment: Experiment, documents: Iterable[Document], tokens: TokenCounter, headers: dict[str, Document]
) -> Iterator[Chunk]:
    """Yield the chunks of each document in turn; keep of a document only its header."""
    for document in track(documents, "Reading documents"):
        if document.id in headers:
            raise DataError(
                f"The document id {document.id!r} stands twice, the second time in "
                f"{document.source or experiment.dataset.name}: give each document an id of its own."
            )
        headers[document.id] = replace(document, text="")
        yield from experiment.chunker.chunk(document, tokens)


def _warn_of_truncation(path: Path, count: int, tokens: TokenCounter) -> None:
    cut = truncated(read_jsonl(path, Chunk), tokens)
    if cut:
        log.warning(
            "%s of %s chunks are longer than the model's %s tokens and lose their ends: "
            "chunker=headings or chunker=windows keeps all text.",
            f"{cut:,}", f"{count:,}", tokens.limit,
        )  # fmt: skip
