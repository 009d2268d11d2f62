"""Which texts a run's models do not read to their ends: measured once, and said in every run's log."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict

from pydantic import TypeAdapter

from embexp.benchmarking.held_out import HeldOut
from embexp.benchmarking.task import RetrievalTask
from embexp.data.truncation import (
    PASSAGES,
    QUERIES,
    Truncation,
    nothing_is_cut,
    truncation,
    truncation_lines,
)
from embexp.models.sources import ModelSource
from embexp.pipeline.experiment import Experiment
from embexp.progress import track

log = logging.getLogger(__name__)

COUNTING_TOKENS = "Counting the tokens of passages"
"""The text of the progress bar."""


def measure_truncation(
    experiment: Experiment,
    source: ModelSource,
    inputs: Iterable[object],
    texts: Mapping[str, Callable[[], Iterable[str]]],
) -> dict[str, Truncation]:
    """Count the texts that a model does not read to their ends, or take the counts from the cache.

    The log says it in every run, also where the counts come from the cache.

    Args:
        experiment: The components.
        source: The model.
        inputs: What identifies the texts.
        texts: Kind of text -> a function that returns them; queries have the queries' limit and prompt.

    Returns:
        Kind of text -> its counts.
    """
    tokens = source.tokens()
    limits = {kind: tokens.query_limit if kind.endswith(QUERIES) else tokens.limit for kind in texts}
    with experiment.stages.stage("truncation", *inputs, source.name, limits) as stage:
        counted = stage.stored(TypeAdapter(dict[str, Truncation]).validate_python)
        if counted is None:
            counted = {kind: truncation(get(), tokens, limit=limits[kind]) for kind, get in texts.items()}
            stage.finish({kind: asdict(each) for kind, each in counted.items()})
    lines = truncation_lines(counted)
    for line in lines:
        log.warning("Truncation: %s", line)
    if not lines:
        log.info("Truncation: %s", nothing_is_cut(counted))
    return counted


def benchmark_truncation(
    experiment: Experiment, task: RetrievalTask, tuned: ModelSource | None
) -> dict[str, Truncation]:
    """Count what is cut of a benchmark's own corpus and questions, and by a tuned model of another length.

    Args:
        experiment: The components.
        task: The benchmark's task.
        tuned: A tuned model that this run did not train; one that it trains reads as much as before.

    Returns:
        Kind of text -> its counts; empty where the run's own data are asked, of a model of the same length.
    """
    texts: dict[str, Callable[[], Iterable[str]]] = {
        PASSAGES: lambda: track(
            (chunk.passage for chunk in task.corpus), COUNTING_TOKENS, total=len(task.corpus)
        ),
        QUERIES: lambda: (query.text for query in task.queries),
    }
    inputs, counted = ("benchmark", task.fingerprint()), {}
    if not isinstance(experiment.benchmark, HeldOut):
        named = {f"benchmark {kind}": get for kind, get in texts.items()}
        counted = measure_truncation(experiment, experiment.model, inputs, named)
    if tuned is not None and _limits(tuned) != _limits(experiment.model):
        named = {f"tuned model's {kind}": get for kind, get in texts.items()}
        counted |= measure_truncation(experiment, tuned, inputs, named)
    return counted


def _limits(source: ModelSource) -> tuple[int, int]:
    tokens = source.tokens()
    return tokens.limit, tokens.query_limit
