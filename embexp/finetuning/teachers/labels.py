"""The labels of the pairs as a teacher."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from embexp.errors import ConfigError
from embexp.finetuning.teachers.teacher import Teacher
from embexp.ranges import Positive, check_ranges

if TYPE_CHECKING:
    from embexp.models.vector_files import Vectors


@dataclass(frozen=True, kw_only=True)
class Labels(Teacher):
    """The labels of the pairs as scores: each query needs several labelled passages.

    Args:
        scale: A score is the label, brought to [0, 1], times this.
    """

    scale: Positive = 20.0

    def __post_init__(self) -> None:
        check_ranges(self, "teacher")

    def fingerprint(self) -> str:
        """Return a digest of the settings; the labels are part of the pairs."""
        return f"labels {self.scale:g}"

    def scores(self, pairs: Sequence[tuple[str, str]]) -> Vectors:
        """Raise ConfigError: only labelled pairs have a score."""
        raise ConfigError(
            f"The labels of the training pairs cannot score {len(pairs)} other pairs: name a model, as in "
            "teacher@trainer.cross_encoder=cross_encoder."
        )
