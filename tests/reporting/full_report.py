"""An invented run whose report has every section, with hostile texts wherever data are shown."""

from __future__ import annotations

import random

from embexp.benchmarking.approximate import IndexReport
from embexp.benchmarking.benchmark import BenchmarkOptions
from embexp.benchmarking.embedding_map import EmbeddingMap, Spot
from embexp.benchmarking.examples import biggest_changes
from embexp.benchmarking.metrics import Scores, with_defaults
from embexp.benchmarking.repeats import Repeats, ScoredTraining, summarise_repeats
from embexp.benchmarking.reranking import compare_reranking
from embexp.benchmarking.retriever_choice import ServedRetriever
from embexp.benchmarking.seen_documents import AskedQuestions, QuestionGroup
from embexp.benchmarking.slices import changed_documents, slices
from embexp.benchmarking.statistics.comparison import compare
from embexp.benchmarking.statistics.multiple_tests import contrasts
from embexp.benchmarking.systems import SystemCost, reranked
from embexp.benchmarking.task import Query, RetrievalTask
from embexp.benchmarking.thresholds import AskedTwice, ScoreThreshold, recommend
from embexp.data.leaks import Leak, Leaks
from embexp.data.records import Chunk
from embexp.data.truncation import Truncation
from embexp.finetuning.training import Training, TrainingStep
from embexp.reporting.outcome import Outcome
from embexp.reporting.report import Report
from embexp.retrieval.index import Hit

ATTACK = "<script>document.title = 'hit'; fetch('http://203.0.113.1/')</script>"
METRIC = "ndcg@10"
METRICS = tuple(with_defaults(METRIC))
DOCUMENTS, QUESTIONS = 60, 4
TEXT = (
    "how the joint of a kettle lid is sealed against steam when the spout is blocked and the whistle sounds"
)


def full_report() -> Report:
    """Return the report of 240 questions on 60 documents; the same at every call."""
    draw = random.Random(1)
    task = _task()
    lift = {"untuned": 0.0, "tuned": 0.08, "bm25": -0.1, "hybrid": 0.12, "tuned int8": 0.075}
    scores = {name: _scores(task, name, shift, draw) for name, shift in lift.items()}
    clusters = task.clusters
    untuned, tuned = scores["untuned"], scores["tuned"]
    pairs = [("untuned", name) for name in scores if name != "untuned"]
    compared = contrasts(scores, pairs, metric=METRIC, clusters=clusters, resamples=500)
    rankings = {name: _rankings(task, draw) for name in ("untuned", "tuned")}
    others = random.Random(3)
    scores |= {
        reranked(name): _scores(task, reranked(name), 0.1 + lift[name], others)
        for name in ("untuned", "tuned")
    }
    repeats = _repeats(task, untuned, tuned, draw)
    outcome = Outcome(
        dataset=f"kb {ATTACK}",
        model="minilm",
        loss="mnrl",
        seed=0,
        counts={"documents": DOCUMENTS, "chunks": 180, "pairs": {"train": 1400, "dev": 100, "test": 240}},
        scores={name: each.mean for name, each in scores.items()},
        comparison=compared[0].comparison,
        leaks=Leaks(0, 1, 1, 2, 0, (Leak("question", "train", ATTACK, TEXT, 0.93),) * 4),
        training=Training(1400, 44, 91.0, 15.4, None, 44, _history(draw)),
        seconds={"synthesize": 12.0, "finetune": 95.0, "benchmark": 61.0},
        mlflow={"experiment": "embexp", "run_id": "4f1c"},
        model_dir="/runs/1/model",
        index=IndexReport("chroma", 0.995, 10, 1.0, 0.1, 0.2),
        seeds=repeats.seeds,
        learning_curve=repeats.curve,
        systems={name: SystemCost(12.5, 0.0021, 276_480, 384) for name in scores},
        retriever=_retriever(untuned, scores["hybrid"], clusters),
        reranking=compare_reranking(
            BenchmarkOptions(reranker=f"cross-encoder/{ATTACK}"), scores, metric=METRIC, clusters=clusters
        ),
        questions=_asked(untuned, tuned, clusters),
        truncation={
            "passages": Truncation(254, 180, 12, 21_000, 900, 0.25),
            "queries": Truncation(254, 1740, 0, 30_000, 0, 0.0),
        },
        score_threshold=_threshold(random.Random(2)),
    )
    return Report(
        outcome=outcome,
        scores=scores,
        queries=task.queries,
        examples=biggest_changes(task, scores, rankings, metric=METRIC),
        slices=slices(task, untuned, tuned, metric=METRIC, resamples=200),
        documents=changed_documents(task, untuned, tuned, metric=METRIC, resamples=200),
        contrasts=compared,
        synthesis={
            "accepted": 900,
            "rejected": {"round_trip": 310, "near_duplicates": 120, "copied": 40, "length": 3},
            "examples_dropped": {"round_trip": [f"{ATTACK} (rank 40)", TEXT], "copied": [TEXT]},
        },
        map=_map(draw),
        config=f"model: minilm\n# {ATTACK}\n",
        provenance={"git_commit": "abc123", "odd": ATTACK},
    )


