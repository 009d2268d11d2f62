from __future__ import annotations

import json
import re

import pytest

from embexp.synthesis.answers import by_number, field_problem, list_schema, object_schema, read_items
from embexp.synthesis.thoughts import without_thoughts

ITEM = {"number": 1, "query": "q"}


@pytest.mark.parametrize(
    ("text", "items"),
    [
        ('{"queries": [{"number": 1, "query": "q"}]}', [ITEM]),
        ('[{"number": 1, "query": "q"}]', [ITEM]),
        ('{"number": 1, "query": "q"}', [ITEM]),
        ('Here you are:\n```json\n{"queries": [{"number": 1, "query": "q"}]}\n```\nEnjoy!', [ITEM]),
        ('A {brace} first, then {"queries": [{"number": 1, "query": "q"}]} and more', [ITEM]),
        (
            '<think>{"queries": [{"query": "draft"}]}</think>{"queries": [{"number": 1, "query": "q"}]}',
            [ITEM],
        ),
        ('{"results": [{"number": 1, "query": "q"}]}', [ITEM]),
        ('{"queries": [{"number": 1, "query": "q"}, {"number": 2, "qu', [ITEM, {"number": 2}]),
        ('{"queries": [{"number": 1, "query": "one\nline"}]}', [{"number": 1, "query": "one line"}]),
        ('{"queries": []}', []),
        ("[" * 50_000, None),
        ("<html><body>502 Bad Gateway</body></html>", None),
        ('{"queries": "none"}', None),
        ('["a", "b"]', None),
        ("", None),
    ],
)
def test_items_are_found_in_any_wrapping(text: str, items: object) -> None:
    assert read_items(text, "queries") == items


ONE, TWO = ({"number": number, "query": text, "evidence": []} for number, text in ((1, "one"), (2, "two")))
BOTH = json.dumps({"queries": [ONE, TWO]})
DRAFT = '{"queries": [{"number": 1, "query": "a draft", "evidence": []}]}'


@pytest.mark.parametrize(
    "text",
    [
        BOTH,
        json.dumps([ONE, TWO]),
        json.dumps(BOTH),  # JSON in a JSON string
        json.dumps({"queries": json.dumps([ONE, TWO])}),
        BOTH.replace('"', '\\"'),
        f"<think>{DRAFT}</think>\n{BOTH}",
        f"I write {DRAFT} first.</think>\n\n{BOTH}",
        f"<thought>{DRAFT}</thought>{BOTH}",
        f"<reasoning>\n{DRAFT}\n</reasoning>\n```json\n{BOTH}\n```",
        f"[THINK]{DRAFT}[/THINK]{BOTH}",
        f"<think>a</think>{DRAFT}<think>b</think>{BOTH}",
        f"<|channel|>analysis<|message|>{DRAFT}<|end|><|start|>assistant<|channel|>final<|message|>{BOTH}<|return|>",
        f"analysis I write {DRAFT} nowassistantfinal{BOTH}",
        f"A first try: {DRAFT} And the answer: {BOTH}",
        f"A first try: {DRAFT} And the answer: {BOTH[:-2]},]}}",
        '{"queries": [' + json.dumps(ONE) + ", " + json.dumps(TWO) + ",\n]}",
        '{"queries": [\n// the first\n' + json.dumps(ONE) + ",\n/* the second */\n" + json.dumps(TWO) + "]}",
        json.dumps(ONE) + "\n" + json.dumps(TWO),
        f"```json\n{json.dumps(ONE)}\n```\nand\n```json\n{json.dumps(TWO)}\n```",
        json.dumps({"1": {"query": "one", "evidence": []}, "2": {"query": "two", "evidence": []}}),
        json.dumps(
            {"queries": {"1": {"query": "one", "evidence": []}, "2": {"query": "two", "evidence": []}}}
        ),
        json.dumps(
            {"query_1": {"query": "one", "evidence": []}, "query_2": {"query": "two", "evidence": []}}
        ),
        json.dumps({"queries": [{**ONE, "number": "1"}, {**TWO, "number": "2."}]}),
        json.dumps({"queries": [{**ONE, "number": 1.0}, {**TWO, "number": "Query 2"}]}),
        repr({"queries": [ONE, TWO]}),  # Python's quotation marks
        BOTH.replace('"queries"', "queries"),
        BOTH.replace("}, {", "} {"),
        re.sub(r'"([^"]*)"', r"“\1”", BOTH),
        BOTH[:-2],
        f"1. {json.dumps(ONE)}\n2. {json.dumps(TWO)}",
        json.dumps({"name": "answer", "arguments": {"queries": [ONE, TWO]}}),
        f"Note [1] and {{x}} first.\n{BOTH}\nThat is all, see [2].",
    ],
)
def test_every_item_is_read_however_the_json_is_spoilt(text: str) -> None:
    assert read_items(text, "queries", ("query", "evidence")) == [ONE, TWO]


