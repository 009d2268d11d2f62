"""Runs with a teacher: its gate, its price, and what is said where it cannot be had."""

from __future__ import annotations

import json
import random
import re
from pathlib import Path
from typing import Any

import pytest

from embexp.models.tiny import TinyModel
from tests.llm.chat_server import ChatServer, Response, Sent, chat, prompt_of, serving
from tests.pipeline.conftest import Ended, Run, run
from tests.pipeline.pipeline_settings import TINY

__all__ = ["run"]

LISTWISE = [
    *(option for option in TINY if option != "model=tiny"),
    *("loss=listwise", "loss.passages=6", "trainer.max_pairs=20", "tracker=none", "retriever=exact"),
    *("dataset=folder", "dataset.path=kb", "synthesis.target=150", "synthesis.query_types=[sentence]"),
    "synthesis.held_out_types=[sentence]",
    *("hydra.run.dir=out", "split.dev=0.4", "split.max_dev=24", "chunker=none"),
    *("model=local", "model.path=student", "model.max_tokens=12"),
]


TOPICS = ["kettle", "bicycle", "garden", "piano", "harbour", "bakery", "castle", "rocket", "violin", "window"]
PARTS = ["water", "steam", "spout", "lid", "heat", "handle", "chain", "wheel", "brake", "saddle", "gear"]
NAMES = [first + last for first in ("ba", "do", "fi", "gu", "ka", "lo", "mi") for last in ("rox", "zim")]


@pytest.fixture(autouse=True)
def kb(tmp_path: Path) -> Path:
    """Six pages on each topic, told apart by a name that the model, which reads 12 tokens, misses."""
    TinyModel().load().save_pretrained(str(tmp_path / "student"))
    folder = tmp_path / "kb"
    folder.mkdir()
    draw = random.Random(5)
    for topic in TOPICS:
        for number in range(6):
            sentences = [
                f"The {topic} that people on this page like best has the name {NAMES[number]}{topic} and "
                f"needs {' and '.join(draw.sample(PARTS, 3))} on day {draw.randrange(99)}."
                for _ in range(6)
            ]
            (folder / f"{topic}{number}.md").write_text(f"# {topic}\n\n{' '.join(sentences)}\n", "utf-8")
    return folder


def outcome(folder: Path) -> dict[str, Any]:
    result: dict[str, Any] = json.loads((folder / "out" / "outcome.json").read_text())
    return result


def words(ended: Ended) -> str:
    return " ".join((ended.out + ended.err).split())


def test_a_teacher_that_passes_teaches(run: Run, tmp_path: Path) -> None:
    """BM25 knows the names that the model does not read."""
    done = run("run", *LISTWISE, "loss.teacher.weight=0.9")

    assert done.code == 0, done.err
    gate = outcome(tmp_path)["teacher"]
    assert (gate["teacher"], gate["passed"], gate["used"]) == ("HybridTeacher", True, True)
    assert gate["comparison"]["verdict"] == "WIN"
    assert gate["reranked"] > gate["student"]
    assert "Training rows: 20 with the columns anchor, positive, negative_1" in words(done)
    sentence = "Teacher: HybridTeacher orders passages better than the student"
    assert sentence in words(done)
    assert sentence in (tmp_path / "out" / "report.md").read_text()
    assert sentence in (tmp_path / "out" / "report.html").read_text()


def test_a_teacher_that_does_not_help_is_not_used(run: Run, tmp_path: Path) -> None:
    """With a weight of 0 the teacher is the student."""
    done = run("run", *LISTWISE, "loss.teacher.weight=0")

    assert done.code == 0, done.err
    gate = outcome(tmp_path)["teacher"]
    assert (gate["passed"], gate["used"], gate["instead"]) == (False, False, "Mnrl")
    assert "with the columns anchor, positive" in words(done)
    assert "negative_1" not in words(done)
    assert "It was not used, and Mnrl trained instead" in words(done)
    assert "It was not used, and Mnrl trained instead" in (tmp_path / "out" / "report.md").read_text()

    again = run("run", *LISTWISE, "loss.teacher.weight=0")
    assert "teacher: nothing changed, taken from the cache" in words(again)
    assert outcome(tmp_path)["teacher"] == gate


def test_a_gate_can_end_the_run(run: Run, tmp_path: Path) -> None:
    done = run("run", *LISTWISE, "loss.teacher.weight=0", "loss.gate=stop")

    assert done.code == 2
    assert "does not order passages better than the student" in words(done)
    assert "loss.gate=stop ends the run: choose another teacher" in words(done)
    assert not (tmp_path / "out" / "model").exists()


