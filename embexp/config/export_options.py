"""The format of ``python -m embexp.export``: an option of the group ``export`` with overrides of its keys."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from embexp.config.check import as_declared, check_component, suggest
from embexp.config.explain import USER_MISTAKES, explain
from embexp.config.overrides import hydra_override
from embexp.errors import ConfigError
from embexp.package import conf_dir

GROUP, ALIAS = "export", "format"
_ROOT = "export_command"
"""The name of this command's own configuration: a run has no such group."""


def export_format(overrides: Sequence[str]) -> Any:
    """Return the ``embexp.exporting.ExportFormat`` that overrides choose.

    Args:
        overrides: ``format=onnx_int8`` (or ``export=onnx_int8``) and keys such as ``export.tolerance=0.02``.

    Raises:
        ConfigError: An option, a key or a value is wrong; the message names the nearest valid one.
    """
    arguments = [hydra_override(_in_group(override)) for override in overrides]
    node = DictConfig(None, flags={"struct": False})
    root = OmegaConf.create({"defaults": ["_self_", {GROUP: "onnx"}]})
    root[GROUP] = node
    ConfigStore.instance().store(name=_ROOT, node=root, provider="embexp")
    try:
        with initialize_config_dir(str(conf_dir()), version_base="1.3"):
            config = compose(_ROOT, arguments)
    except USER_MISTAKES as error:
        raise explain(error, arguments, [conf_dir()]) from error
    check_component(OmegaConf.to_container(config[GROUP], resolve=True), GROUP)
    return instantiate(as_declared(config[GROUP]), _convert_="all")


def _in_group(override: str) -> str:
    key, equals, value = override.partition("=")
    if not equals or (key not in (GROUP, ALIAS) and not key.startswith(f"{GROUP}.")):
        known = [ALIAS, f"{GROUP}.tolerance", f"{GROUP}.timed_texts"]
        raise ConfigError(
            f"{override!r} is not a setting of an export, as in format=onnx: {suggest(key, known)}"
        )
    return f"{GROUP}={value}" if key == ALIAS else override
