"""Finished runs, read back from their folders or from MLflow, side by side."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from embexp.benchmarking.metrics import Scores
from embexp.benchmarking.score_files import read_queries, read_scores
from embexp.benchmarking.task import Query
from embexp.errors import DataError
from embexp.reporting.outcome import Outcome
from embexp.tracking.mlflow import MlflowTracker

FILES = ("outcome.json", "scores.parquet", "queries.jsonl")
RUN_ID = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True)
class PastRun:
    """A finished run: the name it was asked for by, what it found, and the questions it asked."""

    name: str
    outcome: Outcome
    scores: Mapping[str, Scores]
    queries: Mapping[str, Query]


def past_run(name: str, tracker: MlflowTracker) -> PastRun:
    """Read a run by its folder, or by its MLflow run id.

    Raises:
        DataError: There is no such folder, or a file of the run is missing or broken.
        TrackingError: MLflow cannot be used, or does not know the run.
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
        DataError: A run has other questions than the first one, or other words under the same id.
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
    """Return the systems to compare under names that tell them apart.

    A system that needs no training and scored the same in several runs is named once.

    Args:
        runs: The runs.
        wanted: Names of systems (untuned, tuned, bm25 …); a run may lack some of them.

    Raises:
        DataError: No run has such a system, or there are fewer than two to compare.
    """
    found: dict[str, tuple[PastRun, Scores]] = {}
    for system in wanted:
        having = [run for run in runs if system in run.scores]
        if not having:
            known = dict.fromkeys(name for run in runs for name in run.scores)
            raise DataError(f"No run has a system {system!r}: choose from {', '.join(known)}.")
        different = having if system == "tuned" else _different(having, system)
        for run in different:
            label = system if len(different) == 1 and system != "tuned" else f"{run.name} {system}"
            found[label] = (run, run.scores[system])
    if len(found) < 2:
        raise DataError(
            f"There is one system to compare, {next(iter(found))}: name another run, or another --system."
        )
    return found


def _different(runs: Sequence[PastRun], system: str) -> list[PastRun]:
    """Return the first run of each group in which the system scored every question alike."""
    kept: list[PastRun] = []
    for run in runs:
        if all(run.scores[system].per_query != other.scores[system].per_query for other in kept):
            kept.append(run)
    return kept
