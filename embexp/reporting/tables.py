"""Numbers as text, and what the tables of the console and the report share: metrics and costs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from embexp.finetuning.training import Training
from embexp.reporting.outcome import Outcome


def signed(value: float) -> str:
    """Return a difference with its sign and three digits: ``+0.075``, ``−0.012``."""
    return f"{value:+.3f}".replace("-", "−")


def interval_text(interval: tuple[float, float]) -> str:
    """Return an interval as ``+0.012 … +0.034``."""
    return f"{signed(interval[0])} … {signed(interval[1])}"


def counted(number: int, word: str) -> str:
    """Return ``1 question`` or ``1,200 questions``."""
    return f"{number:,} {word}" if number == 1 else f"{number:,} {word}s"


def duration(seconds: float) -> str:
    """Return seconds in the units that people use: ``8.2 s``, ``4 min 05 s``, ``2 h 10 min``."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def training_time(training: Training) -> str:
    """Return ``86 s``, or after a resume, whose earlier parts nobody timed, since which step."""
    seconds, begin = f"{training.seconds:,.0f} s", training.resumed_from
    # A training that had ended before this run has its own seconds, and was "resumed" at its last step.
    if begin is None or begin >= training.steps:
        return seconds
    return f"{seconds} since it was resumed at step {begin:,}"


def shown_metrics(outcome: Outcome) -> list[str]:
    """Return every metric that any system has, starting with the one that the run was asked for."""
    metrics = list(dict.fromkeys(metric for values in outcome.scores.values() for metric in values))
    return sorted(metrics, key=lambda metric: metric != outcome.metric)


def best_value(scores: Mapping[str, Mapping[str, float]], metric: str) -> float:
    """Return the highest value of ``metric`` over the systems, rounded to three digits as tables show it."""
    return max(round(values[metric], 3) for values in scores.values() if metric in values)


COST_COLUMNS = ("embed", "per question", "index", "dimension")
COST_MEANING = (
    "Seconds to embed (or index) the corpus, milliseconds per question when many are asked together, and the "
    "size of the vectors or of BM25's scores. Cached: the vectors come from an earlier step or run, and the "
    "times were measured then."
)


@dataclass(frozen=True)
class CostRow:
    """One system's row of the cost table; ``numbers`` are the values behind ``texts``, to sort by."""

    system: str
    texts: tuple[str, ...]
    numbers: tuple[float, ...]
    note: str


def cost_rows(outcome: Outcome) -> list[CostRow]:
    """Return a row for each system, in the order of the scores; none if the run did not measure costs."""
    rows = []
    for system, cost in outcome.systems.items():
        numbers = (cost.embed_seconds, cost.query_seconds * 1e3, cost.index_bytes / 1e6, cost.dimension or 0)
        texts = (
            f"{numbers[0]:,.2f} s",
            f"{numbers[1]:,.2f} ms",
            f"{numbers[2]:,.2f} MB",
            str(cost.dimension or "–"),
        )
        rows.append(CostRow(system, texts, numbers, "cached" if cost.cached else ""))
    return rows
