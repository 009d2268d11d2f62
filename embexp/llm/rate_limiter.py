"""How fast requests go out: the service's limits, its wishes, what it can bear, and when to give up."""

from __future__ import annotations

import asyncio
import heapq
import logging
import random
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from embexp.errors import ConfigError, EmbexpError
from embexp.llm.prices import Budget
from embexp.llm.request_errors import Retry
from embexp.llm.service_limits import DAY, MINUTE, Entry, Meter, seen, spoken_limit

log = logging.getLogger(__name__)


RECENT = 20
TROUBLE = 0.25
"""The part of the last requests that must meet an overload before fewer go out at once."""
BURSTS = 3
"""How often that must happen, at a known limit, before requests go out evenly spaced."""
CATCH_UP = 1.0
"""Seconds of lost slots that evenly spaced requests may make up for at once."""
PATIENCE = 3
"""After so many failures in a row everything pauses, longer each time, until one request succeeds."""
LONGEST_PAUSE = 60.0
LONG_WAIT = 20.0
GO_ON = "Everything received is kept: run the same command again and it goes on from there."


@dataclass(frozen=True, kw_only=True)
class PaceSettings:
    """The limits that a person sets; None is learnt from the service.

    Args:
        requests_per_minute: The most requests in a minute.
        tokens_per_minute: The most tokens in a minute, prompt and answer together.
        requests_per_day: The most requests in a day.
        tokens_per_day: The most tokens in a day.
        max_concurrency: The most requests under way at once.
        first_concurrency: How many to begin with; it grows as they succeed.
        give_up_after: The failures in a row, each sent after the one before, that end the run.
        backoff_seconds: The first pause after failures; it doubles up to a minute.
    """

    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    requests_per_day: int | None = None
    tokens_per_day: int | None = None
    max_concurrency: int = 64
    first_concurrency: int = 8
    give_up_after: int = 10
    backoff_seconds: float = 1.0

    def __post_init__(self) -> None:
        for name in ("requests_per_minute", "tokens_per_minute", "requests_per_day", "tokens_per_day"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"llm.{name}={value}: give a number from 1 up, or null to learn it.")
        for name in ("max_concurrency", "give_up_after"):
            if getattr(self, name) < 1:
                raise ConfigError(f"llm.{name}={getattr(self, name)}: give a whole number from 1 up.")
        if self.backoff_seconds <= 0:
            raise ConfigError(f"llm.backoff_seconds={self.backoff_seconds}: give a number above 0.")


@dataclass(frozen=True)
class Ticket:
    """The right to send one request; it must be given back through ``succeeded`` or ``failed``."""

    sent_at: float
    tokens: int
    cost: float
    charges: tuple[tuple[Meter, Entry, float], ...]


@dataclass(eq=False)
class _Waiting:
    order: int
    tokens: int
    cost: float
    ticket: asyncio.Future[Ticket]

    def __lt__(self, other: _Waiting) -> bool:
        return self.order < other.order


