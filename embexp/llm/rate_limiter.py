"""The rate limiter: how fast requests are sent, what the service can bear, and when to give up."""

from __future__ import annotations

import asyncio
import heapq
import logging
import random
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from embexp.errors import EmbexpError
from embexp.llm.prices import Budget
from embexp.llm.settings import RequestSettings
from embexp.services.limits import DAY, MINUTE, Entry, Meter, limit_in_message, observed_limit
from embexp.services.request_errors import RetryableError, UnreachableError, limit_spent

log = logging.getLogger(__name__)


FIRST_CONCURRENCY = 8
"""Requests in flight at the beginning; the number grows as they succeed."""
RECENT = 20
OVERLOAD_SHARE = 0.25
"""The share of recent requests that must meet an overload before concurrency is reduced."""
BURSTS = 3
"""How often that must happen, at a known limit, before requests are spaced evenly."""
CATCH_UP = 1.0
"""Seconds of lost slots that evenly spaced requests may make up for at once."""
PATIENCE = 3
"""After this many failures in a row all requests pause, longer each time, until one succeeds."""
LONGEST_PAUSE = 60.0
LONG_WAIT = 20.0
SPENT_WAIT = 3600.0
"""A limit that allows nothing for longer than this ends the run: the rest is for another day."""
GIVE_UP_UNREACHED = 3
"""The failures in a row that end a run in which nothing has ever answered."""
RESUME = "All answers so far are kept: run the same command again to resume."


@dataclass(frozen=True)
class Permit:
    """The right to send one request; return it with ``succeeded``, ``failed`` or ``release``."""

    sent_at: float
    tokens: int
    cost: float
    charges: tuple[tuple[Meter, Entry, float], ...]


@dataclass(eq=False)
class _Waiting:
    order: int
    tokens: int
    cost: float
    permit: asyncio.Future[Permit]

    def __lt__(self, other: _Waiting) -> bool:
        return self.order < other.order


