"""outcome.json: what a run found, under keys that other programs may rely on."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from numbers import Integral, Real
from pathlib import Path
from typing import Any

from embexp.benchmarking.approximate import IndexReport
from embexp.benchmarking.forgetting import Forgetting
from embexp.benchmarking.judging import Judging
from embexp.benchmarking.repeats import LearningCurve, Repeat, Seeds
from embexp.benchmarking.statistics.comparison import Comparison
from embexp.benchmarking.suite import SuiteScore
from embexp.benchmarking.systems import SystemCost
from embexp.data.leaks import Leaks
from embexp.errors import DataError
from embexp.finetuning.training import Training
from embexp.storage.files import write_json


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run leaves in outcome.json; see docs/concepts.md for the meaning of every key."""

    dataset: str
    model: str
    loss: str
    seed: int
    counts: Mapping[str, object]
    scores: Mapping[str, Mapping[str, float]]
    comparison: Comparison | None
    leaks: Leaks
    training: Training | None
    seconds: Mapping[str, float]
    mlflow: Mapping[str, str]
    model_dir: str
    index: IndexReport | None = None
    forgetting: Forgetting | None = None
    cached: Sequence[str] = ()
    systems: Mapping[str, SystemCost] = field(default_factory=dict)
    seeds: Seeds | None = None
    learning_curve: LearningCurve | None = None
    judging: Judging | None = None
    suite: Sequence[SuiteScore] = ()
    schema: int = 1


COMPARED = tuple(each.name for each in fields(Comparison))
OWN = ("seed", "share", "pairs", "dev", "score")


def seeds_record(seeds: Seeds | None) -> dict[str, object] | None:
    """Return ``seeds`` as outcome.json holds it, with the lowest and highest score beside the spread."""
    if seeds is None:
        return None
    scores = [run.score for run in seeds.runs]
    return {
        "metric": seeds.metric,
        "mean": seeds.mean,
        "std": seeds.std,
        "min": min(scores),
        "max": max(scores),
        "comparison": comparison_record(seeds.comparison),
        "runs": [_repeat_record(run) for run in seeds.runs],
    }


def curve_record(curve: LearningCurve | None) -> dict[str, object] | None:
    """Return the learning curve as outcome.json holds it."""
    if curve is None:
        return None
    return {
        "metric": curve.metric,
        "points": [_repeat_record(point) for point in curve.points],
        "last": comparison_record(curve.last),
    }


def comparison_record(comparison: Comparison) -> dict[str, object]:
    """Return a comparison as outcome.json holds it."""
    return {name: getattr(comparison, name) for name in COMPARED}


def _repeat_record(repeat: Repeat) -> dict[str, object]:
    own = {name: getattr(repeat, name) for name in OWN}
    return {**own, "comparison": comparison_record(repeat.comparison)}


def read_seeds(record: Mapping[str, Any] | None) -> Seeds | None:
    """Return what ``seeds_record`` wrote; None where there is nothing."""
    if not record:
        return None
    return Seeds(
        metric=record["metric"],
        runs=tuple(_repeat(run) for run in record["runs"]),
        mean=record["mean"],
        std=record["std"],
        comparison=Comparison.from_record(record["comparison"]),
    )


def read_curve(record: Mapping[str, Any] | None) -> LearningCurve | None:
    """Return what ``curve_record`` wrote; None where there is nothing."""
    if not record:
        return None
    points = tuple(_repeat(point) for point in record["points"])
    return LearningCurve(metric=record["metric"], points=points, last=Comparison.from_record(record["last"]))


def _repeat(record: Mapping[str, Any]) -> Repeat:
    own = {name: record[name] for name in OWN}
    return Repeat(**own, comparison=Comparison.from_record(record["comparison"]))


SCHEMA = 1
LEAKS_KEYS = (
    "documents",
    "near_duplicate_chunks",
    "near_duplicate_queries",
    "removed_from_train",
    "removed_from_dev",
)
TRAINING_KEYS = (
    "pairs",
    "steps",
    "seconds",
    "pairs_per_second",
    "resumed_from",
    "best_step",
    "delivered",
    "candidates",
    "general",
)
INDEX_KEYS = ("retriever", "recall", "k", "build_seconds", "query_seconds", "exact_query_seconds")
SYSTEM_KEYS = ("embed_seconds", "query_seconds", "index_bytes", "dimension", "cached")
SUITE_KEYS = ("task", "kind", "metric", "untuned", "tuned")
JUDGING_KEYS = ("model", "pairs", "unreadable", "left_out", "depth")
OUTCOME_KEYS = (
    "dataset",
    "model",
    "loss",
    "seed",
    "counts",
    "scores",
    "comparison",
    "leaks",
    "training",
    "seconds",
    "mlflow",
    "model_dir",
    "cached",
)


