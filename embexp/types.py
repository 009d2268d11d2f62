"""The records that flow between modules: plain, frozen, with no behaviour beyond their own fields."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

Unit = Literal["document", "chunk"]
SplitName = Literal["train", "dev", "test"]
Verdict = Literal["WIN", "NO EVIDENCE", "REGRESSION"]
HELD_OUT = "held_out"
"""The kind of generator whose queries may be asked in dev and test, and never train."""
GENERAL = "general_"
"""Before the name of a metric: what a model in training scores on a general set, to see what it forgets."""
Qrels = Mapping[str, Mapping[str, int]]
"""Relevance judgments: query id -> unit id -> grade (1 or more is relevant)."""


@dataclass(frozen=True, slots=True)
class Document:
    """One text of a knowledge base, as its author wrote it.

    ``metadata["summary"]`` holds a sentence that a reader has cut out of ``text`` to serve as the
    document's natural query.
    """

    id: str
    text: str
    title: str = ""
    source: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Chunk:
    """A passage of a document that is short enough to embed; ``position`` counts from 0 within it."""

    id: str
    document_id: str
    text: str
    title: str = ""
    position: int = 0

    @property
    def passage(self) -> str:
        """The text that is embedded and indexed: the title, if any, then the body."""
        return f"{self.title}\n{self.text}" if self.title else self.text


@dataclass(frozen=True, slots=True)
class Generator:
    """What wrote a query: a person's data set, a rule, or a language model with its prompt and usage.

    ``persona`` and ``difficulty`` say what a language model was asked for.
    """

    kind: str
    model: str | None = None
    prompt_sha256: str | None = None
    usage: Mapping[str, float] | None = None
    persona: str | None = None
    difficulty: str | None = None


@dataclass(frozen=True, slots=True)
class Pair:
    """A query with a passage that answers it.

    ``label`` is a similarity or relevance grade, or None for a plain positive. Pairs that share a
    ``query_id`` are the judgments of one query. ``split`` is set where a data set brings its own.
    """

    id: str
    query: str
    positive: str
    document_id: str
    query_id: str = ""
    chunk_id: str = ""
    negatives: tuple[str, ...] = ()
    label: float | None = None
    query_type: str = "human"
    split: SplitName | None = None
    context_ids: tuple[str, ...] = ()
    generator: Generator = Generator(kind="human")


@dataclass(frozen=True, slots=True)
class Splits:
    """Training, development and test pairs; no document stands in two of them, unless the set says so."""

    train: Sequence[Pair]
    dev: Sequence[Pair]
    test: Sequence[Pair]


@dataclass(frozen=True, slots=True)
class Leak:
    """A text of ``split`` that equals or nearly equals a held-out one; ``similarity`` is Jaccard's."""

    kind: Literal["question", "passage"]
    split: SplitName
    text: str
    held_out: str
    similarity: float


@dataclass(frozen=True, slots=True)
class Leaks:
    """What the audit found between splits, and how many pairs it took out of train and dev.

    ``documents`` counts those that stand in train and in test because the set's own split puts them
    there; of sets that we split ourselves no document ever does. ``examples`` holds the most alike.
    """

    documents: int = 0
    near_duplicate_chunks: int = 0
    near_duplicate_queries: int = 0
    removed_from_train: int = 0
    removed_from_dev: int = 0
    examples: Sequence[Leak] = ()


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a chat: ``role`` is system, user or assistant."""

    role: str
    content: str


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked of a language model.

    ``messages`` holds the chat; a model in completion mode gets their contents joined by blank
    lines. ``schema`` is the JSON schema that the answer must follow, None for plain text.
    ``tag`` names the request in logs and in counts ("taxonomy", "rag"); it does not shape the answer.
    """

    messages: tuple[Message, ...]
    max_tokens: int = 1024
    temperature: float = 0.7
    seed: int | None = None
    stop: tuple[str, ...] = ()
    schema: Mapping[str, object] | None = None
    schema_name: str = "answer"
    tag: str = ""


@dataclass(frozen=True, slots=True)
class Usage:
    """What was spent: tokens by kind, requests, and US dollars at the configured prices."""

    requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    usd: float = 0.0


@dataclass(frozen=True, slots=True)
class Completion:
    """A language model's answer; ``model`` is the one that really wrote it."""

    text: str
    model: str
    finish_reason: str
    usage: Usage = Usage()


