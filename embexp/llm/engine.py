"""The engine: sends many requests at once, yields answers in order, and writes all of them to disk first."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Coroutine, Generator, Iterable
from concurrent.futures import Future
from contextlib import suppress
from types import TracebackType
from typing import TypeVar

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, wait_random_exponential

from embexp.errors import EmbexpError
from embexp.llm.chat import Client, Reply, prompt_tokens
from embexp.llm.journal import Journal, request_key
from embexp.llm.llm import Answer, Completion, Request, Usage
from embexp.llm.prices import Budget, Prices
from embexp.llm.rate_limiter import RESUME, Permit, RateLimiter
from embexp.llm.sent_requests import Sent
from embexp.llm.settings import RequestSettings
from embexp.progress import Bar, progress
from embexp.services.request_errors import (
    BrokenJsonError,
    RequestError,
    RetryableError,
    TooLongError,
    UnreachableError,
)

log = logging.getLogger(__name__)


T = TypeVar("T")
WINDOW = 4
"""Requests drawn ahead, as a multiple of those that may be in flight at once."""
ALL_REFUSED = 10
"""Refusals in a row that end the run."""
GRACE_SECONDS = 10.0
"""Seconds that requests in flight get to finish when the engine is closed: they are paid for."""
PROBE_SECONDS = 2.0
"""How long the first request goes alone: what its service refuses is then learnt from one refusal."""


class Engine:
    """An open language model over a client; see ``embexp.llm.llm.LLM``.

    Args:
        client: The service.
        journal: Where answers are written before they are yielded.
        settings: Limits, time-out, attempts and budget.
        prices: What tokens cost.
        chat: False for a base model that only completes text.
    """

    def __init__(
        self,
        client: Client,
        journal: Journal,
        settings: RequestSettings,
        prices: Prices,
        *,
        chat: bool = True,
    ) -> None:
        self.name = client.model
        self.chat = chat
        self._client = client
        self._journal = journal
        self._settings = settings
        self._prices = prices
        self._limiter = RateLimiter(settings, Budget(settings.budget_usd, journal.spent))
        self._usage = Usage()
        self._order = 0
        self._refused = 0
        self._tasks: dict[str, asyncio.Task[Completion | str]] = {}
        self._in_flight: set[str] = set()
        self._lost_keys: set[str] = set()
        self._probe: str | None = None
        self._probed = asyncio.Event()
        self._started = time.monotonic()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="llm", daemon=True)

    def __enter__(self) -> Engine:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            orderly = kind is None or issubclass(kind, EmbexpError)
            self._run(self._close(GRACE_SECONDS if orderly else 0.0)).result()
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()
            self._journal.close()

    def usage(self) -> Usage:
        """Return what this run's requests cost; see ``embexp.llm.llm.LLM``."""
        lost = [sent for key in [*self._lost_keys] for sent in self._journal.sent.lost_of(key)]
        return self._usage + Usage(unanswered=len(lost), unanswered_usd=sum(sent.usd for sent in lost))

    def complete(self, requests: Iterable[Request]) -> Generator[Answer, None, None]:
        """Yield one answer for each request, in their order; see ``embexp.llm.llm.LLM``."""
        pending: deque[tuple[str, Future[Answer]]] = deque()
        source = iter(requests)
        drawn_all = False
        with progress(f"Requests to {self.name}") as bar:
            try:
                while True:
                    while not drawn_all and len(pending) < max(8, WINDOW * int(self._limiter.concurrency)):
                        request = next(source, None)
                        drawn_all = request is None
                        if request is not None:
                            pending.append(self._submit(request))
                    if not pending:
                        return
                    answer = pending.popleft()[1].result()
                    self._show(bar)
                    yield answer
            finally:
                if pending and not self._loop.is_closed():
                    self._run(self._abandon([key for key, _ in pending])).result()

    def _show(self, bar: Bar) -> None:
        usage, minutes = self._usage, max(time.monotonic() - self._started, 1e-9) / 60
        tokens = usage.prompt_tokens + usage.completion_tokens
        cost = f"{usage.usd:.4f} US$" if self._prices.of(self._client.model) else "price unknown"
        bar.advance()
        bar.note(f"{cost}, {tokens:,} tokens, {usage.requests / minutes:,.0f} requests/min")

    def _run(self, work: Coroutine[object, object, T]) -> Future[T]:
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    async def _abandon(self, keys: list[str]) -> None:
        """Cancel what has not been sent yet; what is in flight is paid for, and goes into the journal."""
        for key in keys:
            task = self._tasks.get(key)
            if task is not None and key not in self._in_flight:
                task.cancel()

    def _submit(self, request: Request) -> tuple[str, Future[Answer]]:
        key = request_key(request, self._journal.identity)
        if self._journal.sent.lost_of(key):
            self._lost_keys.add(key)
        recorded = self._journal.find(key)
        if recorded is not None:
            done: Future[Answer] = Future()
            done.set_result(Answer(request, recorded))
            return key, done
        self._order += 1
        return key, self._run(self._answer(self._order, key, request))

    async def _answer(self, order: int, key: str, request: Request) -> Answer:
        recorded = self._journal.find(key)
        if recorded is not None:
            return Answer(request, recorded)
        task = self._tasks.get(key)
        if task is None:
            task = self._tasks[key] = asyncio.create_task(self._retry_until_answered(order, key, request))
            task.add_done_callback(lambda done: self._forget(key, done))
        result = await asyncio.shield(task)
        return Answer(request, None, result) if isinstance(result, str) else Answer(request, result)

    def _forget(self, key: str, task: asyncio.Task[Completion | str]) -> None:
        self._tasks.pop(key, None)
        self._in_flight.discard(key)
        if not task.cancelled():
            task.exception()  # the caller has it already; this keeps asyncio from printing it

    async def _retry_until_answered(self, order: int, key: str, request: Request) -> Completion | str:
        """Return the completion, once it is on disk, or the reason why there is none."""
        attempts = _Attempts(self._settings.max_attempts, self._settings.backoff_seconds)
        try:
            async for attempt in attempts.retrying:
                with attempt:
                    completion = await self._send_once(order, key, request)
        except TooLongError:
            return "too long"
        except RetryableError as error:
            return f"no answer after {self._settings.max_attempts} attempts: {error}"
        except RequestError as error:
            self._refused += 1
            if self._refused >= ALL_REFUSED:
                self._limiter.stop(EmbexpError(f"The service refuses every request: {error}. {RESUME}"))
            return f"refused: {error}"
        except EmbexpError as error:
            self._limiter.stop(error)
            raise
        self._refused = 0
        self._usage += completion.usage
        return completion

    async def _send_once(self, order: int, key: str, request: Request) -> Completion:
        """Return the completion once it is on disk; the request is recorded before it is sent."""
        await self._after_probe(key)
        model, prompt = self._client.model, prompt_tokens(request)
        worst = self._prices.cost(model, prompt, request.max_tokens)
        permit = await self._limiter.acquire(order, prompt + request.max_tokens, worst)
        self._in_flight.add(key)
        sent = self._record(key, worst, permit)
        try:
            reply = await self._reply(request, sent)
        except RetryableError as error:
            self._failed(key, sent, permit, error)
            if error.kind != "corrected":
                self._probed.set()
            raise
        except BrokenJsonError as error:
            reply = Reply(error.text, model, "json_validate_failed", prompt, 0)
        except BaseException as error:
            if isinstance(error, EmbexpError):
                self._limiter.stop(error)  # before the permit goes back, or the next request would have it
            if isinstance(error, RequestError | EmbexpError):
                self._journal.sent.refused(sent)
            self._limiter.release(permit)
            self._probed.set()
            raise
        self._probed.set()
        return await self._received(key, request, reply, model, permit, sent)

    async def _reply(self, request: Request, sent: Sent) -> Reply:
        try:
            return await asyncio.wait_for(self._client.send(request, sent.id), self._settings.timeout_seconds)
        except asyncio.TimeoutError as error:
            advice = "raise llm.timeout_seconds or lower llm.max_concurrency"
            reason = f"no answer within {self._settings.timeout_seconds:g} s; {advice}"
            raise UnreachableError(reason, kind="overload", charged=None) from error

    async def _received(
        self, key: str, request: Request, reply: Reply, model: str, permit: Permit, sent: Sent
    ) -> Completion:
        """Write an answer to the journal, and count what it really used."""
        completion = completion_of_reply(reply, model, self._prices)
        counted = self._journal.sent.usd_of(sent)
        used = reply.prompt_tokens + reply.completion_tokens
        try:
            self._journal.write(key, completion, tag=request.tag, sent=sent)
        except EmbexpError as error:
            self._limiter.stop(error)
            self._limiter.release(permit)
            raise
        cost = completion.usage.usd - counted
        self._limiter.succeeded(permit, tokens=used, cost=cost, headers=reply.headers)
        await self._journal.synced()
        return completion

    def _record(self, key: str, worst: float, permit: Permit) -> Sent:
        """Record a request on disk before it is sent."""
        try:
            return self._journal.sent.send(key, worst, again=self._client.knows_repeats)
        except EmbexpError as error:
            self._limiter.stop(error)
            self._limiter.release(permit)
            raise

    def _failed(self, key: str, sent: Sent, permit: Permit, error: RetryableError) -> None:
        """Return the permit of a request that has to be sent again; it may have been charged."""
        cost = 0.0
        if error.charged is False:
            self._journal.sent.refused(sent)
        else:
            cost = self._journal.sent.lost(sent, spoiled=error.charged is True)
            self._lost_keys.add(key)
        self._limiter.failed(permit, error, cost=cost)
        self._in_flight.discard(key)

    async def _after_probe(self, key: str) -> None:
        """Let the first request go alone for a moment, so that what its service refuses is learnt once."""
        if self._probe is None:
            self._probe = key
        if self._probe == key or self._probed.is_set():
            return
        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._probed.wait(), PROBE_SECONDS)
        self._probed.set()

    async def _close(self, grace: float) -> None:
        """Let requests in flight finish within ``grace`` seconds; then cancel the rest."""
        self._limiter.stop(EmbexpError("The language model has been closed."))
        tasks = list(self._tasks.values())
        if tasks and grace:
            await asyncio.wait(tasks, timeout=grace)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        with suppress(EmbexpError, OSError):
            await self._journal.finish()
        await self._client.close()


