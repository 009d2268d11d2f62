"""Checks of a composed configuration that need no component: missing values, unknown keys, wrong types."""

from __future__ import annotations

import difflib
import importlib
import inspect
from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import Any

from omegaconf import MISSING, DictConfig, OmegaConf

from embexp.config.schema import COMPONENTS, LAUNCHER_NUMBERS, OPTIONAL, Config
from embexp.errors import ConfigError
from embexp.masking import masked
from embexp.ranges import constructor_hints, senseless, typed

_HYDRA_KEYS = frozenset({"_target_", "_convert_", "_partial_", "_recursive_", "_args_"})


def check(config: DictConfig) -> None:
    """Refuse a configuration whose components cannot be constructed, before anything heavy is imported.

    Raises:
        ConfigError: A value is missing, a key is unknown, or a value has the wrong type; the message
            names the key and, for a misspelt one, the nearest that exists.
    """
    check_own(config)
    check_users(config)


def check_own(config: DictConfig) -> None:
    """Check all but the components that a module of the user's defines, which may take long to import.

    Raises:
        ConfigError: As ``check`` does.
    """
    _check_root(config)
    missing = sorted(OmegaConf.missing_keys(config))
    if missing:
        key = missing[0]
        raise ConfigError(f"{key} has no value: give it one, as in {key}=…")
    values = OmegaConf.to_container(config, resolve=True)
    if not isinstance(values, dict):
        raise ConfigError("The configuration is not a mapping of keys to values.")
    for name, hint in constructor_hints(Config).items():
        _check_type(hint, values[name], name)
    users = groups_of_users(values)
    for name in COMPONENTS:
        if values[name] is not None and name not in users:
            check_component(values[name], name)
    _check_sense(values)
    _check_combination(values)


def check_users(config: DictConfig) -> None:
    """Check the components that ``check_own`` leaves out.

    Raises:
        ConfigError: As ``check`` does.
        UserCodeError: A module of the user's cannot be imported.
    """
    values: Any = OmegaConf.to_container(config, resolve=True)
    for name in sorted(groups_of_users(values)):
        check_component(values[name], name)


def groups_of_users(values: Mapping[Any, Any]) -> set[str]:
    """Return the groups that use a class from outside embexp, at any depth; nothing is imported."""
    return {name for name in COMPONENTS if _has_foreign_target(values.get(name))}


def _has_foreign_target(node: Any) -> bool:
    if isinstance(node, list):
        return any(_has_foreign_target(item) for item in node)
    if not isinstance(node, Mapping):
        return False
    foreign = not str(node.get("_target_", "embexp.")).startswith("embexp.")
    return foreign or any(_has_foreign_target(value) for value in node.values())


def _check_root(values: DictConfig) -> None:
    """Refuse keys that were added with ``+`` or removed with ``~``, and components that a run needs."""
    known = [field.name for field in fields(Config)]
    for key in sorted({str(key) for key in values} - {*known, "hydra"}):
        raise ConfigError(f"{key} is not a key of the configuration: {suggest(key, known)}")
    for key in known:
        if key not in values:
            raise ConfigError(f"{key} has been removed, and every run needs it: leave out ~{key}.")
        if key in COMPONENTS and key not in OPTIONAL and values[key] is None:
            raise ConfigError(f"{key} is null, and every run needs one: choose an option, as in {key}=NAME.")


def _check_combination(values: Mapping[Any, Any]) -> None:
    """Refuse options that are each valid and cannot work together."""
    synthesis = values["synthesis"]
    written = synthesis["written"] if isinstance(synthesis.get("written"), Mapping) else synthesis
    needs_llm = str(written["_target_"]).endswith(("RagSynthesis", "EntriesSynthesis"))
    if needs_llm and values["llm"] is None:
        raise ConfigError(
            "This synthesis needs a language model and llm is not set: choose one, as in llm=groq, or use "
            "synthesis=extractive, which needs none."
        )
    writes = not str(values["synthesis"]["_target_"]).endswith("NoSynthesis")
    if values["dataset"].get("train") == "synthetic" and not writes:
        raise ConfigError(
            "dataset.train=synthetic trains on synthetic pairs and synthesis=none writes none: "
            "add synthesis=extractive."
        )
    if values.get("forgetting") and str(values["forgetting"]["_target_"]).endswith(("HeldOut", "OwnQueries")):
        raise ConfigError(
            "benchmark@forgetting=heldout and benchmark@forgetting=queries ask about the run's own corpus: "
            "choose a set with a corpus of its own, as in benchmark@forgetting=beir "
            "forgetting.dataset.path=FOLDER."
        )


def _check_sense(values: Mapping[Any, Any]) -> None:
    """Refuse, wherever it stands, what no setting can use: NaN, infinities, texts with a NUL character."""
    if problem := senseless(values):
        place, remedy = problem
        raise ConfigError(f"{place}: {remedy}.")


