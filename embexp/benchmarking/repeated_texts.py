"""Texts that a task holds twice: copies of documents, and questions that are documents of the corpus."""

from __future__ import annotations

import hashlib
import logging
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import PurePath

from embexp.benchmarking.task import Qrels, Query, RepeatedTexts, RetrievalTask
from embexp.data.records import Chunk, Unit
from embexp.progress import track

log = logging.getLogger(__name__)

_WORD = re.compile(r"\w+")
_SHARED_WORDS = 0.5
_DEV = "dev"
"""The task that is built again for each training: at the level of the log, its lines would repeat."""


def settle_repeated_texts(
    task: RetrievalTask, *, merge: bool, originals: Sequence[Chunk] = ()
) -> RetrievalTask:
    """Return a task in which no question finds itself, and in which a copy of a right answer is right.

    A question whose own text is a document of the corpus (as in ArguAna, Quora or any search for duplicates)
    has that document left out of its hits, unless it is judged relevant. Units with the same text count as
    one, under the name of the one that is judged relevant, so that a system is not punished for which copy it
    ranks first. Copies that nobody judged stay as they are. Both are counted and logged.

    Args:
        task: The task.
        merge: Whether copies count as one.
        originals: The corpus as it was before the task changed its texts; empty for the task's own.
    """
    chunks = originals or task.corpus
    counted = partial(track, chunks, "Looking for repeated texts", total=len(chunks))
    own = _own_units(counted(), task.unit, task.queries, task.qrels)
    groups = copies_in(counted(), task.unit)
    relevant = {unit: None for grades in task.qrels.values() for unit, grade in grades.items() if grade > 0}
    judged = [group for group in groups if any(unit in relevant for unit in group)]
    counts = RepeatedTexts(
        duplicates=sum(len(group) - 1 for group in groups),
        judged_duplicates=sum(len(group) - 1 for group in judged),
        merged=merge and bool(judged),
        self_hits=len(own),
    )
    _log(task, counts, merge=merge)
    if not own and not counts.merged:
        return replace(task, repeated=counts)
    order = {unit: at for at, unit in enumerate(relevant)}
    copies: dict[str, str] = {}
    for group in judged if merge else []:
        first = min(group, key=lambda unit: order.get(unit, len(order)))
        copies.update({unit: first for unit in group if unit != first})
    qrels = _merged(task.qrels, copies)
    themselves = {
        query: frozenset(_not_relevant((copies.get(unit, unit) for unit in units), qrels.get(query, {})))
        for query, units in own.items()
    }
    return replace(task, qrels=qrels, copies=copies, own=themselves, repeated=counts)


def copies_in(chunks: Iterable[Chunk], unit: Unit) -> list[list[str]]:
    """Return the groups of units with the same text, in the order of the corpus.

    A document is the same as another one if all its chunks are. Case and white space make no difference, nor
    does a title that is the name of the file.
    """
    contents: dict[str, bytes] = {}
    for chunk in chunks:
        name = chunk.document_id if unit == "document" else chunk.id
        contents[name] = contents.get(name, b"") + content_of(chunk)
    groups: dict[bytes, list[str]] = defaultdict(list)
    for name, content in contents.items():
        groups[content].append(name)
    return [group for group in groups.values() if len(group) > 1]


def content_of(chunk: Chunk) -> bytes:
    """Return a digest of what a chunk says."""
    named = _folded(chunk.title) == _folded(PurePath(chunk.document_id).stem)
    return hashlib.blake2b(_folded(chunk.text if named else chunk.passage).encode(), digest_size=16).digest()


def _own_units(
    chunks: Iterable[Chunk], unit: Unit, queries: Sequence[Query], qrels: Qrels
) -> dict[str, set[str]]:
    """Return query id -> the units that are that question itself and are not judged relevant to it."""
    asked: dict[str, list[str]] = defaultdict(list)
    for query in queries:
        asked[_folded(query.text)].append(query.id)
    longest = max(map(len, asked), default=0)
    texts = {query.id: query.text for query in queries}
    own: dict[str, set[str]] = defaultdict(set)
    titles: dict[str, str] = {}
    whole: dict[str, str | None] = {}  # None for a text that is longer than any question, however it goes on
    for chunk in chunks:
        name = chunk.document_id if unit == "document" else chunk.id
        if name in texts and _is_own(texts[name], name, chunk):
            own[name].add(name)
        if (before := whole.get(name, "")) is not None:
            longer = f"{before} {_folded(chunk.text)}".strip()
            whole[name] = longer if len(longer) <= longest else None
            titles.setdefault(name, _folded(chunk.title))
    for name, text in whole.items():
        if text is None:
            continue
        for form in {text, f"{titles[name]} {text}".strip()}:
            for query_id in asked.get(form, ()):
                own[query_id].add(name)
    found = {query: set(_not_relevant(units, qrels.get(query, {}))) for query, units in own.items()}
    return {query: units for query, units in found.items() if units}


def _is_own(question: str, name: str, chunk: Chunk) -> bool:
    """Return whether a unit with a question's id is the question: mere numbers may agree by accident."""
    if not name.isdecimal():
        return True
    words = set(_WORD.findall(question.casefold()))
    shared = words & set(_WORD.findall(chunk.passage.casefold()))
    return len(shared) >= _SHARED_WORDS * len(words) > 0


def _not_relevant(units: Iterable[str], grades: Mapping[str, int]) -> list[str]:
    return [unit for unit in units if grades.get(unit, 0) <= 0]


def _merged(qrels: Qrels, copies: Mapping[str, str]) -> dict[str, dict[str, int]]:
    merged: dict[str, dict[str, int]] = {}
    for query, grades in qrels.items():
        best: dict[str, int] = {}
        for unit, grade in grades.items():
            name = copies.get(unit, unit)
            best[name] = max(grade, best.get(name, grade))
        merged[query] = best
    return merged


def _folded(text: str) -> str:
    return " ".join(text.casefold().split())


def _log(task: RetrievalTask, counts: RepeatedTexts, *, merge: bool) -> None:
    repeated = task.name == _DEV
    if counts.duplicates:
        how = "either copy counts as right" if merge else "only the judged copy counts as right"
        log.log(
            logging.DEBUG if repeated else logging.WARNING,
            "The corpus of the %s benchmark holds %s copies of %ss under other ids, %s of them copies of "
            "what answers a question: %s (benchmark.merge_duplicates).",
            *(task.name, f"{counts.duplicates:,}", task.unit, f"{counts.judged_duplicates:,}", how),
        )
    if counts.self_hits:
        log.log(
            logging.DEBUG if repeated else logging.INFO,
            "%s of %s questions of the %s benchmark are a %s of its corpus, which is no hit of theirs.",
            *(f"{counts.self_hits:,}", f"{len(task.queries):,}", task.name, task.unit),
        )
