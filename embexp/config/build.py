"""From a composed configuration to an experiment with its tracker.

``--help`` builds nothing and has to answer within a second: this file imports the layers above the foundation
inside functions.
"""

from __future__ import annotations

import logging
import re
import shlex
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra import compose
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import InstantiationException
from hydra.utils import get_object, instantiate
from omegaconf import DictConfig, ListConfig, OmegaConf, open_dict

from embexp.config.check import as_declared, check_own, check_users, groups_of_users, suggest, unknown_keys
from embexp.config.overrides import PATH_KEYS
from embexp.config.saved import FOLDER, write_configuration
from embexp.config.schema import COMPONENTS, drop_null_options
from embexp.errors import ConfigError, EmbexpError
from embexp.masking import masked, remember_secrets
from embexp.package import conf_dir

if TYPE_CHECKING:
    from embexp.pipeline.experiment import Experiment
    from embexp.tracking.tracker import Tracker

log = logging.getLogger(__name__)

_MODELS = "benchmark.models"
BENCHMARKS = ("benchmark", "forgetting")
"""The groups whose components ask questions."""
_IN_NAMES = ("dataset", "model", "loss", "dataset.name", "model.name")
"""Keys that the first words of a run's name tell."""
_QUOTES = "'\""
_NOT_COMPUTED = ("paths.", "tracker", "hydra.", "hydra/")


def build(
    config: DictConfig, *, needs_key: bool = True, asks: Collection[str] = BENCHMARKS
) -> tuple[Experiment, Tracker]:
    """Check ``config`` and construct its components; none of them does any work yet.

    Modules of the user's, which may take long to import, are imported when all else is known to be right.

    Args:
        config: The composed configuration.
        needs_key: Whether a language model will be asked, so that its API key must be set.
        asks: The groups of benchmarks that will be used, so that their files and models must be there.

    Raises:
        EmbexpError: A key, a type or a combination is wrong, or a file, model or package is missing.
    """
    drop_null_options(config)
    expand_models(config)
    values: Any = OmegaConf.to_container(config, resolve=False)
    users = groups_of_users(values)
    leave_out_foreign_presets(config, [name for name in COMPONENTS if name not in users])
    check_own(config)
    from embexp.benchmarking.metrics import check_metrics

    check_metrics([config.metric, config.trainer.get("metric") or config.metric])
    _save_resolved(config)
    own = {name: component(config, name) for name in COMPONENTS if name not in users}
    _check_inputs(own, config, needs_key=needs_key, asks=asks)
    leave_out_foreign_presets(config, sorted(users))
    check_users(config)
    _save_resolved(config)
    others = {name: component(config, name) for name in sorted(users)}
    _check_inputs(others, config, needs_key=needs_key, asks=asks)
    return _experiment(config, {**own, **others})


def _check_inputs(
    parts: Mapping[str, Any], config: DictConfig, *, needs_key: bool, asks: Collection[str]
) -> None:
    """Refuse, before any work, a key, a file, a model or a package that is missing."""
    if needs_key and parts.get("llm"):
        parts["llm"].check()
    for name in ("model", "tuned"):
        _check_service(parts.get(name), config, needs_key=needs_key)
    for name in asks:
        if parts.get(name):
            parts[name].check_inputs(judge=config.llm is not None)


def _check_service(source: object, config: DictConfig, *, needs_key: bool) -> None:
    """Refuse a model behind a service whose key is missing, and a suite, which loads its models."""
    from embexp.models.adapted import service_of

    service = service_of(source)
    if service is None:
        return
    if config.suite is not None:
        raise ConfigError(
            f"suite={HydraConfig.get().runtime.choices.get('suite')} scores models that can be loaded, and "
            f"{service.name} is behind {service.base_url}: set suite=null."
        )
    if needs_key:
        service.check()


def check_trainable(experiment: Experiment) -> None:
    """Refuse, before any work, a training that the model, the trainer or the loss does not allow.

    The weights of a model behind a service cannot be trained, an adapter of its query vectors can. A data set
    without training pairs (``dataset.train=none``) trains nothing, and is accepted.

    Raises:
        ConfigError: The model cannot be trained like this.
    """
    from embexp.finetuning.query_adapter import QueryAdapterFineTuner
    from embexp.models.adapted import service_of

    if experiment.settings["dataset"].get("train") == "none":
        return
    names, service = experiment.names, service_of(experiment.model)
    if isinstance(experiment.trainer, QueryAdapterFineTuner):
        experiment.trainer.check(experiment.model, experiment.loss)
    elif service is not None:
        raise ConfigError(
            f"model={names['model']} cannot be trained with trainer={names['trainer']} and "
            f"loss={names['loss']}, which need gradients, since the weights of {service.id} are behind "
            f"{service.base_url}. Set trainer=query_adapter loss=mnrl, which tunes the vectors of queries, "
            "or score the model with python -m embexp.benchmark and the same options."
        )


