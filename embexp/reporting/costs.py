"""What each system takes, as people read it: seconds for the corpus, milliseconds a question, megabytes."""

from __future__ import annotations

from dataclasses import dataclass

from embexp.types import Outcome

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
