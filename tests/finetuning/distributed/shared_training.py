"""Trains tiny models in one process and in several that share each batch, and prints how far they end apart.

Each line of output is JSON: the case, how far training moved the weights, and how far the two ends are apart
as a share of that. The processes are forked, so that the libraries are imported once.

The measure is a norm over all weights, not the largest difference of one: Adam divides each gradient by its
own size, so a weight whose gradient is nearly 0 moves by the order in which a machine adds numbers up.
"""

from __future__ import annotations

import json
import math
import os
import signal
import socket
import sys
import traceback
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[3]))  # started as a script

from embexp.data.splitting import Splits
from embexp.finetuning.distributed import process_group as processes
from embexp.finetuning.losses import (
    Angle,
    CachedGist,
    CachedMnrl,
    Cosent,
    DistillKl,
    EmbedDistill,
    Gist,
    Listwise,
    Loss,
    MarginMse,
    Matryoshka,
    Mnrl,
    MnrlSymmetric,
    OnlineContrastive,
    QueryDistill,
    Softmax,
    Triplet,
)
from embexp.finetuning.parameter_efficient import Lora, QueryAdapter, QueryEncoder
from embexp.finetuning.teachers import BiEncoderTeacher
from embexp.finetuning.trainer import SentenceTransformerFineTuner
from embexp.models.tiny import TinyModel
from tests.finetuning.jargon import make_pair, mean_reciprocal_rank


class ShortOnce(Loss):
    """MNRL that runs out of memory once, in one process."""

    columns = "pairs"

    def __init__(self, rank: int) -> None:
        self.rank, self.calls = rank, 0

    def __repr__(self) -> str:
        return "ShortOnce()"

    def build(self, model, outputs):
        module = Mnrl().build(model, outputs)
        forward = module.forward

        def failing(*arguments, **options):
            self.calls += 1
            here = processes.current_process_group()
            if self.calls == 2 and self.rank == (here.rank if here else 0):
                raise RuntimeError("out of memory")
            return forward(*arguments, **options)

        module.forward = failing
        return module


class KilledOnce(Loss):
    """MNRL that ends one process with SIGKILL at its fourth step, once."""

    columns = "pairs"

    def __init__(self, rank: int) -> None:
        self.rank, self.calls = rank, 0

    def __repr__(self) -> str:
        return "KilledOnce()"

    def build(self, model, outputs):
        module = Mnrl().build(model, outputs)
        forward = module.forward

        def killed(*arguments, **options):
            self.calls += 1
            here = processes.current_process_group()
            if here is not None and here.rank == self.rank and self.calls == 4 and not MARK.exists():
                MARK.touch()
                os.kill(os.getpid(), signal.SIGKILL)
            return forward(*arguments, **options)

        module.forward = killed
        return module


MARK = Path(sys.argv[1]) / "killed"
KILLS = ("rank 0 is killed", "a worker is killed")
# 46 rows in batches of at most 16 are 16 + 16 + 14: over four processes 4 + 4 + 3 + 3 rows in the last one.
PAIRS = [make_pair(n) for n in range(46)]
SCORED = [replace(pair, label=float(at % 3) / 2) for at, pair in enumerate(PAIRS)]
TEACHER = BiEncoderTeacher(model=TinyModel(seed=2, layers=1, dimension=32))
FEW = [make_pair(n) for n in range(3)]
ASKED = {"query_encoder that reads loanwords": [replace(PAIRS[0], query="корзина для рамы")]}
CASES = {
    "mnrl": (Mnrl, PAIRS, {}),
    "mnrl with negatives": (Mnrl, PAIRS, {"hard_negatives": 2}),
    "mnrl_symmetric": (MnrlSymmetric, PAIRS, {}),
    "cached_mnrl": (lambda: CachedMnrl(mini_batch_size=3), PAIRS, {}),
    "gist": (Gist, PAIRS, {"hard_negatives": 1}),
    "cached_gist": (lambda: CachedGist(mini_batch_size=3), PAIRS, {}),
    "triplet": (Triplet, PAIRS, {}),
    "online_contrastive": (OnlineContrastive, SCORED, {}),
    "cosent": (Cosent, SCORED, {}),
    "angle": (Angle, SCORED, {}),
    "softmax": (Softmax, PAIRS, {}),
    "margin_mse": (lambda: MarginMse(teacher=TEACHER), PAIRS, {"hard_negatives": 2}),
    "distill_kl": (lambda: DistillKl(teacher=TEACHER), PAIRS, {"hard_negatives": 2}),
    "listwise": (lambda: Listwise(teacher=TEACHER, passages=5), PAIRS, {}),
    "listwise that falls back": (lambda: Listwise(teacher=TEACHER, fallback=Mnrl()), PAIRS, {}),
    "embed_distill": (lambda: EmbedDistill(teacher=TEACHER), PAIRS, {}),
    "matryoshka": (lambda: Matryoshka(loss=Mnrl(), dims=[32, 16]), PAIRS, {}),
    "matryoshka of cached_mnrl": (lambda: Matryoshka(loss=CachedMnrl(), dims=[32]), PAIRS, {}),
    "lora": (Mnrl, PAIRS, {"method": Lora(rank=4)}),
    "query_adapter": (Mnrl, PAIRS, {"method": QueryAdapter()}),
    "query_encoder": (QueryDistill, PAIRS, {"method": QueryEncoder()}),
    "query_encoder that reads loanwords": (QueryDistill, PAIRS, {"method": QueryEncoder()}),
    "fewer rows than processes": (Mnrl, FEW, {}),
    "rank 0 runs out of memory": (lambda: ShortOnce(0), PAIRS, {}),
    "a worker runs out of memory": (lambda: ShortOnce(1), PAIRS, {}),
    "rank 0 is killed": (lambda: KilledOnce(0), PAIRS, {"evaluations": 4}),
    "a worker is killed": (lambda: KilledOnce(1), PAIRS, {"evaluations": 4}),
}


