"""The search space: which keys a trial has, from which distributions, and its values as overrides."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from typing import TYPE_CHECKING, Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.types import QuotedString, Transformer
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from embexp.config.check import check
from embexp.config.overrides import hydra_override
from embexp.config.schema import COMPONENTS, drop_null_options
from embexp.errors import ConfigError
from embexp.masking import masked_text

if TYPE_CHECKING:
    from hydra.core.config_loader import ConfigLoader
    from optuna import Trial
    from optuna.distributions import BaseDistribution

_IF = " if "
DIGITS = 6
"""Significant digits of a sampled number, so that a trial's command can be typed."""


@dataclass(frozen=True, kw_only=True)
class Branch:
    """Keys that are swept only where another key has one of certain values: a LoRA rank with LoRA alone."""

    key: str
    values: tuple[str, ...]
    swept: Mapping[str, BaseDistribution]

    @property
    def condition(self) -> str:
        """The condition as it is written: ``trainer=lora``."""
        return f"{self.key}={','.join(self.values)}"

    def is_open(self, values: Mapping[str, Any]) -> bool:
        """Return whether a trial with these values, drawn so far, has the keys of this branch."""
        return self.key in values and spelled(values[self.key]) in self.values


@dataclass(frozen=True, kw_only=True)
class Space:
    """The swept keys with their distributions, and the overrides that all trials share.

    ``written`` has the keys that were typed with ``+``, as they were typed.
    """

    swept: Mapping[str, BaseDistribution]
    fixed: tuple[str, ...]
    branches: tuple[Branch, ...] = ()
    written: Mapping[str, str] = field(default_factory=dict)

    def overrides(self, values: Mapping[str, Any]) -> list[str]:
        """Return a trial's values as overrides."""
        written = {self.written.get(key, key): spelled(value) for key, value in values.items()}
        return [hydra_override(f"{key}={text}") for key, text in written.items()]

    def as_json(self) -> dict[str, str]:
        """Return distributions in Optuna's JSON notation, by key or by ``KEY if CONDITION``."""
        from optuna.distributions import distribution_to_json

        texts = {key: distribution_to_json(each) for key, each in sorted(self.swept.items())}
        for branch in self.branches:
            for key, each in sorted(branch.swept.items()):
                texts[f"{key}{_IF}{branch.condition}"] = distribution_to_json(each)
        return texts

    def distribution(self, key: str, values: Mapping[str, Any]) -> BaseDistribution | None:
        """Return a key's distribution in a trial with these values; None if the trial does not have the key.

        That of an open branch comes before the unconditional one; of several open branches the last wins.
        """
        found = self.swept.get(key)
        for branch in self.branches:
            if key in branch.swept and branch.is_open(values):
                found = branch.swept[key]
        return found

    def order(self) -> list[str]:
        """Return all keys, each after those that its branches depend on."""
        parents: dict[str, list[str]] = {key: [] for key in self.swept}
        for branch in self.branches:
            for key in branch.swept:
                parents.setdefault(key, []).append(branch.key)
        try:
            return list(TopologicalSorter(parents).static_order())
        except CycleError as error:
            circle = ", ".join(dict.fromkeys(error.args[1]))
            raise ConfigError(
                f"hydra.sweeper.conditional is circular ({circle}): a key must not depend on itself."
            ) from error

    def draw(self, trial: Trial) -> None:
        """Let a new trial draw its values, those that open branches first."""
        for key in self.order():
            distribution = self.distribution(key, trial.params)
            if distribution is not None:
                _suggest(trial, key, distribution)

    def first_trial(self, forced: Mapping[str, Any]) -> dict[str, Any]:
        """Return a trial with the given values, and otherwise the first of each key."""
        values: dict[str, Any] = {}
        for key in self.order():
            distribution = self.distribution(key, values)
            if distribution is not None:
                values[key] = forced.get(key, probes(distribution)[0])
        return values

    def opening(self, branch: Branch) -> Iterator[dict[str, Any]]:
        """Yield the values that open a branch, once for each that its condition names."""
        outer = next((each for each in self.branches if branch.key in each.swept), None)
        above = next(self.opening(outer)) if outer and branch.key not in self.swept else {}
        distribution = self.distribution(branch.key, above)
        for value in probes(distribution) if distribution else []:
            if spelled(value) in branch.values:
                yield {**above, branch.key: value}


def key_of(label: str) -> str:
    """Return the key of ``KEY`` or ``KEY if CONDITION``."""
    return label.partition(_IF)[0]


