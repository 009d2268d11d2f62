"""Which source documents move a comparison most, up and down."""

from __future__ import annotations

from collections import defaultdict

from embexp.benchmarking.slices import RESAMPLES, slice_of
from embexp.types import Query, RetrievalTask, Scores, Slice

SHOWN = 5
FEWEST_QUESTIONS = 2


def changed_documents(
    task: RetrievalTask,
    base: Scores,
    tuned: Scores,
    *,
    metric: str,
    seed: int = 0,
    resamples: int = RESAMPLES,
    shown: int = SHOWN,
) -> list[Slice]:
    """Return the documents whose questions gained most in sum, then those that lost most.

    The sum says what a document adds to the overall difference. Documents with a single question are left
    out: the biggest wins and losses tell of them. Within a document each question counts by itself, and
    its interval says how far its questions agree, where there are 10 or more.

    Args:
        task: The questions; each one's cluster is its source document.
        base: The untuned system's scores.
        tuned: The tuned system's scores.
        metric: The metric to compare.
        seed: Seeds the bootstrap.
        resamples: How many resamples each interval draws.
        shown: How many gaining documents, and how many losing ones, to return at most.
    """
    members: dict[str, list[Query]] = defaultdict(list)
    for query in task.queries:
        members[query.cluster].append(query)
    sums = {
        name: sum(tuned.per_query[each.id][metric] - base.per_query[each.id][metric] for each in queries)
        for name, queries in members.items()
        if len(queries) >= FEWEST_QUESTIONS
    }
    ranked = sorted(sums, key=lambda name: (-sums[name], name))
    gaining = [name for name in ranked[:shown] if sums[name] > 0]
    losing = [name for name in ranked[::-1][:shown] if sums[name] < 0]
    titles = _titles(task, {*gaining, *losing})
    return [
        slice_of(
            feature,
            titles.get(name, name),
            members[name],
            base,
            tuned,
            metric=metric,
            clusters={query.id: query.id for query in members[name]},
            seed=seed,
            resamples=resamples,
        )
        for feature, names in (("gaining most", gaining), ("losing most", losing))
        for name in names
    ]


def _titles(task: RetrievalTask, wanted: set[str]) -> dict[str, str]:
    """Return the title of each document's first chunk, up to its first heading; where it has one."""
    found: dict[str, str] = {}
    for chunk in task.corpus:
        if chunk.document_id in wanted and chunk.document_id not in found and chunk.title:
            found[chunk.document_id] = chunk.title.split(" > ")[0]
    return found
