"""Numbers and tables as people read them: signs, counts, metrics, and what each system costs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from embexp.reporting.outcome import Outcome


def signed(value: float) -> str:
    """Return a difference with its sign and three digits: ``+0.075``, ``−0.012``."""
    return f"{value:+.3f}".replace("-", "−")


def spelled(interval: tuple[float, float]) -> str:
    """Return an interval as ``+0.012 … +0.034``."""
    return f"{signed(interval[0])} … {signed(interval[1])}"


def counted(number: int, word: str) -> str:
    """Return ``1 question`` or ``1,200 questions``."""
    return f"{number:,} {word}" if number == 1 else f"{number:,} {word}s"


def shown_metrics(outcome: Outcome) -> list[str]:
    """Return every metric that a system has, the one that the verdict rests on first."""
    found = dict.fromkeys(metric for values in outcome.scores.values() for metric in values)
    if outcome.comparison and outcome.comparison.metric in found:
        first = outcome.comparison.metric
        return [first, *(metric for metric in found if metric != first)]
    return list(found)


def best_value(scores: Mapping[str, Mapping[str, float]], metric: str) -> float:
    """Return the highest value of ``metric`` over the systems, rounded as it is shown."""
    return max(round(values[metric], 3) for values in scores.values() if metric in values)


COLUMNS = ("embed", "per question", "index", "dimension")
CACHED = "cached"
MEANING = (
    "Seconds to embed (or index) the corpus, milliseconds for one of many questions asked together, and the "
    "size of the vectors or of BM25's scores. Cached: an earlier step or run made the vectors, and the times "
    "are those that were measured then."
)


@dataclass(frozen=True)
class CostRow:
    """One system's line; ``numbers`` are what ``texts`` say, to sort by."""

    system: str
    texts: tuple[str, ...]
    numbers: tuple[float, ...]
    note: str


def cost_rows(outcome: Outcome) -> list[CostRow]:
    """Return a line for each system, in the order of the scores; none for a run that did not measure."""
    rows = []
    for system, cost in outcome.systems.items():
        numbers = (cost.embed_seconds, cost.query_seconds * 1e3, cost.index_bytes / 1e6, cost.dimension or 0)
        texts = (
            f"{numbers[0]:,.2f} s",
            f"{numbers[1]:,.2f} ms",
            f"{numbers[2]:,.2f} MB",
            str(cost.dimension or "–"),
        )
        rows.append(CostRow(system, texts, numbers, CACHED if cost.cached else ""))
    return rows
