"""Questions in a language that the model has never read are named before any training."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from embexp.data.records import Pair
from embexp.models.tiny import TinyModel
from embexp.pipeline.unread_language import warn_of_unread_language
from tests.pipeline.corpora import write_beir

RUSSIAN, ENGLISH = ["как закрепить корзину на раме"], ["how does the basket fit the frame"]
SAID = "spells 100% of the test questions' words letter by letter"


def pairs(questions: list[str]) -> list[Pair]:
    return [Pair(id=text, query=text, positive="a passage", document_id="d") for text in questions]


@pytest.mark.parametrize(
    ("asked", "trained", "said"),
    [
        (RUSSIAN, ENGLISH, True),
        (RUSSIAN, [], True),
        (RUSSIAN, RUSSIAN, False),  # the trainer adds tokens, or warns itself
        (ENGLISH, ENGLISH, False),
        ([], [], False),
    ],
)
def test_a_warning_comes_where_no_training_question_helps(
    asked: list[str], trained: list[str], said: bool, caplog: pytest.LogCaptureFixture
) -> None:
    warn_of_unread_language(TinyModel(), asked, pairs(trained))
    assert (SAID in caplog.text) is said
    assert all(record.levelno == logging.WARNING for record in caplog.records)


def beir(folder: Path, question: str) -> Path:
    """Four passages, each with a question."""
    parts = [f"The {name} fits the frame with two bolts." for name in ("basket", "lamp", "bell", "rack")]
    documents = [{"_id": str(at), "title": "", "text": text} for at, text in enumerate(parts)]
    questions = [{"_id": f"q{at}", "text": f"{question} {at}"} for at in range(4)]
    judged = [f"q{at}\t{at}\t1" for at in range(4)]
    return write_beir(folder, corpus=documents, queries=questions, test=judged)


@pytest.mark.parametrize("own", [False, True])
def test_it_comes_for_held_out_questions_and_for_a_benchmarks_own(run, own: bool, tmp_path: Path) -> None:
    russian, english = beir(tmp_path / "ru", *RUSSIAN), beir(tmp_path / "en", *ENGLISH)
    data = ["dataset=beir", f"dataset.path={english if own else russian}", "dataset.train=none"]
    asked = ["benchmark=beir", f"benchmark.dataset.path={russian}"] if own else []
    small = ["model=tiny", "retriever=exact", "tracker=none", "hydra.run.dir=X"]
    done = run("benchmark", *data, *asked, *small)
    assert done.code == 0, done.err
    assert done.err.count(SAID) == 1
