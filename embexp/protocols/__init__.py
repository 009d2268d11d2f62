"""What each kind of component promises; the pipeline knows components by these alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from embexp.protocols.models import Embedder, ModelSource, Teacher, VectorTeacher
from embexp.protocols.retrieval import Benchmark, Index, Retriever, Suite
from embexp.protocols.texts import Checked, Chunker, Dataset, Questions, TokenCounter
from embexp.protocols.tracking import SweepTrial, TrackedRun, Tracker
from embexp.protocols.training import FineTuner, Loss, SharedFineTuner, Untuned
from embexp.protocols.writing import (
    LLM,
    Estimate,
    Inventing,
    LLMSource,
    Planned,
    Priced,
    Synthesis,
    SynthesisPlan,
)

if TYPE_CHECKING:
    from embexp.protocols.models import Vectors

__all__ = [
    "LLM",
    "Benchmark",
    "Checked",
    "Chunker",
    "Dataset",
    "Embedder",
    "Estimate",
    "FineTuner",
    "Index",
    "Inventing",
    "LLMSource",
    "Loss",
    "ModelSource",
    "Planned",
    "Priced",
    "Questions",
    "Retriever",
    "SharedFineTuner",
    "Suite",
    "SweepTrial",
    "Synthesis",
    "SynthesisPlan",
    "Teacher",
    "TokenCounter",
    "TrackedRun",
    "Tracker",
    "Untuned",
    "VectorTeacher",
    "Vectors",
]
