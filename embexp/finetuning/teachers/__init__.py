"""Teachers: what a loss learns from, one option of ``conf/teacher`` each."""

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
