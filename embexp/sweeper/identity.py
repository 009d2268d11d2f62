"""What makes a sweep the same one tomorrow: its settings, its name, its folder, and the values to beat."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from embexp.config.check import check
from embexp.config.schema import COMPONENTS
from embexp.errors import ConfigError
from embexp.storage.files import sha256_of
from embexp.sweeper.options import Options
from embexp.sweeper.space import Space, as_choice, spelled
from embexp.tracking.masking import masked

UNRELATED = ("hydra", "paths", "tracker")
"""Keys that change where things are kept, and nothing about a trial."""


def shared_settings(config: DictConfig, options: Options) -> dict[str, str]:
    """Return what all trials of the sweep have in common, flat, secrets masked."""
    values = OmegaConf.to_container(config, resolve=False)
    plain: Any = masked({key: value for key, value in values.items() if key not in UNRELATED})  # type: ignore[union-attr, str-bytes-safe, misc]
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
    """Return the study's name: the given one, or one that the same command gives again.

    It names the space and the experiment, and ends in a digest of what is swept and of what all trials
    share; more trials (``n_trials``) or another sampler continue the same study.
    """
    if options.study_name:
        return options.study_name
    choices = config.hydra.runtime.choices
    named = [str(choices[group]) for group in ("hparams", "experiment") if choices.get(group)]
    digest = sha256_of(space.as_json(), settings, options.directions)[:8]
    return "-".join([*(named or ["sweep"]), digest])


def sweep_folder(config: DictConfig, options: Options, name: str) -> Path:
    """Return the sweep's folder: the one given as ``hydra.sweep.dir``, else one named by the study."""
    given = any(str(text).startswith("hydra.sweep.dir=") for text in config.hydra.overrides.hydra)
    folder = Path(str(config.hydra.sweep.dir)) if given else Path(options.folder) / name
    with read_write(config.hydra):
        config.hydra.sweep.dir = str(folder)  # where launchers write what is not a job's
    return folder


def default_values(config: DictConfig, space: Space) -> dict[str, Any] | None:
    """Return what the swept keys are without a sweep; None where the space leaves one of them out."""
    found = {}
    for key, distribution in space.swept.items():
        value = config.hydra.runtime.choices.get(key)
        if value is None:
            node = OmegaConf.select(config, key)
            value = OmegaConf.to_container(node) if OmegaConf.is_config(node) else node
        try:
            value = as_choice(value)
            inside = distribution._contains(distribution.to_internal_repr(value))
        except (ValueError, TypeError):
            inside = False
        if not inside:
            return None
        found[key] = value
    return found


def check_space(config: DictConfig, loader: ConfigLoader, space: Space) -> None:
    """Compose and check a trial for each end and each choice of the space, before anything runs.

    Raises:
        ConfigError, HydraException: One of them could not run.
    """
    probes = {key: _probes(distribution) for key, distribution in space.swept.items()}
    first = {key: values[0] for key, values in probes.items()}
    _check_trial(config, loader, space, first)
    for key, values in probes.items():
        for value in values[1:]:
            _check_trial(config, loader, space, {**first, key: value})


def _probes(distribution: Any) -> list[Any]:
    choices = getattr(distribution, "choices", None)
    return list(choices) if choices is not None else [distribution.low, distribution.high]


def _check_trial(config: DictConfig, loader: ConfigLoader, space: Space, values: Mapping[str, Any]) -> None:
    trial = loader.load_sweep_config(config, [*space.fixed, *space.overrides(values)])
    with known_to_hydra(trial):
        with read_write(trial), open_dict(trial):
            del trial["hydra"]
        try:
            if set(COMPONENTS) <= set(trial):
                check(trial)
        except ConfigError as error:
            shown = " ".join(f"{key}={spelled(value)}" for key, value in values.items())
            raise ConfigError(f"The space holds a trial that cannot run ({shown}): {error}") from error


@contextmanager
def known_to_hydra(config: DictConfig) -> Iterator[None]:
    """Make ``config`` the one that ``${hydra:…}`` looks into, which Hydra itself does for a job alone."""
    before = HydraConfig.instance().cfg
    HydraConfig.instance().set_config(config)
    try:
        yield
    finally:
        HydraConfig.instance().cfg = before
