"""Comparisons on parts of the questions: by kind of question, and by source document."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from embexp.benchmarking.metrics import Scores
from embexp.benchmarking.statistics.comparison import MIN_CLUSTERS, Comparison, compare
from embexp.benchmarking.task import Query, RetrievalTask
from embexp.data.words import terms


@dataclass(frozen=True, slots=True)
class Slice:
    """A group of questions: their mean scores before and after tuning, and the difference.

    ``feature`` is what the questions are grouped by (query type, length …), ``name`` the group.
    ``interval`` is the difference's 95% interval, None where there are too few source documents.
    """

    feature: str
    name: str
    queries: int
    clusters: int
    before: float
    after: float
    delta: float
    interval: tuple[float, float] | None


LENGTHS = ((5, "1 to 5 words"), (10, "6 to 10 words"), (20, "11 to 20 words"))
LONG = "over 20 words"
OVERLAPS = ((1 / 3, "up to a third of the words"), (2 / 3, "up to two thirds"))
MOST_SHARED = "more than two thirds"
RARITIES = ("the most common third", "the middle third", "the rarest third")
RESAMPLES = 2_000
SHOWN = 5
MIN_QUESTIONS = 2


def slices(
    task: RetrievalTask,
    base: Scores,
    tuned: Scores,
    *,
    metric: str,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> list[Slice]:
    """Group the questions by four features, and compare two systems on each group.

    - query type: that of the pairs (human, title, keyword …);
    - length: in words;
    - shared words: the share of the question's distinct words that a relevant passage contains, the
      maximum over relevant passages; few shared words require meaning, many only matching;
    - rarity of terms: thirds by the mean of ln((chunks + 1) / (chunks that contain the word + 1)).

    Args:
        task: The questions, their judgments and the corpus.
        base: The untuned system's scores.
        tuned: The tuned system's scores.
        metric: The metric to compare.
        seed: Seeds the bootstrap.
        resamples: How many resamples each interval draws.

    Returns:
        The slices, feature by feature; features with a single group are left out.
        Intervals are not corrected for the number of slices.
    """
    words = {query.id: frozenset(_words(query.text)) for query in task.queries}
    frequencies = _frequencies(task, words.values())
    shared = _shared(task, words)
    thirds = _thirds(task, words, frequencies)
    features: dict[str, Callable[[Query], str]] = {
        "query type": lambda query: query.query_type,
        "length": lambda query: _band(len(_words(query.text)), LENGTHS, LONG),
        "shared words": lambda query: _band(shared[query.id], OVERLAPS, MOST_SHARED),
        "rarity of terms": lambda query: thirds[query.id],
    }
    clustered_compare = partial(
        compare, metric=metric, clusters=task.clusters, seed=seed, resamples=resamples
    )
    results = []
    for feature, group_of in features.items():
        members: dict[str, list[Query]] = defaultdict(list)
        for query in task.queries:
            members[group_of(query)].append(query)
        if len(members) > 1:
            results += [
                _slice(feature, name, members[name], base, tuned, clustered_compare)
                for name in _ordered(feature, members)
            ]
    return results


def _words(text: str) -> list[str]:
    return terms(text.casefold())


def _band(value: float, bands: Sequence[tuple[float, str]], last: str) -> str:
    return next((name for bound, name in bands if value <= bound + 1e-9), last)


def _frequencies(task: RetrievalTask, questions: Iterable[frozenset[str]]) -> Counter[str]:
    """Return how many chunks contain each word of the questions."""
    asked = frozenset().union(*questions)
    counts: Counter[str] = Counter()
    for chunk in task.corpus:
        counts.update(asked.intersection(_words(chunk.passage)))
    return counts


def _shared(task: RetrievalTask, words: Mapping[str, frozenset[str]]) -> dict[str, float]:
    """Return the share of each question's words that a relevant unit contains, the maximum over units."""
    asking: dict[str, set[str]] = defaultdict(set)
    for name, judged in task.qrels.items():
        for unit, grade in judged.items():
            if grade > 0 and name in words:
                asking[unit].add(name)
    met: dict[tuple[str, str], set[str]] = defaultdict(set)
    for chunk in task.corpus:
        if (unit := task.unit_of(chunk)) in asking:
            held = frozenset(_words(chunk.passage))
            for name in asking[unit]:
                met[name, unit] |= held & words[name]
    most = dict.fromkeys(words, 0)
    for (name, _), words_met in met.items():
        most[name] = max(most[name], len(words_met))
    return {name: most[name] / max(len(asked), 1) for name, asked in words.items()}


