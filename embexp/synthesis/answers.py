"""Answers of language models: JSON in any wrapping becomes a list of items with checked fields."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from embexp.synthesis.thoughts import without_thoughts

TEXT: Mapping[str, object] = {"type": "string"}
INTEGER: Mapping[str, object] = {"type": "integer"}
_CONTROL = re.compile(r"[\x00-\x1f]")
_FENCE_LINE = re.compile(r"^[ \t]*```[\w-]*[ \t]*$", re.MULTILINE)
_JSON_START = re.compile(r"[\[{](?=\s*(?:[\[{\]}\"'“”\\/]|\w+\s*:))")
_ESCAPE = re.compile(r"(?:\\u[0-9a-fA-F]{4})+")
_NUMBER = re.compile(r"\D{0,20}(\d{1,4})")
_KEY_NUMBER = re.compile(r"[^\W\d]*[ _-]?(\d{1,4})")
_NUMBERS = ("number", "grade")
"""Fields that hold whole numbers, which models also write as text."""
_MAX_ANSWER = 400_000
_MAX_REPAIRED = 100_000
_STARTS = 20
"""The opening brackets to try as the beginning of the JSON."""
_REPAIRS = 3
"""The opening brackets from which the lenient parser, which is slow, reads."""


def object_schema(**properties: Mapping[str, object]) -> dict[str, object]:
    """Return the JSON schema of an object in which every property is required and no other is allowed.

    Services that enforce schemas strictly require exactly that.
    """
    return {
        "type": "object",
        "properties": dict(properties),
        "required": list(properties),
        "additionalProperties": False,
    }


def list_schema(name: str, item: Mapping[str, object]) -> dict[str, object]:
    """Return the JSON schema of an object with one list."""
    return object_schema(**{name: {"type": "array", "items": dict(item)}})


class Wanted(NamedTuple):
    """What an answer should hold: the list's name, and the fields that each of its items needs."""

    name: str
    fields: Sequence[str]

    def complete(self, items: Sequence[Any] | None) -> int:
        """Return how many items have every field."""
        return sum(
            isinstance(item, dict) and all(name in item for name in self.fields) for item in items or ()
        )


def read_items(
    text: str, name: str, fields: Sequence[str] = (), *, unescape: bool = False
) -> list[Any] | None:
    """Return the list ``name`` of a JSON answer, whatever surrounds it and however it is spoilt.

    The answer may be an object with the list, the bare list, an object keyed by number, or one item after the
    other; in code fences, after thoughts or other words, or cut off: then the items before the cut are
    returned, and the last one may lack fields. Of several lists the last one whose items have the fields
    counts. What is not quite JSON (trailing commas, comments, unescaped quotation marks) is read leniently.

    Args:
        text: The answer.
        name: The key of the list.
        fields: The fields that each item should have.
        unescape: Whether ``\\u00e9`` within the texts stands for a letter that was escaped twice.

    Returns:
        The items, unchecked; None where there is no JSON.
    """
    wanted = Wanted(name, fields)
    text = _unwrapped(without_thoughts(text[:_MAX_ANSWER]))
    items, end = _strict_list(text, wanted)
    if not wanted.complete(items):
        end = 0  # what was found may be a part of an item that is broken elsewhere
    if end < len(text):
        # What follows a list counts where it is at least as much: the list before it was a draft.
        rest = _lenient(text[end:], wanted)
        if rest is not None and (items is None or wanted.complete(rest) >= max(wanted.complete(items), 1)):
            items = rest
    if items is None:
        return None
    return [_tidied(item, unescape=unescape) for item in items]


def _unwrapped(text: str) -> str:
    """Return the text within an answer that is one JSON string with the JSON in it."""
    stripped = text.strip()
    if stripped.startswith(('"{', '"[', '"\\n')):
        try:
            inner = json.loads(stripped, strict=False)
        except ValueError:
            return text
        return inner if isinstance(inner, str) else text
    return text


def _strict_list(text: str, wanted: Wanted) -> tuple[list[Any] | None, int]:
    """Return the last complete list that fits, and where it ends; else an empty one, or None and 0."""
    best: tuple[list[Any] | None, int] = (None, 0)
    for value, end in _complete_values(_CONTROL.sub(" ", text)):
        items = None if _is_item(value, wanted) else _items(value, wanted)
        if items is not None and (wanted.complete(items) or not wanted.complete(best[0])):
            best = (items, end)
    return best


def _complete_values(text: str) -> Iterator[tuple[Any, int]]:
    """Yield the values of a text that are valid JSON, with where each ends."""
    decoder = json.JSONDecoder(strict=False)
    at = failures = 0
    while failures < _STARTS and (match := re.compile(r"[\[{]").search(text, at)):
        try:
            value, at = decoder.raw_decode(text, match.start())
        except (ValueError, RecursionError):
            at, failures = match.start() + 1, failures + 1
        else:
            yield value, at


def _lenient(text: str, wanted: Wanted) -> list[Any] | None:
    """Return the best of three readings: the JSON up to its cut, one item after the other, and repaired."""
    flat = _CONTROL.sub(" ", text)
    readings = [_partial(flat, wanted), _one_by_one(flat, wanted), _repaired(text, wanted)]
    read = [items for items in readings if items is not None]
    return max(read, key=wanted.complete, default=None)  # of equal ones the first


def _partial(text: str, wanted: Wanted) -> list[Any] | None:
    """Return the items of valid JSON that is cut off."""
    from pydantic_core import from_json

    for match in list(re.finditer(r"[\[{]", text))[:_STARTS]:
        try:
            value = from_json(text[match.start() :], allow_partial=True)
        except ValueError:
            continue
        items = _items(value, wanted) if value else None
        if items is not None:
            return items
    return None