@dataclass(frozen=True, slots=True)
class Answer:
    """A request with its completion, or with the reason for which it has none.

    ``failure`` names why this one request could not be answered (too long even when shrunk, refused
    as invalid); what stops a whole run is raised instead.
    """

    request: Request
    completion: Completion | None
    failure: str | None = None


@dataclass(frozen=True, slots=True)
class Hit:
    """A retrieved chunk and its score; a higher score is a better match in every retriever."""

    id: str
    score: float


@dataclass(frozen=True, slots=True)
class Query:
    """A question of a benchmark; ``cluster`` is the source document that the bootstrap resamples by."""

    id: str
    text: str
    cluster: str
    query_type: str = "human"


@dataclass(frozen=True, slots=True)
class Question:
    """A question of the user's own file, where it stands, and the grades of what answers it, if known."""

    id: str
    text: str
    where: str
    relevant: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RetrievalTask:
    """A corpus, its questions and their judgments; a task knows no scores.

    ``unit`` says what qrels judge: chunks, or the documents that the chunks belong to. With ``skip_own`` a
    unit with the question's own id is no hit of it. Where ``judge_depth`` is set there are no judgments yet:
    a language model is asked about each system's first ``judge_depth`` chunks.
    """

    name: str
    corpus: Sequence[Chunk]
    queries: Sequence[Query]
    qrels: Qrels
    unit: Unit
    skip_own: bool = False
    judge_depth: int | None = None


@dataclass(frozen=True, slots=True)
class Judging:
    """What a language model judged: ``pairs`` of question and passage, of which ``unreadable`` got no grade.

    ``left_out`` counts the questions that it found no answer to.
    """

    model: str
    pairs: int
    unreadable: int
    left_out: int
    depth: int


@dataclass(frozen=True, slots=True)
class Scores:
    """One system's metrics on one task: the means, and query id -> metric -> value behind them.

    Metric names are ``ndcg@10``, ``mrr@10``, ``accuracy@1`` and the like, all in [0, 1].
    """

    system: str
    mean: Mapping[str, float]
    per_query: Mapping[str, Mapping[str, float]]


@dataclass(frozen=True, slots=True)
class SystemCost:
    """What a system takes: seconds to embed (or index) the corpus, seconds a question, bytes of its index.

    ``query_seconds`` is the mean over all questions, asked in batches. ``dimension`` is None where there are
    no vectors (bm25). Vectors that came from the cache, as ``cached`` says, count with the seconds that
    making them took.
    """

    embed_seconds: float
    query_seconds: float
    index_bytes: int
    dimension: int | None = None
    cached: bool = False


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
class TrainingStep:
    """One point of the training log: ``metrics`` holds loss, learning_rate or dev metrics."""

    step: int
    metrics: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Training:
    """What a fine-tune did; ``seconds`` leaves out what an earlier, interrupted run had spent.

    ``delivered`` names the weights that came out (untuned, tuned, "merged 0.5"), and ``candidates`` gives
    the dev score of each that was considered; ``general`` their scores on a general set, where there is one.
    """

    pairs: int
    steps: int
    seconds: float
    pairs_per_second: float
    resumed_from: int | None = None
    best_step: int | None = None
    history: Sequence[TrainingStep] = ()
    delivered: str | None = None
    candidates: Mapping[str, float] = field(default_factory=dict)
    general: Mapping[str, float] = field(default_factory=dict)

    def best(self, metric: str) -> float | None:
        """Return the highest value of a metric on dev, None where it was never scored."""
        return max(self.dev(metric), default=None)

    def dev(self, metric: str) -> list[float]:
        """Return a metric's values on dev, in the order of the steps."""
        name = f"dev_{metric}"
        return [step.metrics[name] for step in self.history if name in step.metrics]


@dataclass(frozen=True, slots=True)
class IndexReport:
    """How an approximate index compares with exact search over the same vectors."""

    retriever: str
    recall: float
    k: int
    build_seconds: float
    query_seconds: float
    exact_query_seconds: float


@dataclass(frozen=True, slots=True)
class Registered:
    """A version of a model in the model registry; ``alias`` is empty where none points to it."""

    name: str
    version: int
    alias: str = ""


@dataclass(frozen=True, slots=True)
class Forgetting:
    """What tuning did to a general retrieval set; ``comparison`` is the score after minus the one before."""

    task: str
    scores: Mapping[str, Mapping[str, float]]
    comparison: Comparison


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
    schema: int = 1