def _thirds(
    task: RetrievalTask, words: Mapping[str, frozenset[str]], frequencies: Mapping[str, int]
) -> dict[str, str]:
    total = len(task.corpus) + 1
    rarity = {
        name: sum(math.log(total / (frequencies.get(word, 0) + 1)) for word in asked) / max(len(asked), 1)
        for name, asked in words.items()
    }
    ranked = sorted(rarity, key=lambda name: (rarity[name], name))
    return {name: RARITIES[3 * at // len(ranked)] for at, name in enumerate(ranked)}


def _ordered(feature: str, members: Mapping[str, Sequence[Query]]) -> list[str]:
    """Return a feature's slices in their natural order; query types by their number of questions."""
    lengths, overlaps = [name for _, name in LENGTHS], [name for _, name in OVERLAPS]
    natural = (*lengths, LONG, *overlaps, MOST_SHARED, *RARITIES)
    if feature == "query type":
        return sorted(members, key=lambda name: (-len(members[name]), name))
    return [name for name in natural if name in members]


def _slice(
    feature: str,
    name: str,
    queries: Sequence[Query],
    base: Scores,
    tuned: Scores,
    compare_systems: partial[Comparison],
) -> Slice:
    """Compare two systems on some of the questions."""
    metric = compare_systems.keywords["metric"]
    parts = [
        Scores(scores.system, scores.mean, {query.id: scores.per_query[query.id] for query in queries})
        for scores in (base, tuned)
    ]
    comparison = compare_systems(*parts)
    before, after = (
        sum(part.per_query[query.id][metric] for query in queries) / len(queries) for part in parts
    )
    return Slice(
        feature=feature,
        name=name,
        queries=len(queries),
        clusters=comparison.clusters,
        before=before,
        after=after,
        delta=comparison.delta,
        interval=comparison.interval if comparison.clusters >= MIN_CLUSTERS else None,
    )


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
    """Return the documents with the biggest total gains, then those with the biggest total losses.

    The total is what a document contributes to the overall difference. Documents with a single question
    are left out, as ``biggest_changes`` covers them. Within a document each question is a cluster of its
    own, so that there is an interval for 10 or more questions.

    Args:
        task: The questions; each one's cluster is its source document.
        base: The untuned system's scores.
        tuned: The tuned system's scores.
        metric: The metric to compare.
        seed: Seeds the bootstrap.
        resamples: How many resamples each interval draws.
        shown: The most gaining documents, and the most losing ones, to return.
    """
    members: dict[str, list[Query]] = defaultdict(list)
    for query in task.queries:
        members[query.cluster].append(query)
    sums = {
        name: sum(tuned.per_query[each.id][metric] - base.per_query[each.id][metric] for each in queries)
        for name, queries in members.items()
        if len(queries) >= MIN_QUESTIONS
    }
    ranked = sorted(sums, key=lambda name: (-sums[name], name))
    gaining = [name for name in ranked[:shown] if sums[name] > 0]
    losing = [name for name in ranked[::-1][:shown] if sums[name] < 0]
    titles = _titles(task, {*gaining, *losing})
    # A missing query is its own cluster: within a document each question counts by itself.
    plain_compare = partial(compare, metric=metric, clusters={}, seed=seed, resamples=resamples)
    return [
        _slice(feature, titles.get(name, name), members[name], base, tuned, plain_compare)
        for feature, names in (("gaining most", gaining), ("losing most", losing))
        for name in names
    ]


def _titles(task: RetrievalTask, wanted: set[str]) -> dict[str, str]:
    """Return the first part of each document's title, for documents that have one."""
    titles: dict[str, str] = {}
    for chunk in task.corpus:
        if chunk.document_id in wanted and chunk.document_id not in titles and chunk.title:
            titles[chunk.document_id] = chunk.title.split(" > ")[0]
    return titles
