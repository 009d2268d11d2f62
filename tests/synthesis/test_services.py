"""Whole runs of ``synthesis=rag`` against a loopback service; its requests are counted."""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from embexp.data.records import Chunk, Pair
from embexp.errors import EmbexpError
from embexp.llm.openai_compatible import OpenAICompatibleLLM
from embexp.llm.replay import ReplayLLM
from embexp.synthesis.filters.options import Filters
from embexp.synthesis.rag import RagSynthesis
from tests.llm.chat_server import (
    ChatServer,
    Response,
    Sent,
    asked_numbers,
    chat,
    prompt_of,
    refusal,
    serving,
    shown_passage,
)
from tests.synthesis.synthesis_fakes import draw, made_up

FREE = Filters(round_trip=None)
Start = Callable[..., ChatServer]


@pytest.fixture
def chat_service() -> Iterator[Start]:
    with ExitStack() as stack:
        yield lambda reply: stack.enter_context(serving(reply))


def corpus(count: int) -> list[Chunk]:
    return [
        Chunk(id=f"c{at}", document_id=f"d{at}", text=f"{made_up(draw('text', at), 60)}.")
        for at in range(count)
    ]


def items_for(sent: Sent) -> list[dict[str, Any]]:
    passage = shown_passage(sent)
    quote = " ".join(passage.split()[:8])
    rng = draw(prompt_of(sent))
    return [
        {
            "number": number,
            "query": f"how would {made_up(rng, 5)} work?",
            "evidence": [{"passage": 1, "quote": quote}],
        }
        for number in asked_numbers(sent)
    ]


def good(sent: Sent) -> Response:
    return chat(json.dumps({"queries": items_for(sent)}))


def run(
    server: ChatServer, journal: Path, chunks: list[Chunk], **options: Any
) -> tuple[list[Pair], dict[str, Any]]:
    synthesis = RagSynthesis(**{"filters": FREE, "held_out": False, "neighbours": 0, **options})
    llm = OpenAICompatibleLLM(model="m", base_url=server.url, backoff_seconds=0.01)
    with llm.open(journal) as engine:
        pairs = list(synthesis.pairs(chunks, {}, llm=engine))
    return pairs, synthesis.report()


def near_json(items: list[dict[str, Any]]) -> str:
    """Return items as a model writes them that was never taught JSON well."""
    spoilt = [
        "{'queries': [" + ", ".join(repr(item) for item in items) + "]}",
        "Sure!\n```json\n" + json.dumps({"queries": items})[:-2] + ",]}\n```",
        "\n".join(json.dumps(item) for item in items),
        json.dumps({str(item["number"]): item for item in items}),
        '{"queries": [ // as asked\n' + ",\n".join(json.dumps(item) for item in items) + "\n]}",
    ]
    return spoilt[len(items[0]["query"]) % len(spoilt)]


def test_a_mixed_run_over_500_passages_reaches_its_target_with_few_requests(
    chat_service: Start, tmp_path: Path
) -> None:
    chunks = corpus(500)
    kinds: dict[str, str] = {}
    for at, chunk in enumerate(chunks):  # 10% refused, 5% think too long, 5% in near-JSON
        kinds[chunk.text] = {0: "refused", 10: "refused", 5: "thinking", 15: "near"}.get(at % 20, "good")
    asked: Counter[str] = Counter()

    def reply(sent: Sent) -> Response:
        passage = shown_passage(sent)
        kind = kinds[passage]
        asked[passage] += 1
        if kind == "refused":
            return chat(None, finish="content_filter") if passage[0] < "m" else chat(None, refusal="No.")
        if kind == "thinking":
            return chat("", finish="length", usage={"prompt_tokens": 400, "completion_tokens": 2048})
        return chat(near_json(items_for(sent))) if kind == "near" else good(sent)

    server = chat_service(reply)
    pairs, report = run(server, tmp_path / "journal.jsonl", chunks, target=2000)
    assert len(pairs) == report["accepted"] == 2000
    assert len(server.sent) == report["requests"] <= 1.3 * math.ceil(2000 / 5)
    refused = [text for text, kind in kinds.items() if kind == "refused" and asked[text]]
    assert all(asked[text] == 1 for text in refused)
    thinking = sum(asked[text] for text, kind in kinds.items() if kind == "thinking")
    assert report["rejected"] == {"refusal": 5 * len(refused), "thinking": 5 * thinking}
    assert report["passages_declined"] == len(refused)
    assert "all 2,048 tokens were spent on thinking" in report["examples_dropped"]["thinking"][0]
    before = len(server.sent)
    again, _ = run(server, tmp_path / "journal.jsonl", chunks, target=2000)
    assert (len(server.sent), again) == (before, pairs)  # nothing is paid for twice


