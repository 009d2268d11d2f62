"""The configuration that a run keeps in ``.hydra`` of its folder: one function writes it, and masks secrets.

Hydra's own copies are switched off (``hydra.output_subdir: null``), because they would hold what was typed.
"""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from embexp.masking import mask_logging, masked, masked_text, remember_secrets
from embexp.storage.files import atomic_write

FOLDER = ".hydra"
_DISPLAYS = ("--cfg", "-c", "--info", "-i", "--hydra-help")


class SaveConfiguration(Callback):
    """Before a job starts, in any process: remembers its secrets, masks its log, saves its configuration."""

    def on_job_start(self, config: DictConfig, **_: Any) -> None:
        """Write config.yaml, hydra.yaml and overrides.yaml."""
        hydra = config.hydra
        task = OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
        remember_secrets(_resolved(task))
        mask_logging()
        folder = Path(hydra.runtime.output_dir) / (hydra.output_subdir or FOLDER)
        write_configuration(folder / "config.yaml", OmegaConf.to_container(task))
        write_configuration(folder / "hydra.yaml", {"hydra": OmegaConf.to_container(hydra)})
        write_configuration(folder / "overrides.yaml", OmegaConf.to_container(hydra.overrides.task))
        if hydra.mode == RunMode.MULTIRUN:
            _mask_file(Path(hydra.sweep.dir) / "multirun.yaml")  # Hydra's own sweeper writes it


def write_configuration(path: Path, values: Any) -> None:
    """Write settings as YAML, secrets masked.

    Args:
        path: The file; its folder is made.
        values: Mappings, lists and plain values.

    Raises:
        EmbexpError: The disk is full, or the folder is not writable.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as stream:
        stream.write(_yaml(masked(values)))


@contextlib.contextmanager
def masked_display(arguments: Sequence[str]) -> Iterator[None]:
    """Mask secrets in what Hydra prints for ``--cfg`` and its like, instead of running anything.

    Args:
        arguments: The command line.
    """
    if not any(argument.partition("=")[0] in _DISPLAYS for argument in arguments):
        yield
        return
    shown = io.StringIO()
    try:
        with contextlib.redirect_stdout(shown):
            yield
    finally:
        sys.stdout.write(_masked_yaml(shown.getvalue()))


def _masked_yaml(text: str) -> str:
    """Return YAML with the values of secret keys masked as wholes; any other text is masked as a text."""
    head, body = ("", text) if not text.startswith("# @package") else text.split("\n", 1)
    try:
        values = OmegaConf.to_container(OmegaConf.create(body))
    except Exception:  # noqa: BLE001 whatever YAML's and OmegaConf's parsers raise for a text that is none
        return masked_text(text)
    remember_secrets(values)
    safe = masked(values)
    return text if safe == values else f"{head}\n{_yaml(safe)}".lstrip("\n")


def _mask_file(path: Path) -> None:
    if path.exists():
        values = OmegaConf.to_container(OmegaConf.load(path))
        if masked(values) != values:
            write_configuration(path, values)


def _resolved(config: DictConfig) -> Any:
    """Return the values of a configuration, as they stand where one cannot be resolved; its check says so."""
    try:
        return OmegaConf.to_container(config, resolve=True)
    except OmegaConfBaseException:
        return OmegaConf.to_container(config)


def _yaml(values: Any) -> str:
    return OmegaConf.to_yaml(OmegaConf.create(values))
