"""Drops pairs that a reranking model finds unrelated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from embexp.errors import ModelError
from embexp.synthesis.drafts import Draft
from embexp.synthesis.filters.funnel import Kept

if TYPE_CHECKING:
    from sentence_transformers import CrossEncoder

CHARACTERS = 4000


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

        texts = [(draft.pair.query, draft.pair.positive[:CHARACTERS]) for draft in drafts]
        scores = self._scorer.predict(texts, activation_fn=Sigmoid(), show_progress_bar=False)
        result = Kept([])
        for draft, score in zip(drafts, scores, strict=True):
            if float(score) >= self.least:
                result.kept.append(draft)
            else:
                result.dropped.append((draft, f"score {float(score):.2f}"))
        return result
