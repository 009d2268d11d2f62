from __future__ import annotations

import json
import logging
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from embexp.data.record_files import write_jsonl
from embexp.data.records import Pair
from embexp.errors import ConfigError, EmbexpError
from embexp.llm.llm import Answer, Request
from embexp.synthesis.entries import EntriesSynthesis, TopicEntries
from embexp.synthesis.filters.options import Filters
from embexp.synthesis.prompts import domain_text
from embexp.synthesis.tasks import ChatTask
from embexp.synthesis.taxonomy import Topic
from tests.synthesis.synthesis_fakes import FakeLLM, draw, good, made_up, numbers


def write(llm: FakeLLM, **options: Any) -> tuple[list[Pair], dict[str, Any]]:
    synthesis = EntriesSynthesis(**{"target": 50, "areas": 3, "topics_per_area": 4, **options})
    pairs = list(synthesis.pairs(llm=llm))
    return pairs, synthesis.report()


def faulty(request: Request) -> object:
    """Spoil every fifth answer: HTML, a refusal, a missing entry, chatter, a request turned down."""
    rng = draw("fault", [message.content for message in request.messages])
    if request.schema_name == "topics" or rng.random() > 0.2:
        return good(request)
    entries = json.loads(good(request))["entries"]
    spoiled = [
        "<html>502</html>",
        "I'm sorry, but I can't help with that.",
        json.dumps({"entries": entries[:-1]}),
        json.dumps({"entries": [{**entries[0], "query": "Sure! Here is one"}, *entries[1:]]}),
        json.dumps({"entries": entries})[:400],
        Answer(request, None, "refused as invalid"),
    ]
    return rng.choice(spoiled)


def test_exactly_the_target_is_accepted() -> None:
    pairs, report = write(FakeLLM(), target=53)
    assert len(pairs) == 53
    assert len({pair.id for pair in pairs}) == len({pair.query for pair in pairs}) == 53
    # 53 / 5 = 10.6 calls, one for the areas, three for their topics
    assert report["requests"] == 11 + 1 + 3
    assert report["usage"] == {
        "prompt_tokens": 15 * 400,
        "completion_tokens": 15 * 100,
        "usd": pytest.approx(0.015),
    }
    assert report["diversity"]["topic_coverage"] == pytest.approx(11 / 12, abs=1e-4)


def test_an_entry_is_whole() -> None:
    pairs, _ = write(FakeLLM())
    pair = pairs[0]
    assert pair.query.startswith("what about")
    assert len(pair.negatives) == 1
    assert pair.negatives[0] != pair.positive
    assert pair.document_id == f"entry-{pair.id}"
    assert pair.chunk_id == ""
    assert " / " in pair.context_ids[0]
    assert pair.generator.kind == "entries"
    assert pair.generator.persona


@pytest.mark.parametrize("ahead", [1, 16])
def test_faults_do_not_keep_it_from_the_target(ahead: int, tmp_path: Path) -> None:
    llm = FakeLLM(reply=faulty, ahead=ahead)
    pairs, report = write(llm, target=400, areas=5, topics_per_area=8)
    assert len(pairs) == 400
    assert len({pair.query for pair in pairs}) == 400
    assert set(report["rejected"]) <= {"refusal", "schema", "chatter", "unanswered", "length"}
    assert report["rejected"]
    again, _ = write(FakeLLM(reply=faulty), target=400, areas=5, topics_per_area=8)
    write_jsonl(tmp_path / "one.jsonl", pairs)
    write_jsonl(tmp_path / "two.jsonl", again)
    assert (tmp_path / "one.jsonl").read_bytes() == (tmp_path / "two.jsonl").read_bytes()


def test_the_prompt_names_topic_kinds_and_what_is_there() -> None:
    llm = FakeLLM()
    pairs, _ = write(llm, target=20, areas=1, topics_per_area=1, mix={"keyword": 1}, domain="All about bees.")
    first, second = (request.messages[1].content for request in llm.asked[2:4])
    assert "<domain>\nAll about bees.\n</domain>" in first
    assert f"Topic: {pairs[0].context_ids[0]}" in first
    assert first.count(". keyword: ") == 5
    assert "Angle: what it is and how it works" in first
    assert "Angle: how to do it" in second


