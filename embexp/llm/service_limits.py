"""A service's limits: a sliding window of what was sent, and what the response headers teach."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

MINUTE = 60.5
"""Seconds of our minute: half a second more than the service's, so that clocks and wires may jitter."""
DAY = 86_400.0
DURATION = re.compile(r"(?:([\d.]+)d)?(?:([\d.]+)h)?(?:([\d.]+)m(?!s))?(?:([\d.]+)s)?(?:([\d.]+)ms)?$")
SPOKEN = re.compile(r"\b(RPM|TPM|RPD|TPD)\)?: Limit ([\d,]+)")


@dataclass
class Entry:
    """One request's share of a limit, charged when it is sent and corrected when its usage is known."""

    time: float
    amount: float
    mark: float = 0.0
    """All that had been charged up to and with this request."""


@dataclass(frozen=True)
class Seen:
    """A limit as response headers state it; ``resets_in`` is in seconds."""

    limit: float
    remaining: float
    resets_in: float

    @property
    def is_daily(self) -> bool:
        """Whether the limit counts a day.

        Groq's request headers do: a bucket that refills evenly over a day, so that its reset is the
        used part of a day. A reset of more than a minute cannot belong to a minute's limit either.
        """
        used = (self.limit - self.remaining) / max(self.limit, 1.0) * DAY
        return self.resets_in > MINUTE or (used > 1.0 and abs(self.resets_in - used) < 0.15 * used)


class Meter:
    """One limit: at most ``limit`` units in any ``seconds``.

    A limit that a person configured always holds. One that was learnt holds unless the service itself
    says that there is room.

    Args:
        limit: The configured limit, or None to learn it.
        seconds: The window's length.
    """

    def __init__(self, limit: float | None, seconds: float) -> None:
        self._configured = limit
        self._seconds = seconds
        self._entries: deque[Entry] = deque()
        self._sum = 0.0
        self._total = 0.0
        self._flying = 0.0
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
            # One request to hear how much there is now: a reset may mean all of the limit, or a part.
            self._remaining, self._mark = amount + self._flying, self._total
            self._resets_at = now + self._seconds
        # What the service said remained after one request, less what was sent after that request, less
        # what is under way: requests overtake each other.
        if self._remaining - (self._total - self._mark) - self._flying >= amount:
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
        # Nothing is in the window, and yet it does not fit: it never will, so let the service decide.
        return 0.0 if not self._entries else self._entries[-1].time + self._seconds - now

    def _expire(self, now: float) -> None:
        while self._entries and self._entries[0].time + self._seconds <= now:
            self._sum -= self._entries.popleft().amount

    def charge(self, amount: float, now: float) -> Entry:
        """Count ``amount`` as sent now."""
        self._total += amount
        self._flying += amount
        entry = Entry(now, amount, self._total)
        if self._seconds < DAY or self._configured is not None:
            self._expire(now)
            self._entries.append(entry)
            self._sum += amount
        return entry

    def settle(self, entry: Entry, actual: float, now: float) -> None:
        """Put what a request really used in place of what it reserved."""
        self._flying -= entry.amount
        if entry.time + self._seconds > now and self._entries:
            self._sum += actual - entry.amount
        entry.amount = actual

    def learn(self, seen: Seen, mark: float, now: float) -> None:
        """Take over what the response to the request with this mark says, unless a later one has spoken."""
        if mark < self._mark:
            return
        self._mark = mark
        self._learnt = seen.limit
        self._remaining = seen.remaining
        self._resets_at = now + seen.resets_in

    def learn_limit(self, limit: float, now: float) -> None:
        """Take over a limit that a refusal names; there is no room at the moment."""
        if self._learnt is None:
            self._remaining, self._mark, self._resets_at = 0.0, self._total, now + self._seconds
        self._learnt = limit


def seen(headers: Mapping[str, str], resource: str) -> Seen | None:
    """Return what ``x-ratelimit-*`` headers say of ``requests`` or ``tokens``, None without them."""
    try:
        limit = float(headers[f"x-ratelimit-limit-{resource}"])
        remaining = float(headers[f"x-ratelimit-remaining-{resource}"])
        resets_in = duration(headers[f"x-ratelimit-reset-{resource}"])
    except (KeyError, ValueError):
        return None
    return Seen(limit, remaining, resets_in) if limit > 0 else None


def duration(text: str) -> float:
    """Return the seconds of "2m59.56s", "7.66s", "120ms" or "12".

    Raises:
        ValueError: The text is none of these.
    """
    text = text.strip()
    found = DURATION.match(text)
    if found is None or not any(found.groups()):
        return float(text)
    days, hours, minutes, seconds, thousandths = (float(part or 0) for part in found.groups())
    return days * DAY + hours * 3600 + minutes * 60 + seconds + thousandths / 1000


def spoken_limit(message: str) -> tuple[str, float] | None:
    """Return the limit that a refusal names ("… (RPM): Limit 30, Used 30 …") as ("RPM", 30.0)."""
    found = SPOKEN.search(message)
    return (found.group(1), float(found.group(2).replace(",", ""))) if found else None
