"""A loopback service with OpenAI's protocol whose every answer a test decides; it keeps what was sent.

Unlike ``groq_server`` it enforces nothing: it is for what single services, models and answers are like.
"""

from __future__ import annotations

import json
import re
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

Body = dict[str, Any]


class Sent(NamedTuple):
    """One request as it arrived."""

    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]
    body: Body


class Response(NamedTuple):
    """What the service answers."""

    body: object
    status: int = 200
    headers: Mapping[str, str] = {}


def chat(
    content: object, *, finish: str = "stop", usage: Mapping[str, int] | None = None, **message: object
) -> Response:
    """Return a chat completion; ``message`` adds fields such as ``refusal``."""
    counted = {"prompt_tokens": 40, "completion_tokens": 20} if usage is None else dict(usage)
    choice = {
        "index": 0,
        "finish_reason": finish,
        "message": {"role": "assistant", "content": content, **message},
    }
    return Response({"model": "m", "choices": [choice], **({"usage": counted} if counted else {})})


def refusal(message: str, status: int = 400, code: str | None = None, **fields: object) -> Response:
    """Return an error in OpenAI's form."""
    return Response({"error": {"message": message, "code": code, **fields}}, status)


Reply = Callable[[Sent], Response]


@dataclass
class ChatServer:
    """The service at ``url``; ``sent`` holds every request in the order of its arrival."""

    reply: Reply
    host: str = "127.0.0.1"
    port: int = 0
    scheme: str = "http"
    sent: list[Sent] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def url(self) -> str:
        return f"{self.scheme}://{self.host}:{self.port}/v1"

    @property
    def bodies(self) -> list[Body]:
        return [one.body for one in self.sent]


@contextmanager
def serving(reply: Reply, *, certificate: Path | None = None) -> Iterator[ChatServer]:
    """Run a service in threads of this process."""
    service = ChatServer(reply, scheme="https" if certificate else "http")

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *arguments: object) -> None:
            pass

        def do_POST(self) -> None:
            raw = self.rfile.read(int(self.headers.get("content-length", 0)))
            parts = urlsplit(self.path)
            headers = {name.lower(): value for name, value in self.headers.items()}
            one = Sent(parts.path, parse_qs(parts.query), headers, json.loads(raw))
            with service.lock:
                service.sent.append(one)
            response = service.reply(one)
            data = response.body if isinstance(response.body, bytes) else json.dumps(response.body).encode()
            self.send_response(response.status)
            for name, value in {"content-type": "application/json", **response.headers}.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

    class Server(ThreadingHTTPServer):
        request_queue_size = 256
        daemon_threads = True

        def handle_error(self, *arguments: object) -> None:
            pass

    server = Server(("127.0.0.1", 0), Handler)
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    service.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield service
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


def prompt_of(sent: Sent) -> str:
    """Return all texts of a request."""
    return "\n".join(str(turn["content"]) for turn in sent.body["messages"])


def asked_numbers(sent: Sent) -> list[int]:
    """Return the numbers of the queries that a request of ``synthesis=rag`` asks for."""
    last = str(sent.body["messages"][-1]["content"])
    if again := re.search(r"^Write only numbers? ([\d, ]+) again", last, re.MULTILINE):
        return [int(number) for number in again.group(1).split(",")]
    return [int(number) for number in re.findall(r"^(\d+)\. \w+: ", last, re.MULTILINE)]


def shown_passage(sent: Sent) -> str:
    """Return passage 1 of a request of ``synthesis=rag``."""
    match = re.search(r"<passage-1-\w+>\n(.*?)\n</passage-1", prompt_of(sent), re.DOTALL)
    return match.group(1) if match else ""
