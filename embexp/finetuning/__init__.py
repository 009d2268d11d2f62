"""Fine-tuning: training rows, hard negatives, batches, losses and a trainer that resumes after a kill."""

from __future__ import annotations

from typing import TYPE_CHECKING

from embexp.package import lazy_exports

if TYPE_CHECKING:
    from embexp.finetuning.auto import AutoFineTuner
    from embexp.finetuning.parameter_efficient import (
        Full,
        LastLayers,
        Lora,
        Method,
        QueryAdapter,
        QueryEncoder,
    )
    from embexp.finetuning.query_adapter import QueryAdapterFineTuner
    from embexp.finetuning.settings import TrainerSettings
    from embexp.finetuning.teachers import (
        BiEncoderTeacher,
        CrossEncoderTeacher,
        HybridTeacher,
        Labels,
        LlmRanker,
        QueryLikelihood,
        Teacher,
    )
    from embexp.finetuning.trainer import SentenceTransformerFineTuner
    from embexp.finetuning.training import (
        DevScores,
        FineTuner,
        StartingModel,
        Training,
        TrainingPlan,
        TrainingStep,
        UntunedModel,
    )
    from embexp.finetuning.two_stages import TwoStageFineTuner

__all__ = [
    "AutoFineTuner",
    "BiEncoderTeacher",
    "CrossEncoderTeacher",
    "DevScores",
    "FineTuner",
    "Full",
    "HybridTeacher",
    "Labels",
    "LastLayers",
    "LlmRanker",
    "Lora",
    "Method",
    "QueryAdapter",
    "QueryAdapterFineTuner",
    "QueryEncoder",
    "QueryLikelihood",
    "SentenceTransformerFineTuner",
    "StartingModel",
    "Teacher",
    "TrainerSettings",
    "Training",
    "TrainingPlan",
    "TrainingStep",
    "TwoStageFineTuner",
    "UntunedModel",
]

__getattr__ = lazy_exports(
    __name__,
    {
        "auto": "AutoFineTuner",
        "parameter_efficient": "Full LastLayers Lora Method QueryAdapter QueryEncoder",
        "query_adapter": "QueryAdapterFineTuner",
        "settings": "TrainerSettings",
        "teachers.hybrid": "HybridTeacher",
        "teachers.labels": "Labels",
        "teachers.llm_ranker": "LlmRanker",
        "teachers.models": "BiEncoderTeacher CrossEncoderTeacher",
        "teachers.query_likelihood": "QueryLikelihood",
        "teachers.teacher": "Teacher",
        "trainer": "SentenceTransformerFineTuner",
        "training": "DevScores FineTuner StartingModel Training TrainingPlan TrainingStep UntunedModel",
        "two_stages": "TwoStageFineTuner",
    },
)
