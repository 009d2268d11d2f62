"""A language model as a teacher: it grades the passages of a query, one request for each query."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from annotated_types import Interval

from embexp.errors import ConfigError, DataError
from embexp.finetuning.teachers.teacher import Teacher
from embexp.ranges import check_ranges
from embexp.storage.files import sha256_of
from embexp.synthesis.grading import Grader, GradeRequest, Item
from embexp.synthesis.prompts import Prompts, printable
from embexp.user_code import identity

if TYPE_CHECKING:
    from embexp.llm.llm import LLMSource
    from embexp.llm.prices import Estimate
    from embexp.models.vector_files import Vectors

log = logging.getLogger(__name__)

HIGHEST = 10
_BYTES_PER_TOKEN = 4
_TOKENS_PER_GRADE = 14
_TOKENS_PER_MARK = 20
_LEAST_READABLE = 0.5
"""With a smaller share of readable grades the model does not do what it is asked."""


@dataclass(frozen=True, kw_only=True)
class LlmRanker(Teacher):
    """Grades from 0 to 10 by a language model that chats; all passages of a query are one request.

    The passages of a request are in an order that says nothing about which of them the query was made from.
    Answers are in the journal, so that none is paid for twice, and are read leniently. A passage without a
    readable grade counts as 0.

    Args:
        llm: The language model; None where ``llm`` is not set.
        journal: The file that keeps its answers.
        passage_characters: A longer passage is cut.
        max_tokens: The longest answer; a reasoning model needs room for its thoughts.
    """

    llm: Any = None
    journal: str = field(repr=False)
    passage_characters: Annotated[int, Interval(ge=50, le=1_000_000)] = 1500
    max_tokens: Annotated[int, Interval(ge=16, le=1_000_000)] = 1024

    def __post_init__(self) -> None:
        check_ranges(self, "teacher")

    def fingerprint(self) -> str:
        """Return a digest of the model and the prompt.

        Raises:
            ConfigError: There is no language model.
        """
        prompt = Prompts().fingerprint()
        return sha256_of("llm ranker", identity(self._llm), prompt, self.passage_characters, self.max_tokens)

    def check(self) -> None:
        """Check that there is a language model that chats, with its key or file.

        Raises:
            ConfigError: There is none, or something that it needs is missing.
        """
        self._llm.check()

    def estimate(self, *, queries: int, passages: int, characters: int) -> Estimate:
        """Return the cost of one request for each query."""
        shown = min(characters, self.passage_characters) / _BYTES_PER_TOKEN + _TOKENS_PER_MARK
        [empty] = self._grader(1).requests([Item("")], query="")
        fixed = sum(len(turn.content.encode()) for turn in empty.request.messages) / _BYTES_PER_TOKEN
        return self._llm.estimate(
            requests=queries,
            prompt_tokens=round(fixed + passages * shown),
            completion_tokens=_TOKENS_PER_GRADE * passages,
        )

    def scores(self, pairs: Sequence[tuple[str, str]]) -> Vectors:
        """Return the grade of each (query, passage), shape (len(pairs),).

        Raises:
            DataError: Most grades cannot be read.
            EmbexpError: The service gave up; its answers so far are kept.
        """
        import numpy as np

        lists: dict[str, list[str]] = {}
        for query, passage in dict.fromkeys(pairs):
            lists.setdefault(query, []).append(passage)
        # By its digest, a passage's place says nothing about who ranked it first.
        lists = {query: sorted(passages, key=sha256_of) for query, passages in lists.items()}
        requests = {query: self._request(query, passages) for query, passages in lists.items()}
        self._announce(list(requests.values()))
        grades = self._graded(requests, lists)
        values: Vectors = np.array([grades[pair] for pair in pairs], dtype=np.float32)
        return values

    @property
    def _llm(self) -> LLMSource:
        if self.llm is None:
            raise ConfigError(
                "teacher=llm_ranker has a language model grade passages, and llm is not set: choose one that "
                "chats, as in llm=groq, or teacher@loss.teacher=hybrid, which needs none."
            )
        source: LLMSource = self.llm
        if not source.chat:
            raise ConfigError(
                f"teacher=llm_ranker asks for grades, and {source.model} only completes text: choose a model "
                "that chats, as in llm=groq, or teacher@loss.teacher=query_likelihood, which a base model "
                "can do."
            )
        return source

    def _grader(self, items: int) -> Grader:
        return Grader(
            template="teacher", items_per_request=items, max_tokens=self.max_tokens, prompts=Prompts()
        )

    def _request(self, query: str, passages: Sequence[str]) -> GradeRequest:
        items = [Item(passage[: self.passage_characters]) for passage in passages]
        [request] = self._grader(len(items)).requests(items, query=printable(query))
        return request

    def _announce(self, requests: Sequence[GradeRequest]) -> None:
        """Log the cost before any request is sent."""
        if not requests:
            return
        size = sum(len(turn.content.encode()) for each in requests for turn in each.request.messages)
        passages = sum(each.items for each in requests)
        estimate = self._llm.estimate(
            requests=len(requests),
            prompt_tokens=round(size / _BYTES_PER_TOKEN / len(requests)),
            completion_tokens=round(_TOKENS_PER_GRADE * passages / len(requests)),
        )
        log.info("The teacher grades %s passages; recorded answers are free.", f"{passages:,}")
        for line in estimate.lines():
            log.info("teacher: %s", line)

    def _graded(
        self, requests: Mapping[str, GradeRequest], lists: Mapping[str, Sequence[str]]
    ) -> dict[tuple[str, str], int]:
        """Return the grade of each (query, passage)."""
        grades: dict[tuple[str, str], int] = {}
        unreadable = 0
        with self._llm.open(Path(self.journal)) as llm:
            answers = Grader.grade(llm, list(requests.values()))
            for (query, passages), (row, _) in zip(lists.items(), answers, strict=True):
                for passage, grade in zip(passages, row, strict=True):
                    readable = grade is not None and 0 <= grade <= HIGHEST
                    unreadable += not readable
                    grades[query, passage] = grade if readable and grade is not None else 0
            spent = llm.usage()
        log.info("teacher: %s requests were sent, for %.2f US$.", f"{spent.requests:,}", spent.usd)
        if unreadable > (1 - _LEAST_READABLE) * len(grades):
            raise DataError(
                f"{self._llm.model} gave no readable grade for {unreadable:,} of {len(grades):,} passages: "
                "choose another llm, raise teacher.max_tokens, or use teacher@loss.teacher=hybrid."
            )
        if unreadable:
            log.warning("%s of %s passages got no readable grade and count as 0.", unreadable, len(grades))
        return grades