class Pace:
    """Hands out tickets, the earliest request first; belongs to one event loop.

    Args:
        settings: The limits that a person set.
        budget: The money.
        clock: Seconds that only go forward.
    """

    def __init__(
        self, settings: PaceSettings, budget: Budget, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._settings = settings
        self._budget = budget
        self._clock = clock
        self._rpm = Meter(settings.requests_per_minute, MINUTE)
        self._tpm = Meter(settings.tokens_per_minute, MINUTE)
        self._rpd = Meter(settings.requests_per_day, DAY)
        self._tpd = Meter(settings.tokens_per_day, DAY)
        self.concurrency = float(min(settings.first_concurrency, settings.max_concurrency))
        self._growing_fast = True
        self._flying = 0
        self._waiting: list[_Waiting] = []
        self._timer: asyncio.TimerHandle | None = None
        self._hold_until = 0.0
        self._recent: deque[str] = deque(maxlen=RECENT)
        self._failures = 0
        self._last_failure = float("-inf")
        self._bursts = 0
        self._spaced = False
        self._next_slot = float("-inf")
        self.stopped: EmbexpError | None = None

    async def ticket(self, order: int, tokens: int, cost: float) -> Ticket:
        """Wait until a request may be sent.

        Args:
            order: The request's place; lower ones go first.
            tokens: The tokens that it may use at most.
            cost: The dollars that it may cost at most.

        Raises:
            EmbexpError: The run has been stopped.
        """
        if self.stopped is not None:
            raise self.stopped
        future: asyncio.Future[Ticket] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, _Waiting(order, tokens, cost, future))
        self._pump()
        return await future

    def succeeded(self, ticket: Ticket, *, tokens: int, cost: float, headers: Mapping[str, str]) -> None:
        """Give back the ticket of a request that was answered, with what it really took."""
        self._budget.spent += cost
        self._land(ticket, tokens)
        self._learn(headers, ticket)
        self._failures = 0
        self._recent.append("ok")
        if self._flying + 1 >= 0.8 * self.concurrency:
            self.concurrency += 1.0 if self._growing_fast else 1.0 / self.concurrency
            self.concurrency = min(self.concurrency, float(self._settings.max_concurrency))
        self._pump()

    def failed(self, ticket: Ticket, problem: Retry) -> None:
        """Give back the ticket of a request that must be sent again."""
        self._land(ticket, 0 if problem.kind == "rate" else ticket.tokens)
        self._learn(problem.headers, ticket)
        if problem.kind != "settled":
            self._recent.append(problem.kind)
            if problem.kind == "rate":
                self._learn_refusal(str(problem))
            if problem.wait is not None:
                self._hold(problem.wait, str(problem))
            self._slow_down(ticket, problem)
            self._count_failure(ticket, problem)
        self._pump()

    def dropped(self, ticket: Ticket) -> None:
        """Give back the ticket of a request that ended without an answer, for good."""
        self._land(ticket, 0)
        self._pump()

    def stop(self, error: EmbexpError) -> None:
        """Send nothing more; whoever waits gets ``error``."""
        self.stopped = self.stopped or error
        for waiting in self._waiting:
            if not waiting.ticket.done():
                waiting.ticket.set_exception(self.stopped)
        self._waiting.clear()

    def _land(self, ticket: Ticket, tokens: int) -> None:
        now = self._clock()
        self._flying -= 1
        self._budget.flying -= ticket.cost
        for meter, entry, reserved in ticket.charges:
            actual = reserved if meter in (self._rpm, self._rpd) else float(tokens)
            if tokens == 0 and meter in (self._rpm, self._rpd):
                actual = 0.0
            meter.settle(entry, actual, now)

    def _pump(self) -> None:
        """Hand out the next ticket if it may go out now, and come back for the one after it.

        One at a time: between two, the loop hears what the service says, and a wish to wait is heard at once.
        """
        while self._waiting and self.stopped is None:
            first = self._waiting[0]
            if first.ticket.done():
                heapq.heappop(self._waiting)
                continue
            if self._flying >= int(self.concurrency):
                return
            if not self._budget.fits(first.cost):
                if self._flying == 0:
                    self.stop(self._broke(first.cost))
                return
            wait = self._wait(first.tokens)
            if wait > 0:
                self._come_back(wait)
                return
            heapq.heappop(self._waiting)
            first.ticket.set_result(self._issue(first.tokens, first.cost))
            asyncio.get_running_loop().call_soon(self._pump)
            return

    def _come_back(self, wait: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(wait + 0.001, self._pump)

    def _wait(self, tokens: int) -> float:
        now = self._clock()
        waits = [
            self._hold_until - now,
            self._rpm.wait(1, now),
            self._tpm.wait(tokens, now),
            self._rpd.wait(1, now),
            self._tpd.wait(tokens, now),
        ]
        if self._spaced and self._rpm.limit:
            waits.append(self._next_slot - now)
        return max(waits)

    def _issue(self, tokens: int, cost: float) -> Ticket:
        now = self._clock()
        if self._spaced and self._rpm.limit:
            # Slots that a late timer or a short wait cost may be made up for.
            self._next_slot = max(self._next_slot, now - CATCH_UP) + MINUTE / self._rpm.limit
        self._flying += 1
        self._budget.flying += cost
        amounts = ((self._rpm, 1.0), (self._tpm, float(tokens)), (self._rpd, 1.0), (self._tpd, float(tokens)))
        charges = tuple((meter, meter.charge(amount, now), amount) for meter, amount in amounts)
        return Ticket(now, tokens, cost, charges)

    def _learn(self, headers: Mapping[str, str], ticket: Ticket) -> None:
        now = self._clock()
        for resource, meter in (("requests", self._rpm), ("tokens", self._tpm)):
            found = seen(headers, resource)
            if found is not None and not found.is_daily:
                mark = next(entry.mark for charged, entry, _ in ticket.charges if charged is meter)
                meter.learn(found, mark, now)

    def _learn_refusal(self, message: str) -> None:
        found = spoken_limit(message)
        meter = {"RPM": self._rpm, "TPM": self._tpm}.get(found[0]) if found else None
        if found and meter is not None:
            meter.learn_limit(found[1], self._clock())

    def _hold(self, wait: float, reason: str) -> None:
        until = self._clock() + wait
        if until <= self._hold_until:
            return
        longer, self._hold_until = until - self._hold_until > 1.0, until
        if longer and wait >= LONG_WAIT:  # several requests hear the same refusal
            log.warning("Waiting %.0f s, as the service asks (%s).", wait, reason)

    def _slow_down(self, ticket: Ticket, problem: Retry) -> None:
        """Send fewer at once when a good part of the last requests met an overload, not for a single one."""
        troubled = sum(kind in ("rate", "overload") for kind in self._recent)
        if troubled < max(TROUBLE * RECENT, 0.3 * len(self._recent)):
            return
        self._recent.clear()
        self._growing_fast = False
        if problem.kind == "rate" and problem.wait is not None and self._rpm.limit:
            self._bursts += 1
            self._spaced = self._bursts >= BURSTS  # the service dislikes bursts: send evenly instead
        elif ticket.sent_at > self._last_failure:
            self.concurrency = max(self.concurrency / 2, 1.0)

    def _count_failure(self, ticket: Ticket, problem: Retry) -> None:
        """Count failures in a row; those that were under way together count as one."""
        if ticket.sent_at <= self._last_failure:
            return
        self._last_failure = self._clock()
        self._failures += 1
        if self._failures >= self._settings.give_up_after:
            times = f"The service failed {self._failures} times in a row"
            self.stop(EmbexpError(f"{times}, the last time with: {problem}. {GO_ON}"))
        elif self._failures >= PATIENCE and problem.wait is None:
            pause = min(self._settings.backoff_seconds * 2.0 ** (self._failures - PATIENCE), LONGEST_PAUSE)
            self._hold(pause * random.uniform(0.5, 1.0), str(problem))

    def _broke(self, cost: float) -> EmbexpError:
        return EmbexpError(
            f"llm.budget_usd={self._budget.limit} is used up: {self._budget.spent:.4f} US$ are spent and the "
            f"next request may cost up to {cost:.4f}. Everything received is kept: set a higher "
            "llm.budget_usd and run the same command again."
        )
