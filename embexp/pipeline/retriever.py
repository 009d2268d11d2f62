"""The retriever of a run: chosen on the dev questions, then worth what the test questions say."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from pydantic import TypeAdapter

from embexp.benchmarking.metrics import Scores
from embexp.benchmarking.retriever_choice import RetrieverChoice, ServedRetriever, choose_retriever
from embexp.benchmarking.statistics.comparison import compare
from embexp.benchmarking.systems import RETRIEVER, UNTUNED
from embexp.data.records import EXTRACTIVE, HELD_OUT, Pair
from embexp.finetuning.auto import asks_in_peoples_words
from embexp.models.encoder import SourceEmbedder
from embexp.models.sources import ModelSource
from embexp.pipeline.data import Data
from embexp.pipeline.experiment import Experiment
from embexp.pipeline.finetune import dev_task
from embexp.retrieval.serving import parts_retriever, word_retriever
from embexp.user_code import identity

log = logging.getLogger(__name__)


def choose_served(
    experiment: Experiment, data: Data, sources: Mapping[str, ModelSource], translations: Path | None
) -> RetrieverChoice:
    """Choose the model, and BM25 beside it, on the dev questions, or take the choice from the cache."""
    dev, seed = data.splits.dev, experiment.seed
    models = [identity(source) for source in sources.values()]
    kinds = {"copied": asks_in_copied_words(dev), "peoples_words": asks_in_peoples_words(dev)}
    parts = parts_retriever(experiment.retriever)
    cut = (parts.words, parts.share) if parts else None
    words = word_retriever(experiment.retriever)
    inputs = (
        data.key,
        models,
        words.fingerprint(),
        experiment.metric,
        seed,
        kinds,
        translations is not None,
        cut,
    )
    with experiment.stages.stage("retriever", *inputs) as stage:
        stored = stage.stored(TypeAdapter(RetrieverChoice).validate_python)
        if stored is not None:
            return stored
        task = dev_task(data, seed=seed, unit=experiment.dataset.unit) if dev else None
        choice = choose_retriever(
            task,
            {
                name: SourceEmbedder(source, experiment.embeddings, bf16=True)
                for name, source in sources.items()
            },
            metric=experiment.metric,
            **kinds,
            folder=stage.folder,
            words=words,
            translations=translations,
            parts=parts,
        )
        stage.finish(asdict(choice))
    log.info("Retriever: the %s model, BM25 weight %g; %s.", choice.model, choice.weight, choice.reason)
    return choice


def asks_in_copied_words(dev: Sequence[Pair]) -> bool:
    """Return whether most dev questions were cut out of the documents; true where there are none."""
    return 2 * sum(pair.generator.kind in (EXTRACTIVE, HELD_OUT) for pair in dev) >= len(dev)


def served_retriever(
    experiment: Experiment,
    choice: RetrieverChoice,
    scores: Mapping[str, Scores],
    clusters: Mapping[str, str],
) -> ServedRetriever:
    """Return the chosen retriever with its test scores and what it gains over the untuned model.

    Args:
        experiment: The components.
        choice: What was chosen on dev.
        scores: System -> its scores on the test questions; the choice is called ``retriever``.
        clusters: Question id -> the document that it is from, as in ``compare``.
    """
    own = scores[RETRIEVER]
    return ServedRetriever(
        model=choice.model,
        fusion=choice.fusion,
        weight=choice.weight,
        reason=choice.reason,
        scores=own.mean,
        comparison=compare(
            scores[UNTUNED],
            own,
            metric=experiment.metric,
            clusters=clusters,
            seed=experiment.seed,
        ),
        curve=choice.curve,
        adaptive=choice.weight > 0,
        translated=choice.translated,
        bm25=word_retriever(experiment.retriever).changed_settings() if choice.weight else {},
        part_words=choice.part_words,
        part_share=choice.part_share,
        alone=choice.alone,
    )
