"""Filters that use a model: a round trip through an index, a cross-encoder, a language model as judge."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

from embexp.errors import ModelError
from embexp.llm.llm import LLM, Usage
from embexp.models.cross_encoder import CrossEncoderScorer
from embexp.retrieval.index import Index
from embexp.synthesis.grading import Grader, Item
from embexp.synthesis.prompts import Prompts
from embexp.synthesis.tasks import Draft

_CHARACTERS = 4000


@dataclass(frozen=True)
class RoundTrip:
    """Drops queries that do not find their own chunk.

    Source: round-trip consistency, Alberti et al., ACL 2019; for retrieval, Dai et al., Promptagator, ICLR
    2023.

    Args:
        index: A search over all chunks.
        k: The chunk must be among this many hits.
    """

    index: Index
    k: int
    name: str = "round_trip"

    def reasons(self, drafts: Sequence[Draft]) -> list[str | None]:
        """Return why each draft is dropped, None where its query finds its chunk."""
        rows = self.index.search([draft.pair.query for draft in drafts], k=self.k)
        why = f"its chunk is not among the first {self.k} hits"
        return [
            None if draft.pair.chunk_id in {hit.id for hit in row} else why
            for draft, row in zip(drafts, rows, strict=True)
        ]


@dataclass(frozen=True)
class CrossEncoderFilter:
    """Drops pairs with a low cross-encoder score.

    Args:
        model: A folder, or a name on the Hugging Face Hub.
        least: The score that a pair must reach, in [0, 1].
    """

    model: str
    least: float
    name: str = "cross_encoder"

    @cached_property
    def _scorer(self) -> CrossEncoderScorer:
        return CrossEncoderScorer(
            model=self.model, key="synthesis.filters.cross_encoder", label="Scoring pairs"
        )

    def reasons(self, drafts: Sequence[Draft]) -> list[str | None]:
        """Return why each draft is dropped, None where it scores at least ``least``.

        Raises:
            ModelError: The model cannot be loaded.
        """
        texts = [(draft.pair.query, draft.pair.positive[:_CHARACTERS]) for draft in drafts]
        try:
            logits = self._scorer.scores(texts, None).vectors[:, 0]
        except ModelError as error:
            raise ModelError(f"synthesis.filters.cross_encoder={self.model}: {error}") from error
        scores = [1 / (1 + math.exp(-float(logit))) for logit in logits]
        return [None if score >= self.least else f"score {score:.2f}" for score in scores]


@dataclass
class Judge:
    """Has the language model grade from 1 to 5 how well the passage answers the query.

    A pair without a readable grade is dropped too.

    Args:
        llm: A chat model.
        prompts: Where ``judge.jinja`` is.
        least: The grade that a pair must reach.
    """

    llm: LLM
    prompts: Prompts
    least: int
    name: str = "judge"
    spent: Usage = field(default_factory=Usage)

    def reasons(self, drafts: Sequence[Draft]) -> list[str | None]:
        """Return why each draft is dropped; ``spent`` grows by the cost of the answers."""
        grader = Grader(template="judge", items_per_request=8, max_tokens=512, prompts=self.prompts)
        requests = grader.requests([Item(draft.pair.positive, draft.pair.query) for draft in drafts])
        reasons: list[str | None] = []
        for grades, usage in grader.grade(self.llm, requests):
            self.spent += Usage(1, usage.prompt_tokens, usage.completion_tokens, usage.usd)
            reasons += [self._why(grade) for grade in grades]
        return reasons

    def _why(self, grade: int | None) -> str | None:
        if grade is None:
            return "no grade"
        return None if grade >= self.least else f"grade {grade}"
