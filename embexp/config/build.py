"""A checked configuration becomes an experiment with its tracker."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.hydra_config import HydraConfig
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from embexp.benchmarking.metrics import check_metrics
from embexp.config.check import check
from embexp.config.models import expand_models
from embexp.config.schema import COMPONENTS
from embexp.data.datasets.dataset import NoDocuments
from embexp.errors import ConfigError, EmbexpError
from embexp.synthesis.synthesis import Inventing

if TYPE_CHECKING:
    from embexp.pipeline.experiment import Experiment
    from embexp.tracking.tracker import Tracker


def build(config: DictConfig, *, needs_key: bool = True) -> tuple[Experiment, Tracker]:
    """Check ``config`` and build its components; none of them does any work yet.

    Args:
        config: The composed configuration.
        needs_key: Whether a language model will be asked, so that its key must be there.

    Raises:
        ConfigError: A key, a type or a combination is wrong.
    """
    expand_models(config)
    check(config)
    check_metrics([config.metric])
    save_resolved(config)
    parts = {name: component(config, name) for name in COMPONENTS}
    tracker = parts.pop("tracker")
    if parts["llm"] and needs_key:
        parts["llm"].check()
    if isinstance(parts["synthesis"], Inventing):
        parts["dataset"] = NoDocuments()
    from embexp.pipeline.experiment import Experiment

    choices = HydraConfig.get().runtime.choices
    experiment = Experiment(
        **parts,
        seed=config.seed,
        metric=config.metric,
        cache=Path(config.paths.cache),
        settings={name: OmegaConf.to_container(config, resolve=True)[name] for name in COMPONENTS},  # type: ignore[call-overload, index]
        names={name: str(choices.get(name, "")) for name in COMPONENTS},
    )
    return experiment, tracker


def component(config: DictConfig, name: str) -> Any:
    """Build one component of the configuration; None where it is not set.

    Raises:
        ConfigError: It cannot be built.
    """
    if config[name] is None:
        return None
    try:
        return instantiate(config[name], _convert_="all")
    except InstantiationException as error:
        cause = error.__cause__
        while cause is not None and not isinstance(cause, EmbexpError):
            cause = cause.__cause__
        if cause is not None:
            raise cause from error
        raise ConfigError(f"{name} cannot be built: {str(error).splitlines()[0]}") from error


def save_resolved(config: DictConfig) -> None:
    """Write the configuration as it runs over Hydra's copy: values resolved, secrets masked everywhere."""
    from embexp.storage.files import atomic_write
    from embexp.tracking.masking import masked, masked_text

    values = masked(OmegaConf.to_container(config, resolve=True))
    with atomic_write(output_dir() / ".hydra" / "config.yaml") as stream:
        stream.write(OmegaConf.to_yaml(OmegaConf.create(values)))  # type: ignore[call-overload]
    for name in ("overrides.yaml", "hydra.yaml"):  # Hydra's record of what was typed
        path = output_dir() / ".hydra" / name
        if path.exists():
            path.write_text(masked_text(path.read_text(encoding="utf-8")), encoding="utf-8")


def given_options(*groups: str) -> str:
    """Return the command line's overrides that concern ``groups``, to repeat them in another command."""
    given = HydraConfig.get().overrides.task
    plain = (item.lstrip("+") for item in given)
    return " ".join(item for item in plain if item.partition("=")[0].split(".")[0] in groups)


def output_dir() -> Path:
    """Return the folder of this run."""
    return Path(HydraConfig.get().runtime.output_dir)


def flat_parameters(config: DictConfig) -> dict[str, object]:
    """Return every option of the configuration by its dotted key, without the plumbing."""
    flat: dict[str, object] = {}

    def walk(node: Any, prefix: str) -> None:
        for key, value in node.items():
            path = f"{prefix}{key}"
            if isinstance(value, dict):
                walk(value, f"{path}.")
            elif key != "_target_":
                flat[path] = value

    walk(OmegaConf.to_container(config, resolve=True), "")
    choices = HydraConfig.get().runtime.choices
    return {**{name: choices[name] for name in COMPONENTS if choices.get(name)}, **flat}
