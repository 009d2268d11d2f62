"""What ``hydra.sweeper`` holds, checked, and what a sweep can ask of a trial."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from omegaconf import DictConfig, OmegaConf

from embexp.config.check import suggest
from embexp.errors import ConfigError

Direction = Literal["maximize", "minimize"]
MAXIMIZE: Direction = "maximize"
MINIMIZE: Direction = "minimize"
OBJECTIVES: dict[str, Direction] = {
    "quality": MAXIMIZE,
    "embedding_ms": MINIMIZE,
    "training_seconds": MINIMIZE,
}
"""What embexp's commands can return: the best dev score of ``metric``, the milliseconds to embed a passage,
and the seconds of training."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """The sweeper's options, as docs/sweeps.md explains them; ``directions`` has one for each objective."""

    params: Mapping[str, Any]
    n_trials: int
    objectives: tuple[str, ...]
    directions: tuple[Direction, ...]
    sampler: Mapping[str, Any]
    pruner: Mapping[str, Any]
    seed: int | None
    batch_size: int
    retries: int
    baseline: bool
    keep_models: bool
    winner: bool
    study_name: str | None
    storage: str | None
    folder: str


def read_options(node: DictConfig) -> Options:
    """Read ``hydra.sweeper``.

    Raises:
        ConfigError: A number is too small, or objectives and directions do not fit together.
    """
    values: dict[str, Any] = OmegaConf.to_container(node, resolve=True)  # type: ignore[assignment]
    for name, least in {"n_trials": 1, "batch_size": 1, "retries": 0}.items():
        if values[name] < least:
            raise ConfigError(f"hydra.sweeper.{name} is {values[name]}: must be {least} or more.")
    directions = _directions(values["objectives"], values.pop("direction"))
    objectives = tuple(values.pop("objectives"))
    known = Options.__dataclass_fields__
    rest = {name: value for name, value in values.items() if name in known}
    return Options(objectives=objectives, directions=directions, **rest)


def _directions(objectives: list[str], given: Any) -> tuple[Direction, ...]:
    if not objectives:
        raise ConfigError("hydra.sweeper.objectives is empty: name one, as in [quality].")
    if given is None:
        for name in objectives:
            if name not in OBJECTIVES:
                raise ConfigError(
                    f"hydra.sweeper.objectives names {name!r}, which is none: {suggest(name, OBJECTIVES)}"
                )
        return tuple(OBJECTIVES[name] for name in objectives)
    found: list[Direction] = [given] if isinstance(given, str) else list(given)  # type: ignore[list-item]
    for direction in found:
        if direction not in (MAXIMIZE, MINIMIZE):
            raise ConfigError(
                f"hydra.sweeper.direction is {direction!r}: {suggest(direction, (MAXIMIZE, MINIMIZE))}"
            )
    if len(found) != len(objectives):
        raise ConfigError(
            f"hydra.sweeper.direction has {len(found)} directions for {len(objectives)} objectives "
            f"({', '.join(objectives)}): give one for each."
        )
    return tuple(found)
