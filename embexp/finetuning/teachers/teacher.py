"""The protocol of a teacher, from whose scores or vectors the model in training learns."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from embexp.errors import ConfigError
from embexp.models.encoder import Embedder

if TYPE_CHECKING:
    from embexp.llm.prices import Estimate
    from embexp.models.vector_files import Vectors

NO_TEACHER = (
    "This loss learns from a teacher, and loss.teacher is not set: choose one, as in "
    "teacher@loss.teacher=hybrid, cross_encoder, bi_encoder, query_likelihood, llm_ranker or labels."
)


class Teacher(Protocol):
    """A model, or people's labels, from whose scores or vectors the model in training learns."""

    @abstractmethod
    def fingerprint(self) -> str:
        """Return a digest that changes when its scores do."""

    def check(self) -> None:
        """Check that what it needs is there: a model, a package, a key; nothing is scored.

        Raises:
            EmbexpError: Something is missing; the message says what to give instead.
        """
        self.fingerprint()

    def estimate(self, *, queries: int, passages: int, characters: int) -> Estimate | None:  # noqa: ARG002
        """Return the cost of scoring ``passages`` passages of so many characters for each of some queries.

        None for a teacher that costs nothing but time on this machine.
        """
        return None

    def prepared(self, passages: Sequence[str], embedder: Embedder) -> Teacher:  # noqa: ARG002
        """Return the teacher for a corpus and a student; itself unless its scores depend on these.

        Args:
            passages: All passages that may be scored.
            embedder: The untuned model.
        """
        return self

    @abstractmethod
    def scores(self, pairs: Sequence[tuple[str, str]]) -> Vectors:
        """Return a score for each (query, passage), shape (len(pairs),); higher is better.

        Raises:
            ConfigError: The teacher cannot score pairs.
        """

    def vectors(self, pairs: Sequence[tuple[str, str]]) -> Vectors:  # noqa: ARG002
        """Return the unit vectors of each (query, passage), shape (len(pairs), 2, dimension).

        Raises:
            ConfigError: The teacher gives scores only.
        """
        raise ConfigError(
            f"This loss learns a teacher's vectors, and {type(self).__name__} gives scores only: set "
            "teacher@loss.teacher=bi_encoder, or choose loss=listwise or margin_mse, which learn scores."
        )
