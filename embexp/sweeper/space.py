"""The search space: from Hydra's sweep syntax to Optuna's distributions, and from values to overrides."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep, Transformer
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from embexp.config.check import check
from embexp.config.schema import COMPONENTS
from embexp.errors import ConfigError
from embexp.masking import masked_text

if TYPE_CHECKING:
    from hydra.core.config_loader import ConfigLoader
    from optuna.distributions import BaseDistribution

SYNTAX = "choice(a,b), range(1,10), interval(0.1,1) or tag(log,interval(1e-5,1e-3))"
DIGITS = 6
"""Significant digits of a sampled number, so that a trial's command can be typed."""


@dataclass(frozen=True, kw_only=True)
class Space:
    """The swept keys with their distributions, and the overrides that all trials share.

    ``written`` holds the keys as Hydra needs them: with ``++`` if an option file might not define them.
    """

    swept: Mapping[str, BaseDistribution]
    written: Mapping[str, str]
    fixed: tuple[str, ...]

    def overrides(self, values: Mapping[str, Any]) -> list[str]:
        """Return a trial's values as overrides."""
        return [f"{self.written.get(key, key)}={spelled(value)}" for key, value in values.items()]

    def as_json(self) -> dict[str, str]:
        """Return each key's distribution in Optuna's JSON notation."""
        from optuna.distributions import distribution_to_json

        return {key: distribution_to_json(each) for key, each in sorted(self.swept.items())}


def parse_space(params: Mapping[str, Any], arguments: Sequence[str], loader: ConfigLoader | None) -> Space:
    """Parse ``hydra.sweeper.params`` and the command line; the command line wins.

    Args:
        params: Keys with sweeps (or plain values) from the configuration.
        arguments: The overrides on the command line.
        loader: Lists the options that ``glob(…)`` matches.

    Raises:
        ConfigError: A sweep cannot be parsed or is empty, or nothing is swept.
    """
    parser = OverridesParser.create(config_loader=loader)
    swept: dict[str, BaseDistribution] = {}
    written: dict[str, str] = {}
    fixed: dict[str, str] = {}
    for text in [*(_as_override(key, value) for key, value in params.items()), *arguments]:
        override = _parsed(parser, text)
        key = override.get_key_element()
        plain = key.lstrip("+")
        swept.pop(plain, None)
        fixed.pop(plain, None)
        if override.is_sweep_override():
            swept[plain], written[plain] = _distribution(override), key
        else:
            fixed[plain] = text
    if not swept:
        raise ConfigError(
            f"There is nothing to sweep: give a key a sweep, as in trainer.epochs={SYNTAX}, or choose a "
            "space, as in hparams=mnrl."
        )
    return Space(swept=swept, written=written, fixed=tuple(fixed.values()))


def _as_override(key: str, value: Any) -> str:
    below = key.partition(".")[0] in COMPONENTS and "." in key
    return f"{'++' if below else ''}{key}={'null' if value is None else value}"


def _parsed(parser: OverridesParser, text: str) -> Override:
    try:
        return parser.parse_override(text)
    except HydraException as error:
        key, _, value = text.partition("=")
        raise ConfigError(
            f"The sweep of {key.lstrip('+')} is {value!r}, which cannot be read: write {SYNTAX}."
        ) from error


def _distribution(override: Override) -> BaseDistribution:
    """Return Optuna's distribution for a sweep in Hydra's syntax.

    ``interval`` becomes a float (an int for ``int(interval(…))``), logarithmic under ``tag(log, …)``.
    ``range`` keeps its exclusive stop: ``range(1,10,3)`` is 1, 4 or 7. Everything else is a choice.

    Raises:
        ConfigError: The sweep is empty, its bounds are reversed, or its tag does not apply.
    """
    from optuna.distributions import CategoricalDistribution

    value = override.value()
    tags = set(getattr(value, "tags", ()))
    allowed = {"log"} if isinstance(value, IntervalSweep) else set()
    if unknown := sorted(tags - allowed):
        raise _invalid(override, f"the tag {unknown[0]!r} does not apply; log goes with an interval")
    if isinstance(value, IntervalSweep):
        return _interval(override, value)
    if isinstance(value, RangeSweep):
        return _range(override)
    choices = list(override.sweep_iterator(transformer=_as_choice))
    if not choices:
        raise _invalid(override, "it matches nothing")
    distinct = {(type(choice), choice): choice for choice in choices}
    return CategoricalDistribution(list(distinct.values()))  # type: ignore[arg-type]


def _interval(override: Override, value: IntervalSweep) -> BaseDistribution:
    from optuna.distributions import FloatDistribution, IntDistribution

    low, high, logarithmic = value.start or 0, value.end or 0, "log" in value.tags
    if low > high:
        raise _invalid(override, "its start is above its end")
    if logarithmic and low <= 0:
        raise _invalid(override, "a logarithm needs a start above 0")
    if isinstance(low, int) and isinstance(high, int):
        return IntDistribution(low, high, log=logarithmic)
    return FloatDistribution(float(low), float(high), log=logarithmic)


def _range(override: Override) -> BaseDistribution:
    from optuna.distributions import FloatDistribution, IntDistribution

    items: list[Any] = sorted(override.sweep_iterator())  # type: ignore[type-var]
    if not items:
        raise _invalid(override, "it is empty; the stop is exclusive, as in Python")
    step = items[1] - items[0] if len(items) > 1 else 1
    if all(isinstance(item, int) for item in items):
        return IntDistribution(items[0], items[-1], step=step)
    rounded = [float(f"{item:.12g}") for item in items]
    return FloatDistribution(rounded[0], rounded[-1], step=float(f"{step:.12g}"))


def _as_choice(value: Any) -> Any:
    """Return numbers and booleans unchanged, and everything else as Hydra writes it."""
    return value if isinstance(value, (bool, int, float)) else Transformer.str(value)


def _invalid(override: Override, reason: str) -> ConfigError:
    key = override.get_key_element().lstrip("+")
    return ConfigError(f"The sweep {key}={override.get_value_string()} cannot be searched: {reason}.")


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
    values = {}
    for key, distribution in space.swept.items():
        value = config.hydra.runtime.choices.get(key)
        if value is None:
            node = OmegaConf.select(config, key)
            value = OmegaConf.to_container(node) if OmegaConf.is_config(node) else node
        try:
            value = _as_choice(value)
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
    probes = {key: _probes(distribution) for key, distribution in space.swept.items()}
    first = {key: values[0] for key, values in probes.items()}
    _check_trial(config, loader, space, first)
    for key, values in probes.items():
        for value in values[1:]:
            _check_trial(config, loader, space, {**first, key: value})


def _probes(distribution: Any) -> list[Any]:
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
    overrides = [masked_text(text.lstrip("+")) for text in (*space.fixed, *space.overrides(values))]
    return shlex.join(["python", "-m", f"embexp.{config.hydra.job.name}", *given, *overrides])