def _experiment(config: DictConfig, parts: dict[str, Any]) -> tuple[Experiment, Tracker]:
    """Return the experiment of these components, and its tracker."""
    from embexp.data.datasets.dataset import NoDocuments
    from embexp.pipeline.experiment import Experiment

    tracker = parts.pop("tracker")
    if parts["synthesis"].invents_corpus:
        parts["dataset"] = NoDocuments()
    values: Any = OmegaConf.to_container(config, resolve=True)
    choices = HydraConfig.get().runtime.choices
    experiment = Experiment(
        **parts,
        seed=config.seed,
        metric=config.metric,
        cache=Path(config.paths.cache).expanduser(),
        run_dir=output_dir(),
        settings={name: with_sources(values[name]) for name in COMPONENTS},
        names={name: str(choices.get(name, "")) for name in COMPONENTS},
        params=_flat_parameters(config),
        changes=_changes(),
    )
    return experiment, tracker


def build_run(config: DictConfig) -> tuple[Experiment, Tracker]:
    """Build the components of a whole run, which tunes a model of its own.

    Raises:
        ConfigError: As ``build``; or a tuned model is given, or one that cannot be trained.
    """
    experiment, tracker = build(config)
    if experiment.tuned:
        raise ConfigError("model@tuned is for python -m embexp.benchmark: a whole run tunes its own model.")
    check_trainable(experiment)
    return experiment, tracker


def component(config: DictConfig, name: str) -> Any:
    """Construct one component of the configuration; None where it is not set.

    Raises:
        ConfigError: It cannot be constructed.
    """
    from embexp.config.contracts import check_contract
    from embexp.user_code import users_mistake

    if config[name] is None:
        return None
    try:
        built = instantiate(as_declared(config[name]), _convert_="all")
        check_contract(built, name)
        return built
    except InstantiationException as error:
        raise _cause(error, name) from error
    except Exception as error:  # a constructor of the user's may raise anything, and Hydra passes some on
        if mistake := users_mistake(error):
            raise mistake from error
        raise


def _cause(error: InstantiationException, name: str) -> EmbexpError:
    """Return what to report for a component that cannot be built: the mistake behind Hydra's error."""
    from embexp.user_code import users_mistake

    cause: BaseException | None = error.__cause__
    while cause is not None:
        if type(cause) is ConfigError:
            return ConfigError(_with_whole_keys(str(cause), name, error))
        if isinstance(cause, EmbexpError):
            return cause
        if mistake := users_mistake(cause):
            return mistake
        cause = cause.__cause__
    return ConfigError(f"{name} cannot be built: {str(error).splitlines()[0]}")


def _with_whole_keys(message: str, name: str, error: InstantiationException) -> str:
    """Return a message in which the keys of a nested component begin with the key of the component itself.

    A class names its keys as those of a component that is not nested: ``synthesis.mix``, which may be
    ``synthesis.written.mix``. Hydra's error says which one was built, below ``name``.
    """
    found = re.search(r"full_key: (\S+)", str(error))
    path = found[1].split(".") if found else []

    def whole(key: re.Match[str]) -> str:
        named = key[1].split(".")
        begins = next(at for at in range(len(path) + 1) if named[: len(path) - at] == path[at:])
        return ".".join([name, *path[:begins], *named])

    return re.sub(rf"\b{name}\.(\w+(?:\.\w+)*)", whole, message)


def with_sources(node: Any) -> Any:
    """Return settings in which every class of the user's has a digest of its source, as ``_source_``.

    The settings are part of the keys of the stage cache: an edit of a user's component, or of a module of
    theirs that it imports, makes the stages that depend on it run again.
    """
    from embexp.user_code import source_digest

    if isinstance(node, list):
        return [with_sources(item) for item in node]
    if not isinstance(node, dict):
        return node
    parts = {key: with_sources(value) for key, value in node.items()}
    target = str(node.get("_target_", "embexp."))
    source = None if target.startswith("embexp.") else source_digest(get_object(target))
    return parts if source is None else {**parts, "_source_": source}


