"""What the syntheses with a language model share: their options, the run of requests, and the report."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from annotated_types import Interval

from embexp.errors import ConfigError
from embexp.llm.llm import LLM
from embexp.ranges import Count, NonNegative, Seed, ShareAboveZero, check_ranges
from embexp.retrieval.index import Index
from embexp.storage.files import sha256_of, sha256_of_file
from embexp.synthesis.diversity import Diversity
from embexp.synthesis.filters.funnel import Funnel, Tally
from embexp.synthesis.filters.models import Judge
from embexp.synthesis.filters.options import Filters
from embexp.synthesis.languages import in_words
from embexp.synthesis.prompts import Example, Prompts
from embexp.synthesis.rounds import Rounds, Turns
from embexp.synthesis.tasks import Slot, TaskSettings, draw_slots


def _mix() -> dict[str, float]:
    return {
        "question": 4,
        "keyword": 2,
        "how_to": 2,
        "claim": 1,
        "scenario": 1,
        "comparison": 1,
        "misspelt": 1,
    }


def _personas() -> list[str]:
    return ["a newcomer", "an expert", "somebody in a hurry", "somebody who does not know the right terms"]


def _difficulties() -> list[str]:
    return ["easy", "medium", "hard"]


@dataclass(kw_only=True)
class WritingSettings:
    """The options that syntheses with a language model share.

    Args:
        target: Accepted pairs to write.
        mix: Kind of query -> its share; the prompt file kinds.jinja describes the kinds.
        personas: Who asks; in turn.
        difficulties: How hard; in turn, out of those that kinds.jinja describes.
        language: The language of the queries: a code (de), a name (German), or other words for the prompt.
        examples: A JSON Lines file with queries of your own as examples of style; a model that only completes
            text needs their passages too.
        examples_per_call: The number of examples in a prompt.
        prompts: A folder with templates that replace the packaged ones.
        filters: The filters that a pair must pass.
        repairs: How often an unusable answer is asked for again, with its problems named.
        patience: Queries in a row without an accepted one that end the writing.
        temperature: The sampling temperature of a chat model.
        max_tokens: The longest answer; a reasoning model needs room for its thoughts.
        expected_yield: The share of queries that will be accepted, for estimates alone.
        seed: Draws kinds and examples, and seeds the model.

    Raises:
        ConfigError: An option has no valid value.
    """

    target: Count
    mix: dict[str, NonNegative] = field(default_factory=_mix)
    personas: list[str] = field(default_factory=_personas)
    difficulties: list[str] = field(default_factory=_difficulties)
    language: str
    examples: str = ""
    examples_per_call: Annotated[int, Interval(ge=0, le=1_000)] = 4
    prompts: str = ""
    filters: Filters = field(default_factory=Filters)
    repairs: Annotated[int, Interval(ge=0, le=100)] = 1
    patience: Count
    temperature: Annotated[float, Interval(ge=0, le=10)]
    max_tokens: Annotated[int, Interval(ge=1, le=10_000_000)]
    expected_yield: ShareAboveZero
    seed: Seed = 0
    _rounds: Rounds | None = field(default=None, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_ranges(self, "synthesis")
        for name in ("personas", "difficulties"):
            if not getattr(self, name):
                raise ConfigError(f"synthesis.{name} is empty: name at least one.")
        in_words(self.language)
        if not any(self.mix.values()):
            raise ConfigError("synthesis.mix is empty: give at least one kind of query a positive share.")

    def fingerprint(self) -> str:
        """Return a digest of the files that shape the pairs: templates and examples."""
        path = Path(self.examples)
        files = [sha256_of_file(path)] if self.examples and path.is_file() else []
        return sha256_of(Prompts(self.prompts).fingerprint(), files)

    def report(self) -> dict[str, Any]:
        """Return counts, filter results, usage and diversity of the last run; empty before the first."""
        if self._rounds is None:
            return {}
        return {**self._rounds.report(), "diversity": self._rounds.diversity.report()}

    def _expected_calls(self, per_call: int) -> int:
        """Return how many requests write ``target`` pairs at the expected yield."""
        return math.ceil(self.target / (per_call * self.expected_yield))

    def _task_settings(self, examples: Sequence[Example], temperature: float) -> TaskSettings:
        return TaskSettings(
            prompts=Prompts(self.prompts),
            examples=examples,
            examples_per_call=self.examples_per_call,
            language=in_words(self.language),
            seed=self.seed,
            temperature=temperature,
            max_tokens=self.max_tokens,
        )

    def _slots(self, key: str, turn: int, count: int) -> tuple[Slot, ...]:
        drawn = draw_slots(
            self.seed,
            key,
            turn,
            count=count,
            mix=self.mix,
            personas=self.personas,
            difficulties=self.difficulties,
        )
        return tuple(drawn)

    def _new_rounds(
        self,
        llm: LLM,
        turns: Turns[Any],
        examples: Sequence[Example],
        diversity: Diversity,
        *,
        index: Index | None = None,
        passages: bool = False,
    ) -> Rounds:
        """Return the rounds that write the pairs.

        Args:
            llm: The language model.
            turns: The tasks.
            examples: Their queries count as duplicates.
            diversity: Measures the accepted pairs.
            index: The index of the round-trip filter.
            passages: Whether the language model writes the passages too.
        """
        filters = self.filters.build(
            index=index,
            passages=passages,
            completes=not llm.chat,
            seen=[example.query for example in examples],
        )
        judge = Judge(llm, Prompts(self.prompts), self.filters.judge) if self.filters.judge else None
        return Rounds(
            llm=llm,
            turns=turns,
            funnel=Funnel(filters, Tally(examples_kept=self.filters.examples)),
            diversity=diversity,
            target=self.target,
            repairs=self.repairs,
            patience=self.patience,
            judge=judge,
        )
