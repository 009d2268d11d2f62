"""An experiment: the components of one run, built but not yet at work."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from embexp.benchmarking.benchmark import Benchmark
from embexp.benchmarking.suite import Suite
from embexp.data.chunking import Chunker
from embexp.data.datasets.dataset import Dataset
from embexp.data.splitting import SplitSettings
from embexp.finetuning.losses.loss import Loss
from embexp.finetuning.training import FineTuner, TrainingStep
from embexp.llm.llm import LLMSource
from embexp.models.sources import ModelSource
from embexp.retrieval.index import Retriever
from embexp.storage.stages import StageCache
from embexp.synthesis.synthesis import Synthesis


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """Everything one run needs; ``settings`` holds each component's options for the cache keys.

    ``watch`` hears each point of a training's log while it trains; what it raises ends the training.
    """

    dataset: Dataset
    chunker: Chunker
    synthesis: Synthesis
    llm: LLMSource | None
    split: SplitSettings
    model: ModelSource
    tuned: ModelSource | None
    loss: Loss
    trainer: FineTuner
    retriever: Retriever
    benchmark: Benchmark
    forgetting: Benchmark | None
    suite: Suite | None
    seed: int
    metric: str
    cache: Path
    settings: Mapping[str, Any]
    names: Mapping[str, str]
    watch: Callable[[TrainingStep], None] | None = None

    @property
    def title(self) -> str:
        """The run's name in tables: data set, model and loss."""
        return f"{self.dataset.name} {self.model.name} {self.names['loss']}"

    @property
    def stages(self) -> StageCache:
        """The finished stages of this and earlier runs."""
        return StageCache(self.cache)
