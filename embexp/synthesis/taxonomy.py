"""The taxonomy of a domain: areas and their topics, named by a language model and checked."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import zip_longest
from typing import Any

from embexp.errors import EmbexpError
from embexp.llm.llm import LLM, Message, Request, Usage
from embexp.synthesis.answers import TEXT, field_problem, list_schema, object_schema, read_items
from embexp.synthesis.prompts import Prompts, one_line
from embexp.synthesis.query_text import chatter, key, tidy_query
from embexp.synthesis.tasks import seed_of

log = logging.getLogger(__name__)


_SCHEMA = list_schema("topics", object_schema(name=TEXT, description=TEXT))
_FIELDS: Mapping[str, type] = {"name": str}
_MOST_NAME = 120
_MOST_DESCRIPTION = 300
_TOKENS_PER_TOPIC = 60
_ATTEMPTS = 3


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic of an area; an area itself has no ``area``."""

    name: str
    description: str = ""
    area: str = ""

    @property
    def key(self) -> str:
        """The topic's name with its area, as in ``context_ids``."""
        return f"{self.area} / {self.name}"


@dataclass
class Taxonomy:
    """Asks for areas, then for the topics of each.

    Args:
        llm: A chat model.
        prompts: Where ``taxonomy.jinja`` is.
        domain: The description of the domain.
        language: The language of the names, as words in the prompt.
        areas: The number of areas.
        topics: The number of topics in each area.
        seed: Seeds the model.
        temperature: The sampling temperature.
        max_tokens: The longest answer; raised where the topics need more.
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
    spent: Usage = field(default_factory=Usage)

    def read(self) -> list[Topic]:
        """Return the topics, one of each area in turn, without repeated names.

        Raises:
            EmbexpError: The model named no area, or no topic.
        """
        (areas,) = self._ask([self._request(None, [])])
        if not areas:
            raise EmbexpError(
                f"The language model {self.llm.name} named no areas of the domain in {_ATTEMPTS} attempts: "
                "choose a stronger model, or describe the domain more clearly in synthesis.domain."
            )
        names = [area.name for area in areas]
        named = self._ask([self._request(area, names) for area in areas])
        topics = [
            [Topic(topic.name, topic.description, area.name) for topic in own]
            for area, own in zip(areas, named, strict=True)
        ]
        # An area without topics becomes a topic itself.
        filled = [
            own or [Topic(area.name, area.description, area.name)]
            for area, own in zip(areas, topics, strict=True)
        ]
        result = _distinct(topic for row in zip_longest(*filled) for topic in row if topic is not None)
        log.info("The domain has %s areas and %s topics.", f"{len(areas):,}", f"{len(result):,}")
        return result

    def _request(self, area: Topic | None, areas: Sequence[str]) -> Request:
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
            max_tokens=max(self.max_tokens, count * _TOKENS_PER_TOPIC),
            temperature=self.temperature,
            seed=seed_of(self.seed, area.name if area else ""),
            schema=_SCHEMA,
            schema_name="topics",
            tag="taxonomy",
        )

    def _ask(self, requests: Sequence[Request]) -> list[list[Topic]]:
        """Return the topics in each answer; unreadable answers are requested again, three times in all."""
        results: list[list[Topic]] = [[] for _ in requests]
        missing = list(range(len(requests)))
        for attempt in range(_ATTEMPTS):
            attempts = [self._again(requests[at], attempt) for at in missing]
            for at, answer in zip(missing, self.llm.complete(iter(attempts)), strict=True):
                self.requests += 1
                if answer.completion is not None:
                    self.spent += answer.completion.usage
                    results[at] = _distinct(_topics(answer.completion.text))
            missing = [at for at in missing if not results[at]]
            if not missing:
                break
        return results

    def _again(self, request: Request, attempt: int) -> Request:
        if not attempt:
            return request
        problem = {"number": 0, "reason": "it is not the JSON object asked for"}
        repair = self.prompts.messages("repair", problems=[problem], slots=[])
        messages = (*request.messages, Message("assistant", "{}"), *repair)
        return replace(request, messages=messages, seed=seed_of(request.seed, attempt))


def _topics(text: str) -> Iterator[Topic]:
    items: list[Any] = read_items(text, "topics", tuple(_FIELDS)) or []
    for item in items:
        if field_problem(item, _FIELDS):
            continue
        name = one_line(tidy_query(item["name"]), _MOST_NAME)
        description = item.get("description")
        described = one_line(description, _MOST_DESCRIPTION) if isinstance(description, str) else ""
        if name and chatter(name) is None:
            yield Topic(name, described)


def _distinct(topics: Iterator[Topic]) -> list[Topic]:
    by_name: dict[str, Topic] = {}
    for topic in topics:
        by_name.setdefault(key(topic.name), topic)
    return list(by_name.values())
