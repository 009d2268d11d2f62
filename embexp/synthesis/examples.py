"""A user's own examples: a few real queries, with passages where a model needs to see both."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from embexp.errors import ConfigError, DataError
from embexp.synthesis.mix import share_of
from embexp.synthesis.prompts import printable, shorten

MOST = 1000
PASSAGE_CHARACTERS = 600


@dataclass(frozen=True, slots=True)
class Example:
    """A query as people ask it, and a passage that answers it (or nothing)."""

    query: str
    passage: str = ""


def read_examples(path: Path, *, passages: bool) -> list[Example]:
    """Read examples from JSON Lines: ``{"query": "…", "passage": "…"}``, or ``positive`` for ``passage``.

    Args:
        path: The file; its first 1,000 examples are used.
        passages: Whether each example must have a passage.

    Raises:
        ConfigError: There is no such file.
        DataError: A line is no such object; the message names file and line.
    """
    if not path.is_file():
        raise ConfigError(
            f"synthesis.examples={path}: no such file; give one with a JSON object on each line."
        )
    examples: list[Example] = []
    with path.open(encoding="utf-8") as stream:
        for number, line in enumerate(stream, start=1):
            if line.strip() and len(examples) < MOST:
                examples.append(_example(line, f"{path}:{number}", passages=passages))
    if not examples:
        raise DataError(f"{path}: no example in it; write one JSON object on each line.")
    return examples


def _example(line: str, where: str, *, passages: bool) -> Example:
    try:
        row = json.loads(line)
    except ValueError as error:
        raise DataError(
            f'{where}: not JSON ({error}); write {{"query": …, "passage": …}} on one line.'
        ) from error
    row = row if isinstance(row, dict) else {}
    query, passage = row.get("query"), row.get("passage", row.get("positive", ""))
    if not isinstance(query, str) or not query.strip():
        raise DataError(f'{where}: "query" is {query!r}; give the text of a query.')
    if not isinstance(passage, str) or (passages and not passage.strip()):
        raise DataError(f'{where}: "passage" is {passage!r}; a model that only completes text needs one.')
    return Example(one_line(query, 300), one_line(passage, PASSAGE_CHARACTERS))


def one_line(text: str, limit: int) -> str:
    """Return a text on one line without control characters, at most ``limit`` long."""
    return shorten(" ".join(printable(text[: 4 * limit]).split()), limit)


def drawn(examples: Sequence[Example], count: int, *key: object) -> list[Example]:
    """Return ``count`` examples that depend on the key alone, in an order that does too."""
    places = sorted(range(len(examples)), key=lambda at: share_of("example", at, *key))
    return [examples[at] for at in places[:count]]
