"""What a benchmark promises, and the options that all of them share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from embexp.benchmarking.compact import check_systems
from embexp.benchmarking.task import RetrievalTask
from embexp.data.labels import LabelScale
from embexp.data.records import Chunk, Pair, Unit
from embexp.errors import ConfigError
from embexp.models.sources import ModelSource

MAX_SEEDS = 100
REPEAT_OPTIONS = ("seeds", "learning_curve")


class Benchmark(Protocol):
    """Builds a retrieval task, and says which systems and trainings to score on it.

    Inherit from ``BenchmarkOptions`` to write one of your own: it has all attributes with their defaults
    and a ``check`` that accepts everything, so that only ``task`` is left to write.
    """

    @property
    def systems(self) -> Sequence[str]:
        """Smaller vectors of the best model to score too: int8, binary, dimensions=N."""

    @property
    def models(self) -> Sequence[ModelSource]:
        """Further models to score untuned."""

    @property
    def reranker(self) -> str | None:
        """The cross-encoder that reranks the best model's first hits: a folder or a name; None for none."""

    @property
    def rerank_depth(self) -> int:
        """How many passages of each question the reranker reads."""

    @property
    def seeds(self) -> int:
        """How many training seeds to try, the run's own included."""

    @property
    def learning_curve(self) -> Sequence[float]:
        """The shares of the training pairs to train on again, each between 0 and 1."""

    def check(self, chunks: Sequence[Chunk], *, judge: bool) -> None:
        """Refuse, before anything is trained, what could not be scored afterwards.

        Args:
            chunks: The run's corpus.
            judge: Whether a language model is configured that can judge relevance.

        Raises:
            DataError: The questions cannot be used.
            ConfigError: They need judgments, and there is no language model.
        """

    def task(
        self,
        chunks: Sequence[Chunk],
        pairs: Sequence[Pair],
        *,
        unit: Unit,
        scale: LabelScale | None = None,
    ) -> RetrievalTask:
        """Return the corpus, questions and judgments to score systems on.

        Args:
            chunks: The run's corpus; a benchmark with a corpus of its own ignores it.
            pairs: The held-out pairs.
            unit: Whether relevance is judged by document or by chunk.
            scale: How the labels of the run's data set are read; None reads it off the pairs.

        Raises:
            DataError: There is nothing to ask.
        """


@dataclass(frozen=True, kw_only=True)
class BenchmarkOptions:
    """The options that all benchmarks share.

    Args:
        systems: Smaller vectors of the best model that are scored too: int8, binary, dimensions=N.
        models: Further models that are scored untuned, such as a bigger one.
        reranker: A cross-encoder that reranks the best model's first hits; None for none.
        rerank_depth: How many passages of each question it reads.
        seeds: How many training seeds to try, the run's own included; each further one trains again.
        learning_curve: Shares of the training pairs to train on again, such as 0.25 and 0.5.
    """

    systems: list[str] = field(default_factory=list)
    models: list[Any] = field(default_factory=list)
    reranker: str | None = None
    rerank_depth: int = 100
    seeds: int = 1
    learning_curve: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        check_systems(self.systems)
        _check_repeats(self.seeds, self.learning_curve)
        if self.rerank_depth < 1:
            raise ConfigError(
                f"benchmark.rerank_depth={self.rerank_depth}: give the number of passages to read for each "
                "question, 1 or more, such as 100."
            )

    def check(self, chunks: Sequence[Chunk], *, judge: bool) -> None:
        """Accept everything."""


def check_limit(limit: int | None) -> None:
    """Refuse a number of questions below 1.

    Raises:
        ConfigError: ``limit`` is 0 or negative.
    """
    if limit is not None and limit < 1:
        raise ConfigError(f"benchmark.limit={limit}: give a number from 1 up, or null for all questions.")


def _check_repeats(seeds: int, learning_curve: Sequence[float]) -> None:
    """Refuse numbers of seeds and shares of the pairs that make no sense.

    Raises:
        ConfigError: The number of seeds is out of range, or a share is not between 0 and 1 or is repeated.
    """
    if not 1 <= seeds <= MAX_SEEDS:
        raise ConfigError(
            f"benchmark.seeds={seeds}: give a whole number from 1 (no repeats) to {MAX_SEEDS}; 3 is usual."
        )
    shares = list(learning_curve)
    if not all(0 < share < 1 for share in shares) or len(set(shares)) < len(shares):
        raise ConfigError(
            f"benchmark.learning_curve={shares}: give different parts between 0 and 1, as in [0.25,0.5]; "
            "all pairs and no pairs are measured anyway."
        )


def scoring_settings(settings: Mapping[str, object]) -> dict[str, object]:
    """Return a benchmark's settings without those that only ask for further trainings."""
    return {name: value for name, value in settings.items() if name not in REPEAT_OPTIONS}
