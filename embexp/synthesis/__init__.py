"""Training pairs: cut out of documents, or written by a language model and filtered."""

from __future__ import annotations

from typing import TYPE_CHECKING

from embexp.package import lazy_exports

if TYPE_CHECKING:
    from embexp.synthesis.data_card import data_card
    from embexp.synthesis.diversity import Diversity
    from embexp.synthesis.entries import EntriesSynthesis
    from embexp.synthesis.extractive import Extractive, held_out_pairs
    from embexp.synthesis.filters.options import Filters
    from embexp.synthesis.grading import Grader
    from embexp.synthesis.prompts import Prompts
    from embexp.synthesis.rag import RagSynthesis
    from embexp.synthesis.synthesis import NoSynthesis, Plan, Synthesis

__all__ = [
    "Diversity",
    "EntriesSynthesis",
    "Extractive",
    "Filters",
    "Grader",
    "NoSynthesis",
    "Plan",
    "Prompts",
    "RagSynthesis",
    "Synthesis",
    "data_card",
    "held_out_pairs",
]

__getattr__ = lazy_exports(
    __name__,
    {
        "data_card": "data_card",
        "diversity": "Diversity",
        "entries": "EntriesSynthesis",
        "extractive": "Extractive held_out_pairs",
        "filters.options": "Filters",
        "grading": "Grader",
        "prompts": "Prompts",
        "rag": "RagSynthesis",
        "synthesis": "NoSynthesis Plan Synthesis",
    },
)
