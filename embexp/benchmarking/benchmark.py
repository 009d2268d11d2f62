"""What a benchmark promises, and the options that all of them share."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Protocol

from annotated_types import Interval

from embexp.benchmarking.compact import check_systems
from embexp.benchmarking.task import RetrievalTask
from embexp.data.labels import LabelScale
from embexp.data.records import Chunk, Pair, Unit
from embexp.errors import ConfigError, ModelError
from embexp.models.adapted import service_of
from embexp.models.cross_encoder import CrossEncoderScorer
from embexp.models.sources import ModelSource
from embexp.ranges import InnerShare, check_ranges

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
        """The cross-encoder that reranks each model's first hits: a folder or a name; None for none."""

    @property
    def rerank_depth(self) -> int:
        """How many passages of each question the reranker reads."""

    @property
    def seeds(self) -> int:
        """How many training seeds to try, the run's own included."""

    @property
    def learning_curve(self) -> Sequence[float]:
        """The shares of the training pairs to train on again, each between 0 and 1."""

    def check_inputs(self, *, judge: bool) -> None:
        """Refuse, before any document is read, what is missing: models, files, columns, packages.

        Args:
            judge: Whether a language model is configured that can judge relevance.

        Raises:
            EmbexpError: Something is missing.
        """

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
        reranker: A cross-encoder that reranks the untuned and the tuned model's first hits; None for none.
        rerank_depth: How many passages of each question it reads.
        seeds: How many training seeds to try, the run's own included; each further one trains again.
        learning_curve: Shares of the training pairs to train on again, such as 0.25 and 0.5.
    """

    systems: list[str] = field(default_factory=list)
    models: list[Any] = field(default_factory=list)
    reranker: str | None = None
    rerank_depth: Annotated[int, Interval(ge=1, le=1_000_000)] = 100
    seeds: Annotated[int, Interval(ge=1, le=MAX_SEEDS)] = 1
    learning_curve: list[InnerShare] = field(default_factory=list)

    def __post_init__(self) -> None:
        check_systems(self.systems)
        check_ranges(self, "benchmark")
        if len(set(self.learning_curve)) < len(self.learning_curve):
            raise ConfigError(
                f"benchmark.learning_curve={list(self.learning_curve)} names a share twice: give different "
                "ones, as in [0.25,0.5]; all pairs and no pairs are measured anyway."
            )

    def check_inputs(self, *, judge: bool) -> None:  # noqa: ARG002 for those that have questions to judge
        """Refuse models and a reranker that do not exist, before any document is read.

        Raises:
            ConfigError: There is no such model.
        """
        for key, find in self._models_by_key():
            try:
                find()
            except (ModelError, ConfigError) as error:
                raise ConfigError(f"{key}: {error}") from error

    def _models_by_key(self) -> Iterator[tuple[str, Callable[[], object]]]:
        """Yield the key of each model with a function that raises if it does not exist."""
        for number, source in enumerate(self.models):
            key = f"benchmark.models[{number}] ({source.name})"
            service = service_of(source)
            yield key, source.fingerprint if service is None else service.check
        if self.reranker is not None:
            yield "benchmark.reranker", CrossEncoderScorer(model=self.reranker).fingerprint

    def check(self, chunks: Sequence[Chunk], *, judge: bool) -> None:
        """Accept everything."""


def scoring_settings(settings: Mapping[str, object]) -> dict[str, object]:
    """Return a benchmark's settings without those that only ask for further trainings."""
    return {name: value for name, value in settings.items() if name not in REPEAT_OPTIONS}
