"""What the syntheses with a language model have in common: defaults, checks, and what they say at the end."""

from __future__ import annotations

import logging

from embexp.errors import ConfigError, EmbexpError
from embexp.synthesis.rounds import Rounds

log = logging.getLogger(__name__)


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