def check_component(node: Any, place: str) -> None:
    """Refuse a component whose class cannot be imported, or does not accept the keys and values given.

    Args:
        node: The component's part of the configuration.
        place: Its key, for messages.

    Raises:
        ConfigError: A class, a key or a value is wrong; the message names it by its full key.
    """
    if not isinstance(node, Mapping) or "_target_" not in node:
        raise ConfigError(f"{place} is not a component: choose an option, as in {place}=NAME.")
    target = _import_target(str(node["_target_"]), place)
    given = {key: value for key, value in node.items() if key not in _HYDRA_KEYS}
    _check_keys(target, given, place)
    if not node.get("_partial_"):
        _check_required(target, given, place)
    _check_types(target, given, place)
    for key, value in given.items():
        for part_place, part in _parts(value, f"{place}.{key}"):
            if isinstance(part, Mapping) and "_target_" in part:
                check_component(part, part_place)


def _parts(value: Any, place: str) -> list[tuple[str, Any]]:
    """Return a value, or each item of a list, with its key."""
    if isinstance(value, list):
        return [(f"{place}[{number}]", item) for number, item in enumerate(value)]
    return [(place, value)]


def _import_target(path: str, place: str) -> Any:
    from embexp.user_code import users_mistake

    module, _, name = path.rpartition(".")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        if mistake := users_mistake(error):
            raise mistake from error
        raise ConfigError(
            f"{place}._target_ is {path!r}, which cannot be imported ({error}): "
            "name a class as package.module.Class that is installed here."
        ) from error
    except Exception as error:
        if mistake := users_mistake(error):
            raise mistake from error
        raise


def _check_keys(target: Any, given: Mapping[str, Any], place: str) -> None:
    for key in _unknown(target, given):
        parameters = inspect.signature(target).parameters
        raise ConfigError(f"{place}.{key} is not an option of {place}: {suggest(key, parameters)}")


def _unknown(target: Any, given: Mapping[str, Any]) -> list[str]:
    parameters = inspect.signature(target).parameters
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        return []
    return [key for key in given if key not in parameters]


def unknown_keys(node: Any, place: str) -> list[str]:
    """Return the keys of a component that its class does not know.

    Args:
        node: The component's part of the configuration.
        place: Its key, for messages.

    Raises:
        ConfigError: Its class cannot be imported.
    """
    given = {str(key): value for key, value in node.items() if key not in _HYDRA_KEYS}
    return _unknown(_import_target(str(node["_target_"]), place), given)


def as_declared(node: DictConfig) -> DictConfig:
    """Return a component whose values have the types of its constructor's arguments.

    A number that stands for a text, such as ``path: 2024``, becomes a text, and a text that stands for a
    number, such as one of an environment variable, a number.

    Args:
        node: The component's part of the configuration, which has been checked.
    """
    values: dict[str, Any] = _as_declared(OmegaConf.to_container(node, resolve=True))
    return OmegaConf.create(values)


def _as_declared(node: Any) -> Any:
    if isinstance(node, list):
        return [_as_declared(item) for item in node]
    if not isinstance(node, Mapping) or "_target_" not in node:
        return node
    hints = constructor_hints(_import_target(str(node["_target_"]), ""))
    return {
        key: typed(hints[key], value) if key in hints and _is_plain(value) else _as_declared(value)
        for key, value in node.items()
    }


def _is_plain(value: Any) -> bool:
    """Return whether a value holds no component."""
    if isinstance(value, list):
        return all(_is_plain(item) for item in value)
    return not (isinstance(value, Mapping) and "_target_" in value)


def _check_required(target: Any, given: Mapping[str, Any], place: str) -> None:
    for name, parameter in inspect.signature(target).parameters.items():
        fillable = parameter.kind in (parameter.KEYWORD_ONLY, parameter.POSITIONAL_OR_KEYWORD)
        if fillable and parameter.default is parameter.empty and name not in given:
            raise ConfigError(f"{place}.{name} has no value: give it one, as in {place}.{name}=…")


def _check_types(target: Any, given: Mapping[str, Any], place: str) -> None:
    hints = constructor_hints(target)
    for key, value in given.items():
        if key in hints and _is_plain(value):
            _check_type(hints[key], value, f"{place}.{key}")


def check_launcher(node: Any, place: str = "hydra.launcher") -> None:
    """Refuse a launcher whose numbers make no sense; types are checked by the launcher's own schema.

    Args:
        node: The configuration of a launcher, a part of it, or a value.
        place: Its key, for messages.

    Raises:
        ConfigError: A number is out of range.
    """
    if isinstance(node, Mapping):
        for key, value in node.items():
            check_launcher(value, f"{place}.{key}")
    elif (hint := LAUNCHER_NUMBERS.get(place.rpartition(".")[2])) and node not in (None, MISSING):
        _check_type(hint, node, place)


def _check_type(hint: Any, value: Any, place: str) -> None:
    """Refuse a value of another type than its setting's, or out of its range; secrets are not repeated."""
    try:
        typed(hint, value)
    except ValueError as error:
        raise ConfigError(f"{place} is {masked(value, key=place)!r}: {error}.") from error


def suggest(name: str, known: Iterable[str]) -> str:
    """Return the remedy for an unknown name: the nearest known one, or all of them."""
    names = sorted(set(known))
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.55)
    if near:
        return f"did you mean {near[0]!r}?"
    return f"choose one of {', '.join(names)}." if names else "it takes no options."