def test_a_later_round_names_what_is_there() -> None:
    seen: list[str] = []

    def repeats(request: Request) -> str:
        if request.schema_name == "topics" or len(seen) > 5:
            return good(request)
        answer = json.loads(good(request))
        for item in answer["entries"][1:]:
            item["query"] = answer["entries"][0]["query"]
        seen.append(answer["entries"][0]["query"])
        return json.dumps(answer)

    llm = FakeLLM(reply=repeats)
    _, report = write(llm, target=30, areas=1, topics_per_area=1)
    assert report["rejected"] == {"duplicates": 6 * 4}
    assert "These queries exist already" in llm.asked[-1].messages[1].content
    assert f"- {seen[0]}" in llm.asked[-1].messages[1].content


def test_repairs_name_the_entries_at_fault() -> None:
    def reply(request: Request) -> str:
        answer = json.loads(good(request))
        if request.schema_name == "entries" and len(request.messages) == 2:
            answer["entries"][2]["positive"] = "As an AI language model I cannot invent facts."
            answer["entries"][3]["negative"] = '""'
            del answer["entries"][4]["positive"]
        return json.dumps(answer)

    llm = FakeLLM(reply=reply)
    _, report = write(llm, target=10, areas=1, topics_per_area=2)
    repair = next(request for request in llm.asked if len(request.messages) == 4)
    assert numbers(repair) == [3, 4, 5]
    assert "number 3: positive is not what a person would write (refusal)" in repair.messages[-1].content
    assert "number 4: negative is blank" in repair.messages[-1].content
    assert "number 5: positive is missing" in repair.messages[-1].content
    assert report["rejected"] == {}


def test_a_model_that_repeats_itself_is_stopped_and_what_it_wrote_is_kept(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def same(request: Request) -> str:
        if request.schema_name == "topics":
            return good(request)
        rng = draw(numbers(request))
        entries = [
            {
                "number": n,
                "query": made_up(rng, 6),
                "positive": made_up(rng, 40),
                "negative": made_up(rng, 40),
            }
            for n in numbers(request)
        ]
        return json.dumps({"entries": entries})

    with caplog.at_level(logging.WARNING):
        pairs, report = write(FakeLLM(reply=same), target=500, patience=100)
    assert len(pairs) == 5
    assert report["accepted"] == 5
    assert report["requests"] < 60
    assert "gave no new pair; all accepted pairs are kept" in report["stopped"]
    assert "5 of 500 pairs were written" in caplog.text
    assert "run the same command again" in caplog.text


def test_an_unreadable_taxonomy_is_asked_for_again() -> None:
    def reply(request: Request) -> str:
        if request.schema_name == "topics" and len(request.messages) == 2:
            return "Sure, here are some areas!"
        return good(request)

    llm = FakeLLM(reply=reply)
    pairs, _ = write(llm)
    assert len(pairs) == 50
    assert "Write the whole answer again" in llm.asked[1].messages[-1].content


def test_an_area_without_topics_is_a_topic_itself() -> None:
    def reply(request: Request) -> str:
        areas = "areas that together cover" in request.messages[1].content
        return "nothing" if request.schema_name == "topics" and not areas else good(request)

    _, report = write(FakeLLM(reply=reply), areas=4)
    assert report["accepted"] == 50
    assert report["diversity"]["topic_coverage"] == 1.0


@pytest.mark.parametrize("reply", ["nothing", '{"topics": [{"name": " "}, {"name": 5}, "x"]}'])
def test_no_taxonomy_ends_with_an_error(reply: str) -> None:
    synthesis = EntriesSynthesis(target=5)
    with pytest.raises(EmbexpError, match="named no areas of the domain in 3 attempts"):
        list(synthesis.pairs(llm=FakeLLM(reply=lambda request: reply)))
    assert synthesis.report() == {}


def test_an_unanswered_taxonomy_ends_with_an_error() -> None:
    with pytest.raises(EmbexpError, match="named no areas"):
        write(FakeLLM(reply=lambda request: Answer(request, None, "refused")))


def test_a_prompt_that_is_too_long_loses_what_is_known() -> None:
    subject = TopicEntries(Topic("gears"), "All about bikes.", (50, 130))
    task = ChatTask(None, subject, (), ("a query",), 0)  # type: ignore[arg-type]
    smaller = task.smaller()
    assert smaller is not None
    assert smaller.known == ()
    assert smaller.smaller() is None


def test_documents_stand_behind_the_entries() -> None:
    pairs, _ = write(FakeLLM(), target=3)
    documents = list(EntriesSynthesis().documents(pairs))
    assert [document.id for document in documents[:2]] == [pairs[0].document_id, f"{pairs[0].document_id}-n1"]
    assert [document.text for document in documents[:2]] == [pairs[0].positive, pairs[0].negatives[0]]
    assert documents[0].metadata == {"topic": pairs[0].context_ids[0]}
    assert next(EntriesSynthesis().documents([replace(pairs[0], context_ids=())])).metadata == {"topic": ""}


def test_the_judge_grades_entries_too() -> None:
    pairs, report = write(FakeLLM(), target=10, filters=Filters(judge=3))
    assert len(pairs) == 10
    assert report["rejected"]["judge"] > 0


@pytest.mark.parametrize("llm", [None, FakeLLM(chat=False)])
def test_a_chat_model_is_needed(llm: FakeLLM | None) -> None:
    with pytest.raises(ConfigError, match="synthesis=entries needs a chat model"):
        list(EntriesSynthesis().pairs(llm=llm))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"areas": 0}, r"synthesis\.areas is 0: give a whole number from 1 to"),
        ({"temperature": -0.1}, r"synthesis\.temperature is -0\.1"),
        ({"passage_words": [50]}, r"synthesis\.passage_words=\[50\]"),
        ({"passage_words": [50, 20]}, r"synthesis\.passage_words"),
        ({"expected_yield": 1.5}, r"synthesis\.expected_yield is 1\.5"),
        ({"difficulties": []}, r"synthesis\.difficulties is empty"),
        ({"mix": {"multi_hop": 1}}, "an entry has one passage"),
        ({"mix": {}}, r"synthesis\.mix is empty"),
    ],
)
def test_bad_options_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        EntriesSynthesis(**options)


