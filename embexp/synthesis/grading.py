"""Grades by a language model: how well passages answer queries, several passages to a request."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from embexp.llm.llm import LLM, Answer, Request, Usage
from embexp.storage.files import sha256_of
from embexp.synthesis.answers import INTEGER, by_number, field_problem, list_schema, object_schema, read_items
from embexp.synthesis.prompts import Prompts, printable, shorten

_CHARACTERS = 2500
_SCHEMA = list_schema("grades", object_schema(number=INTEGER, grade=INTEGER))


class Item(NamedTuple):
    """A passage to grade, and its query where the items of a request have different ones."""

    passage: str
    query: str = ""


class GradeRequest(NamedTuple):
    """One request, and the number of items that it asks about."""

    request: Request
    items: int


@dataclass(frozen=True, kw_only=True)
class Grader:
    """Has a language model grade passages on the scale that a prompt template defines.

    Args:
        template: The template's name; also tags the requests.
        items_per_request: The items that one request asks about.
        max_tokens: The longest answer.
        prompts: Where the template is.
    """

    template: str
    items_per_request: int
    max_tokens: int
    prompts: Prompts

    def requests(self, items: Sequence[Item], **values: object) -> list[GradeRequest]:
        """Return the requests for some items, in their order.

        Args:
            items: The passages to grade.
            values: Further values for the template.
        """
        size = self.items_per_request
        groups = [items[at : at + size] for at in range(0, len(items), size)]
        return [GradeRequest(self._request(group, values), len(group)) for group in groups]

    def _request(self, items: Sequence[Item], values: dict[str, object]) -> Request:
        shown = [
            {
                "number": number,
                "mark": sha256_of(item.passage)[:8],
                "query": item.query,
                "passage": shorten(printable(item.passage), _CHARACTERS),
            }
            for number, item in enumerate(items, start=1)
        ]
        return Request(
            messages=self.prompts.messages(self.template, items=shown, **values),
            max_tokens=self.max_tokens,
            temperature=0.0,
            schema=_SCHEMA,
            schema_name="grades",
            tag=self.template,
        )

    @staticmethod
    def grade(llm: LLM, requests: Sequence[GradeRequest]) -> Iterator[tuple[list[int | None], Usage]]:
        """Yield the grades of each request's items, None where there is no readable one, and their cost."""
        answers = llm.complete(request for request, _ in requests)
        for (_, count), answer in zip(requests, answers, strict=True):
            yield _read(answer, count)


def _read(answer: Answer, count: int) -> tuple[list[int | None], Usage]:
    if answer.completion is None:
        return [None] * count, Usage()
    numbers = list(range(1, count + 1))
    items = by_number(read_items(answer.completion.text, "grades", ("grade",)) or [], numbers)
    grades: list[int | None] = []
    for number in numbers:
        item = items.get(number, {})
        grades.append(None if field_problem(item, {"grade": int}) else item["grade"])
    return grades, answer.completion.usage
