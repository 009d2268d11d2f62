from __future__ import annotations

import pytest

from embexp.synthesis.answers import by_number, field_problem, list_schema, object_schema, read_items

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
