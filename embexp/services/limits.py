"""A service's limits: sliding windows over what was sent, corrected by what response headers report."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

MINUTE = 60.5
"""Seconds of a minute, with half a second of slack for clock and network jitter."""
DAY = 86_400.0
_DURATION = re.compile(r"(?:([\d.]+)d)?(?:([\d.]+)h)?(?:([\d.]+)m(?!s))?(?:([\d.]+)s)?(?:([\d.]+)ms)?$")
_LIMIT_IN_MESSAGE = re.compile(r"\b(RPM|TPM|RPD|TPD)\)?: Limit ([\d,]+)")


@dataclass
class Entry:
    """One request's share of a limit: reserved when it is sent, corrected when its usage is known."""

    time: float
    amount: float
    mark: float = 0.0
    """The sum of all charges up to and including this request."""


@dataclass(frozen=True)
class ObservedLimit:
    """A limit as response headers state it; ``resets_in`` is in seconds."""

    limit: float
    remaining: float
    resets_in: float

    @property
    def is_daily(self) -> bool:
        """Whether the limit is for a day rather than a minute.

        Groq's request headers describe a bucket that refills evenly over a day, so its reset is the used
        share of a day. A reset of more than a minute cannot belong to a limit per minute either.
        """
        used = (self.limit - self.remaining) / max(self.limit, 1.0) * DAY
        return self.resets_in > MINUTE or (used > 1.0 and abs(self.resets_in - used) < 0.15 * used)


class Meter:
    """One limit: at most ``limit`` units in any ``seconds``.

    A configured limit always holds. A learnt limit holds unless the service itself reports room.

    Args:
        limit: The configured limit, None to learn it from the service.
        seconds: The length of the window.
    """

    def __init__(self, limit: float | None, seconds: float) -> None:
        self._configured = limit
        self._seconds = seconds
        self._entries: deque[Entry] = deque()
        self._sum = 0.0
        self._total = 0.0
        self._in_flight = 0.0
        self._mark = 0.0
        self._learnt: float | None = None
        self._remaining = 0.0
        self._resets_at = 0.0

    @property
    def limit(self) -> float | None:
        """The limit in force: the smaller of the configured and the learnt one."""
        known = [limit for limit in (self._configured, self._learnt) if limit is not None]
        return min(known, default=None)

    def wait(self, amount: float, now: float) -> float:
        """Return the seconds until ``amount`` more fits."""
        configured = self._window_wait(amount, self._configured, now)
        if self._learnt is None:
            return configured
        if now >= self._resets_at:
            # Let one request through to learn the new state: a reset may restore all of the limit or a part.
            self._remaining, self._mark = amount + self._in_flight, self._total
            self._resets_at = now + self._seconds
        # What the service reported as remaining after one request, minus what was sent after it, minus what
        # is in flight: requests overtake each other.
        if self._remaining - (self._total - self._mark) - self._in_flight >= amount:
            return configured
        learnt = min(self._resets_at - now, self._window_wait(amount, self._learnt, now))
        return max(configured, learnt)

    def _window_wait(self, amount: float, limit: float | None, now: float) -> float:
        if limit is None:
            return 0.0
        self._expire(now)
        excess = self._sum + amount - limit
        for entry in self._entries:
            if excess <= 1e-9:
                return 0.0
            excess -= entry.amount
            if excess <= 1e-9:
                return max(entry.time + self._seconds - now, 0.0)
        # It does not fit even into an empty window and never will: let the service decide.
        return 0.0 if not self._entries else self._entries[-1].time + self._seconds - now

    def _expire(self, now: float) -> None:
        while self._entries and self._entries[0].time + self._seconds <= now:
            self._sum -= self._entries.popleft().amount

    def charge(self, amount: float, now: float) -> Entry:
        """Count ``amount`` as sent now."""
        self._total += amount
        self._in_flight += amount
        entry = Entry(now, amount, self._total)
        if self._seconds < DAY or self._configured is not None:
            self._expire(now)
            self._entries.append(entry)
            self._sum += amount
        return entry

    def settle(self, entry: Entry, actual: float, now: float) -> None:
        """Replace what a request reserved by what it really used."""
        self._in_flight -= entry.amount
        if entry.time + self._seconds > now and self._entries:
            self._sum += actual - entry.amount
        entry.amount = actual

    def learn(self, observed: ObservedLimit, mark: float, now: float) -> None:
        """Adopt what the response to the request with this mark reports, unless a later one was read."""
        if mark < self._mark:
            return
        self._mark = mark
        self._learnt = observed.limit
        self._remaining = observed.remaining
        self._resets_at = now + observed.resets_in

    def learn_limit(self, limit: float, now: float) -> None:
        """Adopt a limit that a refusal names; there is no room at the moment."""
        if self._learnt is None:
            self._remaining, self._mark, self._resets_at = 0.0, self._total, now + self._seconds
        self._learnt = limit


def observed_limit(headers: Mapping[str, str], resource: str) -> ObservedLimit | None:
    """Return the limit on ``requests`` or ``tokens`` in ``x-ratelimit-*`` headers, None without them."""
    try:
        limit = float(headers[f"x-ratelimit-limit-{resource}"])
        remaining = float(headers[f"x-ratelimit-remaining-{resource}"])
        resets_in = _duration(headers[f"x-ratelimit-reset-{resource}"])
    except (KeyError, ValueError):
        return None
    return ObservedLimit(limit, remaining, resets_in) if limit > 0 else None


def _duration(text: str) -> float:
    """Return the seconds of "2m59.56s", "7.66s", "120ms" or "12".

    Raises:
        ValueError: The text is none of these.
    """
    text = text.strip()
    match = _DURATION.match(text)
    if match is None or not any(match.groups()):
        return float(text)
    days, hours, minutes, seconds, thousandths = (float(part or 0) for part in match.groups())
    return days * DAY + hours * 3600 + minutes * 60 + seconds + thousandths / 1000


def limit_in_message(message: str) -> tuple[str, float] | None:
    """Return the limit that a refusal names ("… (RPM): Limit 30, Used 30 …") as ("RPM", 30.0)."""
    match = _LIMIT_IN_MESSAGE.search(message)
    return (match.group(1), float(match.group(2).replace(",", ""))) if match else None