def completion_of_reply(reply: Reply, requested: str, prices: Prices) -> Completion:
    """Return a reply with its cost, at the requested model's price where the answering model has none."""
    priced = reply.model if prices.of(reply.model) else requested
    cost = prices.cost(priced, reply.prompt_tokens, reply.completion_tokens)
    usage = Usage(1, reply.prompt_tokens, reply.completion_tokens, cost)
    # The same text as the journal will hold: a lone surrogate cannot be written as UTF-8.
    text = reply.text.encode("utf-8", errors="replace").decode("utf-8")
    return Completion(text, reply.model, reply.finish_reason, usage)


class _Attempts:
    """When to send again: at once where the rate limiter waits, else after a growing, jittered pause."""

    def __init__(self, most: int, first_pause: float) -> None:
        self._most = most
        self._broken = 0
        self._pause = wait_random_exponential(multiplier=first_pause, max=60)
        self.retrying = AsyncRetrying(
            retry=retry_if_exception_type(RetryableError), wait=self._wait, stop=self._stop, reraise=True
        )

    def _wait(self, state: RetryCallState) -> float:
        problem = state.outcome.exception() if state.outcome else None
        return (
            0.0
            if isinstance(problem, RetryableError) and problem.wait is not None
            else float(self._pause(state))
        )

    def _stop(self, state: RetryCallState) -> bool:
        problem = state.outcome.exception() if state.outcome else None
        if isinstance(problem, RetryableError) and problem.kind in ("error", "overload"):
            self._broken += 1
        return self._broken >= self._most
