"""Drops queries that are surely in another language than the ones wanted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from embexp.errors import ConfigError
from embexp.synthesis.drafts import Draft
from embexp.synthesis.filters.funnel import Kept, sift
from embexp.synthesis.queries import words


@dataclass(frozen=True)
class Language:
    """Asks py3langid; short queries, and those it is not sure about, are kept.

    Args:
        languages: ISO 639-1 codes of the wanted languages.
        least_words: A query with fewer words says too little about its language.
        sure: The probability from which another language counts as found.
    """

    languages: tuple[str, ...]
    least_words: int = 5
    sure: float = 0.9
    name: str = "language"

    def keep(self, drafts: Sequence[Draft]) -> Kept:
        """Keep drafts whose query is, or may be, in a wanted language."""
        return sift(drafts, self._why)

    @cached_property
    def _identifier(self) -> Any:
        try:
            from py3langid.langid import (  # type: ignore[import-untyped]
                MODEL_FILE,
                LanguageIdentifier,
            )
        except ImportError as error:
            raise ConfigError(
                f"synthesis.filters.languages={list(self.languages)} needs the package py3langid: "
                "pip install py3langid, or leave languages empty."
            ) from error
        identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
        unknown = sorted(set(self.languages) - set(identifier.labels))
        if unknown:
            raise ConfigError(
                f"synthesis.filters.languages: {unknown[0]!r} is not the ISO 639-1 code of a known language, "
                "as en, de or fr are."
            )
        return identifier

    def _why(self, draft: Draft) -> str | None:
        if len(words(draft.pair.query)) < self.least_words:
            return None
        language, probability = self._identifier.classify(draft.pair.query)
        if language in self.languages or probability < self.sure:
            return None
        return f"language {language}"