def test_a_target_above_one_turn_asks_no_refused_passage_again(chat_service: Start, tmp_path: Path) -> None:
    chunks = corpus(20)
    declined = {chunk.text for chunk in chunks[::4]}
    asked: Counter[str] = Counter()

    def reply(sent: Sent) -> Response:
        asked[shown_passage(sent)] += 1
        return chat(None, finish="content_filter") if shown_passage(sent) in declined else good(sent)

    pairs, report = run(chat_service(reply), tmp_path / "journal.jsonl", chunks, target=150)
    assert len(pairs) == 150
    assert [asked[text] for text in declined] == [1] * 5
    assert max(asked.values()) > 1
    assert (report["passages_declined"], report["rejected"]) == (5, {"refusal": 25})
    named = {
        f"the service's content filter refused a request about the document d{at}" for at in (0, 4, 8, 12, 16)
    }
    assert set(report["examples_dropped"]["refusal"]) == named


def test_where_every_passage_is_refused_each_is_asked_once(chat_service: Start, tmp_path: Path) -> None:
    server = chat_service(lambda _: chat(None, finish="content_filter"))
    with pytest.raises(EmbexpError, match=r"600 refusal; .*this one declines these passages"):
        run(server, tmp_path / "journal.jsonl", corpus(120), target=1000)
    assert len(server.sent) == 120


def test_a_model_that_only_thinks_ends_the_run_early_with_the_two_settings(
    chat_service: Start, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    server = chat_service(lambda _: chat("<think>\nLet me think. " * 9, finish="length"))
    with pytest.raises(EmbexpError, match=r"raise synthesis\.max_tokens, .* llm\.reasoning_effort"):
        run(server, tmp_path / "journal.jsonl", corpus(200), target=1000)
    assert len(server.sent) < 150  # ten answers, and what was asked ahead of them: not all 200
    assert caplog.text.count("tokens were spent on thinking") == 1


@pytest.mark.parametrize("status", [413, 429])
def test_a_prompt_that_the_service_calls_too_large_shrinks(
    status: int, chat_service: Start, tmp_path: Path
) -> None:
    def reply(sent: Sent) -> Response:
        said = "Request too large for m on tokens per min (TPM): Limit 800. The input must be reduced."
        return refusal(said, status) if len(shown_passage(sent)) > 250 else good(sent)

    server = chat_service(reply)
    pairs, report = run(server, tmp_path / "journal.jsonl", corpus(4), target=20, passage_characters=400)
    assert (len(pairs), report["rejected"]) == (20, {})
    assert len(server.sent) == 12  # each of four prompts whole, without context, and halved


def test_a_spent_day_keeps_pairs_and_the_next_run_goes_on(chat_service: Start, tmp_path: Path) -> None:
    day = "Rate limit reached on requests per day (RPD): Limit 40. Please try again in 3h2m1s."
    server = chat_service(lambda sent: refusal(day, 429) if len(server.sent) > 40 else good(sent))
    with pytest.raises(EmbexpError, match="limit is used up"):
        run(server, tmp_path / "journal.jsonl", corpus(80), target=400)
    used = len(server.sent)
    server.reply = good
    pairs, _ = run(server, tmp_path / "journal.jsonl", corpus(80), target=400)
    assert len(pairs) == 400
    bodies = Counter(hashlib.sha256(json.dumps(body).encode()).hexdigest() for body in server.bodies)
    assert len(server.sent) - used == 40  # the answered half is not asked again
    assert len(bodies) == 80


def test_a_run_with_refusals_replays(chat_service: Start, tmp_path: Path) -> None:
    def reply(sent: Sent) -> Response:
        return chat(None, refusal="No.") if shown_passage(sent)[0] in "bdf" else good(sent)

    journal = tmp_path / "journal.jsonl"
    pairs, _ = run(chat_service(reply), journal, corpus(40), target=80)
    synthesis = RagSynthesis(filters=FREE, held_out=False, neighbours=0, target=80)
    with ReplayLLM(path=str(journal)).open(tmp_path / "unused") as llm:
        assert list(synthesis.pairs(corpus(40), {}, llm=llm)) == pairs