def test_quotation_marks_within_a_text_are_kept() -> None:
    text = '{"queries": [{"number": 1, "query": "what is a "dead" lift", "evidence": []}, {"number": 2,}]}'
    found = read_items(text, "queries", ("query", "evidence"))
    assert found is not None
    assert found[0]["query"] == 'what is a "dead" lift'


@pytest.mark.parametrize(
    ("written", "query"), [("o\\'ne", "o'ne"), ("\\alpha one", "\\alpha one"), ("o\tne", "o ne")]
)
def test_what_is_wrong_within_one_item_costs_no_item(written: str, query: str) -> None:
    quoted = {**ONE, "evidence": [{"passage": 1, "quote": "word for word"}]}
    text = json.dumps({"queries": [quoted, TWO]}).replace('"one"', f'"{written}"')
    found = read_items(text, "queries", ("query", "evidence"))
    assert found is not None
    assert [item["query"] for item in found] == [query, "two"]


def test_an_item_that_was_cut_within_broken_json_is_left_out() -> None:
    text = (
        '{"queries": ['
        + json.dumps(ONE)
        + ', // next\n{"number": 2, "query": "two", "evidence": [{"quote": "half a'
    )
    assert read_items(text, "queries", ("query", "evidence")) == [ONE]


@pytest.mark.parametrize(
    ("unescape", "query"),
    [
        (True, "¿Cómo se ajusta la válvula 😀?"),
        (False, "\\u00bfC\\u00f3mo se ajusta la v\\u00e1lvula \\ud83d\\ude00?"),
    ],
)
def test_letters_that_were_escaped_twice_are_read_where_that_is_wanted(unescape: bool, query: str) -> None:
    item = {"query": "¿Cómo se ajusta la válvula 😀?", "evidence": [{"quote": "la válvula"}]}
    twice = json.dumps({"queries": [item]}).replace("\\u", "\\\\u")
    found = read_items(twice, "queries", unescape=unescape)
    assert found is not None
    assert found[0]["query"] == query
    assert ("á" in found[0]["evidence"][0]["quote"]) is unescape


@pytest.mark.parametrize("grade", [4, "4", 4.0, "4/5", "Grade: 4"])
def test_a_grade_is_read_from_a_text_too(grade: object) -> None:
    text = json.dumps({"grades": [{"number": "1", "grade": grade}]})
    assert read_items(text, "grades", ("grade",)) == [{"number": 1, "grade": 4}]


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("plain", "plain"),
        ("<think>a</think>b", "b"),
        ("a</think>b", "b"),
        ("<think>never ends", ""),
        ("  <reasoning>never ends", ""),
        ("a</thought>b</thought>c", "c"),
        ("a</think><think>b", ""),
        ("◁think▷a◁/think▷b", "b"),
        ("<|channel|>analysis<|message|>never ends", ""),
        ('{"query": "what does </think> mean"}', '{"query": "what does </think> mean"}'),
        ('a</think>{"query": "what does </think> mean"}', '{"query": "what does </think> mean"}'),
        ('{"query": "what does <think> mean"}', '{"query": "what does <think> mean"}'),
    ],
)
def test_thoughts_end_with_their_last_closing_tag(text: str, answer: str) -> None:
    assert without_thoughts(text) == answer


@pytest.mark.parametrize(
    ("item", "problem"),
    [
        ({"query": "q", "number": 1}, None),
        ("q", "it is not an object but 'q'"),
        ({"number": 1}, "query is missing"),
        ({"query": 5, "number": 1}, "query is '5', not a text"),
        ({"query": " ", "number": 1}, "query is blank"),
        ({"query": "q", "number": True}, "number is 'True', not a whole number"),
    ],
)
def test_a_problem_names_the_field(item: object, problem: str | None) -> None:
    assert field_problem(item, {"query": str, "number": int}) == problem


@pytest.mark.parametrize(
    ("numbers", "found"),
    [
        ([2, 1], {2: 0, 1: 1}),  # their own numbers
        ([1], {1: 0}),  # one is missing
        ([7, 8], {1: 0, 2: 1}),  # numbers that nobody asked for: by order
        ([1, 1], {1: 0, 2: 1}),
        ([1, 2, 3], {1: 0, 2: 1}),  # one too many
        ([None, None, None], {1: 0, 2: 1}),
    ],
)
def test_items_go_to_the_numbers_that_were_asked(numbers: list[int | None], found: dict[int, int]) -> None:
    items = [{"number": number, "at": at} for at, number in enumerate(numbers)]
    assert {number: item["at"] for number, item in by_number(items, [1, 2]).items()} == found


def test_schemas_are_strict() -> None:
    schema = list_schema("topics", object_schema(name={"type": "string"}))
    assert schema["required"] == ["topics"]
    assert schema["additionalProperties"] is False
    assert schema["properties"]["topics"]["items"]["required"] == ["name"]  # type: ignore[index]