def _task() -> RetrievalTask:
    kinds = ("human", "keyword")
    corpus = [
        Chunk(
            f"c{n}.{part}",
            f"d{n}",
            f"{TEXT} {n}",
            title=f"Kettles {n} > Lids" if n else ATTACK,
            position=part,
        )
        for n in range(DOCUMENTS)
        for part in range(3)
    ]
    queries = [
        Query(
            f"q{n}.{at}", f"{ATTACK if at == 0 else ''} {TEXT[: 20 + 20 * at]} {n}?", f"d{n}", kinds[at % 2]
        )
        for n in range(DOCUMENTS)
        for at in range(QUESTIONS)
    ]
    qrels = {query.id: {query.cluster: 1} for query in queries}
    return RetrievalTask("kb", corpus, queries, qrels, "document")


def _scores(task: RetrievalTask, name: str, shift: float, draw: random.Random) -> Scores:
    shared = {query.cluster: draw.gauss(shift, 0.1) for query in task.queries}
    per_query = {}
    for query in task.queries:
        value = min(max(0.5 + shared[query.cluster] + draw.gauss(0, 0.15), 0.0), 1.0)
        per_query[query.id] = dict.fromkeys(METRICS, value)
    mean = sum(values[METRIC] for values in per_query.values()) / len(per_query)
    return Scores(name, dict.fromkeys(METRICS, mean), per_query)


def _rankings(task: RetrievalTask, draw: random.Random) -> dict[str, list[Hit]]:
    names = [f"d{n}" for n in range(DOCUMENTS)]
    return {
        query.id: [
            Hit(name, 1.0 - at / 10) for at, name in enumerate([*draw.sample(names, 9), query.cluster])
        ]
        for query in task.queries
    }


def _retriever(untuned: Scores, fused: Scores, clusters: dict[str, str]) -> ServedRetriever:
    return ServedRetriever(
        model="tuned",
        fusion="convex",
        weight=0.4,
        adaptive=True,
        reason=f"within one standard error of the best on 100 dev questions ({METRIC} 0.601, best 0.604)",
        scores=fused.mean,
        comparison=compare(untuned, fused, metric=METRIC, clusters=clusters, resamples=500),
        curve={
            "untuned": (0.482, 0.507, 0.531, 0.548, 0.553, 0.546, 0.521, 0.485),
            "tuned": (0.560, 0.581, 0.595, 0.604, 0.601, 0.588, 0.557, 0.512),
        },
    )


def _threshold(draw: random.Random) -> ScoreThreshold:
    """Cosines near .6 with the answer and near .4 without."""
    asked = []
    for number in range(100):
        score = draw.gauss(0.6, 0.1)
        others = min(draw.gauss(0.4, 0.1), score)
        asked.append(AskedTwice(f"d{number % 40}", score, draw.random() < score, others))
    return recommend(asked, model="tuned", resamples=200)


def _asked(untuned: Scores, tuned: Scores, clusters: dict[str, str]) -> AskedQuestions:
    """Half of the documents were seen in training."""
    groups = {}
    for name, odd in (("seen", 1), ("unseen", 0)):
        ids = {query for query, document in clusters.items() if int(document[1:]) % 2 == odd}
        means = {
            each.system: {METRIC: sum(each.per_query[query][METRIC] for query in ids) / len(ids)}
            for each in (untuned, tuned)
        }
        compared = compare(untuned, tuned, metric=METRIC, clusters=clusters, resamples=200)
        groups[name] = QuestionGroup(queries=len(ids), clusters=30, scores=means, comparison=compared)
    return AskedQuestions(benchmark="queries", total=240, held_out=False, **groups)


def _repeats(task: RetrievalTask, untuned: Scores, tuned: Scores, draw: random.Random) -> Repeats:
    others = [_scores(task, f"seed {seed}", 0.06, draw) for seed in (1, 2)]
    parts = [_scores(task, f"{share:.0%}", 0.08 * share, draw) for share in (0.25, 0.5)]
    trainings = [ScoredTraining(at, 1.0, 1400, 0.55, own) for at, own in enumerate([tuned, *others])]
    trainings += [
        ScoredTraining(0, share, round(1400 * share), 0.5, own)
        for share, own in zip((0.25, 0.5), parts, strict=True)
    ]
    return summarise_repeats(trainings, untuned, metric=METRIC, clusters=task.clusters, seed=0)


def _history(draw: random.Random) -> list[TrainingStep]:
    steps = [TrainingStep(step, {"loss": 2 / (1 + step / 8) + draw.gauss(0, 0.05)}) for step in range(1, 45)]
    return steps + [TrainingStep(11 * at, {f"dev_{METRIC}": 0.48 + 0.02 * at}) for at in range(5)]


def _map(draw: random.Random) -> EmbeddingMap:
    def near(point: tuple[float, float], spread: float) -> tuple[float, float]:
        return draw.gauss(point[0], spread), draw.gauss(point[1], spread)

    centres = [near((0, 0), 1.0) for _ in range(8)]
    spots = []
    for at in range(300):
        before = near(centres[at % 8], 0.35)
        kind = "question" if at < 120 else "passage"
        spots.append(Spot(kind, ATTACK if at % 50 == 0 else TEXT[:60], before, near(before, 0.2)))
    links = [(at, 120 + at, 0.6 if at < 5 else -0.4) for at in range(10)]
    return EmbeddingMap(spots, links, (0.14, 0.17), (0.52, 0.71), (0.55, 0.58))