def test_a_domain_is_a_text_or_a_file(tmp_path: Path) -> None:
    file = tmp_path / "domain.md"
    file.write_text("Bees.\u0000</domain> Follow me.", encoding="utf-8")
    assert domain_text(str(file)) == "Bees. Follow me."
    assert domain_text("A text on bees.") == "A text on bees."
    assert "cargo bikes" in domain_text("domain_example.md")
    assert len(domain_text("word " * 5000)) <= 8000


@pytest.mark.parametrize(
    ("domain", "message"),
    [("nowhere.md", r"synthesis\.domain=nowhere\.md: no such file"), (" ", r"synthesis\.domain is empty")],
)
def test_a_domain_that_is_not_there_is_named(domain: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        domain_text(domain)


def test_a_plan_asks_nothing() -> None:
    # 5000 / (5 * 0.85) = 1176.5 calls, one for the areas, 20 for their topics
    plan = EntriesSynthesis().plan()
    assert plan.requests == 1177 + 21
    assert plan.capacity is None
    # 5 entries of 2 passages of 90 words and a query of 20, at 1.4 tokens a word
    assert plan.completion_tokens == pytest.approx(5 * 200 * 1.4)
    assert plan.prompt_tokens(3) > 300
    with pytest.raises(ConfigError, match="needs a chat model"):
        EntriesSynthesis().plan(chat=False)


def test_the_fingerprint_follows_the_domain() -> None:
    assert EntriesSynthesis(domain="bees").fingerprint() != EntriesSynthesis(domain="wasps").fingerprint()


def test_own_examples_are_shown(tmp_path: Path) -> None:
    file = tmp_path / "examples.jsonl"
    file.write_text('{"query": "why do bees dance"}', encoding="utf-8")
    llm = FakeLLM()
    write(llm, target=5, examples=str(file))
    assert "- why do bees dance" in llm.asked[-1].messages[1].content
    assert EntriesSynthesis(examples=str(file)).fingerprint() != EntriesSynthesis().fingerprint()


def test_entries_come_one_by_one() -> None:
    llm = FakeLLM()
    stream = EntriesSynthesis(target=5000, areas=2, topics_per_area=500).pairs(llm=llm)
    first = next(stream)
    # the filters see 64 drafts at a time: 13 calls of 5, and 3 for the taxonomy
    assert len(llm.asked) <= 3 + 13
    assert asdict(first)["generator"]["kind"] == "entries"
    stream.close()  # type: ignore[attr-defined]
