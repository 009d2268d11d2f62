"""Finished runs, read from their folders or from MLflow, to be compared."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from embexp.benchmarking.metrics import Scores
from embexp.benchmarking.score_files import read_queries, read_scores
from embexp.benchmarking.systems import TUNED
from embexp.benchmarking.task import Query
from embexp.errors import DataError
from embexp.reporting.outcome import Outcome
from embexp.tracking.mlflow import MlflowTracker

FILES = ("outcome.json", "scores.parquet", "queries.jsonl")
RUN_ID = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True)
class PastRun:
    """A finished run: the name that it was requested by, its outcome, scores and questions."""

    name: str
    outcome: Outcome
    scores: Mapping[str, Scores]
    queries: Mapping[str, Query]


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
    return PastRun(
        name=name,
        outcome=Outcome.read(folder / "outcome.json"),
        scores={scores.system: scores for scores in read_scores(folder / "scores.parquet")},
        queries={query.id: query for query in read_queries(folder / "queries.jsonl")},
    )


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
    chosen: dict[str, tuple[PastRun, Scores]] = {}
    for system in wanted:
        having = [run for run in runs if system in run.scores]
        if not having:
            known = dict.fromkeys(name for run in runs for name in run.scores)
            raise DataError(f"No run has a system {system!r}: choose from {', '.join(known)}.")
        different = having if system == TUNED else _different(having, system)
        for run in different:
            label = system if len(different) == 1 and system != TUNED else f"{run.name} {system}"
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
