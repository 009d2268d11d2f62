"""Tasks of other kinds than retrieval, scored before and after tuning by a suite's own evaluation."""

from __future__ import annotations

from functools import cache
from typing import Any

from embexp.benchmarking.suite import Suite, SuiteScore
from embexp.models.sources import ModelSource
from embexp.pipeline.experiment import Experiment
from embexp.tracking.tracker import TrackedRun

Found = dict[str, Any]


def check_suite(experiment: Experiment) -> None:
    """Score the untuned model first: a task or data that cannot be had end a run before it trains.

    Raises:
        ConfigError: A task does not exist.
        DataError: The data of a task cannot be had.
    """
    if experiment.suite is not None:
        experiment.suite.check()
        _scored(experiment, experiment.suite, experiment.model)


def suite_scores(experiment: Experiment, tuned: ModelSource | None, run: TrackedRun) -> list[SuiteScore]:
    """Score the untuned model and, where there is one, the tuned one; a model is never scored twice.

    Args:
        experiment: The components; ``suite`` names the tasks.
        tuned: The tuned model.
        run: Where the scores are logged.

    Returns:
        A score for each task; none where no suite is configured.

    Raises:
        DataError: The data of a task cannot be had.
    """
    if experiment.suite is None:
        return []
    before = _logged(_scored(experiment, experiment.suite, experiment.model), "untuned", run)
    after: list[Found] = [{}] * len(before)
    if tuned:
        after = _logged(_scored(experiment, experiment.suite, tuned), "tuned", run)
    return [
        SuiteScore(old["task"], old["kind"], old["metric"], old["value"], new.get("value"))
        for old, new in zip(before, after, strict=True)
    ]


def _scored(experiment: Experiment, suite: Suite, source: ModelSource) -> list[Found]:
    """Score a model on each task, but for what an earlier run has scored."""
    model, found = cache(source.load), []
    for name in suite.tasks:
        with experiment.stages.stage("suite", suite.fingerprint(name), source.fingerprint()) as stage:
            score = stage.done or suite.score(name, model())
            if stage.done is None:
                stage.finish(score)
        found.append(score)
    return found


def _logged(found: list[Found], system: str, run: TrackedRun) -> list[Found]:
    with run.child(f"suite {system}", params={"system": system}, tags={"stage": "suite"}) as child:
        child.log_metrics({f"{score['task']}/{score['metric']}": float(score["value"]) for score in found})
    return found
