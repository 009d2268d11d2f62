"""What every benchmark may be asked to score beside the untuned and the tuned model."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from embexp.benchmarking.compact import check_systems
from embexp.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class MoreSystems:
    """The options that all benchmarks share.

    Args:
        systems: Smaller vectors of the best model that are scored too: int8, binary, dimensions=N.
        models: Further models that are scored untuned, such as a bigger one.
        reranker: A cross-encoder that puts the best model's first hits in a new order; None for none.
        rerank_depth: How many passages of each question it reads.
    """

    systems: list[str] = field(default_factory=list)
    models: list[Any] = field(default_factory=list)
    reranker: str | None = None
    rerank_depth: int = 100

    def __post_init__(self) -> None:
        check_systems(self.systems)
        if self.rerank_depth < 1:
            raise ConfigError(
                f"benchmark.rerank_depth={self.rerank_depth}: give the number of passages to read for each "
                "question, 1 or more, such as 100."
            )
