"""Finished runs, read from their folders or from MLflow, to be compared."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path

from embexp.benchmarking.metrics import MAIN_METRIC, Scores
from embexp.benchmarking.score_files import read_queries, read_scores
from embexp.benchmarking.statistics.multiple_tests import contrasts
from embexp.benchmarking.systems import TUNED
from embexp.benchmarking.task import Query, clusters_of
from embexp.errors import DataError
from embexp.pipeline.run_names import names_by_difference, settings_of
from embexp.reporting.outcome import Outcome
from embexp.reporting.run_comparison import RunComparison
from embexp.tracking.mlflow import MlflowTracker

_TOLD = ("dataset", "model", "loss", "seed")
"""What outcome.json says of the settings of a run whose configuration is not at hand."""
FILES = ("outcome.json", "scores.parquet", "queries.jsonl")
_MOST_TESTED = 9
"""Of more systems, not every two are tested: that would take long, and Holm's correction find nothing."""
RUN_ID = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True)
class PastRun:
    """A finished run: the name that it was requested by, its outcome, scores, questions and settings."""

    name: str
    outcome: Outcome
    scores: Mapping[str, Scores]
    queries: Mapping[str, Query]
    settings: Mapping[str, str] = field(default_factory=dict)


def read_run(name: str, tracker: MlflowTracker) -> PastRun:
    """Read a run from its folder, or from MLflow by its run id.

    Raises:
        DataError: There is no such folder, or a file of the run is missing or broken.
        TrackingError: MLflow cannot be used, or has no such run.
    """
    folder = Path(name)
    if folder.is_dir():
        return _read(folder, name.rstrip("/\\"))
    if not RUN_ID.fullmatch(name):
        raise DataError(
            f"{name} is neither a run's folder nor the id of an MLflow run (32 digits, 0 to f): name one, "
            "such as outputs/DATE/TIME."
        )
    with tempfile.TemporaryDirectory() as copy:
        tracker.download(name, FILES, Path(copy))
        return _read(Path(copy), name[:8])


def _read(folder: Path, name: str) -> PastRun:
    for needed in FILES:
        if not (folder / needed).is_file():
            raise DataError(
                f"{name} is not the folder of a finished run or benchmark (no {needed}): name another, or "
                "run it again, which takes finished stages from the cache."
            )
    outcome = Outcome.read(folder / "outcome.json")
    told = {key: str(value) for key, value in outcome.model_dump(include={*_TOLD}).items()}
    return PastRun(
        name=name,
        outcome=outcome,
        scores={scores.system: scores for scores in read_scores(folder / "scores.parquet")},
        queries={query.id: query for query in read_queries(folder / "queries.jsonl")},
        settings=settings_of(folder) or told,
    )


def compare_runs(runs: Sequence[PastRun], systems: Sequence[str], metric: str | None = None) -> RunComparison:
    """Compare systems of past runs with each other, named by what differs between the runs.

    Args:
        runs: The runs.
        systems: Which systems of each run to compare.
        metric: The metric to compare by; None is that of the first run's verdict.

    Raises:
        DataError: The runs were not asked the same questions, or there are fewer than two systems.
        ConfigError: A run has no such metric.
    """
    check_same_questions(runs)
    chosen = systems_of(runs, systems)
    metric = metric or runs[0].outcome.metric or MAIN_METRIC
    clusters = clusters_of(runs[0].queries.values())
    scores = {label: own for label, (_, own) in chosen.items()}
    return RunComparison(
        metric=metric,
        scores=scores,
        outcomes={label: run.outcome for label, (run, _) in chosen.items()},
        folders={label: run.name for label, (run, _) in chosen.items()},
        clusters=clusters,
        contrasts=contrasts(scores, _to_test(scores, metric), metric=metric, clusters=clusters),
    )


def _to_test(scores: Mapping[str, Scores], metric: str) -> list[tuple[str, str]]:
    """Return which systems to test against each other: any two; of many, with the first or the best."""
    pairs = list(combinations(scores, 2))
    if len(scores) <= _MOST_TESTED:
        return pairs
    best = max(scores, key=lambda name: scores[name].mean.get(metric, 0.0))
    return [pair for pair in pairs if {next(iter(scores)), best} & set(pair)]


def check_same_questions(runs: Sequence[PastRun]) -> None:
    """Refuse runs that were not asked the same questions.

    Raises:
        DataError: A run has other questions than the first one, or another text under the same id.
    """
    first, *others = runs
    for run in others:
        odd = sorted(first.queries.keys() ^ run.queries.keys())
        odd = odd or [name for name, query in first.queries.items() if query.text != run.queries[name].text]
        if odd:
            raise DataError(
                f"{first.name} and {run.name} were not asked the same questions ({len(odd):,} differ, such "
                f"as {odd[0]!r}): compare runs of one data set, split and benchmark."
            )


def systems_of(runs: Sequence[PastRun], wanted: Sequence[str]) -> dict[str, tuple[PastRun, Scores]]:
    """Return the systems to compare under distinct names.

    An untrained system with the same scores in several runs is listed once.

    Args:
        runs: The runs.
        wanted: Names of systems (untuned, tuned, bm25 …); a run may lack some of them.

    Returns:
        Name -> the run and the system's scores.

    Raises:
        DataError: No run has such a system, or there are fewer than two to compare.
    """
    names = names_by_difference({run.name: run.settings for run in runs})
    chosen: dict[str, tuple[PastRun, Scores]] = {}
    for system in wanted:
        having = [run for run in runs if system in run.scores]
        if not having:
            known = dict.fromkeys(name for run in runs for name in run.scores)
            raise DataError(f"No run has a system {system!r}: choose from {', '.join(known)}.")
        different = having if system == TUNED else _different(having, system)
        for run in different:
            label = system if len(different) == 1 and system != TUNED else f"{names[run.name]} {system}"
            chosen[label] = (run, run.scores[system])
    if len(chosen) < 2:
        raise DataError(
            f"There is one system to compare, {next(iter(chosen))}: name another run, or another --system."
        )
    return chosen


def _different(runs: Sequence[PastRun], system: str) -> list[PastRun]:
    """Return the first run of each group with the same scores for every question."""
    kept: list[PastRun] = []
    for run in runs:
        if all(run.scores[system].per_query != other.scores[system].per_query for other in kept):
            kept.append(run)
    return kept
