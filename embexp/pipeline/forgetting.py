"""What else the tuned model can still do: its scores on a general set and on a suite of other tasks."""

from __future__ import annotations

import logging
from dataclasses import asdict
from functools import cache
from typing import Any

from pydantic import TypeAdapter

from embexp.benchmarking.forgetting import Forgetting, general_set, measure_forgetting
from embexp.benchmarking.mteb import MtebSuite, SuiteScore
from embexp.benchmarking.systems import TUNED, UNTUNED
from embexp.models.encoder import SourceEmbedder
from embexp.models.sources import ModelSource
from embexp.pipeline.experiment import Experiment
from embexp.tracking.tracker import TrackedRun, log_system
from embexp.user_code import identity

log = logging.getLogger(__name__)


def forgetting(experiment: Experiment, tuned: ModelSource | None, run: TrackedRun) -> Forgetting | None:
    """Score both models on the final half of the general set, or take the scores from the cache.

    Returns:
        The scores and their comparison; None where no set or no tuned model is configured.
    """
    if experiment.forgetting is None or tuned is None:
        return None
    metric, seed = experiment.metric, experiment.seed
    task = general_set(experiment.forgetting, unit=experiment.dataset.unit, seed=seed).final
    sources = (experiment.model, tuned)
    inputs = (task.fingerprint(), [identity(source) for source in sources], metric, seed)
    with experiment.stages.stage("forgetting", *inputs) as stage:
        result = stage.stored(TypeAdapter(Forgetting).validate_python)
        if result is None:
            before, after = (SourceEmbedder(source, experiment.embeddings, bf16=True) for source in sources)
            result = measure_forgetting(task, before, after, metric=metric, seed=seed, folder=stage.folder)
            log.info("Forgetting: %s on %s changed by %+.4f.", metric, task.name, result.comparison.delta)
            stage.finish(asdict(result))
    for name, means in result.scores.items():
        log_system(run, "forgetting", name, means, task=result.task)
    return result


def check_suite(experiment: Experiment) -> None:
    """Score the untuned model on the suite, so that a task without data ends the run before training.

    Raises:
        ConfigError: A task does not exist.
        DataError: The data of a task cannot be loaded.
    """
    if experiment.suite is not None:
        experiment.suite.check()
        _score_on(experiment, experiment.suite, experiment.model)


def suite_scores(experiment: Experiment, tuned: ModelSource | None, run: TrackedRun) -> list[SuiteScore]:
    """Score the untuned model and, where there is one, the tuned one on every task of the suite.

    Raises:
        DataError: The data of a task cannot be loaded.
    """
    if experiment.suite is None:
        return []
    sources = {UNTUNED: experiment.model, **({TUNED: tuned} if tuned else {})}
    scored = {name: _score_on(experiment, experiment.suite, source) for name, source in sources.items()}
    for name, scores in scored.items():
        metrics = {f"{score['task']}/{score['metric']}": float(score["value"]) for score in scores}
        log_system(run, "suite", name, metrics)
    after = scored.get(TUNED) or [{}] * len(scored[UNTUNED])
    return [
        SuiteScore(old["task"], old["kind"], old["metric"], old["value"], new.get("value"))
        for old, new in zip(scored[UNTUNED], after, strict=True)
    ]


def _score_on(experiment: Experiment, suite: MtebSuite, source: ModelSource) -> list[dict[str, Any]]:
    """Score a model on each task of the suite, or take its scores from the cache."""
    model, scores = cache(source.load), []
    for name in suite.tasks:
        with experiment.stages.stage("suite", suite.fingerprint(name), identity(source)) as stage:
            score = stage.done or suite.score(name, model())
            if stage.done is None:
                stage.finish(score)
        scores.append(score)
    return scores
