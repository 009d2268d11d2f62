"""Which source documents move a comparison most, up and down."""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from embexp.benchmarking.metrics import Scores
from embexp.benchmarking.statistics.comparison import MIN_CLUSTERS, compare
from embexp.benchmarking.task import Query, RetrievalTask


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


WORD = re.compile(r"\w+")
LENGTHS = ((5, "1 to 5 words"), (10, "6 to 10 words"), (20, "11 to 20 words"))
LONG = "over 20 words"
OVERLAPS = ((1 / 3, "up to a third of the words"), (2 / 3, "up to two thirds"))
MOST_SHARED = "more than two thirds"
RARITIES = ("the most common third", "the middle third", "the rarest third")
RESAMPLES = 2_000


def slices(
    task: RetrievalTask,
    base: Scores,
    tuned: Scores,
    *,
    metric: str,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> list[Slice]:
    """Sort the questions by four features, and compare two systems on each kind.

    - query type: as the pairs say (human, title, keyword …);
    - length: in words;
    - shared words: the share of the question's distinct words that its relevant passage holds, the
      most over its relevant passages; few shared words ask for meaning, many for matching;
    - rarity of terms: thirds by the mean of ln((chunks + 1) / (chunks that hold the word + 1)).

    Args:
        task: The questions, their judgments and the corpus.
        base: The untuned system's scores.
        tuned: The tuned system's scores.
        metric: The metric to compare.
        seed: Seeds the bootstrap.
        resamples: How many resamples each interval draws.

    Returns:
        The slices, feature by feature; a feature that puts all questions into one slice is left out.
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
    clusters = {query.id: query.cluster for query in task.queries}
    found = []
    for feature, kind in features.items():
        members: dict[str, list[Query]] = defaultdict(list)
        for query in task.queries:
            members[kind(query)].append(query)
        if len(members) > 1:
            found += [
                slice_of(
                    feature,
                    name,
                    members[name],
                    base,
                    tuned,
                    metric=metric,
                    clusters=clusters,
                    seed=seed,
                    resamples=resamples,
                )
                for name in _ordered(feature, members)
            ]
    return found


def _words(text: str) -> list[str]:
    return WORD.findall(text.casefold())


def _band(value: float, bands: Sequence[tuple[float, str]], last: str) -> str:
    return next((name for bound, name in bands if value <= bound + 1e-9), last)


def _frequencies(task: RetrievalTask, questions: Iterable[frozenset[str]]) -> Counter[str]:
    """Return how many chunks hold each word that a question uses."""
    asked = frozenset().union(*questions)
    counts: Counter[str] = Counter()
    for chunk in task.corpus:
        counts.update(asked.intersection(_words(chunk.passage)))
    return counts


def _shared(task: RetrievalTask, words: Mapping[str, frozenset[str]]) -> dict[str, float]:
    """Return the share of each question's words that stand in its relevant unit, the most over such units."""
    asking: dict[str, set[str]] = defaultdict(set)
    for name, judged in task.qrels.items():
        for unit, grade in judged.items():
            if grade > 0 and name in words:
                asking[unit].add(name)
    met: dict[tuple[str, str], set[str]] = defaultdict(set)
    for chunk in task.corpus:
        unit = chunk.document_id if task.unit == "document" else chunk.id
        if unit in asking:
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
    natural = (
        *(name for _, name in (*LENGTHS,)),
        LONG,
        *(name for _, name in OVERLAPS),
        MOST_SHARED,
        *RARITIES,
    )
    if feature == "query type":
        return sorted(members, key=lambda name: (-len(members[name]), name))
    return [name for name in natural if name in members]


def slice_of(
    feature: str,
    name: str,
    queries: Sequence[Query],
    base: Scores,
    tuned: Scores,
    *,
    metric: str,
    clusters: Mapping[str, str],
    seed: int,
    resamples: int,
) -> Slice:
    """Compare two systems on some of the questions.

    Args:
        feature: What the questions were sorted by.
        name: Which kind these are.
        queries: The questions.
        base: The untuned system's scores.
        tuned: The tuned system's scores.
        metric: The metric to compare.
        clusters: Query id -> what is resampled together; fewer than 10 such groups have no interval.
        seed: Seeds the bootstrap.
        resamples: How many resamples the interval draws.
    """
    parts = [
        Scores(scores.system, scores.mean, {query.id: scores.per_query[query.id] for query in queries})
        for scores in (base, tuned)
    ]
    found = compare(parts[0], parts[1], metric=metric, clusters=clusters, seed=seed, resamples=resamples)
    before, after = (
        sum(part.per_query[query.id][metric] for query in queries) / len(queries) for part in parts
    )
    return Slice(
        feature=feature,
        name=name,
        queries=len(queries),
        clusters=found.clusters,
        before=before,
        after=after,
        delta=found.delta,
        interval=found.interval if found.clusters >= MIN_CLUSTERS else None,
    )


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