def write_outcome(path: Path, outcome: Outcome) -> None:
    """Write ``outcome`` as outcome.json, atomically; the training history stays out of it.

    Numbers that JSON cannot hold (NaN, infinity) become null.
    """
    record: dict[str, object] = {"schema": outcome.schema}
    record |= {key: getattr(outcome, key) for key in OUTCOME_KEYS}
    record["comparison"] = comparison_record(outcome.comparison) if outcome.comparison else None
    record["leaks"] = _fields(outcome.leaks, LEAKS_KEYS)
    record["training"] = _fields(outcome.training, TRAINING_KEYS)
    record["index"] = _fields(outcome.index, INDEX_KEYS)
    record["forgetting"] = outcome.forgetting and {
        "task": outcome.forgetting.task,
        "scores": outcome.forgetting.scores,
        "comparison": comparison_record(outcome.forgetting.comparison),
    }
    record["judging"] = _fields(outcome.judging, JUDGING_KEYS)
    record["systems"] = {name: _fields(cost, SYSTEM_KEYS) for name, cost in outcome.systems.items()}
    record["suite"] = [_fields(score, SUITE_KEYS) for score in outcome.suite]
    record["seeds"] = seeds_record(outcome.seeds)
    record["learning_curve"] = curve_record(outcome.learning_curve)
    write_json(path, _plain(record))


def read_outcome(path: Path) -> Outcome:
    """Return the outcome that ``write_outcome`` wrote.

    Raises:
        DataError: The file is missing, broken, or written by a newer version.
    """
    record = _read(path)
    try:
        fields: dict[str, Any] = {key: record[key] for key in OUTCOME_KEYS}
        compared = record["comparison"]
        fields["comparison"] = Comparison.from_record(compared) if compared else None
        fields["leaks"] = Leaks(**_known(record["leaks"], LEAKS_KEYS))
        fields["training"] = record["training"] and Training(**_known(record["training"], TRAINING_KEYS))
        index = record.get("index")
        fields["index"] = index and IndexReport(**_known(index, INDEX_KEYS))
        forgotten = record.get("forgetting")
        fields["forgetting"] = forgotten and Forgetting(
            **{**forgotten, "comparison": Comparison.from_record(forgotten["comparison"])}
        )
        fields["cached"] = tuple(record["cached"])
        judging = record.get("judging")
        fields["judging"] = judging and Judging(**_known(judging, JUDGING_KEYS))
        fields["systems"] = {
            name: SystemCost(**_known(cost, SYSTEM_KEYS)) for name, cost in record.get("systems", {}).items()
        }
        fields["suite"] = tuple(SuiteScore(**_known(each, SUITE_KEYS)) for each in record.get("suite", ()))
        fields["seeds"] = read_seeds(record.get("seeds"))
        fields["learning_curve"] = read_curve(record.get("learning_curve"))
        return Outcome(**fields)
    except (KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"{path}: not a whole outcome ({type(error).__name__}: {error}); run the experiment again."
        ) from error


def _read(path: Path) -> Mapping[str, Any]:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DataError(
            f"{path} does not exist: the run has not finished, or its folder is another."
        ) from error
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read as JSON ({error}); run the experiment again.") from error
    schema = record.get("schema") if isinstance(record, dict) else None
    if schema != SCHEMA:
        raise DataError(
            f"{path} has schema {schema!r}, and this version reads {SCHEMA}: "
            "use the version of embexp that wrote it, or run the experiment again."
        )
    return dict(record)


def _known(record: Mapping[str, Any], keys: Sequence[str]) -> dict[str, Any]:
    return {key: record[key] for key in keys if key in record}


def _fields(record: object | None, keys: Sequence[str]) -> dict[str, object] | None:
    return None if record is None else {key: getattr(record, key) for key in keys}


def _plain(value: object) -> object:
    """Return ``value`` as JSON can hold it: numpy's numbers too, and no NaN."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real):
        return float(value) if math.isfinite(value) else None
    return str(value)
