"""The lines of docs/llm.md, each against a loopback service of the shape that its service has."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate

from embexp.config.check import check
from embexp.config.overrides import hydra_override
from embexp.config.schema import register
from embexp.llm.groq import GroqLLM
from embexp.llm.llm import Request
from embexp.llm.openai_compatible import OpenAICompatibleLLM
from tests.llm.chat_server import ChatServer, Response, Sent, chat, refusal

ROOT = Path(__file__).parents[2]
CONTENT = '{"queries": ["a", "b"]}'
KEY = "sk-loopback"
Requests = Callable[..., list[Request]]


def documented() -> dict[str, list[str]]:
    """Return the overrides in the table of services, by service."""
    section = (ROOT / "docs" / "llm.md").read_text(encoding="utf-8").split("\n## Other services\n")[1]
    table = section.split("| service | line |\n|---|---|\n")[1].split("\n\n")[0]
    rows = [row.strip("| ").split(" | ", 1) for row in table.splitlines()]
    return {name: shlex.split(line.strip("`")) for name, line in rows}


@dataclass(frozen=True)
class Shape:
    """What a service is like.

    Args:
        path: Where it answers.
        key: The header with the key, as ``{name: value}``; empty where it takes none.
        refused: The fields of a body that it refuses, with its words.
        answer: Its answer to a good request.
        body: Fields that the documented line puts into each body.
        query: The parameters of the address.
    """

    path: str
    key: dict[str, str] = field(default_factory=lambda: {"authorization": f"Bearer {KEY}"})
    refused: dict[str, Response] = field(default_factory=dict)
    answer: Response = field(default_factory=lambda: chat(CONTENT))
    body: dict[str, Any] = field(default_factory=dict)
    query: dict[str, list[str]] = field(default_factory=dict)

    def reply(self, sent: Sent) -> Response:
        """Answer as the service would."""
        if sent.path != self.path or sent.query != self.query:
            return Response({"detail": "Not Found"}, 404)
        if any(sent.headers.get(name) != value for name, value in self.key.items()):
            return refusal("Invalid API key", 401)
        return next((self.refused[name] for name in sent.body if name in self.refused), self.answer)


EXTRA = [{"type": "extra_forbidden", "loc": ["body", "seed"], "msg": "Extra inputs are not permitted"}]
UNKNOWN = 'Invalid JSON payload received. Unknown name "seed": Cannot find field.'
LENGTH = refusal(
    "Unsupported parameter: 'max_tokens' is not supported. Use 'max_completion_tokens' instead.",
    code="unsupported_parameter",
    param="max_tokens",
)
WARM = refusal("Unsupported value: 'temperature' does not support 0.7.", param="temperature")
NO_SCHEMA = refusal("'response_format.type' must be 'json_schema' or 'text'")
AZURE = {"api-key": KEY}
SHAPES = {
    "Groq": Shape("/openai/v1/chat/completions", body={"reasoning_effort": "low"}),
    "OpenAI": Shape(
        "/v1/chat/completions",
        refused={"max_tokens": LENGTH, "temperature": WARM},
        body={"reasoning_effort": "minimal", "max_completion_tokens": 50},
    ),
    "Azure": Shape("/openai/v1/chat/completions", AZURE, {"max_tokens": LENGTH}),
    "Azure, older addresses": Shape(
        "/openai/deployments/DEPLOYMENT/chat/completions", AZURE, query={"api-version": ["2024-10-21"]}
    ),
    "Mistral": Shape(
        "/v1/chat/completions",
        refused={"seed": Response({"detail": EXTRA}, 422)},
        answer=chat([{"type": "thinking", "thinking": []}, {"type": "text", "text": CONTENT}]),
    ),
    "Gemini": Shape(
        "/v1beta/openai/chat/completions",
        refused={"seed": Response([{"error": {"code": 400, "message": UNKNOWN}}], 400)},
        body={"reasoning_effort": "none"},
    ),
    "Together": Shape("/v1/chat/completions", answer=chat(f"<think>\nHm.\n</think>\n{CONTENT}")),
    "OpenRouter": Shape("/api/v1/chat/completions", body={"reasoning": {"enabled": False}}),
    "vLLM": Shape(
        "/v1/chat/completions",
        {},
        answer=chat(None, reasoning_content=CONTENT),
        body={"chat_template_kwargs": {"enable_thinking": False}},
    ),
    "Ollama": Shape("/v1/chat/completions", {}, body={"reasoning_effort": "none"}),
    "LM Studio": Shape("/v1/chat/completions", {}, {"response_format": NO_SCHEMA}, chat(CONTENT, usage={})),
    "llama.cpp": Shape(
        "/v1/chat/completions", {}, {"response_format": refusal("failed to parse grammar")}, chat(CONTENT)
    ),
}


@pytest.fixture(autouse=True)
def _keys(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("GROQ", "OPENAI", "AZURE_OPENAI", "MISTRAL", "GEMINI", "TOGETHER", "OPENROUTER")
    for name in names:
        monkeypatch.setenv(f"{name}_API_KEY", KEY)


@pytest.fixture
def built() -> Iterator[Callable[[list[str]], Any]]:
    register()
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):

        def build(overrides: list[str]) -> Any:
            given = ["paths.root=.", "paths.cache=outputs/cache", *map(hydra_override, overrides)]
            config = compose("config", overrides=given)
            check(config)
            return instantiate(config.llm, _convert_="all")

        yield build


def at(server: ChatServer, llm: Any) -> Any:
    """Return a model as it was built, but at the loopback service in place of its own host."""
    from dataclasses import replace

    loopback = server.url.removesuffix("/v1")
    if isinstance(llm, GroqLLM):
        return replace(llm, base_url=loopback)
    assert isinstance(llm, OpenAICompatibleLLM)
    parts = urlsplit(llm.base_url)
    query = f"?{parts.query}" if parts.query else ""
    return replace(llm, base_url=f"{loopback}{parts.path}{query}")


def test_the_table_has_every_service_and_no_other() -> None:
    assert sorted(documented()) == sorted(SHAPES)


@pytest.mark.parametrize("name", sorted(SHAPES))
def test_the_documented_line_works(
    name: str,
    built: Callable[[list[str]], Any],
    chat_service: Callable[..., ChatServer],
    requests: Requests,
    tmp_path: Path,
) -> None:
    shape = SHAPES[name]
    server = chat_service(shape.reply)
    llm = at(server, built(documented()[name]))
    llm.check()
    with llm.open(tmp_path / "journal.jsonl") as engine:
        answers = list(engine.complete(requests(12, seed=3)))
    texts = [answer.completion.text if answer.completion else answer.failure for answer in answers]
    assert all(str(text).endswith(CONTENT) for text in texts)
    corrections = sum(2 if field == "response_format" else 1 for field in shape.refused)
    assert len(server.sent) == 12 + corrections
    last = server.bodies[-1]
    assert {field: last.get(field) for field in shape.body} == shape.body
    assert not shape.refused.keys() & last.keys()
