"""Pairs become train, dev and test without leaks between them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from embexp.data.leaks import audit
from embexp.data.record_files import read_jsonl, write_jsonl
from embexp.data.records import Chunk, Leak, Leaks, Pair, Splits
from embexp.data.splitting import split_by_document
from embexp.errors import DataError
from embexp.pipeline.experiment import Experiment
from embexp.pipeline.synthesize import Written, write_pairs

SPLITS = ("train", "dev", "test")


@dataclass(frozen=True)
class Data:
    """A corpus and its splits; ``key`` identifies the content for the stages that follow."""

    key: str
    folder: Path
    written: Written
    chunks: list[Chunk]
    splits: Splits
    leaks: Leaks
    counts: dict[str, object]
    cached: bool


def split_pairs(experiment: Experiment) -> Data:
    """Split the pairs by document and take leaks out of training, or fetch the splits from the cache."""
    written = write_pairs(experiment)
    inputs = (written.key, experiment.settings["split"], experiment.seed)
    with experiment.stages.stage("splits", *inputs) as stage:
        done = stage.done
        if done is None:
            done = _split(experiment, written, stage.folder)
            stage.finish(done)
    train, dev, test = (list(read_jsonl(stage.folder / f"{name}.jsonl", Pair)) for name in SPLITS)
    chunks = written.corpus.chunks()
    return Data(
        key=stage.key,
        folder=stage.folder,
        written=written,
        chunks=chunks,
        splits=Splits(train, dev, test),
        leaks=_leaks(done["leaks"]),
        counts={
            "documents": written.corpus.documents,
            "chunks": len(chunks),
            "pairs": {"train": len(train), "dev": len(dev), "test": len(test)},
        },
        cached=written.cached and stage.done is not None,
    )


def _leaks(record: Mapping[str, Any]) -> Leaks:
    return Leaks(**{**record, "examples": tuple(Leak(**each) for each in record["examples"])})


def _split(experiment: Experiment, written: Written, folder: Path) -> dict[str, Any]:
    pairs = list(read_jsonl(written.path, Pair))
    trains = any(pair.split != "test" for pair in pairs)
    divided = split_by_document(pairs, experiment.split, seed=experiment.seed, need_train=trains)
    splits, leaks = audit(divided, experiment.split)
    if divided.train and not splits.train:
        raise DataError(
            f"The leak audit took out all {len(divided.train):,} training pairs: each nearly equals a dev or "
            "test question or passage. Give more varied documents, or raise split.near_duplicate_queries "
            "and split.near_duplicate_passages."
        )
    for name in SPLITS:
        write_jsonl(folder / f"{name}.jsonl", (replace(pair, split=name) for pair in getattr(splits, name)))
    return {"leaks": asdict(leaks)}
