"""From Hydra's sweep syntax to a search space over Optuna's distributions."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep
from hydra.errors import HydraException

from embexp.config.check import suggest
from embexp.config.overrides import hydra_override
from embexp.errors import ConfigError
from embexp.sweeper.space import Branch, Space, as_choice, probes, spelled

if TYPE_CHECKING:
    from hydra.core.config_loader import ConfigLoader
    from optuna.distributions import BaseDistribution

SYNTAX = "choice(a,b), range(1,10), interval(0.1,1) or tag(log,interval(1e-5,1e-3))"


def parse_space(
    params: Mapping[str, Any],
    arguments: Sequence[str],
    loader: ConfigLoader | None,
    *,
    conditional: Mapping[str, Mapping[str, Any]] | None = None,
) -> Space:
    """Parse ``hydra.sweeper.params`` and ``conditional`` and the command line; the command line wins.

    Args:
        params: Keys with sweeps (or plain values) from the configuration.
        arguments: The overrides on the command line.
        loader: Lists the options that ``glob(…)`` matches.
        conditional: ``KEY=VALUE`` -> what is swept besides in trials with that value.

    Raises:
        ConfigError: A sweep cannot be parsed or is empty, a condition can never hold, or nothing is swept.
    """
    parser = OverridesParser.create(config_loader=loader)
    given = {_plain(each): each for each in (_parsed(parser, text) for text in arguments)}
    branches = [_as_given(each, given, params) for each in _branches(conditional or {}, parser)]
    inner = {key for branch in branches for key in branch.swept}
    defaults = {_plain(each): each for each in (_parsed(parser, text) for text in _texts(params))}
    chosen = {**defaults, **{key: each for key, each in given.items() if key not in inner}}
    swept = {key: _distribution(each) for key, each in chosen.items() if each.is_sweep_override()}
    fixed = {key: str(each.input_line) for key, each in chosen.items() if key not in swept}
    written = {key: each.get_key_element() for key, each in chosen.items() if each.get_key_element() != key}
    space = Space(swept=swept, fixed=tuple(fixed.values()), written=written)
    space = _with_branches(space, branches, fixed, given)
    if not space.swept:
        raise ConfigError(
            f"There is nothing to sweep: give a key a sweep, as in trainer.epochs={SYNTAX}, or choose a "
            "space, as in hparams=mnrl."
        )
    space.order()
    _check_alike(space)
    return space


def _plain(override: Override) -> str:
    """Return an override's key without ``+``."""
    return str(override.get_key_element()).lstrip("+")


def _texts(params: Mapping[str, Any]) -> list[str]:
    """Return keys with sweeps or values as overrides."""
    return [
        hydra_override(f"{key}={'null' if value is None else value}", multirun=True)
        for key, value in params.items()
    ]


def _branches(conditional: Mapping[str, Mapping[str, Any]], parser: OverridesParser) -> list[Branch]:
    """Parse ``hydra.sweeper.conditional``."""
    branches = []
    for condition, params in conditional.items():
        key, equals, _ = condition.partition("=")
        if not equals or not isinstance(params, Mapping):
            raise ConfigError(
                f"hydra.sweeper.conditional has {condition!r}: write KEY=VALUE, and below it what to sweep."
            )
        override = _parsed(parser, hydra_override(condition, multirun=True))
        several = override.is_sweep_override()
        values = list(override.sweep_iterator(transformer=as_choice)) if several else [override.value()]
        parsed = [_parsed(parser, text) for text in _texts(params)]
        swept = {each.get_key_element(): _any_distribution(each) for each in parsed}
        named = tuple(spelled(as_choice(value)) for value in values)
        branches.append(Branch(key=key, values=named, swept=swept))
    return branches


def _any_distribution(override: Override) -> BaseDistribution:
    """Return the distribution of a sweep, or that of a plain value, which is its only choice."""
    from optuna.distributions import CategoricalDistribution

    if override.is_sweep_override():
        return _distribution(override)
    return CategoricalDistribution([as_choice(override.value())])


def _as_given(branch: Branch, given: Mapping[str, Override], params: Mapping[str, Any]) -> Branch:
    """Return a branch with what the command line gives for its keys.

    A key that is swept in trials of all kinds, too, is then no part of the branch any more.
    """
    kept = {key: each for key, each in branch.swept.items() if key not in given or key not in params}
    swept = {key: _any_distribution(given[key]) if key in given else each for key, each in kept.items()}
    return replace(branch, swept=swept)


def _with_branches(
    space: Space, branches: Sequence[Branch], fixed: Mapping[str, str], given: Collection[str]
) -> Space:
    """Return a space with those branches that can open.

    Where the command line fixes the key of a condition, its branch is always open or never; where it leaves
    out some choices, so does the condition.
    """
    swept, kept = dict(space.swept), []
    inner = {key for branch in branches for key in branch.swept}
    for branch in branches:
        if branch.key in fixed:
            if fixed[branch.key].partition("=")[2].strip("'\"") in branch.values:
                swept.update(branch.swept)
            continue
        if branch.key not in {*swept, *inner}:
            raise ConfigError(
                f"hydra.sweeper.conditional has {branch.condition}, and {branch.key} is not swept: sweep it "
                "too, or leave that out."
            )
        choices = _choices(branch.key, swept, branches)
        possible = tuple(value for value in branch.values if value in choices)
        if unknown := [value for value in branch.values if value not in choices and branch.key not in given]:
            raise ConfigError(
                f"hydra.sweeper.conditional has {branch.key}={unknown[0]}, which no trial can have: "
                f"{suggest(unknown[0], choices)}"
            )
        if possible and branch.swept:
            kept.append(replace(branch, values=possible))
    return replace(space, swept=swept, branches=tuple(kept))


def _check_alike(space: Space) -> None:
    """Refuse distributions of one key that Optuna cannot have in one study."""
    from optuna.distributions import check_distribution_compatibility

    first = dict(space.swept)
    for branch in space.branches:
        for key, distribution in branch.swept.items():
            try:
                check_distribution_compatibility(first.setdefault(key, distribution), distribution)
            except ValueError as error:
                raise ConfigError(
                    f"{key} is swept in another way under {branch.condition} than elsewhere: sweep it by "
                    "ranges, which may differ, or by the same choices."
                ) from error


def _choices(key: str, swept: Mapping[str, BaseDistribution], branches: Sequence[Branch]) -> list[str]:
    """Return the values that a key can have, as they are spelled; of an interval, its bounds."""
    from optuna.distributions import IntDistribution

    found: list[str] = []
    for distribution in [*(each.get(key) for each in (swept, *(branch.swept for branch in branches)))]:
        if isinstance(distribution, IntDistribution) and not distribution.log:
            steps = range(distribution.low, distribution.high + 1, distribution.step)
            found += [spelled(value) for value in steps]
        elif distribution is not None:
            found += [spelled(value) for value in probes(distribution)]
    return found


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
    choices = list(override.sweep_iterator(transformer=as_choice))
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


def _invalid(override: Override, reason: str) -> ConfigError:
    key = override.get_key_element().lstrip("+")
    return ConfigError(f"The sweep {key}={override.get_value_string()} cannot be searched: {reason}.")
