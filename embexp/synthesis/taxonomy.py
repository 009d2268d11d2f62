"""A domain broken into areas and topics by a language model, each asked for by name and checked."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import zip_longest
from typing import Any

from embexp.errors import EmbexpError
from embexp.llm.llm import LLM, Message, Request, Usage
from embexp.synthesis.answers import TEXT, field_problem, list_schema, object_schema, read_items
from embexp.synthesis.examples import one_line
from embexp.synthesis.mix import seed_of
from embexp.synthesis.prompts import Prompts
from embexp.synthesis.query_text import chatter, key, tidy_query

log = logging.getLogger(__name__)


SCHEMA = list_schema("topics", object_schema(name=TEXT, description=TEXT))
FIELDS: Mapping[str, type] = {"name": str}
MOST_NAME = 120
MOST_DESCRIPTION = 300
TOKENS_PER_TOPIC = 60
ATTEMPTS = 3


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic of an area; an area itself has no ``area``."""

    name: str
    description: str = ""
    area: str = ""

    @property
    def place(self) -> str:
        """The topic's name in ``context_ids``."""
        return f"{self.area} / {self.name}"


@dataclass
class Taxonomy:
    """Asks for areas, then for the topics of each.

    Args:
        llm: A chat model.
        prompts: Where ``taxonomy.jinja`` is.
        domain: What the knowledge base would be about.
        language: The language of the names, as words in the prompt.
        areas: How many areas to ask for.
        topics: How many topics to ask for in each.
        seed: Seeds the model.
        temperature: Of the model.
        max_tokens: The least that an answer may be long.
    """

    llm: LLM
    prompts: Prompts
    domain: str
    language: str
    areas: int
    topics: int
    seed: int
    temperature: float
    max_tokens: int
    requests: int = 0
    spent: list[Usage] = field(default_factory=list)

    def read(self) -> list[Topic]:
        """Return the topics, one of each area in turn, no name twice.

        Raises:
            EmbexpError: The model named no area, or no topic.
        """
        (areas,) = self._ask([self.request(None, [])])
        if not areas:
            raise EmbexpError(
                f"The language model {self.llm.name} named no areas of the domain in {ATTEMPTS} attempts: "
                "choose a stronger model, or describe the domain more clearly in synthesis.domain."
            )
        names = [area.name for area in areas]
        found = self._ask([self.request(area, names) for area in areas])
        topics = [
            [Topic(topic.name, topic.description, area.name) for topic in own]
            for area, own in zip(areas, found, strict=True)
        ]
        # An area whose topics never came is a topic of its own, rather than a gap.
        filled = [
            own or [Topic(area.name, area.description, area.name)]
            for area, own in zip(areas, topics, strict=True)
        ]
        result = _distinct(topic for row in zip_longest(*filled) for topic in row if topic is not None)
        log.info("The domain has %s areas and %s topics.", f"{len(areas):,}", f"{len(result):,}")
        return result

    def request(self, area: Topic | None, areas: Sequence[str]) -> Request:
        """Return the request for the areas, or for the topics of one.

        Args:
            area: Whose topics to name; None for the areas themselves.
            areas: The names of all areas.
        """
        count = self.topics if area else self.areas
        messages = self.prompts.messages(
            "taxonomy",
            domain=self.domain,
            count=count,
            area=area or "",
            areas=areas,
            language=self.language,
        )
        return Request(
            messages=messages,
            max_tokens=max(self.max_tokens, count * TOKENS_PER_TOPIC),
            temperature=self.temperature,
            seed=seed_of(self.seed, area.name if area else ""),
            schema=SCHEMA,
            schema_name="topics",
            tag="taxonomy",
        )

    def _ask(self, requests: Sequence[Request]) -> list[list[Topic]]:
        """Return the topics in each answer; an unreadable one is asked for three times in all."""
        found: list[list[Topic]] = [[] for _ in requests]
        missing = list(range(len(requests)))
        for attempt in range(ATTEMPTS):
            asked = [self._again(requests[at], attempt) for at in missing]
            for at, answer in zip(missing, self.llm.complete(iter(asked)), strict=True):
                self.requests += 1
                if answer.completion is not None:
                    self.spent.append(answer.completion.usage)
                    found[at] = _distinct(_topics(answer.completion.text))
            missing = [at for at in missing if not found[at]]
            if not missing:
                break
        return found

    def _again(self, request: Request, attempt: int) -> Request:
        if not attempt:
            return request
        problem = {"number": 0, "reason": "it is not the JSON object asked for"}
        repair = self.prompts.messages("repair", problems=[problem], slots=[])
        messages = (*request.messages, Message("assistant", "{}"), *repair)
        return replace(request, messages=messages, seed=seed_of(request.seed, attempt))


def _topics(text: str) -> Iterator[Topic]:
    items: list[Any] = read_items(text, "topics") or []
    for item in items:
        if field_problem(item, FIELDS):
            continue
        name = one_line(tidy_query(item["name"]), MOST_NAME)
        description = item.get("description")
        described = one_line(description, MOST_DESCRIPTION) if isinstance(description, str) else ""
        if name and chatter(name) is None:
            yield Topic(name, described)


def _distinct(topics: Iterator[Topic]) -> list[Topic]:
    found: dict[str, Topic] = {}
    for topic in topics:
        found.setdefault(key(topic.name), topic)
    return list(found.values())