def _one_by_one(text: str, wanted: Wanted) -> list[Any] | None:
    """Return the items of JSON Lines, of a fence for each item, or of a list that is broken between items."""
    values = [value for value, _ in _complete_values(text)]
    items = [value for value in values if _is_item(value, wanted)]
    # Of a draft and a final item with the same number, the later one counts.
    own = {str(item.get("number", f"#{at}")): item for at, item in enumerate(items)}
    return list(own.values()) or None


def _repaired(text: str, wanted: Wanted) -> list[Any] | None:
    """Return what json_repair makes of JSON that is not valid."""
    from json_repair import repair_json

    text = _FENCE_LINE.sub("", text[:_MAX_REPAIRED]).strip()
    best: list[Any] | None = None
    for match in list(_JSON_START.finditer(text))[:_REPAIRS]:
        try:
            value = repair_json(text[match.start() :], return_objects=True, skip_json_loads=True)
        except (ValueError, RecursionError):
            continue
        items = _items(value, wanted)
        if items and not text.endswith(("}", "]", '"', "`")):
            items = items[:-1]  # its texts are cut, and were closed by the repair
        if wanted.complete(items) > wanted.complete(best):
            best = items
    return best


def _is_item(value: Any, wanted: Wanted) -> bool:
    """Return whether a value is one item rather than a list of them."""
    if not isinstance(value, dict) or isinstance(value.get(wanted.name), (list, dict)):
        return False
    return any(name in value for name in ("query", "name", *wanted.fields[:1]))


def _items(value: Any, wanted: Wanted) -> list[Any] | None:
    """Return the items in a decoded value, in whichever of the usual forms."""
    if isinstance(value, list):
        return _items_of_list(value, wanted)
    if not isinstance(value, dict) or not value:
        return None
    named = value.get(wanted.name)
    if isinstance(named, str) and named.lstrip().startswith(("[", "{")):
        return read_items(named, wanted.name, wanted.fields)
    if isinstance(named, list):
        return list(named)
    if isinstance(named, dict) and named:
        return _keyed(named) or [named]
    if _is_item(value, wanted):
        return [value]
    if keyed := _keyed(value):
        return keyed
    lists = [entry for entry in value.values() if isinstance(entry, list)]
    return next((list(entry) for entry in lists if any(isinstance(item, dict) for item in entry)), None)


def _items_of_list(value: list[Any], wanted: Wanted) -> list[Any] | None:
    if not any(isinstance(item, dict) for item in value):
        return None
    inner = [entry.get(wanted.name) for entry in value if isinstance(entry, dict)]
    if any(isinstance(entry, list) for entry in inner):  # several answers, which a repair gathers in one list
        return next(list(entry) for entry in reversed(inner) if isinstance(entry, list))
    return value


def _keyed(value: Mapping[str, Any]) -> list[Any]:
    """Return the items of an object keyed by number ("1", "query_2"); none where it is no such object."""
    numbers = [_KEY_NUMBER.fullmatch(key.strip()) for key in value]
    if not all(numbers) or not all(isinstance(item, dict) for item in value.values()):
        return []
    return [
        {"number": int(match.group(1)), **item}
        for match, item in zip(numbers, value.values(), strict=True)
        if match is not None
    ]


def _tidied(item: Any, *, unescape: bool) -> Any:
    """Return an item with numbers for numbers that are texts, and letters for twice-escaped ones."""
    if not isinstance(item, dict):
        return item
    tidy = {name: _unescaped(value) for name, value in item.items()} if unescape else dict(item)
    for name in _NUMBERS:
        if name in tidy:
            tidy[name] = _whole_number(tidy[name])
    return tidy


def _whole_number(value: Any) -> Any:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    match = _NUMBER.match(value) if isinstance(value, str) else None
    return int(match.group(1)) if match else value


def _unescaped(value: Any) -> Any:
    if isinstance(value, str):
        return _ESCAPE.sub(_letters, value)
    if isinstance(value, list):
        return [_unescaped(entry) for entry in value]
    if isinstance(value, dict):
        return {name: _unescaped(entry) for name, entry in value.items()}
    return value


def _letters(match: re.Match[str]) -> str:
    letters = str(json.loads(f'"{match.group(0)}"'))
    return letters.encode("utf-8", errors="replace").decode("utf-8")


def field_problem(item: Any, fields: Mapping[str, type]) -> str | None:
    """Return what is wrong with an item's fields, as one phrase, or None.

    Args:
        item: Any entry of the list.
        fields: Name -> the required type; a text must not be blank.
    """
    if not isinstance(item, dict):
        return f"it is not an object but {str(item)[:60]!r}"
    for name, kind in fields.items():
        if name not in item:
            return f"{name} is missing"
        value = item[name]
        if not isinstance(value, kind) or isinstance(value, bool):
            return f"{name} is {str(value)[:60]!r}, not a {_NAMES[kind]}"
        if isinstance(value, str) and not value.strip():
            return f"{name} is blank"
    return None


_NAMES: Mapping[type, str] = {str: "text", int: "whole number", list: "list"}


def by_number(items: Sequence[Any], numbers: Sequence[int]) -> dict[int, Any]:
    """Return the items by their own numbers, or in order where these make no sense."""
    own = [item.get("number") if isinstance(item, dict) else None for item in items]
    if len(set(own)) == len(own) and all(number in numbers for number in own):
        return dict(zip(own, items, strict=True))  # type: ignore[arg-type]
    sound = [(n, item) for n, item in zip(own, items, strict=True) if n in numbers]
    if len({n for n, _ in sound}) == len(sound) == len(numbers):
        return dict(sound)  # type: ignore[arg-type]
    return dict(zip(numbers, items, strict=False))
