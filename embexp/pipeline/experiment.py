"""An experiment: the components of one run, built from a configuration."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from embexp.benchmarking.benchmark import Benchmark
from embexp.benchmarking.mteb import MtebSuite
from embexp.data.chunking import Chunker
from embexp.data.datasets.dataset import Dataset
from embexp.data.splitting import SplitSettings
from embexp.finetuning.losses.loss import Loss
from embexp.finetuning.training import FineTuner, TrainingStep
from embexp.llm.llm import LLMSource
from embexp.models.embedding_cache import EmbeddingCache
from embexp.models.sources import ModelSource
from embexp.retrieval.index import Retriever
from embexp.storage.stages import StageCache
from embexp.synthesis.synthesis import Synthesis

_LONGEST = 100
"""Of a run's name, the characters that tell the changes; the parameters hold all of them."""


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """Everything that one run needs.

    Attributes:
        dataset: The documents and the labelled pairs.
        chunker: Cuts documents into chunks.
        synthesis: Writes pairs.
        llm: The language model that writes or judges; None for none.
        split: How pairs are split and audited for leaks.
        model: The model to tune, and the baseline.
        tuned: A model that is tuned already, for ``embexp.benchmark``.
        loss: What training minimises.
        trainer: Fine-tunes the model.
        retriever: Builds the index that serves searches.
        benchmark: The test questions.
        forgetting: A general set; None for none.
        suite: MTEB tasks to score both models on; None for none.
        seed: Seeds splits, training and statistics.
        metric: Decides the verdict, the best checkpoint and sweeps.
        cache: The folder of the stage cache.
        settings: Each component's options, for the keys of the stage cache.
        names: Each component's option name in its config group.
        params: The flattened configuration, for the tracker.
        changes: The overrides of the command line that change what is computed.
        run_dir: The run's folder, which the stages that it uses remember; None for none.
        watch: Called with each point of the training log; what it raises ends the training.
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
    suite: MtebSuite | None
    seed: int
    metric: str
    cache: Path
    settings: Mapping[str, Any]
    names: Mapping[str, str]
    params: Mapping[str, object] = field(default_factory=dict)
    changes: Sequence[str] = ()
    run_dir: Path | None = None
    watch: Callable[[TrainingStep], None] | None = None

    @property
    def title(self) -> str:
        """The run's name in the tracker: data set, model and loss, and what the command line changes."""
        what = f"{self.dataset.name} {self.model.name} {self.names['loss']}"
        return f"{what} {textwrap.shorten(' '.join(self.changes), _LONGEST, placeholder=' …')}".rstrip()

    @property
    def stages(self) -> StageCache:
        """The finished stages of this and earlier runs."""
        return StageCache(self.cache, run=self.run_dir)

    @property
    def embeddings(self) -> EmbeddingCache:
        """The vectors of this and earlier runs."""
        return EmbeddingCache(self.cache / "embeddings")