@pytest.mark.parametrize("gate", ["warn", "off"])
def test_a_gate_can_let_a_teacher_pass(run: Run, tmp_path: Path, gate: str) -> None:
    done = run("finetune", *LISTWISE, "loss.teacher.weight=0", f"loss.gate={gate}")

    assert done.code == 0, done.err
    assert "Training rows: 20 with the columns anchor, positive, negative_1" in words(done)
    assert ("It was used all the same" in words(done)) == (gate == "warn")


def by_name(sent: Sent) -> Response:
    """Grade a passage by whether it has the name that the query has."""
    prompt = prompt_of(sent)
    query = re.search(r"^Query: .* the name (\w+)", prompt, re.MULTILINE)
    shown = re.findall(r"<passage-(\d+)-\w+>\n(.*?)\n</passage", prompt, re.DOTALL)
    wanted = query[1] if query else "nothing"
    grades = [{"number": int(number), "grade": 9 if wanted in text else 1} for number, text in shown]
    return chat(json.dumps({"grades": grades}))


def ranker(service: ChatServer) -> list[str]:
    return [
        *LISTWISE,
        "teacher@loss.teacher=llm_ranker",
        *("llm=openai_compatible", "llm.model=m", f"llm.base_url={service.url}"),
        "+llm.prices={m: {input: 1.0, output: 2.0}}",
    ]


def test_a_language_model_is_asked_once_for_each_query(run: Run, tmp_path: Path) -> None:
    with serving(by_name) as service:
        done = run("run", *ranker(service), "loss.gate=warn")
        assert done.code == 0, done.err
        asked = len(service.sent)
        gate = outcome(tmp_path)["teacher"]
        assert gate["teacher"] == "LlmRanker"
        assert asked == 20 + gate["comparison"]["queries"]  # 20 queries to train on, and those of dev
        assert "teacher: price: 0." in words(done)
        again = run("run", *ranker(service), "loss.gate=warn", "trainer.learning_rate=1e-4")
        assert again.code == 0, again.err
        assert len(service.sent) == asked  # another training: the answers are in the journal


def test_the_price_of_a_teacher_is_planned(run: Run, tmp_path: Path) -> None:
    with serving(by_name) as service:
        done = run("plan", *ranker(service))
        assert service.sent == []
    assert done.code == 0, done.err
    # Of 150 pairs at most 20 are trained on, and 0.4 of them are dev.
    assert "teacher: at most 80 queries, one request each" in words(done)
    assert "requests: 80" in words(done)
    assert re.search(r"price: 0\.\d\d US\$", words(done))


CANNOT_BE_HAD = {
    "a language model": (
        ["teacher@loss.teacher=llm_ranker"],
        "teacher=llm_ranker has a language model grade passages, and llm is not set: choose one that chats",
    ),
    "one that chats": (
        ["teacher@loss.teacher=llm_ranker", "llm=llamacpp"],
        "only completes text: choose a model that chats",
    ),
    "a key": (
        ["teacher@loss.teacher=llm_ranker", "llm=groq"],
        "GROQ_API_KEY",
    ),
    "a GGUF file": (
        ["teacher@loss.teacher=query_likelihood", "loss.teacher.model_path=nowhere.gguf"],
        "teacher.model_path=nowhere.gguf: there is no such file",
    ),
    "a folder": (
        ["teacher@loss.teacher=cross_encoder", "loss.teacher.model=./nowhere"],
        "teacher.model=./nowhere: there is no such folder",
    ),
    "a model of the Hub, offline": (
        ["teacher@loss.teacher=cross_encoder", "loss.teacher.model=owner/teacher"],
        "teacher.model=owner/teacher: it is not in the cache and the Hugging Face Hub cannot be reached",
    ),
    "a loss to fall back on": (
        ["~loss.fallback"],
        "loss.fallback is not set: give one, as in loss@loss.fallback=mnrl",
    ),
}


@pytest.mark.parametrize("case", CANNOT_BE_HAD)
@pytest.mark.parametrize("command", ["run", "finetune"])
def test_what_a_teacher_needs_is_missed_before_anything_is_written(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: str, command: str
) -> None:
    monkeypatch.delenv("GROQ_API_KEY", raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    options, sentence = CANNOT_BE_HAD[case]
    done = run(command, *LISTWISE, *options)

    assert done.code != 0
    assert sentence in words(done)
    assert "Traceback" not in done.err
    assert not (tmp_path / "outputs" / "cache" / "pairs").exists()
    assert not (tmp_path / "out" / "data").exists()
