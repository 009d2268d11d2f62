"""A sweep's options, and what identifies it across commands: shared settings, study name and folder."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from annotated_types import Interval
from omegaconf import DictConfig, OmegaConf, read_write

from embexp.config.check import suggest
from embexp.errors import ConfigError
from embexp.masking import masked
from embexp.ranges import Seed, check_ranges
from embexp.storage.files import sha256_of
from embexp.sweeper.space import Space

Direction = Literal["maximize", "minimize"]
MAXIMIZE: Direction = "maximize"
MINIMIZE: Direction = "minimize"
OBJECTIVES: dict[str, Direction] = {
    "quality": MAXIMIZE,
    "embedding_ms": MINIMIZE,
    "training_seconds": MINIMIZE,
}
"""The values that embexp's commands can return: the best dev score of ``metric``, the milliseconds to embed a
passage, and the seconds of training."""
NOT_OF_A_TRIAL = ("hydra", "paths", "tracker")
"""Keys that change where files are kept, but not what a trial computes."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """The keys of ``hydra.sweeper``, which docs/sweeps.md explains; ``directions`` has one per objective."""

    params: Mapping[str, Any]
    conditional: Mapping[str, Mapping[str, Any]]
    n_trials: Annotated[int, Interval(ge=1, le=1_000_000)]
    objectives: tuple[str, ...]
    directions: tuple[Direction, ...]
    sampler: Mapping[str, Any]
    pruner: Mapping[str, Any]
    seed: Seed | None
    batch_size: Annotated[int, Interval(ge=1, le=10_000)]
    retries: Annotated[int, Interval(ge=0, le=100)]
    baseline: bool
    keep_models: bool
    winner: bool
    study_name: str | None
    storage: str | None
    folder: str

    def __post_init__(self) -> None:
        check_ranges(self, "hydra.sweeper")


def read_options(node: DictConfig) -> Options:
    """Read ``hydra.sweeper``.

    Raises:
        ConfigError: A number is out of range, or objectives and directions do not match.
    """
    values: dict[str, Any] = OmegaConf.to_container(node, resolve=True)  # type: ignore[assignment]
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
                    f"hydra.sweeper.objectives names {name!r}, which is not one: {suggest(name, OBJECTIVES)}"
                )
        return tuple(OBJECTIVES[name] for name in objectives)
    directions: list[Direction] = [given] if isinstance(given, str) else list(given)  # type: ignore[list-item]
    for direction in directions:
        if direction not in (MAXIMIZE, MINIMIZE):
            raise ConfigError(
                f"hydra.sweeper.direction is {direction!r}: {suggest(direction, (MAXIMIZE, MINIMIZE))}"
            )
    if len(directions) != len(objectives):
        raise ConfigError(
            f"hydra.sweeper.direction has {len(directions)} directions for {len(objectives)} objectives "
            f"({', '.join(objectives)}): give one for each."
        )
    return tuple(directions)


def shared_settings(config: DictConfig, options: Options) -> dict[str, str]:
    """Return the settings that all trials share, flattened, with secrets masked."""
    values = OmegaConf.to_container(config, resolve=False)
    plain: Any = masked({key: value for key, value in values.items() if key not in NOT_OF_A_TRIAL})  # type: ignore[union-attr, str-bytes-safe, misc]
    return {
        "command": str(config.hydra.job.name),
        "objectives": ", ".join(options.objectives),
        **{key: str(value) for key, value in _leaves(plain, "")},
    }


def _leaves(node: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    for key, value in node.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def study_name(config: DictConfig, options: Options, space: Space, settings: Mapping[str, str]) -> str:
    """Return the configured study name, or one that the same command always gets.

    It consists of the space's name, the experiment's name and a digest of the space and the shared settings.
    More trials (``n_trials``) or another sampler continue the same study.
    """
    if options.study_name:
        return options.study_name
    choices = config.hydra.runtime.choices
    named = [str(choices[group]) for group in ("hparams", "experiment") if choices.get(group)]
    digest = sha256_of(space.as_json(), settings, options.directions)[:8]
    return "-".join([*(named or ["sweep"]), digest])


def sweep_folder(config: DictConfig, options: Options, name: str) -> Path:
    """Return the sweep's folder: ``hydra.sweep.dir`` if it is an override, else one named after the study."""
    given = any(str(text).startswith("hydra.sweep.dir=") for text in config.hydra.overrides.hydra)
    folder = Path(str(config.hydra.sweep.dir)) if given else Path(options.folder) / name
    with read_write(config.hydra):
        config.hydra.sweep.dir = str(folder)  # launchers write their own files there
    return folder
