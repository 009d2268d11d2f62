"""A small invented run whose numbers can be checked by hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from embexp.benchmarking.approximate import IndexReport
from embexp.benchmarking.metrics import Scores
from embexp.benchmarking.repeats import LearningCurve, Repeat, Seeds
from embexp.benchmarking.retriever_choice import ServedRetriever
from embexp.benchmarking.statistics.comparison import Comparison
from embexp.benchmarking.task import Query, RetrievalTask
from embexp.data.leaks import Leaks
from embexp.data.records import Chunk
from embexp.finetuning.training import Training, TrainingStep
from embexp.reporting.outcome import Outcome
from embexp.retrieval.index import Hit

VALUES = {
    "untuned": {"q1": 0.0, "q2": 0.5, "q3": 1.0, "q4": 0.5},
    "tuned": {"q1": 1.0, "q2": 0.5, "q3": 0.5, "q4": 1.0},
    "bm25": {"q1": 0.0, "q2": 0.0, "q3": 0.0, "q4": 1.0},
}


@pytest.fixture
def scores() -> dict[str, Scores]:
    """Means of ndcg@10: untuned 0.5, tuned 0.75, bm25 0.25."""
    return {
        system: Scores(
            system,
            {"ndcg@10": sum(values.values()) / 4},
            {query: {"ndcg@10": value} for query, value in values.items()},
        )
        for system, values in VALUES.items()
    }


@pytest.fixture
def outcome() -> Outcome:
    history = [TrainingStep(step, {"loss": 1 / (step + 1)}) for step in range(5)]
    history += [TrainingStep(0, {"dev_ndcg@10": 0.4}), TrainingStep(4, {"dev_ndcg@10": 0.6})]
    return Outcome(
        dataset="kb",
        model="minilm",
        loss="mnrl",
        seed=7,
        counts={"documents": 1904, "chunks": 4210, "pairs": {"train": 1500, "dev": 200, "test": 4}},
        scores={
            "untuned": {"recall@10": 0.8, "ndcg@10": 0.5},
            "tuned": {"recall@10": 0.9, "ndcg@10": 0.75},
            "bm25": {"ndcg@10": 0.25},
        },
        comparison=Comparison("ndcg@10", 0.25, (0.05, 0.45), 0.01, 4, 3, "WIN"),
        leaks=Leaks(0, 12, 1, 13, 0),
        training=Training(1500, 24, 86.0, 17.4, None, 4, history),
        seconds={"synthesize": 12.0, "finetune": 91.0, "benchmark": 62.0},
        mlflow={"experiment": "embexp", "run_id": "4f1c"},
        model_dir="/runs/1/model",
        index=IndexReport("chroma", 0.995, 10, 1.0, 0.1, 0.2),
        cached=("synthesize",),
    )


@pytest.fixture
def repeated(outcome: Outcome) -> Outcome:
    """The outcome with a second seed, whose verdict is NO EVIDENCE, and with parts of the pairs."""
    win = outcome.comparison
    assert win
    doubt = replace(win, delta=0.2, interval=(-0.01, 0.41), verdict="NO EVIDENCE")
    runs = (Repeat(7, 1.0, 1500, 0.6, 0.75, win), Repeat(8, 1.0, 1500, None, 0.70, doubt))
    both = replace(win, delta=0.225, interval=(0.02, 0.43))
    points = (Repeat(7, 0.25, 375, 0.5, 0.60, doubt), Repeat(7, 0.5, 750, 0.5, 0.65, win), runs[0])
    last = replace(win, delta=0.1, interval=(0.02, 0.18))
    return outcome.model_copy(
        update={
            "seeds": Seeds("ndcg@10", 0.725, 0.0354, 0.70, 0.75, both, runs),
            "learning_curve": LearningCurve("ndcg@10", points, last),
        }
    )


@pytest.fixture
def served(outcome: Outcome) -> Outcome:
    """The outcome with a retriever to serve: the tuned model with BM25 at weight 0.4, +0.3 over untuned."""
    comparison = Comparison("ndcg@10", 0.3, (0.1, 0.5), 0.01, 4, 3, "WIN")
    retriever = ServedRetriever(
        model="tuned",
        fusion="convex",
        weight=0.4,
        adaptive=True,
        reason="within one standard error of the best on 200 dev questions (ndcg@10 0.640, best 0.650)",
        scores={"ndcg@10": 0.8},
        comparison=comparison,
        curve={
            "untuned": (0.4, 0.45, 0.5, 0.55, 0.55, 0.5, 0.45, 0.4),
            "tuned": (0.6, 0.62, 0.63, 0.65, 0.64, 0.6, 0.55, 0.5),
        },
    )
    return outcome.model_copy(update={"retriever": retriever})


@pytest.fixture
def verdict(outcome: Outcome) -> Callable[..., Outcome]:
    """Return the outcome with another verdict, interval and number of questions."""

    def change(name: str, interval: tuple[float, float], queries: int = 800) -> Outcome:
        assert outcome.comparison
        low, high = interval
        changed = replace(
            outcome.comparison,
            verdict=name,
            interval=interval,
            delta=(low + high) / 2,
            queries=queries,
            clusters=queries,
        )
        return outcome.model_copy(update={"comparison": changed})

    return change


@pytest.fixture
def task() -> RetrievalTask:
    """Four documents of two chunks each; question q1 is answered by d1, and so on."""
    corpus = [
        Chunk(
            f"c{n}{part}",
            f"d{n}",
            f"text of d{n} part {part}",
            title=f"Title {n}" if n > 1 else "",
            position=part,
        )
        for n in range(1, 5)
        for part in range(2)
    ]
    queries = [Query(f"q{n}", f"question {n}", f"d{n}") for n in range(1, 5)]
    return RetrievalTask("kb", corpus, queries, {f"q{n}": {f"d{n}": 1} for n in range(1, 5)}, "document")


@pytest.fixture
def rankings() -> dict[str, dict[str, list[Hit]]]:
    """q1's answer rises from rank 3 to 1; q3's falls out of the list."""
    orders = {
        "untuned": {"q1": "231", "q2": "234", "q3": "312", "q4": "143"},
        "tuned": {"q1": "123", "q2": "234", "q3": "124", "q4": "431"},
    }
    return {
        system: {
            query: [Hit(f"d{n}", 1 - rank / 10) for rank, n in enumerate(order)]
            for query, order in ranked.items()
        }
        for system, ranked in orders.items()
    }
