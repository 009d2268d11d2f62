"""outcome.json: the result of a run, under keys that other programs may rely on."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from embexp.benchmarking.approximate import IndexReport
from embexp.benchmarking.forgetting import Forgetting
from embexp.benchmarking.judging import Judging
from embexp.benchmarking.mteb import SuiteScore
from embexp.benchmarking.repeats import LearningCurve, Seeds
from embexp.benchmarking.reranking import Reranking
from embexp.benchmarking.retriever_choice import ServedRetriever
from embexp.benchmarking.seen_documents import AskedQuestions
from embexp.benchmarking.statistics.comparison import Comparison
from embexp.benchmarking.systems import SystemCost
from embexp.benchmarking.task import RepeatedTexts
from embexp.benchmarking.teacher_gate import TeacherGate
from embexp.benchmarking.thresholds import ScoreThreshold
from embexp.data.leaks import Leaks
from embexp.data.truncation import Truncation
from embexp.errors import DataError
from embexp.finetuning.training import Training
from embexp.storage.files import atomic_write

_SCHEMA = 1
_LEFT_OUT: Any = {"training": {"history"}, "leaks": {"examples"}}
"""The training log is in the tracker, and the leaking texts are in data/leaks.jsonl."""
_Score = Annotated[float, BeforeValidator(lambda value: math.nan if value is None else value)]
"""JSON has no NaN and no infinity: they are written as null, and null is read as NaN."""


class Outcome(BaseModel):
    """The result of a run, as outcome.json holds it; docs/reporting.md explains every key.

    Its parts are dataclasses of the layers that compute them. Keys of a later version are ignored.
    """

    model_config = ConfigDict(
        frozen=True,
        defer_build=True,
        revalidate_instances="always",  # NumPy's numbers become Python's
        ser_json_inf_nan="null",
    )

    schema_version: int = Field(default=_SCHEMA, alias="schema")
    dataset: str
    model: str
    loss: str
    seed: int
    counts: Mapping[str, int | Mapping[str, int]]
    scores: Mapping[str, Mapping[str, _Score]]
    comparison: Comparison | None
    leaks: Leaks
    training: Training | None
    seconds: Mapping[str, float]
    mlflow: Mapping[str, str]
    model_dir: str
    cached: tuple[str, ...] = ()
    index: IndexReport | None = None
    forgetting: Forgetting | None = None
    judging: Judging | None = None
    systems: Mapping[str, SystemCost] = Field(default_factory=dict)
    suite: tuple[SuiteScore, ...] = ()
    seeds: Seeds | None = None
    learning_curve: LearningCurve | None = None
    retriever: ServedRetriever | None = None
    reranking: Reranking | None = None
    repeated_texts: RepeatedTexts = RepeatedTexts()
    questions: AskedQuestions | None = None
    teacher: TeacherGate | None = None
    truncation: Mapping[str, Truncation] = Field(default_factory=dict)
    score_threshold: ScoreThreshold | None = None

    @property
    def metric(self) -> str | None:
        """The metric that the run was asked for, which decides its verdicts; None if nothing was scored."""
        decided = self.comparison or (self.retriever.comparison if self.retriever else None)
        return decided.metric if decided else None

    def write(self, path: Path) -> None:
        """Write outcome.json, atomically, without the training history and the texts of leaks."""
        with atomic_write(path) as stream:
            stream.write(self.model_dump_json(indent=2, by_alias=True, exclude=_LEFT_OUT) + "\n")

    @classmethod
    def read(cls, path: Path) -> Outcome:
        """Read an outcome.json.

        Raises:
            DataError: The file is missing, broken, or written by another version.
        """
        record = _json(path)
        schema = record.get("schema") if isinstance(record, dict) else None
        if schema != _SCHEMA:
            raise DataError(
                f"{path} has schema {schema!r}, and this version reads {_SCHEMA}: "
                "use the version of embexp that wrote it, or run the experiment again."
            )
        try:
            return cls.model_validate(record)
        except ValidationError as error:
            first = error.errors()[0]
            key = ".".join(str(part) for part in first["loc"])
            raise DataError(
                f"{path} is not a complete outcome ({key}: {first['msg']}); run the experiment again."
            ) from error


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DataError(
            f"{path} does not exist: the run has not finished, or its folder is a different one."
        ) from error
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read as JSON ({error}); run the experiment again.") from error
