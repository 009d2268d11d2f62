"""Answers as a language model might give them: valid for a schema, English-like, seeded by the request."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

WORDS = json.loads(Path(__file__).with_name("words.json").read_text(encoding="utf-8"))
NOUNS, VERBS, ADJECTIVES = (WORDS[kind].split() for kind in ("nouns", "verbs", "adjectives"))
PLACES = WORDS["places"]
FORMS = (
    "how do I {v} the {a} {n} of a {m} {p}",
    "what happens to a {a} {n} when you {v} its {m} {p}",
    "the {a} {n} must be kept away from every {m} {p}, because people {v} it there",
    "which {n} is needed to {v} a {a} {m} {p}",
    "you can {v} the {n} of the {a} {m} {p} if it is done with care",
    "{a} {n} and {m}: who has to {v} them {p}",
)


def seeded(body: Mapping[str, Any]) -> random.Random:
    """Return a generator that depends on what is asked, and on nothing else."""
    asked = [body.get("messages"), body.get("seed"), body.get("temperature")]
    return random.Random(hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).digest())


def sentence(draw: random.Random) -> str:
    """Return one English-like sentence, drawn from about 10^10."""
    form = draw.choice(FORMS)
    return form.format(
        v=draw.choice(VERBS),
        a=draw.choice(ADJECTIVES),
        n=draw.choice(NOUNS),
        m=draw.choice(NOUNS),
        p=draw.choice(PLACES),
    )


def answer(body: Mapping[str, Any]) -> str:
    """Return the content that answers a chat body: JSON where a schema is given, else a sentence."""
    draw = seeded(body)
    schema = schema_of(body)
    return sentence(draw) if schema is None else json.dumps(value(schema, draw, "", said(body), schema))


def schema_of(body: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the schema in ``response_format``, or the one told in the first message to lesser models."""
    form = body.get("response_format") or {}
    if form.get("type") == "json_schema":
        return form["json_schema"]["schema"]
    told = str(body["messages"][0]["content"]) if body.get("messages") else ""
    start = told.find("schema:\n")
    return json.loads(told[start + 8 :]) if start >= 0 else None


def said(body: Mapping[str, Any]) -> str:
    return "\n".join(str(turn["content"]) for turn in body.get("messages", []) if turn["role"] == "user")


def value(
    schema: Mapping[str, Any], draw: random.Random, name: str, text: str, root: Mapping[str, Any]
) -> Any:
    """Return a value that is valid for a JSON schema.

    A string called evidence, quote or span is a line of the user's message; all others are new text.
    """
    if "$ref" in schema:
        target: Any = root
        for part in schema["$ref"].removeprefix("#/").split("/"):
            target = target[part]
        return value(target, draw, name, text, root)
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        return draw.choice(schema["enum"])
    for several in ("anyOf", "oneOf", "allOf"):
        if several in schema:
            return value(schema[several][0], draw, name, text, root)
    kind = schema.get("type", "object" if "properties" in schema else "string")
    kind = kind[0] if isinstance(kind, list) else kind
    if kind == "object":
        fields = schema.get("properties", {})
        return {key: value(inner, draw, key, text, root) for key, inner in fields.items()}
    if kind == "array":
        least = schema.get("minItems", 0)
        count = (
            max(least, min(schema.get("maxItems", 3), 3)) if "maxItems" not in schema else schema["maxItems"]
        )
        return [value(schema.get("items", {}), draw, name, text, root) for _ in range(count)]
    if kind == "string":
        return _text(schema, draw, name, text)
    if kind in ("integer", "number"):
        low = schema.get("minimum", 0)
        return draw.randint(int(low), int(schema.get("maximum", low + 10)))
    return draw.random() < 0.5 if kind == "boolean" else None


def _text(schema: Mapping[str, Any], draw: random.Random, name: str, text: str) -> str:
    if any(word in name.lower() for word in ("evidence", "quote", "span")):
        lines = [line.strip() for line in text.splitlines() if len(line.split()) > 3]
        return draw.choice(lines) if lines else sentence(draw)
    long = any(
        word in name.lower() for word in ("passage", "negative", "positive", "text", "answer", "document")
    )
    words = ". ".join(sentence(draw).capitalize() for _ in range(4 if long else 1))
    while len(words) < schema.get("minLength", 0):
        words += ". " + sentence(draw).capitalize()
    return words[: schema.get("maxLength", len(words))]
