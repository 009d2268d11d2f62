"""Trains a tiny model in child processes that are killed at random moments, again and again, until one ends.

Arguments: a folder, a seed of the moments, and the loss: mnrl, softmax or embed_distill. Prints one JSON
line: the digests of an uninterrupted run's weights and of the killed one's, how often the latter was killed,
and from which step its last attempt went on.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))  # started as a script

from embexp.data.splitting import Splits
from embexp.finetuning.losses import EmbedDistill, Mnrl, Softmax
from embexp.finetuning.teachers import BiEncoderTeacher
from embexp.finetuning.trainer import SentenceTransformerFineTuner
from embexp.models.tiny import TinyModel
from tests.finetuning.jargon import make_pair, mean_reciprocal_rank


def loss_of(name: str, folder: Path) -> Any:
    """Return a loss; two of them train weights of their own, a classifier and a map to 32 numbers."""
    teacher = BiEncoderTeacher(model=TinyModel(seed=2, dimension=32), cache=str(folder / "teacher"))
    return {"mnrl": Mnrl(), "softmax": Softmax(), "embed_distill": EmbedDistill(teacher=teacher)}[name]


def train(folder: Path, *, epochs: int = 4, checkpoint_seconds: float = 0.15) -> None:
    import torch

    torch.set_num_threads(1)
    model = TinyModel(seed=1, layers=1).load()
    splits = Splits(
        train=[make_pair(n) for n in range(96)], dev=[make_pair(n) for n in range(100, 130)], test=[]
    )
    tuner = SentenceTransformerFineTuner(
        epochs=epochs,
        batch_size=8,
        learning_rate=2e-3,
        evaluations=4,
        hard_negatives=1,
        merge=[0.5],
        checkpoint_seconds=checkpoint_seconds,
    )
    training = tuner.fit(
        model,
        loss_of(sys.argv[3], folder),
        splits,
        dev_scores=mean_reciprocal_rank(list(splits.dev)),
        work_dir=folder / "work",
        seed=0,
        on_step=lambda step: None,
    )
    digest = hashlib.sha256()
    for value in model.state_dict().values():
        digest.update(value.numpy().tobytes())
    points = [(point.step, point.metrics) for point in training.history if "loss" not in point.metrics]
    found = {
        "digest": digest.hexdigest(),
        "resumed_from": training.resumed_from,
        "best": training.best_step,
        "dev": points,
    }
    (folder / "result.json").write_text(json.dumps(found))


def attempt(folder: Path, seconds: float, work: Callable[[Path], None] = train) -> bool:
    """Train in a child process, kill it after ``seconds``, and say whether it had ended by itself."""
    folder.mkdir(exist_ok=True)
    child = os.fork()
    if child == 0:
        os.close(1)
        work(folder)
        os._exit(0)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if os.waitpid(child, os.WNOHANG) != (0, 0):
            return True
        time.sleep(0.005)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return (folder / "result.json").exists()


def main() -> None:
    import sentence_transformers  # noqa: F401  (imported once, for all children)

    import embexp.finetuning.training_loop  # noqa: F401

    folder, moments = Path(sys.argv[1]), random.Random(int(sys.argv[2]))
    attempt(folder / "whole", 300)
    kills, longest = 0, 1.0
    while not attempt(folder / "killed", moments.uniform(0.3, longest)):
        kills, longest = kills + 1, longest * 1.3
    whole, killed = (json.loads((folder / name / "result.json").read_text()) for name in ("whole", "killed"))
    print(json.dumps({"whole": whole, "killed": killed, "kills": kills}))


if __name__ == "__main__":
    main()
