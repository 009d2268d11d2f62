"""The typed root of the configuration; components below it are checked against their constructors."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING, DictConfig, OmegaConf

from embexp.ranges import Seed

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


OPTIONAL = ("llm", "tuned", "forgetting", "suite")
"""Components that a run can do without."""
_NULL_OPTIONS = {"llm": None, "suite": None, "model": None, "benchmark": None} | dict.fromkeys(
    ("experiment", "hparams"), "_global_"
)
"""Groups that can be left empty, with the package of their options."""


@dataclass
class Paths:
    """Folders that runs share: ``root`` holds mlflow.db and mlruns/, ``cache`` finished stages."""

    root: str = MISSING
    cache: str = MISSING


@dataclass
class Config:
    """Every top-level key of conf/config.yaml; a key that is not here is refused."""

    seed: Seed = 0
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
    """Register the schema with Hydra as the option ``schema``.

    Components are open: an override may set any argument of a component's constructor, also one that its
    option file leaves out, without the ``+`` that Hydra asks for elsewhere. ``check`` knows the arguments.
    Groups of optional components have an option ``null``, as in ``llm=null`` or ``llm=choice(null,groq)``.
    """
    schema = OmegaConf.structured(Config)
    for name in COMPONENTS:
        schema[name] = DictConfig(None, flags={"struct": False})
    store = ConfigStore.instance()
    store.store(name="schema", node=schema, provider="embexp")
    for group, package in _NULL_OPTIONS.items():
        store.store(group=group, name="null", node={}, package=package, provider="embexp")


def drop_null_options(config: DictConfig) -> None:
    """Set components to None whose option is ``null``, which Hydra can only compose as an empty mapping."""
    for name in COMPONENTS:
        if config.get(name) == {}:
            config[name] = None
