"""The records that flow between modules: plain, frozen, with no behaviour beyond their own fields."""

from __future__ import annotations

from embexp.types.asking import Answer, Completion, Message, Request, Usage
from embexp.types.findings import (
    Comparison,
    Contrast,
    EmbeddingMap,
    Forgetting,
    LearningCurve,
    Outcome,
    Repeat,
    Seeds,
    Slice,
    Spot,
    Verdict,
)
from embexp.types.retrieval import (
    Hit,
    IndexReport,
    Judging,
    Qrels,
    Query,
    Question,
    RetrievalTask,
    Scores,
    SystemCost,
    Unit,
)
from embexp.types.texts import HELD_OUT, Chunk, Document, Generator, Leak, Leaks, Pair, SplitName, Splits
from embexp.types.training import GENERAL, Registered, Training, TrainingStep

__all__ = [
    "GENERAL",
    "HELD_OUT",
    "Answer",
    "Chunk",
    "Comparison",
    "Completion",
    "Contrast",
    "Document",
    "EmbeddingMap",
    "Forgetting",
    "Generator",
    "Hit",
    "IndexReport",
    "Judging",
    "Leak",
    "Leaks",
    "LearningCurve",
    "Message",
    "Outcome",
    "Pair",
    "Qrels",
    "Query",
    "Question",
    "Registered",
    "Repeat",
    "Request",
    "RetrievalTask",
    "Scores",
    "Seeds",
    "Slice",
    "SplitName",
    "Splits",
    "Spot",
    "SystemCost",
    "Training",
    "TrainingStep",
    "Unit",
    "Usage",
    "Verdict",
]
