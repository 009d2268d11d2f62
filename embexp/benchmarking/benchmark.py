"""What a benchmark promises, and what each may be asked to score beside the untuned and tuned models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from embexp.benchmarking.compact import check_systems
from embexp.benchmarking.repeats import check_repeats
from embexp.benchmarking.task import RetrievalTask
from embexp.data.records import Chunk, Pair, Unit
from embexp.errors import ConfigError

if TYPE_CHECKING:
    pass


class Benchmark(Protocol):
    """Turns a corpus and held-out pairs into a retrieval task."""

    def task(self, chunks: Sequence[Chunk], pairs: Sequence[Pair], *, unit: Unit) -> RetrievalTask:
        """Return the task that scores a system on ``pairs``."""


@runtime_checkable
class Checked(Protocol):
    """A benchmark that can tell before the training that it cannot be scored after it."""

    def check(self, chunks: Sequence[Chunk], *, judge: bool) -> None:
        """Raise a DataError or ConfigError; ``judge`` says whether there is a language model."""


@dataclass(frozen=True, kw_only=True)
class MoreSystems:
    """The options that all benchmarks share.

    Args:
        systems: Smaller vectors of the best model that are scored too: int8, binary, dimensions=N.
        models: Further models that are scored untuned, such as a bigger one.
        reranker: A cross-encoder that puts the best model's first hits in a new order; None for none.
        rerank_depth: How many passages of each question it reads.
        seeds: How many training seeds to try, the run's own included; each further one trains again.
        learning_curve: Parts of the training pairs to train on again, such as 0.25 and 0.5.
    """

    systems: list[str] = field(default_factory=list)
    models: list[Any] = field(default_factory=list)
    reranker: str | None = None
    rerank_depth: int = 100
    seeds: int = 1
    learning_curve: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        check_systems(self.systems)
        check_repeats(self.seeds, self.learning_curve)
        if self.rerank_depth < 1:
            raise ConfigError(
                f"benchmark.rerank_depth={self.rerank_depth}: give the number of passages to read for each "
                "question, 1 or more, such as 100."
            )
