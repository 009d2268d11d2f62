"""Teachers: what a loss learns from, one option of ``conf/teacher`` each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from embexp.package import lazy_exports

if TYPE_CHECKING:
    from embexp.finetuning.teachers.hybrid import HybridTeacher
    from embexp.finetuning.teachers.labels import Labels
    from embexp.finetuning.teachers.llm_ranker import LlmRanker
    from embexp.finetuning.teachers.models import BiEncoderTeacher, CrossEncoderTeacher
    from embexp.finetuning.teachers.query_likelihood import QueryLikelihood
    from embexp.finetuning.teachers.teacher import NO_TEACHER, Teacher

__all__ = [
    "NO_TEACHER",
    "BiEncoderTeacher",
    "CrossEncoderTeacher",
    "HybridTeacher",
    "Labels",
    "LlmRanker",
    "QueryLikelihood",
    "Teacher",
]

__getattr__ = lazy_exports(
    __name__,
    {
        "hybrid": "HybridTeacher",
        "labels": "Labels",
        "llm_ranker": "LlmRanker",
        "models": "BiEncoderTeacher CrossEncoderTeacher",
        "query_likelihood": "QueryLikelihood",
        "teacher": "NO_TEACHER Teacher",
    },
)
