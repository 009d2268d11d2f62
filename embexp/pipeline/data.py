"""Documents become chunks, chunks become pairs, pairs become splits without leaks."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from embexp import __version__
from embexp.errors import DataError
from embexp.pipeline.experiment import Experiment
from embexp.progress import track
from embexp.protocols import TokenCounter
from embexp.splitting.leaks import audit
from embexp.splitting.split import split_by_document
from embexp.storage.records import read_jsonl, write_jsonl
from embexp.storage.stages import Stage
from embexp.types import Chunk, Document, Leaks, Pair, Splits

log = logging.getLogger(__name__)
SPLITS = ("train", "dev", "test")


@dataclass(frozen=True)
class Data:
    """A corpus and its pairs.

    ``key`` identifies the content for the stages that follow; ``source`` holds chunks.jsonl and
    pairs.jsonl, ``folder`` the three splits.
    """

    key: str
    source: Path
    folder: Path
    chunks: list[Chunk]
    splits: Splits
    leaks: Leaks
    counts: dict[str, object]
    cached: bool


def write_pairs(experiment: Experiment) -> Stage:
    """Chunk the documents and gather the pairs, unless an earlier run did so with the same inputs.

    Returns:
        The finished stage; its folder holds ``chunks.jsonl`` and ``pairs.jsonl``.

    Raises:
        DataError: There is nothing to read, or it yields no pair.
    """
    settings = {name: experiment.settings[name] for name in ("chunker", "synthesis")}
    tokens = experiment.model.tokens()
    inputs = (__version__, experiment.dataset.fingerprint(), settings, experiment.seed, tokens.limit)
    with experiment.stages.stage("pairs", *inputs) as stage:
        if stage.done is not None:
            return stage
        done = _fill(experiment, tokens, stage.folder)
        stage.finish(done)
        return replace(stage, done=done)


def _fill(experiment: Experiment, tokens: TokenCounter, folder: Path) -> dict[str, object]:
    headers: dict[str, Document] = {}
    write_jsonl(folder / "chunks.jsonl", _chunks(experiment, tokens, headers))
    chunks = list(read_jsonl(folder / "chunks.jsonl", Chunk))
    if not chunks:
        raise DataError(f"The data set {experiment.dataset.name} holds no text: point it at some documents.")
    _warn_of_truncation(chunks, tokens)
    pairs = write_jsonl(folder / "pairs.jsonl", _pairs(experiment, chunks, headers))
    if not pairs:
        raise DataError(
            f"The data set {experiment.dataset.name} yields no pairs: choose synthesis=extractive, "
            "or a data set with labelled pairs."
        )
    return {"documents": len(headers), "chunks": len(chunks), "pairs": pairs}


def _chunks(experiment: Experiment, tokens: TokenCounter, headers: dict[str, Document]) -> Iterator[Chunk]:
    """Yield chunks as documents stream by; keep of each document only its header."""
    for document in track(experiment.dataset.documents(), "Reading documents"):
        if document.id in headers:
            raise DataError(
                f"The document id {document.id!r} stands twice, the second time in "
                f"{document.source or experiment.dataset.name}: give each document an id of its own."
            )
        headers[document.id] = replace(document, text="")
        yield from experiment.chunker.chunk(document, tokens)


def _warn_of_truncation(chunks: list[Chunk], tokens: TokenCounter) -> None:
    from embexp.knowledge.chunkers import truncated

    count = truncated(chunks, tokens)
    if count:
        log.warning(
            "%s of %s chunks are longer than the model's %s tokens and lose their ends: "
            "chunker=headings or chunker=windows keeps all text.",
            f"{count:,}", f"{len(chunks):,}", tokens.limit,
        )  # fmt: skip


def _pairs(experiment: Experiment, chunks: list[Chunk], headers: dict[str, Document]) -> Iterator[Pair]:
    """Yield judged pairs first; written ones join training where the set brings a test split."""
    own_test = False
    for pair in experiment.dataset.labelled():
        own_test = own_test or pair.split == "test"
        yield pair
    written = experiment.synthesis.pairs(chunks, headers)
    yield from (replace(pair, split="train") for pair in written) if own_test else written


def split_pairs(experiment: Experiment) -> Data:
    """Split the pairs by document and take leaks out of training, or fetch the splits from the cache."""
    source = write_pairs(experiment)
    chunks = list(read_jsonl(source.folder / "chunks.jsonl", Chunk))
    inputs = (__version__, source.key, experiment.settings["split"], experiment.seed)
    with experiment.stages.stage("splits", *inputs) as stage:
        done = stage.done
        if done is None:
            done = _split(experiment, source, stage.folder)
            stage.finish(done)
    train, dev, test = (list(read_jsonl(stage.folder / f"{name}.jsonl", Pair)) for name in SPLITS)
    counts = {
        "documents": (source.done or {})["documents"],
        "chunks": len(chunks),
        "pairs": {"train": len(train), "dev": len(dev), "test": len(test)},
    }
    return Data(
        key=stage.key,
        source=source.folder,
        folder=stage.folder,
        chunks=chunks,
        splits=Splits(train, dev, test),
        leaks=Leaks(**done["leaks"]),
        counts=counts,
        cached=stage.done is not None,
    )


def _split(experiment: Experiment, source: Stage, folder: Path) -> dict[str, Any]:
    pairs = list(read_jsonl(source.folder / "pairs.jsonl", Pair))
    trains = any(pair.split != "test" for pair in pairs)
    divided = split_by_document(pairs, experiment.split, seed=experiment.seed, need_train=trains)
    splits, leaks = audit(divided, experiment.split)
    for name in SPLITS:
        write_jsonl(folder / f"{name}.jsonl", (replace(pair, split=name) for pair in getattr(splits, name)))
    return {"leaks": asdict(leaks)}
