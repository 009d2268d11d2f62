"""Trains a tiny model in child processes that are killed after random numbers of steps, until one ends.

Arguments: a folder, a seed of the numbers, and the loss: mnrl, softmax or embed_distill. Prints one JSON
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
from collections.abc import Callable
from functools import partial
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


def train(
    folder: Path,
    *,
    epochs: int = 4,
    checkpoint_seconds: float = 0.15,
    on_step: Callable[[Any], None] = lambda step: None,
) -> None:
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
        on_step=on_step,
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


def attempt(folder: Path, work: Callable[[Path], None] = train) -> bool:
    """Train in a child process to its end or until it is killed, and say whether it ended."""
    folder.mkdir(exist_ok=True)
    child = os.fork()
    if child == 0:
        os.close(1)
        work(folder)
        os._exit(0)
    os.waitpid(child, 0)
    return (folder / "result.json").exists()


def train_until(points: int, folder: Path) -> None:
    """Train, and kill this process after so many points of the training's log."""
    seen: list[Any] = []

    def count(point: Any) -> None:
        seen.append(point)
        if len(seen) == points:
            os.kill(os.getpid(), signal.SIGKILL)

    train(folder, on_step=count)


def main() -> None:
    import sentence_transformers  # noqa: F401  (imported once, for all children)

    import embexp.finetuning.training_loop  # noqa: F401

    folder, draw = Path(sys.argv[1]), random.Random(int(sys.argv[2]))
    attempt(folder / "whole")
    kills, longest = 0, 12
    while not attempt(folder / "killed", partial(train_until, draw.randint(1, longest))):
        kills, longest = kills + 1, longest * 2
    whole, killed = (json.loads((folder / name / "result.json").read_text()) for name in ("whole", "killed"))
    print(json.dumps({"whole": whole, "killed": killed, "kills": kills}))


if __name__ == "__main__":
    main()
