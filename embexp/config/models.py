"""Names in ``benchmark.models`` become components: an option of the group, a folder, or the Hub's name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hydra import compose
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig, ListConfig, OmegaConf

from embexp.config.check import suggest
from embexp.errors import ConfigError

KEY = "benchmark.models"


def expand_models(config: DictConfig) -> None:
    """Put a component in the place of each name in ``benchmark.models``.

    Raises:
        ConfigError: A name is no option of ``model``, no folder and no name of the Hub.
    """
    given = OmegaConf.select(config, KEY)
    if given is None:
        return
    if not isinstance(given, ListConfig):
        raise ConfigError(f"{KEY} is {given!r}: give a list, as in '{KEY}=[bge_base]'.")
    nodes = [_component(entry) if isinstance(entry, str) else entry for entry in given]
    OmegaConf.update(config, KEY, nodes, merge=False, force_add=True)


def _component(name: str) -> Any:
    if Path(name).expanduser().is_dir():
        return {"_target_": "embexp.models.sources.LocalModel", "name": Path(name).name, "path": name}
    options = GlobalHydra.instance().config_loader().get_group_options("model")
    if name in options:
        return OmegaConf.to_container(compose("config", overrides=[f"model={name}"]).model, resolve=True)
    if name.count("/") == 1 and not name.startswith((".", "/", "~")):
        return {"_target_": "embexp.models.sources.HubModel", "name": name.partition("/")[2], "id": name}
    raise ConfigError(
        f"{KEY} names {name!r}, which is no option of model, no folder and no model of the Hugging Face "
        f"Hub (owner/name): {suggest(name, options)}"
    )
