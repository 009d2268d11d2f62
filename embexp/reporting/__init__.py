"""The results of a run for people and programs: outcome.json, the report, the console and the model card."""

from __future__ import annotations

from embexp.reporting.console import print_outcome, print_side_by_side
from embexp.reporting.outcome import Outcome
from embexp.reporting.report import Origins, Report, write_model_card, write_report
from embexp.reporting.reranking import reranking_headline, reranking_points
from embexp.reporting.retriever import retriever_advice, retriever_headline
from embexp.reporting.run_comparison import RunComparison, print_comparison, write_comparison
from embexp.reporting.verdict import advice, facts, headline, in_plain_words

__all__ = [
    "Origins",
    "Outcome",
    "Report",
    "RunComparison",
    "advice",
    "facts",
    "headline",
    "in_plain_words",
    "print_comparison",
    "print_outcome",
    "print_side_by_side",
    "reranking_headline",
    "reranking_points",
    "retriever_advice",
    "retriever_headline",
    "write_comparison",
    "write_model_card",
    "write_report",
]
