"""The gate of a teacher: does it order the passages of held-out questions better than the student does?"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from embexp.benchmarking.metrics import evaluate
from embexp.benchmarking.statistics.comparison import MIN_CLUSTERS, Comparison, compare
from embexp.benchmarking.systems import first_passages, ordered_by, texts_of
from embexp.benchmarking.task import RetrievalTask
from embexp.data.sampling import shuffle_key
from embexp.finetuning.teachers.teacher import Teacher
from embexp.models.encoder import Embedder
from embexp.retrieval.exact import ExactRetriever

MOST_QUESTIONS = 200
"""More dev questions are sampled: a teacher may be slow, or cost money."""


@dataclass(frozen=True, slots=True)
class TeacherGate:
    """Whether a teacher may teach.

    Attributes:
        teacher: Its class.
        passed: Whether it orders passages better than the student, beyond chance.
        used: Whether the training learnt from it.
        reason: What was measured, as a sentence without its full stop.
        instead: The loss that trained without it; None where it was used.
        student: The untuned model's score on the dev questions; None where nothing could be measured.
        reranked: The score of the same passages in the teacher's order.
        comparison: The teacher's order minus the student's.
    """

    teacher: str
    passed: bool
    used: bool
    reason: str
    student: float | None = None
    reranked: float | None = None
    comparison: Comparison | None = None
    instead: str | None = None


def judge_teacher(
    task: RetrievalTask | None,
    teacher: Teacher,
    embedder: Embedder,
    *,
    depth: int,
    metric: str,
    seed: int,
    folder: Path,
) -> TeacherGate:
    """Compare the teacher's order of the student's first passages with the student's own.

    A teacher passes if the whole interval of the paired difference is above zero: an order that is no better
    than the student's has nothing to teach it.

    Args:
        task: The dev questions; None where there are none.
        teacher: The teacher.
        embedder: The student, untuned.
        depth: How many of the student's first passages the teacher orders.
        metric: The metric to compare by.
        seed: Fixes the sample of questions and the resampling.
        folder: Where an index may keep files.
    """
    name = type(teacher).__name__
    if task is None or not task.queries:
        reason = f"{name} cannot be compared with the student: there is no dev question"
        return TeacherGate(teacher=name, passed=False, used=False, reason=reason)
    task = _sampled(task, seed)
    prepared = teacher.prepared([chunk.passage for chunk in task.corpus], embedder)
    index = ExactRetriever().index(task.corpus, embedder, path=folder)
    passages = first_passages(task, index, k=depth)
    own = [hit.score for hits in passages.values() for hit in hits]
    taught = prepared.scores(texts_of(task, passages)).tolist()
    before, after = (
        evaluate(task, ordered_by(task, passages, scores), system=system, metrics=[metric])
        for system, scores in (("the student", own), (name, taught))
    )
    comparison = compare(before, after, metric=metric, clusters=task.clusters, seed=seed)
    return TeacherGate(
        teacher=name,
        passed=comparison.better,
        used=comparison.better,
        reason=_reason(name, before.mean[metric], after.mean[metric], comparison),
        student=before.mean[metric],
        reranked=after.mean[metric],
        comparison=comparison,
    )


def _sampled(task: RetrievalTask, seed: int) -> RetrievalTask:
    """Return the task with at most ``MOST_QUESTIONS`` questions."""
    names = sorted((query.id for query in task.queries), key=lambda name: shuffle_key(seed, name))
    kept = set(names[:MOST_QUESTIONS])
    return replace(task, queries=[query for query in task.queries if query.id in kept])


def _reason(name: str, student: float, reranked: float, comparison: Comparison) -> str:
    """Return what was measured, in a sentence."""
    low, high = comparison.interval
    measured = (
        f"on {comparison.queries} dev questions {comparison.metric} is {student:.3f} in the student's order "
        f"and {reranked:.3f} in that of {name} ({comparison.delta:+.3f}, {low:+.3f} to {high:+.3f})"
    )
    if comparison.better:
        return f"{name} orders passages better than the student: {measured}"
    if comparison.clusters < MIN_CLUSTERS:
        return f"{comparison.clusters} documents are too few to tell whether {name} helps: {measured}"
    return f"{name} does not order passages better than the student: {measured}"


def consequence(gate: TeacherGate) -> str:
    """Return what follows from a gate for the training, as a sentence; empty for a teacher that passed."""
    if gate.passed:
        return ""
    if gate.used:
        return "It was used all the same (loss.gate=warn)."
    return f"It was not used, and {gate.instead} trained instead (loss.gate=fallback)."
