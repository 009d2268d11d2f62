"""Teachers that need no model; those that are models are in ``embexp.models.teachers``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from embexp.errors import ConfigError

if TYPE_CHECKING:
    from embexp.protocols import Vectors


NO_TEACHER = (
    "This loss learns from a teacher, and loss.teacher is not set: choose one, as in "
    "teacher@loss.teacher=cross_encoder, bi_encoder or labels."
)


@dataclass(frozen=True, kw_only=True)
class Labels:
    """The labels of the pairs as a teacher's scores: several judged passages of each query.

    Args:
        scale: What a label of 1 (the highest there is) counts, beside the student's scaled cosine.
    """

    scale: float = 20.0

    def fingerprint(self) -> str:
        """Return a digest of the settings; the labels are part of the pairs."""
        return f"labels {self.scale:g}"

    def scores(self, pairs: Sequence[tuple[str, str]]) -> Vectors:
        """Refuse: labels say nothing of pairs that were not judged.

        Raises:
            ConfigError: Always.
        """
        raise ConfigError(
            f"The labels of the training pairs cannot score {len(pairs)} other pairs: name a model, as in "
            "teacher@trainer.negative_scorer=cross_encoder."
        )
