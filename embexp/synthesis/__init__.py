"""Training pairs: cut out of documents, or written by a language model and filtered."""

from __future__ import annotations

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