class RateLimiter:
    """Issues permits, the earliest request first; belongs to one event loop.

    Args:
        settings: The configured limits.
        budget: The money.
        clock: Seconds that only go forward.
    """

    def __init__(
        self, settings: RequestSettings, budget: Budget, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._settings = settings
        self._budget = budget
        self._clock = clock
        self._rpm = Meter(settings.requests_per_minute, MINUTE)
        self._tpm = Meter(settings.tokens_per_minute, MINUTE)
        self._rpd = Meter(settings.requests_per_day, DAY)
        self._tpd = Meter(settings.tokens_per_day, DAY)
        self.concurrency = float(min(FIRST_CONCURRENCY, settings.max_concurrency))
        self._growing_fast = True
        self._in_flight = 0
        self._waiting: list[_Waiting] = []
        self._timer: asyncio.TimerHandle | None = None
        self._hold_until = 0.0
        self._recent: deque[str] = deque(maxlen=RECENT)
        self._failures = 0
        self._last_failure = float("-inf")
        self._answered = False
        self._bursts = 0
        self._spaced = False
        self._next_slot = float("-inf")
        self.stopped: EmbexpError | None = None

    async def acquire(self, order: int, tokens: int, cost: float) -> Permit:
        """Wait until a request may be sent.

        Args:
            order: The request's place in the queue; lower ones go first.
            tokens: The most tokens that it can use.
            cost: The most US dollars that it can cost.

        Raises:
            EmbexpError: The run has been stopped.
        """
        if self.stopped is not None:
            raise self.stopped
        future: asyncio.Future[Permit] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, _Waiting(order, tokens, cost, future))
        self._pump()
        return await future

    def succeeded(self, permit: Permit, *, tokens: int, cost: float, headers: Mapping[str, str]) -> None:
        """Return the permit of an answered request, with the tokens and dollars that it really used."""
        self._budget.spent += cost
        self._settle(permit, tokens)
        self._learn(headers, permit)
        self._failures = 0
        self._answered = True
        self._recent.append("ok")
        if self._in_flight + 1 >= 0.8 * self.concurrency:
            self.concurrency += 1.0 if self._growing_fast else 1.0 / self.concurrency
            self.concurrency = min(self.concurrency, float(self._settings.max_concurrency))
        self._pump()

    def failed(self, permit: Permit, problem: RetryableError, *, cost: float = 0.0) -> None:
        """Return the permit of a request that has to be sent again; ``cost`` is what it may have cost."""
        self._budget.spent += cost
        self._settle(permit, 0 if problem.kind == "rate" else permit.tokens)
        self._learn(problem.headers, permit)
        if problem.kind != "corrected":
            self._recent.append(problem.kind)
            if problem.kind == "rate":
                self._learn_refusal(str(problem))
            if problem.wait is not None:
                self._hold(problem.wait, str(problem), asked=True)
            self._slow_down(permit, problem)
            self._count_failure(permit, problem)
        self._pump()

    def release(self, permit: Permit) -> None:
        """Return the permit of a request that ended without an answer, for good."""
        self._settle(permit, 0)
        self._pump()

    def stop(self, error: EmbexpError) -> None:
        """Issue no more permits; all requests that wait for one fail with ``error``."""
        self.stopped = self.stopped or error
        for waiting in self._waiting:
            if not waiting.permit.done():
                waiting.permit.set_exception(self.stopped)
        self._waiting.clear()

    def _settle(self, permit: Permit, tokens: int) -> None:
        now = self._clock()
        self._in_flight -= 1
        self._budget.in_flight -= permit.cost
        for meter, entry, reserved in permit.charges:
            actual = reserved if meter in (self._rpm, self._rpd) else float(tokens)
            if tokens == 0 and meter in (self._rpm, self._rpd):
                actual = 0.0
            meter.settle(entry, actual, now)

    def _pump(self) -> None:
        """Issue the next permit if its request may be sent now, and schedule the one after it.

        One at a time: in between, the event loop reads responses, so that a request to wait is obeyed at
        once.
        """
        while self._waiting and self.stopped is None:
            first = self._waiting[0]
            if first.permit.done():
                heapq.heappop(self._waiting)
                continue
            if self._in_flight >= int(self.concurrency):
                return
            if not self._budget.fits(first.cost):
                if self._in_flight == 0:
                    self.stop(self._budget_spent(first.cost))
                return
            wait = self._wait(first.tokens)
            if wait > SPENT_WAIT:
                if self._in_flight == 0:
                    self.stop(limit_spent("The limit on requests or tokens is used up for now", wait))
                return
            if wait > 0:
                self._pump_later(wait)
                return
            heapq.heappop(self._waiting)
            first.permit.set_result(self._issue(first.tokens, first.cost))
            asyncio.get_running_loop().call_soon(self._pump)
            return

    def _pump_later(self, wait: float) -> None:
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

    def _issue(self, tokens: int, cost: float) -> Permit:
        now = self._clock()
        if self._spaced and self._rpm.limit:
            # Slots that a late timer or a short wait cost may be made up for.
            self._next_slot = max(self._next_slot, now - CATCH_UP) + MINUTE / self._rpm.limit
        self._in_flight += 1
        self._budget.in_flight += cost
        amounts = ((self._rpm, 1.0), (self._tpm, float(tokens)), (self._rpd, 1.0), (self._tpd, float(tokens)))
        charges = tuple((meter, meter.charge(amount, now), amount) for meter, amount in amounts)
        return Permit(now, tokens, cost, charges)

    def _learn(self, headers: Mapping[str, str], permit: Permit) -> None:
        now = self._clock()
        for resource, meter in (("requests", self._rpm), ("tokens", self._tpm)):
            observed = observed_limit(headers, resource)
            if observed is not None and not observed.is_daily:
                mark = next(entry.mark for charged, entry, _ in permit.charges if charged is meter)
                meter.learn(observed, mark, now)

    def _learn_refusal(self, message: str) -> None:
        limit = limit_in_message(message)
        meter = {"RPM": self._rpm, "TPM": self._tpm}.get(limit[0]) if limit else None
        if limit and meter is not None:
            meter.learn_limit(limit[1], self._clock())

    def _hold(self, wait: float, reason: str, *, asked: bool) -> None:
        until = self._clock() + wait
        if until <= self._hold_until:
            return
        longer, self._hold_until = until - self._hold_until > 1.0, until
        if longer and wait >= LONG_WAIT:  # several requests get the same refusal
            why = "as the service asks" if asked else "since it fails again and again"
            log.warning("Waiting %.0f s, %s (%s).", wait, why, reason)

    def _slow_down(self, permit: Permit, problem: RetryableError) -> None:
        """Reduce concurrency when many recent requests met an overload, not for a single one."""
        overloaded = sum(kind in ("rate", "overload") for kind in self._recent)
        if overloaded < max(OVERLOAD_SHARE * RECENT, 0.3 * len(self._recent)):
            return
        self._recent.clear()
        self._growing_fast = False
        if problem.kind == "rate" and problem.wait is not None and self._rpm.limit:
            self._bursts += 1
            self._spaced = self._bursts >= BURSTS  # the service dislikes bursts: send evenly instead
        elif permit.sent_at > self._last_failure:
            self.concurrency = max(self.concurrency / 2, 1.0)

    def _count_failure(self, permit: Permit, problem: RetryableError) -> None:
        """Count failures in a row; those that were in flight together count as one."""
        if permit.sent_at <= self._last_failure:
            return
        self._last_failure = self._clock()
        self._failures += 1
        most = self._settings.give_up_after
        if isinstance(problem, UnreachableError) and not self._answered:
            most = min(most, GIVE_UP_UNREACHED)
        if self._failures >= most:
            times = f"The service failed {self._failures} times in a row"
            self.stop(EmbexpError(f"{times}, the last time with: {problem}. {RESUME}"))
        elif self._failures >= PATIENCE and problem.wait is None:
            pause = min(self._settings.backoff_seconds * 2.0 ** (self._failures - PATIENCE), LONGEST_PAUSE)
            self._hold(pause * random.uniform(0.5, 1.0), str(problem), asked=False)

    def _budget_spent(self, cost: float) -> EmbexpError:
        return EmbexpError(
            f"llm.budget_usd={self._budget.limit} is used up: {self._budget.spent:.4f} US$ are spent and the "
            f"next request may cost up to {cost:.4f}. All answers so far are kept: set a higher "
            "llm.budget_usd and run the same command again."
        )