def _suggest(trial: Trial, key: str, distribution: Any) -> None:
    from optuna.distributions import CategoricalDistribution, IntDistribution

    if isinstance(distribution, CategoricalDistribution):
        trial.suggest_categorical(key, distribution.choices)
    elif isinstance(distribution, IntDistribution):
        trial.suggest_int(
            key, distribution.low, distribution.high, step=distribution.step, log=distribution.log
        )
    else:
        trial.suggest_float(
            key, distribution.low, distribution.high, step=distribution.step, log=distribution.log
        )


def as_choice(value: Any) -> Any:
    """Return numbers and booleans unchanged, and everything else as Hydra writes it."""
    if isinstance(value, QuotedString) and value.text == "null":
        return "null"  # an option's name, in quotes for Hydra alone
    return value if isinstance(value, (bool, int, float)) else Transformer.str(value)


def spelled(value: Any) -> str:
    """Return a sampled value as it is written after ``key=`` in an override."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        text = f"{value:.{DIGITS}g}"
        return text if any(mark in text for mark in ".en") else f"{text}.0"
    return str(value)


def described(distribution_json: str) -> str:
    """Return a distribution in words: ``1e-05 … 0.001 (log)``, ``mnrl | gist``."""
    name, attributes = (json.loads(distribution_json)[part] for part in ("name", "attributes"))
    if name == "CategoricalDistribution":
        return " | ".join(spelled(choice) for choice in attributes["choices"])
    step = attributes["step"]
    notes = [
        *(["log"] if attributes["log"] else []),
        *([f"step {spelled(step)}"] if step not in (None, 1) else []),
    ]
    return f"{spelled(attributes['low'])} … {spelled(attributes['high'])}" + (
        f" ({', '.join(notes)})" if notes else ""
    )


def default_values(config: DictConfig, space: Space) -> dict[str, Any] | None:
    """Return the configured values of the swept keys; None if one of them lies outside the space."""
    values: dict[str, Any] = {}
    for key in space.order():
        distribution = space.distribution(key, values)
        if distribution is None:
            continue
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
        values[key] = value
    return values


def check_space(config: DictConfig, loader: ConfigLoader, space: Space) -> None:
    """Compose and check a trial for each bound and each choice of the space, before anything runs.

    Raises:
        ConfigError, HydraException: One of these trials cannot run.
    """
    for forced in _forced(space):
        _check_trial(config, loader, space, space.first_trial(forced))


def _forced(space: Space) -> Iterator[dict[str, Any]]:
    """Yield the values to check: every choice and both bounds of each key, in each branch that has it."""
    yield {}
    for key, distribution in space.swept.items():
        for value in probes(distribution)[1:]:
            yield {key: value}
    for branch in space.branches:
        for opening in space.opening(branch):
            for key, distribution in branch.swept.items():
                for value in probes(distribution):
                    yield {**opening, key: value}


def probes(distribution: Any) -> list[Any]:
    """Return every choice of a distribution, or its bounds."""
    from optuna.distributions import CategoricalDistribution

    if isinstance(distribution, CategoricalDistribution):
        return list(distribution.choices)
    return [distribution.low, distribution.high]


def _check_trial(config: DictConfig, loader: ConfigLoader, space: Space, values: Mapping[str, Any]) -> None:
    trial = loader.load_sweep_config(config, [*space.fixed, *space.overrides(values)])
    with hydra_config_set(trial):
        with read_write(trial), open_dict(trial):
            del trial["hydra"]
        try:
            if set(COMPONENTS) <= set(trial):
                drop_null_options(trial)
                check(trial)
        except ConfigError as error:
            shown = " ".join(f"{key}={spelled(value)}" for key, value in values.items())
            raise ConfigError(f"The space contains a trial that cannot run ({shown}): {error}") from error


@contextmanager
def hydra_config_set(config: DictConfig) -> Iterator[None]:
    """Let ``${hydra:…}`` resolve against ``config``, which Hydra itself only does for a job."""
    before = HydraConfig.instance().cfg
    HydraConfig.instance().set_config(config)
    try:
        yield
    finally:
        HydraConfig.instance().cfg = before


def command_of(config: DictConfig, space: Space, values: Mapping[str, Any]) -> str:
    """Return the command that runs a trial's settings outside the sweep, quoted for a shell.

    Secrets are masked, since the command is written into reports.
    """
    sources = config.hydra.runtime.config_sources
    folders = [source.path for source in sources if source.provider == "command-line"]
    given = [part for folder in folders for part in ("--config-dir", str(folder))]
    overrides = [masked_text(text) for text in (*space.fixed, *space.overrides(values))]
    return shlex.join(["python", "-m", f"embexp.{config.hydra.job.name}", *given, *overrides])
