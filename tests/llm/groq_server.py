"""A loopback server that speaks Groq's protocol to the real SDK, with limits that hold and faults on demand.

As a process, so that it outlives a client that is killed::

    python tests/llm/groq_server.py --port 8123 --rpm 1000 --faults 0.2 --seed 7

``GET /counts`` tells what was answered; ``POST /faults`` with a JSON list queues faults.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import random
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))  # started as a script

from tests.llm.batch_endpoints import Batches
from tests.llm.schema_answers import answer

RANDOM_FAULTS = (
    "429",
    "500",
    "503",
    "drop",
    "truncated",
    "html",
    "empty",
    "null",
    "encoding",
    "items",
    "slow",
)
KEY = "gsk_test"
Headers = dict[str, str]


@dataclass
class Settings:
    """What the server enforces; None is unlimited."""

    rpm: int | None = None
    tpm: int | None = None
    window: float = 60.0
    latency: float = 0.0
    faults: float = 0.0
    fault_kinds: Sequence[str] = RANDOM_FAULTS
    seed: int = 0
    key: str = KEY
    gone: Sequence[str] = ()
    no_schema: Sequence[str] = ()
    no_json: Sequence[str] = ()
    retry_after: float = 0.2
    retry_after_long: float = 61.0
    slow_seconds: float = 30.0
    context: int = 100_000
    requests_header: str = "minute"
    content: Callable[[Mapping[str, Any]], str] = answer


@dataclass
class Counts:
    """What happened: ``answered`` is by the SHA-256 of the body."""

    arrived: int = 0
    answered: Counter[str] = field(default_factory=Counter)
    by_model: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    refused: int = 0
    early: int = 0
    times: list[float] = field(default_factory=list)
    most_at_once: int = 0
    connections: int = 0
    """Those that are open."""


class Reply(Exception):  # noqa: N818 (an answer, not an error)
    """An HTTP answer that ends the handling of a request."""

    def __init__(self, status: int, body: object, headers: Headers | None = None, kind: str = "json") -> None:
        super().__init__(status)
        self.status, self.body, self.headers, self.kind = status, body, headers or {}, kind


def error(status: int, message: str, code: str, headers: Headers | None = None) -> Reply:
    return Reply(status, {"error": {"message": message, "type": "error", "code": code}}, headers)


class GroqServer:
    """The server; ``url`` is what the SDK takes as its host."""

    def __init__(self, settings: Settings, port: int = 0) -> None:
        self.settings, self.port = settings, port
        self.counts = Counts()
        self.queue: deque[str] = deque()
        self.batches = Batches(self)
        self.random = random.Random(settings.seed)
        self._sent: deque[tuple[float, int]] = deque()
        self._quiet_until = 0.0
        self._at_once = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def serve(self, ready: Callable[[], None] = lambda: None) -> None:
        server = await asyncio.start_server(self._connection, "127.0.0.1", self.port, backlog=1000)
        self.port = server.sockets[0].getsockname()[1]
        ready()
        async with server:
            await server.serve_forever()

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.counts.connections += 1
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
                await self._talk(reader, writer)
            writer.close()
        finally:
            self.counts.connections -= 1

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await reader.readuntil(b"\r\n\r\n"):
            first, *lines = head.decode("latin-1").split("\r\n")
            headers = {
                name.lower(): text.strip() for name, _, text in (line.partition(":") for line in lines)
            }
            body = await reader.readexactly(int(headers.get("content-length", 0)))
            method, path, _ = first.split(" ", 2)
            try:
                await self._handle(method, path, headers, body)
            except Reply as reply:
                if not await self._write(writer, reply):
                    break

    async def _handle(self, method: str, path: str, headers: Headers, body: bytes) -> None:
        if path == "/counts":
            raise Reply(200, self.summary())
        if path == "/faults":
            self.queue.extend(json.loads(body))
            raise Reply(200, {})
        if headers.get("authorization") != f"Bearer {self.settings.key}":
            raise error(401, "Invalid API Key", "invalid_api_key")
        if path == "/openai/v1/chat/completions":
            self._at_once += 1
            self.counts.most_at_once = max(self.counts.most_at_once, self._at_once)
            try:
                await self._chat(json.loads(body))
            finally:
                self._at_once -= 1
        await self.batches.handle(method, path, headers, body)
        raise error(404, "Unknown request URL", "unknown_url")

    async def _chat(self, body: dict[str, Any]) -> None:
        self.counts.arrived += 1
        now = time.monotonic()
        self.counts.early += now < self._quiet_until - 0.01
        self.check(body)
        limits = self._admit(body, now)
        fault = self._fault()
        if fault:
            self.counts.faults[fault] += 1
        await asyncio.sleep(self.settings.latency * self.random.uniform(0.8, 1.2))
        payload = completion(body, self.settings.content(body))
        if fault:
            self._raise_fault(fault, payload, limits)
        raise Reply(200, payload, {**limits, "x-body": digest(body)})

    def check(self, body: dict[str, Any]) -> None:
        """Refuse what Groq would refuse: models, formats, lengths."""
        model, form = str(body["model"]), (body.get("response_format") or {}).get("type")
        if model in self.settings.gone:
            raise error(400, f"The model `{model}` has been decommissioned", "model_decommissioned")
        if form == "json_schema" and model in (*self.settings.no_schema, *self.settings.no_json):
            raise error(
                400, "This model does not support response format `json_schema`", "invalid_request_error"
            )
        if form == "json_object" and model in self.settings.no_json:
            raise error(
                400, "response_format json_object is not supported by this model", "invalid_request_error"
            )
        if tokens_of(body) > self.settings.context:
            raise error(
                413, "Request too large for model, please reduce your message size", "rate_limit_exceeded"
            )

    def _admit(self, body: dict[str, Any], now: float) -> Headers:
        settings = self.settings
        while self._sent and self._sent[0][0] <= now - settings.window:
            self._sent.popleft()
        tokens = tokens_of(body)
        used = sum(amount for _, amount in self._sent)
        reset = self._sent[0][0] + settings.window - now if self._sent else 0.0
        limits = self._limit_headers(len(self._sent) + 1, used + tokens, max(reset, 0.001))
        if settings.rpm is not None and len(self._sent) >= settings.rpm:
            raise self._refusal("requests per minute (RPM)", settings.rpm, len(self._sent), reset, limits)
        if settings.tpm is not None and used + tokens > settings.tpm:
            raise self._refusal("tokens per minute (TPM)", settings.tpm, used, reset, limits)
        self._sent.append((now, tokens))
        self.counts.times.append(now)
        return limits

    def _limit_headers(self, requests: int, tokens: int, reset: float) -> Headers:
        settings, headers = self.settings, {}
        daily = settings.requests_header == "day"
        limit = 14_400 if daily else settings.rpm
        if limit is not None:
            used = self.counts.arrived if daily else requests
            headers |= {
                "x-ratelimit-limit-requests": str(limit),
                "x-ratelimit-remaining-requests": str(max(limit - used, 0)),
                "x-ratelimit-reset-requests": f"{used * 86_400 / limit if daily else reset:.3f}s",
            }
        if settings.tpm is not None:
            headers |= {
                "x-ratelimit-limit-tokens": str(settings.tpm),
                "x-ratelimit-remaining-tokens": str(max(settings.tpm - tokens, 0)),
                "x-ratelimit-reset-tokens": f"{reset:.3f}s",
            }
        return headers

    def _refusal(self, what: str, limit: int, used: int, wait: float, limits: Headers) -> Reply:
        self.counts.refused += 1
        text = f"Rate limit reached on {what}: Limit {limit}, Used {used}. Please try again in {wait:.3f}s."
        return error(429, text, "rate_limit_exceeded", {**limits, "retry-after": f"{wait:.3f}"})

    def _fault(self) -> str | None:
        if self.queue:
            return self.queue.popleft() or None
        if self.random.random() < self.settings.faults:
            return self.random.choice(list(self.settings.fault_kinds))
        return None

    def _raise_fault(self, fault: str, payload: dict[str, Any], limits: Headers) -> None:
        if fault in ("429", "429_long"):
            wait = self.settings.retry_after_long if fault == "429_long" else self.settings.retry_after
            self._quiet_until = time.monotonic() + wait
            raise error(429, "Too many requests", "rate_limit_exceeded", {**limits, "retry-after": str(wait)})
        if fault == "429_bare":
            raise error(429, "Too many requests", "rate_limit_exceeded")
        if fault in ("400", "401", "403", "500", "503"):
            raise error(int(fault), f"Fault {fault}", f"fault_{fault}", limits)
        if fault == "invalid_json":
            raise Reply(
                400, {"error": {"message": "x", "code": "json_validate_failed", "failed_generation": "{oops"}}
            )
        if fault == "items":
            content = payload["choices"][0]["message"]["content"]
            payload["choices"][0]["message"]["content"] = content[: len(content) // 2]
            raise Reply(200, payload, {**limits, "x-body": payload["x_body"]})
        changed: Any = {"empty": {**payload, "choices": []}, "null": {**payload, "choices": None}}.get(
            fault, payload
        )
        raise Reply(200, changed, limits, kind=fault if fault not in ("empty", "null") else "json")

    async def _write(self, writer: asyncio.StreamWriter, reply: Reply) -> bool:
        """Send a reply, broken as its kind says; return whether the connection can go on."""
        if reply.kind == "drop":
            writer.transport.abort()
            return False
        kind = "application/json; charset=utf-8"
        raw = isinstance(reply.body, bytes)
        data = reply.body if raw else json.dumps(reply.body, ensure_ascii=False).encode()
        if reply.kind == "html":
            data, kind = b"<html><body><h1>502 Bad Gateway</h1></body></html>", "text/html"
        if reply.kind == "encoding":
            data = b'{"choices": [{"message": {"content": "caf\xe9 \xff"}}]}'
        lines = [f"HTTP/1.1 {reply.status} X", f"content-type: {kind}", f"content-length: {len(data)}"]
        lines += [f"{name}: {text}" for name, text in reply.headers.items()]
        writer.write("\r\n".join([*lines, "", ""]).encode())
        if reply.kind in ("truncated", "slow"):
            writer.write(data[: len(data) // 2])
            await writer.drain()
            await asyncio.sleep(self.settings.slow_seconds if reply.kind == "slow" else 0)
            writer.transport.abort()
            return False
        writer.write(data)
        await writer.drain()
        if "x-body" in reply.headers:
            self.counts.answered[reply.headers["x-body"]] += 1
            self.counts.by_model[reply.body["model"]] += 1
        return True

    def summary(self) -> dict[str, Any]:
        counts = self.counts
        return {
            "arrived": counts.arrived,
            "answered": sum(counts.answered.values()),
            "distinct": len(counts.answered),
            "repeated": sum(times - 1 for times in counts.answered.values()),
            "refused": counts.refused,
            "early": counts.early,
            "connections": counts.connections,
            "faults": dict(counts.faults),
            "by_model": dict(counts.by_model),
            "batches": self.batches.created,
        }


def digest(body: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()


def tokens_of(body: Mapping[str, Any]) -> int:
    longest = int(body.get("max_completion_tokens") or body.get("max_tokens") or 0)
    return sum(len(str(turn["content"])) for turn in body["messages"]) // 4 + longest


def completion(body: Mapping[str, Any], content: str) -> dict[str, Any]:
    prompt = sum(len(str(turn["content"])) for turn in body["messages"]) // 4
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": body["model"],
        "x_body": digest(body),
        "choices": [
            {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": content}}
        ],
        "usage": {
            "prompt_tokens": prompt,
            "completion_tokens": len(content) // 4,
            "total_tokens": prompt + len(content) // 4,
        },
    }


@contextmanager
def running(**settings: Any) -> Iterator[GroqServer]:
    """Run a server in a thread of this process."""
    server, ready = GroqServer(Settings(**settings)), threading.Event()
    loop = asyncio.new_event_loop()
    task = loop.create_task(server.serve(ready.set))

    def run() -> None:
        with suppress(asyncio.CancelledError):
            loop.run_until_complete(task)
        for left in (connections := asyncio.all_tasks(loop)):
            left.cancel()
        if connections:
            loop.run_until_complete(asyncio.wait(connections))
        loop.close()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    ready.wait(5)
    try:
        yield server
    finally:
        loop.call_soon_threadsafe(task.cancel)
        thread.join(5)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--rpm", type=int)
    parser.add_argument("--tpm", type=int)
    parser.add_argument("--latency", type=float, default=0.0)
    parser.add_argument("--faults", type=float, default=0.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--slow-seconds", type=float, default=30.0)
    parser.add_argument("--key", default=KEY)
    parser.add_argument("--gone", nargs="*", default=[])
    parser.add_argument("--no-schema", nargs="*", default=[])
    parser.add_argument("--requests-header", choices=["minute", "day"], default="minute")
    arguments = vars(parser.parse_args())
    server = GroqServer(
        Settings(**{key: value for key, value in arguments.items() if key != "port"}), arguments["port"]
    )
    asyncio.run(server.serve(lambda: print(server.url, flush=True)))


if __name__ == "__main__":
    main()
