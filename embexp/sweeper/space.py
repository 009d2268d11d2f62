"""A search space in Hydra's sweep syntax as Optuna's distributions, and sampled values as overrides again."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep, Transformer
from hydra.errors import HydraException

from embexp.config.schema import COMPONENTS
from embexp.errors import ConfigError

if TYPE_CHECKING:
    from hydra.core.config_loader import ConfigLoader
    from optuna.distributions import BaseDistribution

SYNTAX = "choice(a,b), range(1,10), interval(0.1,1) or tag(log,interval(1e-5,1e-3))"
DIGITS = 6
"""Significant digits of a sampled number: what a trial runs with is what a person can type again."""


@dataclass(frozen=True, kw_only=True)
class Space:
    """What is swept, by plain key, and the overrides that every trial has besides.

    ``written`` holds the keys as Hydra needs them: with ``++`` where no option file may name them.
    """

    swept: Mapping[str, BaseDistribution]
    written: Mapping[str, str]
    fixed: tuple[str, ...]

    def overrides(self, values: Mapping[str, Any]) -> list[str]:
        """Return a trial's values as overrides."""
        return [f"{self.written.get(key, key)}={spelled(value)}" for key, value in values.items()]

    def as_json(self) -> dict[str, str]:
        """Return each key's distribution in Optuna's own notation, to compare and to keep."""
        from optuna.distributions import distribution_to_json

        return {key: distribution_to_json(each) for key, each in sorted(self.swept.items())}


def parse_space(params: Mapping[str, Any], arguments: Sequence[str], loader: ConfigLoader | None) -> Space:
    """Read ``hydra.sweeper.params`` and the command line; what stands later wins over what stands earlier.

    Args:
        params: Keys with sweeps (or plain values) from the configuration.
        arguments: The command line's overrides.
        loader: Names the options that ``glob(…)`` matches.

    Raises:
        ConfigError: A sweep cannot be read, is empty, or nothing is swept at all.
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
            swept[plain], written[plain] = distribution(override), key
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


def distribution(override: Override) -> BaseDistribution:
    """Return Optuna's distribution for a sweep of Hydra's.

    ``interval`` becomes a float (an int where it is ``int(interval(…))``), logarithmic under
    ``tag(log, …)``. ``range`` keeps its exclusive stop: ``range(1,10,3)`` is 1, 4 or 7. All else is a
    choice.

    Raises:
        ConfigError: The sweep is empty, upside down, or carries a tag that means nothing for it.
    """
    from optuna.distributions import CategoricalDistribution

    value = override.value()
    tags = set(getattr(value, "tags", ()))
    allowed = {"log"} if isinstance(value, IntervalSweep) else set()
    if unknown := sorted(tags - allowed):
        raise _refused(override, f"the tag {unknown[0]!r} means nothing here; log goes with an interval")
    if isinstance(value, IntervalSweep):
        return _interval(override, value)
    if isinstance(value, RangeSweep):
        return _range(override)
    choices = list(override.sweep_iterator(transformer=as_choice))
    if not choices:
        raise _refused(override, "it matches nothing")
    distinct = {(type(choice), choice): choice for choice in choices}
    return CategoricalDistribution(list(distinct.values()))  # type: ignore[arg-type]


def _interval(override: Override, value: IntervalSweep) -> BaseDistribution:
    from optuna.distributions import FloatDistribution, IntDistribution

    low, high, logarithmic = value.start or 0, value.end or 0, "log" in value.tags
    if low > high:
        raise _refused(override, "its start is above its end")
    if logarithmic and low <= 0:
        raise _refused(override, "a logarithm needs a start above 0")
    if isinstance(low, int) and isinstance(high, int):
        return IntDistribution(low, high, log=logarithmic)
    return FloatDistribution(float(low), float(high), log=logarithmic)


def _range(override: Override) -> BaseDistribution:
    from optuna.distributions import FloatDistribution, IntDistribution

    items: list[Any] = sorted(override.sweep_iterator())  # type: ignore[type-var]
    if not items:
        raise _refused(override, "it holds no number; the stop is left out, as in Python")
    step = items[1] - items[0] if len(items) > 1 else 1
    if all(isinstance(item, int) for item in items):
        return IntDistribution(items[0], items[-1], step=step)
    rounded = [float(f"{item:.12g}") for item in items]
    return FloatDistribution(rounded[0], rounded[-1], step=float(f"{step:.12g}"))


def as_choice(value: Any) -> Any:
    """Return numbers and booleans as they are, and all else as Hydra writes it."""
    return value if isinstance(value, (bool, int, float)) else Transformer.str(value)


def _refused(override: Override, reason: str) -> ConfigError:
    key = override.get_key_element().lstrip("+")
    return ConfigError(f"The sweep {key}={override.get_value_string()} cannot be searched: {reason}.")


def spelled(value: Any) -> str:
    """Return a sampled value as it stands after ``key=`` in an override."""
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
