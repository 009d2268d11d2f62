"""Which queries to ask for: kinds in the configured shares, personas, difficulties, drawn by key alone."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from itertools import accumulate

from embexp.errors import ConfigError, EmbexpError
from embexp.storage.files import sha256_of
from embexp.synthesis.drafts import Slot
from embexp.synthesis.rounds import Rounds

log = logging.getLogger(__name__)


UNITS = 16**12


def share_of(*key: object) -> float:
    """Return a number in [0, 1) that depends on the key alone, evenly spread over keys."""
    return int(sha256_of(*key)[:12], 16) / UNITS


def seed_of(*key: object) -> int:
    """Return a seed for a request: below 2**31, and the same wherever the key is."""
    return int(sha256_of(*key)[:8], 16) % 2**31


def check_mix(mix: Mapping[str, float], place: str = "synthesis.mix") -> None:
    """Refuse shares that cannot be drawn from.

    Raises:
        ConfigError: A share is negative, or all of them are zero.
    """
    for kind, weight in mix.items():
        if weight < 0:
            raise ConfigError(f"{place}.{kind}={weight}: give 0 or a positive share.")
    if not any(mix.values()):
        raise ConfigError(f"{place} is empty: give at least one kind of query a positive share.")


def slots(
    *key: object, count: int, mix: Mapping[str, float], personas: Sequence[str], difficulties: Sequence[str]
) -> list[Slot]:
    """Return ``count`` slots for a place; other places have no say in them.

    Kinds are drawn by systematic sampling (Madow & Madow, Ann. Math. Stat. 15, 1944): one random start,
    then equal steps along the cumulated shares. So each place has an even mix, and the mix over all
    places tends to the shares. A place keeps its slots when others come or go, so that its prompt,
    and with it a recorded answer, stays valid.

    Args:
        key: What names the place (seed, chunk id, turn).
        count: How many queries to ask for.
        mix: Kind -> share; shares need not add up to 1.
        personas: Who asks; drawn in turn from a random start.
        difficulties: How hard; drawn in turn from a random start.
    """
    kinds = _systematic(share_of("kind", *key), count, mix)
    persona = int(share_of("persona", *key) * len(personas))
    difficulty = int(share_of("difficulty", *key) * len(difficulties))
    return [
        Slot(
            number=at + 1,
            kind=kind,
            persona=personas[(persona + at) % len(personas)],
            difficulty=difficulties[(difficulty + at) % len(difficulties)],
        )
        for at, kind in enumerate(kinds)
    ]


def _systematic(start: float, count: int, mix: Mapping[str, float]) -> list[str]:
    names = [name for name, weight in mix.items() if weight > 0]
    ends = list(accumulate(mix[name] for name in names))
    chosen, at = [], 0
    for step in range(count):
        point = (start + step) / count * ends[-1]
        while point >= ends[at] and at < len(ends) - 1:
            at += 1
        chosen.append(names[at])
    return chosen


def default_personas() -> list[str]:
    """Return who asks, where the configuration does not say."""
    return ["a newcomer", "an expert", "somebody in a hurry", "somebody who does not know the right terms"]


def default_difficulties() -> list[str]:
    """Return how hard queries are, where the configuration does not say."""
    return ["easy", "medium", "hard"]


def check_counts(settings: object, names: str, *, least: int) -> None:
    """Refuse options below their least value.

    Raises:
        ConfigError: One of the named attributes is too small.
    """
    for name in names.split():
        value = getattr(settings, name)
        if value < least:
            raise ConfigError(f"synthesis.{name}={value}: give {least} or more.")


def tell(rounds: Rounds) -> None:
    """Log what was accepted and rejected, and warn where the target was missed.

    Raises:
        EmbexpError: Nothing was accepted.
    """
    report = rounds.report()
    dropped = ", ".join(f"{count:,} {reason}" for reason, count in report["rejected"].items()) or "none"
    log.info("Accepted %s pairs; rejected: %s.", f"{rounds.accepted:,}", dropped)
    if rounds.accepted == 0:
        shown = "; ".join(texts[0] for texts in report["examples_dropped"].values() if texts)
        raise EmbexpError(
            f"The language model {rounds.llm.name} wrote nothing that passes the filters (rejected: "
            f"{dropped}; for example: {shown[:300] or 'nothing to show'}). "
            f"{rounds.stopped or ''} Try another model, or loosen synthesis.filters."
        )
    if rounds.stopped:
        log.warning(
            "%s of %s pairs were written. %s", f"{rounds.accepted:,}", f"{rounds.target:,}", rounds.stopped
        )
