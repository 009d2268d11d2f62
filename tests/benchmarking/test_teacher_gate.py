"""The gate of a teacher: what passes, what does not, and what is said about it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from embexp.benchmarking import teacher_gate
from embexp.benchmarking.task import Query, RetrievalTask
from embexp.benchmarking.teacher_gate import TeacherGate, consequence, judge_teacher
from embexp.data.records import Chunk, Unit
from embexp.finetuning.teachers import HybridTeacher, Teacher
from tests.retrieval.letter_embedder import RandomEmbedder


def task(questions: int, *, unit: Unit = "chunk") -> RetrievalTask:
    """Question n is answered by passage n; to a model with random vectors nothing is alike."""
    chunks = [
        Chunk(id=f"c{number}", document_id=f"d{number}", text=f"passage {number}")
        for number in range(questions)
    ]
    queries = [
        Query(id=f"q{number}", text=f"question {number}", cluster=f"d{number}") for number in range(questions)
    ]
    first = "c" if unit == "chunk" else "d"
    qrels = {f"q{number}": {f"{first}{number}": 1} for number in range(questions)}
    return RetrievalTask(name="dev", corpus=chunks, queries=queries, qrels=qrels, unit=unit)


class Knowing(Teacher):
    """Knows which passage answers a question; ``score`` says what follows for its score."""

    def __init__(self, score: Callable[[bool], float]) -> None:
        self.score = score
        self.asked: list[tuple[str, str]] = []

    def fingerprint(self) -> str:
        return "knowing"

    def scores(self, pairs: Sequence[tuple[str, str]]) -> np.ndarray:
        self.asked += pairs
        return np.array([self.score(query.split()[1] == passage.split()[1]) for query, passage in pairs])


def judged(asked: RetrievalTask | None, teacher: Teacher, folder: Path, depth: int = 10) -> TeacherGate:
    options = {"depth": depth, "metric": "ndcg@10", "seed": 0, "folder": folder}
    return judge_teacher(asked, teacher, RandomEmbedder(), **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("unit", ["chunk", "document"])
def test_a_teacher_that_knows_the_answers_passes(unit: Unit, tmp_path: Path) -> None:
    teacher = Knowing(float)
    gate = judged(task(60, unit=unit), teacher, tmp_path)

    assert (gate.passed, gate.used, gate.instead) == (True, True, None)
    assert gate.comparison is not None
    assert gate.comparison.verdict == "WIN"
    # Random vectors have the answer among the first 10 of 60 for some 10 questions, which it then puts first.
    assert gate.reranked is not None
    assert gate.student is not None
    assert gate.student < gate.reranked < 0.5
    assert gate.reason.startswith("Knowing orders passages better than the student: on 60 dev questions")
    assert consequence(gate) == ""
    assert len(teacher.asked) == 60 * 10


@pytest.mark.parametrize("score", [lambda knows: -float(knows), lambda knows: 0.0], ids=["wrong", "none"])
def test_a_teacher_that_knows_nothing_does_not_pass(score: Callable[[bool], float], tmp_path: Path) -> None:
    gate = judged(task(60), Knowing(score), tmp_path)

    assert (gate.passed, gate.used) == (False, False)
    assert gate.reason.startswith("Knowing does not order passages better than the student")


def test_the_student_as_its_own_teacher_has_nothing_to_teach(tmp_path: Path) -> None:
    gate = judged(task(40), HybridTeacher(weight=0.0), tmp_path)

    assert gate.student == gate.reranked
    assert gate.passed is False


def test_few_documents_cannot_tell(tmp_path: Path) -> None:
    gate = judged(task(9), Knowing(float), tmp_path)

    assert gate.passed is False
    assert gate.reason.startswith("9 documents are too few to tell whether Knowing helps")


def test_without_questions_there_is_no_evidence(tmp_path: Path) -> None:
    gate = judged(None, Knowing(float), tmp_path)

    assert (gate.passed, gate.comparison) == (False, None)
    assert gate.reason == "Knowing cannot be compared with the student: there is no dev question"


def test_many_questions_are_sampled_by_seed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(teacher_gate, "MOST_QUESTIONS", 15)
    one, other = Knowing(float), Knowing(float)
    first, second = judged(task(50), one, tmp_path, depth=3), judged(task(50), other, tmp_path, depth=3)

    assert first.comparison is not None
    assert first.comparison.queries == 15
    assert first == second
    assert one.asked == other.asked


@pytest.mark.parametrize(
    ("used", "sentence"),
    [
        (True, "It was used all the same (loss.gate=warn)."),
        (False, "It was not used, and Mnrl trained instead (loss.gate=fallback)."),
    ],
)
def test_what_follows_is_said(used: bool, sentence: str) -> None:
    gate = TeacherGate("T", passed=False, used=used, reason="", instead=None if used else "Mnrl")
    assert consequence(gate) == sentence
