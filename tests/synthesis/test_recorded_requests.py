"""Requests and accepted pairs are pinned to the byte: the journals of earlier runs must still replay."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from embexp.data.records import Pair
from embexp.llm.journal import request_key
from embexp.llm.llm import Answer, Request
from embexp.synthesis.entries import EntriesSynthesis
from embexp.synthesis.filters.options import Filters
from embexp.synthesis.rag import RagSynthesis
from tests.synthesis.synthesis_fakes import FakeIndex, FakeLLM, draw, good, knowledge

KNOWLEDGE = [replace(chunk, title=f"{chunk.title} > Part {chunk.position}") for chunk in knowledge(8, 3)]


def digest(values: Iterable[object]) -> str:
    lines = (json.dumps(value, sort_keys=True) for value in values)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def sometimes_bad(request: Request) -> object:
    """Spoil a third of the answers: no JSON, a refusal, a missing item, chatter, a cut end, too long."""
    rng = draw("spoil", [message.content for message in request.messages])
    if request.schema_name in ("topics", "grades") or rng.random() > 0.33:
        return good(request)
    if request.schema is None:
        return rng.choice(["\n", "Sure! Here is one", Answer(request, None, "too long"), " How?"])
    items = json.loads(good(request))[request.schema_name]
    spoiled = [
        "<html>502</html>",
        "I'm sorry, but I can't help with that.",
        json.dumps({request.schema_name: items[:-1]}),
        json.dumps({request.schema_name: [{**items[0], "query": "Sure! Here is one"}, *items[1:]]}),
        json.dumps({request.schema_name: [{**items[0], "evidence": [], "positive": " "}, *items[1:]]}),
        json.dumps({request.schema_name: items})[:300],
        Answer(request, None, "too long"),
        Answer(request, None, "refused: HTTP 400"),
    ]
    return rng.choice(spoiled)


def digests(llm: FakeLLM, pairs: Iterable[Pair], report: dict[str, Any]) -> tuple[str, str, str]:
    rows = [asdict(pair) for pair in pairs]
    # The weight is younger than these digests, and synthesis always leaves it at 1.
    assert {row.pop("weight") for row in rows} == {1}
    written = digest(rows)
    keys = digest(request_key(request, {"model": "m"}) for request in llm.asked)
    counts = {name: report[name] for name in ("target", "accepted", "rejected", "requests", "usage")}
    counts["usage"] = {name: round(value, 6) for name, value in report["usage"].items()}
    return keys, written, digest([counts])


@pytest.fixture
def examples(tmp_path: Path) -> str:
    path = tmp_path / "examples.jsonl"
    rows = [
        {"query": f"how is thing {at} done", "passage": f"Thing {at} is done by hand."} for at in range(9)
    ]
    path.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    return str(path)


def test_grounded_requests_and_pairs(examples: str) -> None:
    llm = FakeLLM(reply=sometimes_bad)
    filters = Filters(round_trip=20, judge=2, near_duplicates=0.7)
    synthesis = RagSynthesis(
        target=150, calls_per_chunk=9, examples=examples, filters=filters, seed=7, passage_characters=900
    )
    pairs = list(synthesis.pairs(KNOWLEDGE, {}, llm=llm, index=FakeIndex(KNOWLEDGE)))
    assert digests(llm, pairs, synthesis.report()) == (
        "a9ba7369e5d25235",
        "f09ad30c0bb26a86",
        "24b92f2d70c0e5f9",
    )


def test_completion_requests_and_pairs() -> None:
    llm = FakeLLM(reply=sometimes_bad, chat=False)
    synthesis = RagSynthesis(target=40, filters=Filters(round_trip=20), seed=7, held_out=False)
    pairs = list(synthesis.pairs(KNOWLEDGE, {}, llm=llm, index=FakeIndex(KNOWLEDGE)))
    assert digests(llm, pairs, synthesis.report()) == (
        "b7dd9e4c70c941c4",
        "8c21dc85981ade45",
        "dedb741d86d1ce36",
    )


def test_entry_requests_and_pairs(examples: str) -> None:
    llm = FakeLLM(reply=sometimes_bad)
    synthesis = EntriesSynthesis(
        target=120, areas=3, topics_per_area=4, examples=examples, filters=Filters(judge=2), seed=7
    )
    pairs = list(synthesis.pairs(llm=llm))
    assert digests(llm, pairs, synthesis.report()) == (
        "ed8e4d479acbcf4e",
        "7da5c11a5e182e20",
        "0e2cdf5e4232fd31",
    )


def test_the_plans_requests(examples: str) -> None:
    entries = EntriesSynthesis(examples=examples, target=60)
    rag = RagSynthesis(examples=examples, target=60)
    plans = (entries.plan(), rag.plan(KNOWLEDGE), rag.plan(KNOWLEDGE, chat=False))
    keys = [request_key(request, {}) for plan in plans for request in plan.first()]
    assert digest(keys) == "4b928194265eb4ba"
