"""The score threshold of a run: measured on its dev questions, or taken from the cache."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import asdict

from pydantic import TypeAdapter

from embexp.benchmarking.thresholds import ScoreThreshold, measure_threshold
from embexp.models.encoder import SourceEmbedder
from embexp.models.sources import ModelSource
from embexp.pipeline.data import Data
from embexp.pipeline.experiment import Experiment
from embexp.pipeline.finetune import dev_task
from embexp.user_code import identity

log = logging.getLogger(__name__)


def score_threshold(experiment: Experiment, data: Data, sources: Mapping[str, ModelSource]) -> ScoreThreshold:
    """Return the score below which the last model, the tuned one if there is one, has probably no answer.

    The dev questions are asked of the whole corpus, since the best score of a search rises with its size.
    """
    model, source = list(sources.items())[-1]
    seed = experiment.seed
    with experiment.stages.stage("threshold", data.key, model, identity(source), seed) as stage:
        stored = stage.stored(TypeAdapter(ScoreThreshold).validate_python)
        if stored is not None:
            return stored
        task = (
            dev_task(data, seed=seed, unit=experiment.dataset.unit, whole=True) if data.splits.dev else None
        )
        embedder = SourceEmbedder(source, experiment.embeddings, bf16=True)
        found = measure_threshold(task, embedder, model=model, folder=stage.folder, seed=seed)
        stage.finish(asdict(found))
    if found.threshold is None:
        log.info("Score threshold: none, since %s.", found.reason)
    else:
        log.info("Score threshold: below a cosine of %.2f there is probably no answer.", found.threshold)
    return found