def train(case: str, folder: Path) -> None:
    """Train in this process, as rank 0 or alone, and write the weights."""
    build, pairs, options = CASES[case]
    loss = build()
    model = TinyModel(seed=1, layers=1).load()
    dev = [make_pair(n) for n in range(100, 120)]
    training = tuner(options).fit(
        model,
        loss.fallback or loss,  # as if its teacher had not passed
        Splits(train=pairs, dev=dev, test=ASKED.get(case, [])),
        dev_scores=mean_reciprocal_rank(dev),
        work_dir=folder / "work",
        seed=0,
        on_step=lambda step: None,
    )
    from embexp.finetuning.checkpoints import save_weights

    save_weights(folder / "weights.safetensors", model)
    (folder / "training.json").write_text(json.dumps({"resumed_from": training.resumed_from}))


def tuner(options) -> SentenceTransformerFineTuner:
    return SentenceTransformerFineTuner(
        epochs=2,
        batch_size=16,
        learning_rate=2e-3,
        select="tuned",
        dropout=0.0,
        attention_dropout=0.0,
        **{"evaluations": 2, **options},
    )


def member(case: str, folder: Path, rank: int, size: int, port: int) -> None:
    import torch

    torch.set_num_threads(1)
    place = {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(size)}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    group = processes.init_process_group(place)
    assert not place.keys() & set(processes.LAUNCHER_VARIABLES)
    if group is None:
        train(case, folder)
        return
    group.join()
    if group.rank == 0:
        train(case, folder)
        group.release_workers()
    else:
        loss, _, options = CASES[case]
        tuner(options).run_worker(loss(), TinyModel(seed=1, layers=1).load)


def run(case: str, folder: Path, size: int) -> bool:
    """Train in ``size`` processes, and say whether all ended well."""
    folder.mkdir(exist_ok=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    children = []
    for rank in range(size):
        child = os.fork()
        if child == 0:
            code = 1
            try:
                member(case, folder, rank, size, port)
                code = 0
            finally:
                if code:
                    traceback.print_exc()
                os._exit(code)
        children.append(child)
    ended = [os.waitpid(child, 0)[1] for child in children]
    return not any(ended)


def main() -> None:
    import sentence_transformers  # noqa: F401  (imported once, for all children)
    from safetensors.torch import load_file

    import embexp.finetuning.training_loop  # noqa: F401

    folder = Path(sys.argv[1])
    for at, case in enumerate(sys.argv[3:] or CASES):
        ended = [run(case, folder / f"{at}-one", 1), run(case, folder / f"{at}-shared", int(sys.argv[2]))]
        if case in KILLS:
            assert ended == [True, False], f"{case}: nothing was killed"
            ended = [run(case, folder / f"{at}-shared", int(sys.argv[2]))]
            MARK.unlink()
        assert all(ended), f"{case}: a process failed"
        told = json.loads((folder / f"{at}-shared" / "training.json").read_text())
        one, shared = (
            load_file(folder / f"{at}-{name}" / "weights.safetensors") for name in ("one", "shared")
        )
        start = start_of(case)
        moved = distance(one, start)
        print(
            json.dumps({"case": case, "moved": moved, "apart": distance(one, shared) / moved, **told}),
            flush=True,
        )


def start_of(case: str) -> dict:
    """Return the weights before the training, those of two encoders for a query encoder."""
    model, method = TinyModel(seed=1, layers=1).load(), CASES[case][2].get("method")
    if isinstance(method, QueryEncoder):
        method.extend(model)
    return model.state_dict()


def distance(one: dict, other: dict) -> float:
    """Return the Euclidean distance of the weights that both have; new ones (of an adapter) count from 0."""
    return math.sqrt(
        sum(float((value - known(other.get(name), value)).square().sum()) for name, value in one.items())
    )


def known(weights, value):
    """Return the weights, 0 for those that are not there, and for further rows (of new tokens)."""
    import torch

    found = torch.zeros_like(value)
    if weights is not None:
        found[: len(weights)] = weights
    return found


if __name__ == "__main__":
    main()
