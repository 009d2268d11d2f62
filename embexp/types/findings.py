"""What a run finds: comparisons, their parts, and the outcome."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from embexp.types.retrieval import IndexReport, Judging, SystemCost
from embexp.types.texts import Leaks
from embexp.types.training import Training

Verdict = Literal["WIN", "NO EVIDENCE", "REGRESSION"]


@dataclass(frozen=True, slots=True)
class Comparison:
    """Tuned minus untuned on one metric, with a 95% interval and a two-sided p-value.

    ``p`` belongs to the interval; ``randomisation_p`` is a second test's, None where it was not made.
    """

    metric: str
    delta: float
    interval: tuple[float, float]
    p: float
    queries: int
    clusters: int
    verdict: Verdict
    randomisation_p: float | None = None

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Comparison:
        """Return the comparison that a JSON object holds; keys of a later version are left out."""
        known = {each.name: record[each.name] for each in fields(cls) if each.name in record}
        return cls(**{**known, "interval": tuple(known["interval"])})


@dataclass(frozen=True, slots=True)
class Contrast:
    """``system`` minus ``base``, one of several; ``holm_p`` is corrected for how many there are."""

    base: str
    system: str
    comparison: Comparison
    holm_p: float


@dataclass(frozen=True, slots=True)
class Repeat:
    """One more training on the run's own splits, scored on the run's own test questions.

    ``share`` is the part of the training pairs that it saw, ``dev`` its best score on dev (None without
    one), ``score`` its score on the test questions, and ``comparison`` sets it against the untuned model.
    """

    seed: int
    share: float
    pairs: int
    dev: float | None
    score: float
    comparison: Comparison


@dataclass(frozen=True, slots=True)
class Seeds:
    """The run's training and its repeats under further seeds.

    ``comparison`` sets each question's mean over the seeds against the untuned model. ``std`` is the
    standard deviation of the seeds' scores, with one less than their number in the divisor.
    """

    metric: str
    runs: Sequence[Repeat]
    mean: float
    std: float
    comparison: Comparison


@dataclass(frozen=True, slots=True)
class LearningCurve:
    """Trainings on a part of the pairs, the smallest first and all pairs last.

    ``last`` sets all pairs against the largest part: whether the curve still rises at its end.
    """

    metric: str
    points: Sequence[Repeat]
    last: Comparison


@dataclass(frozen=True, slots=True)
class Slice:
    """The questions of one kind: their mean scores before and after, and the difference.

    ``feature`` says what they were sorted by (query type, length …), ``name`` which kind this is.
    ``interval`` is the difference's 95% interval, None where the sources are too few for one.
    """

    feature: str
    name: str
    queries: int
    clusters: int
    before: float
    after: float
    delta: float
    interval: tuple[float, float] | None


@dataclass(frozen=True, slots=True)
class Spot:
    """A text on the map: what it is, its opening, and where both models put it."""

    kind: Literal["question", "passage"]
    text: str
    before: tuple[float, float]
    after: tuple[float, float]


@dataclass(frozen=True, slots=True)
class EmbeddingMap:
    """Questions and passages as two models place them, in one plane.

    ``links`` ties a question to its answer (places in ``spots``) and says how its score changed.
    ``variance`` is the share of each model's variance that the plane shows. ``answer`` and ``other`` are
    mean cosines, before and after, of a question to its answer and to the nearest other passage here.
    """

    spots: Sequence[Spot]
    links: Sequence[tuple[int, int, float]]
    variance: tuple[float, float]
    answer: tuple[float, float]
    other: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Forgetting:
    """What tuning did to a general retrieval set; ``comparison`` is the score after minus the one before."""

    task: str
    scores: Mapping[str, Mapping[str, float]]
    comparison: Comparison


@dataclass(frozen=True, slots=True)
class SuiteScore:
    """A task of another kind, as its own library scores it; ``tuned`` is None without a tuned model."""

    task: str
    kind: str
    metric: str
    untuned: float
    tuned: float | None


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
