"""Every loss of conf/ under every trainer of conf/ learns; a new option is tested by being there."""

from __future__ import annotations

import copy
import functools
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate

from embexp.config.check import check
from embexp.config.schema import register
from embexp.data.splitting import Splits
from embexp.finetuning.losses import Mnrl
from embexp.finetuning.trainer import SentenceTransformerFineTuner
from embexp.models.tiny import TinyModel
from embexp.package import conf_dir
from tests.finetuning.jargon import freeze_imports, make_pair

register()
LOSSES, TRAINERS = (
    sorted(path.stem for path in (conf_dir() / group).glob("*.yaml")) for group in ("loss", "trainer")
)
SPLITS = Splits(
    train=[make_pair(number) for number in range(96)],
    dev=[make_pair(number) for number in range(100, 150)],
    test=[],
)
FASTER = 40
"""The tiny model's weights are random, and learn in a few steps only at rates far above the options'."""
LONGER = {"softmax": 20}
"""Epochs of a loss that has a classifier of random weights to train, too; 5 for the others."""


@functools.cache
def composed(choice: str, teacher: str = "") -> Any:
    """Compose one option; where it asks a teacher, that is the model in the folder ``teacher``."""
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        taught = ["teacher@loss.teacher=bi_encoder", "model@loss.teacher.model=local"] if teacher else []
        path = [f"loss.teacher.model.path={teacher}"] if teacher else []
        return compose(
            "config",
            overrides=["paths.root=.", f"paths.cache={Path(teacher or '.').parent}", choice, *taught, *path],
        )


def dev_scores(model: Any) -> dict[str, float]:
    """Score a model by the rank of each dev query's own passage; queries and passages go their own ways."""
    queries = model.encode_query([pair.query for pair in SPLITS.dev], normalize_embeddings=True)
    passages = model.encode_document([pair.positive for pair in SPLITS.dev], normalize_embeddings=True)
    scores = queries @ passages.T
    ranks = (scores > scores.diagonal()[:, None]).sum(axis=1) + 1
    return {"ndcg@10": float((1 / ranks).mean())}


@pytest.fixture(scope="module")
def untuned() -> Any:
    freeze_imports()
    return TinyModel(seed=1, layers=1).load()


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A model that knows the jargon, with vectors of another length than the student's."""
    folder = tmp_path_factory.mktemp("teacher")
    model = TinyModel(seed=2, layers=1, dimension=32).load()
    SentenceTransformerFineTuner(
        epochs=15, batch_size=32, learning_rate=5e-3, evaluations=0, dropout=0.0, attention_dropout=0.0
    ).fit(
        model,
        Mnrl(),
        SPLITS,
        dev_scores=dev_scores,
        work_dir=folder / "work",
        seed=0,
        on_step=lambda step: None,
    )
    assert dev_scores(model)["ndcg@10"] > 0.3
    model.save_pretrained(str(folder / "model"))
    return str(folder / "model")


def learns(loss: str, trainer: str, untuned: Any, teacher: str, folder: Path) -> None:
    """Train with one pair of options and check that a step scores above the untuned model on dev."""
    config = composed(f"loss={loss}")
    if "teacher" in config.loss:
        config = composed(f"loss={loss}", teacher)
    check(config)
    settings = copy.deepcopy(composed(f"trainer={trainer}").trainer)
    rate = 1e-4 if settings.learning_rate == "auto" else settings.learning_rate
    settings.update(learning_rate=FASTER * rate, batch_size=32, evaluations=2)
    settings.update(epochs=LONGER.get(loss, 5))
    model = copy.deepcopy(untuned)
    training = instantiate(settings, _convert_="all").fit(
        model,
        instantiate(config.loss, _convert_="all"),
        SPLITS,
        dev_scores=dev_scores,
        work_dir=folder,
        seed=0,
        on_step=lambda step: None,
    )
    assert training.candidates["tuned"] > training.candidates["untuned"]


LABELLED = [name for name in LOSSES if name != "query_distill"]
"""query_distill learns from words that queries and passages share, and here they share none."""


@pytest.mark.parametrize("loss", LABELLED)
def test_every_loss_learns(loss, untuned, teacher, tmp_path):
    learns(loss, "default", untuned, teacher, tmp_path)


@pytest.mark.parametrize("trainer", [name for name in TRAINERS if name != "default"])
def test_every_trainer_learns(trainer, untuned, teacher, tmp_path):
    if trainer == "lora":
        pytest.importorskip("peft")
    learns("mnrl", trainer, untuned, teacher, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("trainer", [name for name in TRAINERS if name not in ("default", "query_adapter")])
@pytest.mark.parametrize("loss", [name for name in LABELLED if name != "mnrl"])
def test_every_loss_learns_with_every_trainer(loss, trainer, untuned, teacher, tmp_path):
    if trainer == "lora":
        pytest.importorskip("peft")
    learns(loss, trainer, untuned, teacher, tmp_path)
