"""Filters that ask a model: a round trip through an index, a cross-encoder, a language model as judge."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from embexp.errors import ModelError
from embexp.llm.llm import LLM, Request, Usage
from embexp.retrieval.index import Index
from embexp.storage.files import sha256_of
from embexp.synthesis.answers import INTEGER, by_number, field_problem, list_schema, object_schema, read_items
from embexp.synthesis.drafts import Draft
from embexp.synthesis.filters.funnel import Kept, sift
from embexp.synthesis.prompts import Prompts, printable, shorten

if TYPE_CHECKING:
    from sentence_transformers import CrossEncoder


@dataclass(frozen=True)
class RoundTrip:
    """Round-trip consistency: Alberti et al., ACL 2019; for retrieval, Dai et al., Promptagator, ICLR 2023.

    Args:
        index: A search over all chunks.
        k: The own chunk must be among this many hits.
    """

    index: Index
    k: int
    name: str = "round_trip"

    def keep(self, drafts: Sequence[Draft]) -> Kept:
        """Keep drafts whose chunk comes back."""
        hits = self.index.search([draft.pair.query for draft in drafts], k=self.k)
        found = {draft.pair.id: {hit.id for hit in row} for draft, row in zip(drafts, hits, strict=True)}
        return sift(
            drafts,
            lambda draft: (
                None
                if draft.pair.chunk_id in found[draft.pair.id]
                else f"its chunk is not among the first {self.k} hits"
            ),
        )


CROSS_ENCODER_CHARACTERS = 4000


@dataclass(frozen=True)
class CrossEncoderJudge:
    """Scores query and passage together.

    Args:
        model: A folder, or the Hub id of a model that is on this machine, with one output (a reranker).
        least: The score that a pair must reach, in [0, 1].
    """

    model: str
    least: float
    name: str = "cross_encoder"

    @cached_property
    def _scorer(self) -> CrossEncoder:
        from sentence_transformers import CrossEncoder

        try:
            return CrossEncoder(self.model, local_files_only=True)
        except (OSError, ValueError, KeyError) as error:
            raise ModelError(
                f"synthesis.filters.cross_encoder={self.model}: this reranker cannot be loaded ({error}); "
                "name the folder of a downloaded CrossEncoder, or leave it empty."
            ) from error

    def keep(self, drafts: Sequence[Draft]) -> Kept:
        """Keep drafts that score at least ``least``."""
        from torch.nn import Sigmoid

        texts = [(draft.pair.query, draft.pair.positive[:CROSS_ENCODER_CHARACTERS]) for draft in drafts]
        scores = self._scorer.predict(texts, activation_fn=Sigmoid(), show_progress_bar=False)
        result = Kept([])
        for draft, score in zip(drafts, scores, strict=True):
            if float(score) >= self.least:
                result.kept.append(draft)
            else:
                result.dropped.append((draft, f"score {float(score):.2f}"))
        return result


ITEMS = 8
"""Pairs that one request asks about."""
CHARACTERS = 2500
SCHEMA = list_schema("grades", object_schema(number=INTEGER, grade=INTEGER))


@dataclass
class Judge:
    """Asks for a grade from 1 to 5 for how well the passage answers the query.

    A pair without a readable grade is dropped too: what was not judged does not count as good.

    Args:
        llm: A chat model.
        prompts: Where ``judge.jinja`` is.
        least: The grade that a pair must reach.
        max_tokens: The longest answer.
    """

    llm: LLM
    prompts: Prompts
    least: int
    max_tokens: int = 512
    name: str = "judge"
    spent: Usage = field(default_factory=Usage)

    def keep(self, drafts: Sequence[Draft]) -> Kept:
        """Keep drafts with a good grade; ``spent`` grows by what the answers cost."""
        groups = [drafts[at : at + ITEMS] for at in range(0, len(drafts), ITEMS)]
        result = Kept([])
        answers = self.llm.complete(self.request(group) for group in groups)
        for group, answer in zip(groups, answers, strict=True):
            text = answer.completion.text if answer.completion else ""
            self._count(answer.completion.usage if answer.completion else Usage())
            for draft, grade in zip(group, _grades(text, len(group)), strict=True):
                if grade is not None and grade >= self.least:
                    result.kept.append(draft)
                else:
                    result.dropped.append((draft, "no grade" if grade is None else f"grade {grade}"))
        return result

    def request(self, drafts: Sequence[Draft]) -> Request:
        """Return the request that asks for the grades of some drafts."""
        items = [
            {
                "number": number,
                "mark": sha256_of(draft.pair.positive)[:8],
                "query": draft.pair.query,
                "passage": shorten(printable(draft.pair.positive), CHARACTERS),
            }
            for number, draft in enumerate(drafts, start=1)
        ]
        return Request(
            messages=self.prompts.messages("judge", items=items),
            max_tokens=self.max_tokens,
            temperature=0.0,
            schema=SCHEMA,
            schema_name="grades",
            tag="judge",
        )

    def _count(self, usage: Usage) -> None:
        self.spent = Usage(
            requests=self.spent.requests + 1,
            prompt_tokens=self.spent.prompt_tokens + usage.prompt_tokens,
            completion_tokens=self.spent.completion_tokens + usage.completion_tokens,
            usd=self.spent.usd + usage.usd,
        )


def _grades(text: str, count: int) -> Iterator[int | None]:
    numbers = list(range(1, count + 1))
    items = by_number(read_items(text, "grades") or [], numbers)
    for number in numbers:
        item = items.get(number, {})
        yield None if field_problem(item, {"grade": int}) else item["grade"]
