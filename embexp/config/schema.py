"""The typed root of the configuration; components below it are checked against their constructors."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from annotated_types import Interval
from hydra.core.config_store import ConfigStore
from omegaconf import MISSING, DictConfig, OmegaConf

from embexp.ranges import Count, CountOrZero, Seconds, Seed

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
LAUNCHER_NUMBERS: dict[str, Any] = {
    "n_jobs": Annotated[int, Interval(ge=-1_024, le=-1)] | Annotated[int, Interval(ge=1, le=1_024)],
    "batch_size": Count | Literal["auto"],
    "timeout_min": Annotated[int, Interval(ge=1, le=1_000_000)],
    "cpus_per_task": Annotated[int, Interval(ge=1, le=10_000)],
    "gpus_per_node": Annotated[int, Interval(ge=0, le=1_000)],
    "mem_gb": Annotated[float, Interval(gt=0, le=1_000_000)],
    "nodes": Annotated[int, Interval(ge=1, le=10_000)],
    "tasks_per_node": Annotated[int, Interval(ge=1, le=10_000)],
    "array_parallelism": Annotated[int, Interval(ge=1, le=1_000_000)],
    "max_num_timeout": Annotated[int, Interval(ge=0, le=1_000)],
    "num_cpus": Annotated[float, Interval(gt=0, le=10_000)],
    "num_gpus": Annotated[float, Interval(ge=0, le=1_000)],
    "cpus_per_gpu": Annotated[int, Interval(ge=1, le=10_000)],
    "gpus_per_task": Annotated[int, Interval(ge=0, le=1_000)],
    "signal_delay_s": Annotated[int, Interval(ge=0, le=1_000_000)],
    "timeout": Seconds,
    "max_calls": CountOrZero,
    "max_retries": Annotated[int, Interval(ge=-1, le=1_000)],
}
"""The ranges of numbers in ``hydra.launcher``, whose classes are not ours, by the last part of the key."""


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
