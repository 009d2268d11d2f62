"""Answers of language models: JSON in any wrapping becomes a list of items with checked fields."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

TEXT: Mapping[str, object] = {"type": "string"}
INTEGER: Mapping[str, object] = {"type": "integer"}
_FENCE = re.compile(r"```(?:json|JSON)?\s*\n?(.*?)(?:```|\Z)", re.DOTALL)
_THINKING = re.compile(r"<think(?:ing)?>.*?(?:</think(?:ing)?>|\Z)", re.DOTALL)
_CONTROL = re.compile(r"[\x00-\x1f]")
_MAX_ANSWER = 400_000
_STARTS = 20
"""The opening brackets to try as the beginning of the JSON."""


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


def read_items(text: str, name: str) -> list[Any] | None:
    """Return the list ``name`` of a JSON answer, whatever surrounds it.

    The answer may be an object with the list, the bare list or one bare item; within a code fence, after some
    words, or cut off: then the items before the cut are returned, and the last one may lack fields.

    Args:
        text: The answer.
        name: The key of the list.

    Returns:
        The items, unchecked; None where there is no JSON.
    """
    text = _THINKING.sub("", text[:_MAX_ANSWER])
    fences = [match.group(1) for match in _FENCE.finditer(text)]
    for candidate in [*fences, text]:
        for value in _values(candidate):
            items = _items(value, name)
            if items is not None:
                return items
    return None


def _values(text: str) -> Iterator[Any]:
    """Yield the JSON values that begin at the first brackets, incomplete ones up to the cut."""
    # Line breaks mean nothing between values and are not allowed within strings: all become spaces.
    text = _CONTROL.sub(" ", text)
    starts = [match.start() for match in re.finditer(r"[\[{]", text)][:_STARTS]
    for start in starts:
        value = _value(text[start:])
        if value:
            yield value


def _value(text: str) -> Any:
    from pydantic_core import from_json

    try:
        return json.JSONDecoder(strict=False).raw_decode(text)[0]
    except (ValueError, RecursionError):
        pass
    try:
        return from_json(text, allow_partial=True)
    except ValueError:
        return None


def _items(value: Any, name: str) -> list[Any] | None:
    if isinstance(value, list):
        return value if any(isinstance(item, dict) for item in value) else None
    if not isinstance(value, dict) or not value:
        return None
    if isinstance(value.get(name), list):
        return list(value[name])
    if "query" in value or "name" in value:
        return [value]
    lists = [entry for entry in value.values() if isinstance(entry, list)]
    of_items = [entry for entry in lists if any(isinstance(item, dict) for item in entry)]
    return list(of_items[0]) if of_items else None


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