def expand_models(config: DictConfig) -> None:
    """Replace each name in ``benchmark.models`` by the component that it stands for.

    Raises:
        ConfigError: A name is no option of ``model``, no folder and no model of the Hub.
    """
    given = OmegaConf.select(config, _MODELS)
    if given is None:
        return
    if not isinstance(given, ListConfig):
        raise ConfigError(f"{_MODELS} is {given!r}: give a list, as in '{_MODELS}=[bge_base]'.")
    nodes = [_model(entry) if isinstance(entry, str) else entry for entry in given]
    OmegaConf.update(config, _MODELS, nodes, merge=False, force_add=True)


def leave_out_foreign_presets(config: DictConfig, groups: Sequence[str] = COMPONENTS) -> None:
    """Leave out what a preset (``experiment=``) sets for another option of a group than the one in use.

    Presets set ``synthesis.target``, say, and ``dataset=pairs`` chooses a synthesis without one. Keys that no
    option of the group has, and those of the command line, stay, so that a mistake is still one.
    """
    if not HydraConfig.get().runtime.choices.get("experiment"):
        return
    given = {item.lstrip("+").partition("=")[0] for item in HydraConfig.get().overrides.task}
    for group in groups:
        node = config[group]
        if not isinstance(node, DictConfig) or "_target_" not in node:
            continue
        foreign = set(unknown_keys(OmegaConf.to_container(node), group)) & _keys_of_options(group)
        for key in sorted(foreign):
            if not any(name == f"{group}.{key}" or name.startswith(f"{group}.{key}.") for name in given):
                with open_dict(node):
                    del node[key]
                log.debug("The preset's %s.%s does not apply to this option and is left out.", group, key)


def _keys_of_options(group: str) -> set[str]:
    """Return the keys that the option files of a group set."""
    keys: set[str] = set()
    for file in (conf_dir() / group).glob("*.yaml"):
        options = OmegaConf.load(file)
        keys.update(str(key) for key in options if key != "defaults")
    return keys


def _model(name: str) -> Any:
    if Path(name).expanduser().is_dir():
        return {"_target_": "embexp.models.sources.LocalModel", "name": Path(name).name, "path": name}
    searchpath = OmegaConf.to_container(HydraConfig.get().searchpath)
    folders = [f"hydra.searchpath={searchpath}"] if searchpath else []
    loader = GlobalHydra.instance().config_loader()
    options = loader.get_group_options("model", config_name="config", overrides=folders)
    if name in options:
        config = compose("config", overrides=[f"model={name}", *folders])
        return OmegaConf.to_container(config.model, resolve=True)
    if name.count("/") == 1 and not name.startswith((".", "/", "~")):
        return {"_target_": "embexp.models.sources.HubModel", "name": name.partition("/")[2], "id": name}
    raise ConfigError(
        f"{_MODELS} names {name!r}, which is no option of model, no folder and no model of the Hugging Face "
        f"Hub (owner/name): {suggest(name, options)}"
    )


def _save_resolved(config: DictConfig) -> None:
    """Overwrite the run's copy of the configuration with one whose values are resolved."""
    values: Any = OmegaConf.to_container(config, resolve=True)
    remember_secrets(values)
    write_configuration(output_dir() / FOLDER / "config.yaml", values)


def overrides_of(*groups: str) -> str:
    """Return the command line's overrides of some groups, quoted for another command; secrets are masked."""
    given: Any = masked([item.lstrip("+") for item in HydraConfig.get().overrides.task])
    return shlex.join(item for item in given if item.partition("=")[0].split(".")[0] in groups)


def _changes() -> list[str]:
    """Return the overrides that change what is computed, without what a run's name begins with; masked."""
    given: Any = masked([item.lstrip("+") for item in HydraConfig.get().overrides.task])
    changes = []
    for item in given:
        key, _, value = item.partition("=")
        if key in _IN_NAMES or key.startswith(_NOT_COMPUTED):
            continue
        is_path = key.rpartition(".")[2] in PATH_KEYS
        changes.append(f"{key}={Path(value.strip(_QUOTES)).name}" if is_path else item)
    return changes


def output_dir() -> Path:
    """Return the folder of this run."""
    return Path(HydraConfig.get().runtime.output_dir)


def _flat_parameters(config: DictConfig) -> dict[str, object]:
    """Return the option of each group, and every value by its dotted key, for the tracker."""
    flat: dict[str, object] = {}

    def walk(node: Any, prefix: str) -> None:
        for key, value in node.items():
            if isinstance(value, dict):
                walk(value, f"{prefix}{key}.")
            elif key != "_target_":
                flat[f"{prefix}{key}"] = value

    walk(OmegaConf.to_container(config, resolve=True), "")
    choices = HydraConfig.get().runtime.choices
    return {**{name: choices[name] for name in COMPONENTS if choices.get(name)}, **flat}
