"""The typed root of the configuration; components below it are checked against their constructors."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING

COMPONENTS = (
    "dataset",
    "chunker",
    "synthesis",
    "llm",
    "split",
    "model",
    "tuned",
    "loss",
    "trainer",
    "retriever",
    "benchmark",
    "forgetting",
    "suite",
    "tracker",
)


@dataclass
class Paths:
    """Folders that runs share: ``root`` holds mlflow.db and mlruns/, ``cache`` finished stages."""

    root: str = MISSING
    cache: str = MISSING


@dataclass
class Config:
    """Every top-level key of conf/config.yaml; a key that is not here is refused."""

    seed: int = 0
    metric: str = "ndcg@10"
    paths: Paths = field(default_factory=Paths)
    dataset: Any = None
    chunker: Any = None
    synthesis: Any = None
    llm: Any = None
    split: Any = None
    model: Any = None
    tuned: Any = None
    loss: Any = None
    trainer: Any = None
    retriever: Any = None
    benchmark: Any = None
    forgetting: Any = None
    suite: Any = None
    tracker: Any = None


def register() -> None:
    """Register the schema with Hydra as the option ``schema``."""
    ConfigStore.instance().store(name="schema", node=Config, provider="embexp")
