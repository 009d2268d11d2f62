"""The questions whose scores changed most, with both models' first results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from embexp.benchmarking.metrics import Scores
from embexp.benchmarking.systems import TUNED, UNTUNED
from embexp.benchmarking.task import RetrievalTask
from embexp.retrieval.index import Hit

SNIPPET_CHARACTERS = 280


@dataclass(frozen=True, slots=True)
class Ranked:
    """One result of an example; ``move`` is its rank before minus its rank now, None for a new result."""

    rank: int
    title: str
    text: str
    relevant: bool
    move: int | None = None


@dataclass(frozen=True, slots=True)
class Example:
    """A question with its score before and after tuning, and both rankings.

    ``answer_before`` and ``answer_after`` are the ranks of the first relevant result, None where no
    relevant result is among the hits that were kept.
    """

    query_id: str
    query: str
    before: float
    after: float
    untuned: Sequence[Ranked]
    tuned: Sequence[Ranked]
    answer_before: int | None
    answer_after: int | None

    @property
    def delta(self) -> float:
        """The question's score after minus its score before."""
        return self.after - self.before


def biggest_changes(
    task: RetrievalTask,
    scores: Mapping[str, Scores],
    rankings: Mapping[str, Mapping[str, Sequence[Hit]]],
    *,
    metric: str,
    count: int = 5,
    depth: int = 5,
) -> list[Example]:
    """Return the questions with the biggest gains and losses from ``untuned`` to ``tuned``.

    Args:
        task: The questions, their judgments and the corpus.
        scores: System -> scores; only ``untuned`` and ``tuned`` are read.
        rankings: System -> query id -> hits, best first; ids are of ``task.unit``.
        metric: The metric that decides, such as ``ndcg@10``.
        count: The most wins, and the most losses, to return.
        depth: How many results of each ranking to show.

    Returns:
        Wins, the biggest first, then losses, the biggest first; ties are in the order of query ids.
    """
    before, after = (scores[system].per_query for system in (UNTUNED, TUNED))
    deltas = {query_id: after[query_id][metric] - before[query_id][metric] for query_id in after}
    ranked = sorted(deltas, key=lambda query_id: (-deltas[query_id], query_id))
    wins = [query_id for query_id in ranked[:count] if deltas[query_id] > 0]
    by_loss = sorted(deltas, key=lambda query_id: (deltas[query_id], query_id))
    losses = [query_id for query_id in by_loss[:count] if deltas[query_id] < 0]
    kept = {query_id: (rankings[UNTUNED][query_id], rankings[TUNED][query_id]) for query_id in wins + losses}
    texts = _texts(task, {hit.id for pair in kept.values() for hits in pair for hit in hits[:depth]})
    queries = {query.id: query.text for query in task.queries if query.id in kept}
    return [
        Example(
            query_id=query_id,
            query=queries[query_id],
            before=before[query_id][metric],
            after=after[query_id][metric],
            untuned=_shown(kept[query_id][0], (), task.qrels[query_id], texts, depth),
            tuned=_shown(kept[query_id][1], kept[query_id][0], task.qrels[query_id], texts, depth),
            answer_before=_first_relevant(kept[query_id][0], task.qrels[query_id]),
            answer_after=_first_relevant(kept[query_id][1], task.qrels[query_id]),
        )
        for query_id in wins + losses
    ]


def _texts(task: RetrievalTask, wanted: set[str]) -> dict[str, tuple[str, str]]:
    """Return unit id -> (title, beginning of the text); a document is shown by its first chunk."""
    texts: dict[str, tuple[str, str]] = {}
    for chunk in task.corpus:
        unit = task.unit_of(chunk)
        if unit in wanted and unit not in texts:
            texts[unit] = (chunk.title or chunk.document_id, snippet(chunk.text))
    return texts


def _shown(
    hits: Sequence[Hit],
    earlier: Sequence[Hit],
    judged: Mapping[str, int],
    texts: Mapping[str, tuple[str, str]],
    depth: int,
) -> tuple[Ranked, ...]:
    ranks = {hit.id: rank for rank, hit in enumerate(earlier, start=1)}
    return tuple(
        Ranked(
            rank=rank,
            title=texts[hit.id][0],
            text=texts[hit.id][1],
            relevant=judged.get(hit.id, 0) > 0,
            move=ranks[hit.id] - rank if hit.id in ranks else None,
        )
        for rank, hit in enumerate(hits[:depth], start=1)
    )


def _first_relevant(hits: Sequence[Hit], judged: Mapping[str, int]) -> int | None:
    return next((rank for rank, hit in enumerate(hits, start=1) if judged.get(hit.id, 0) > 0), None)


def snippet(text: str, limit: int = SNIPPET_CHARACTERS) -> str:
    """Return the beginning of ``text`` on one line, cut at a word."""
    line = " ".join(text.split())
    if len(line) <= limit:
        return line
    return line[:limit].rsplit(" ", 1)[0] + " …"
