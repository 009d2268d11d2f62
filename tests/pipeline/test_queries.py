"""A file of the user's own questions: judged by the file, or by a language model on a loopback server."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.llm import groq_server
from tests.pipeline.pipeline_settings import TINY

LLM = ["llm=groq", "llm.backoff_seconds=0.02", "llm.timeout_seconds=20"]
TOPICS = ["kettle", "bicycle", "garden", "piano"]


@pytest.fixture
def questions(tmp_path: Path) -> Path:
    """Twelve questions without ids, the last of which nothing in the knowledge base answers."""
    asked = [f"what does the {topic} number {number} need" for topic in TOPICS for number in range(3)]
    path = tmp_path / "questions.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in [*asked[:11], "who sings"]))
    return path


class Grader:
    """Grades 3 the page that the question names, 1 another page on its subject, 0 the rest."""

    def __init__(self) -> None:
        self.requests = 0
        self.passages = 0

    def __call__(self, body: dict[str, Any]) -> str:
        self.requests += 1
        text = str(body["messages"][-1]["content"])
        query = re.search(r"Query: (.*)", text)[1]
        items = re.findall(r"<passage-(\d+)-\w+>\n(.*?)\n</passage", text, re.DOTALL)
        self.passages += len(items)
        grades = [{"number": int(number), "grade": self.grade(query, passage)} for number, passage in items]
        return json.dumps({"grades": grades})

    def grade(self, query: str, passage: str) -> int:
        wanted = re.search(r"the (\w+) number (\d)", query)
        if wanted is None or wanted[1] not in passage:
            return 0
        return 3 if f"The {wanted[1]} {wanted[2]}" in passage else 1


@pytest.fixture
def grader(monkeypatch: pytest.MonkeyPatch) -> Iterator[Grader]:
    found = Grader()
    monkeypatch.setenv("GROQ_API_KEY", groq_server.KEY)
    with groq_server.running(content=found) as server:
        monkeypatch.setenv("GROQ_BASE_URL", server.url)
        yield found


def arguments(kb: Path, questions: Path) -> list[str]:
    return [
        "dataset=folder",
        f"dataset.path={kb}",
        "benchmark=queries",
        f"benchmark.questions.path={questions}",
        "tracker=none",
        "benchmark.judge_depth=4",
        *TINY,
    ]


def test_questions_without_ids_are_judged_and_no_answer_is_paid_for_twice(
    run, kb: Path, questions: Path, grader: Grader, tmp_path: Path
) -> None:
    done = run("benchmark", *arguments(kb, questions), *LLM, "hydra.run.dir=X")
    assert done.code == 0, done.err
    outcome = json.loads((tmp_path / "X/outcome.json").read_text())
    asked = grader.requests
    # Untuned, BM25 and hybrid: between 4 passages (all agree) and 12 a question.
    assert 12 * 4 <= outcome["judging"]["pairs"] == grader.passages <= 12 * 12
    assert (outcome["judging"]["left_out"], outcome["judging"]["unreadable"]) == (1, 0)
    assert outcome["judging"]["depth"] == 4
    said = " ".join(done.err.split())
    assert f"{asked} requests will judge {grader.passages} passages" in said
    assert f"judging: requests: {asked}" in said  # the estimate, said before anything is asked
    assert "Relevance was judged by" in done.out
    assert "Left out: 1 question without an answer." in done.out
    # BM25 finds the named page first wherever its number is a word of its own; the judge agrees.
    judgments = [json.loads(line) for line in (tmp_path / "X/judgments.jsonl").read_text().splitlines()]
    assert {row["grade"] for row in judgments} <= {0, 1, 3}
    assert len({row["query_id"] for row in judgments}) == 11
    assert outcome["scores"]["bm25"]["accuracy@10"] > 0.9

    again = run("benchmark", *arguments(kb, questions), *LLM, "hydra.run.dir=Y")
    assert again.code == 0, again.err
    second = json.loads((tmp_path / "Y/outcome.json").read_text())
    assert second["cached"] == ["synthesize", "benchmark"]
    assert (second["judging"], second["scores"]) == (outcome["judging"], outcome["scores"])
    shutil.rmtree(tmp_path / "outputs/cache/benchmark")
    third = run("benchmark", *arguments(kb, questions), *LLM, "hydra.run.dir=Z")
    assert third.code == 0, third.err
    assert json.loads((tmp_path / "Z/outcome.json").read_text())["scores"] == outcome["scores"]
    assert grader.requests == asked


def test_questions_with_ids_of_documents_are_scored_without_a_language_model(
    run, kb: Path, tmp_path: Path
) -> None:
    rows = [
        {"text": f"what does the {topic} number {number} need", "relevant": [f"{topic}{number}.md"]}
        for topic in TOPICS
        for number in range(4)
    ]
    (tmp_path / "q.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    done = run("benchmark", *arguments(kb, tmp_path / "q.jsonl"), "hydra.run.dir=X")
    assert done.code == 0, done.err
    outcome = json.loads((tmp_path / "X/outcome.json").read_text())
    assert outcome["judging"] is None
    assert outcome["scores"]["bm25"]["recall@10"] > 0.5
    said = " ".join(done.err.split())
    assert re.search(r"\b[1-9]\d? of 16 questions ask about documents that training pairs come from", said)


def test_card_report_outcome_and_closing_lines_tell_one_story_of_seen_documents(
    run, kb: Path, tmp_path: Path
) -> None:
    rows = [
        {"text": f"what does the {topic} number {number} need", "relevant": [f"{topic}{number}.md"]}
        for topic in TOPICS
        for number in range(10)
    ]
    (tmp_path / "q.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    done = run("run", *arguments(kb, tmp_path / "q.jsonl"), "hydra.run.dir=X")
    assert done.code == 0, done.err
    outcome = json.loads((tmp_path / "X/outcome.json").read_text())
    train = (tmp_path / "X/data/train.jsonl").read_text().splitlines()
    trained = {json.loads(line)["document_id"] for line in train}
    seen = sum(row["relevant"][0] in trained for row in rows)
    asked = outcome["questions"]
    assert (asked["benchmark"], asked["total"], asked["held_out"]) == ("queries", 40, False)
    assert (asked["seen"]["queries"], asked["unseen"]["queries"]) == (seen, 40 - seen)
    assert 0 < seen < 40
    for kind in ("seen", "unseen"):
        group = asked[kind]
        change = group["scores"]["tuned"]["ndcg@10"] - group["scores"]["untuned"]["ndcg@10"]
        assert group["comparison"]["delta"] == pytest.approx(change)
    unused = outcome["counts"]["pairs"]["test"]
    card, markdown = (tmp_path / "X/model/README.md").read_text(), (tmp_path / "X/report.md").read_text()
    page = (tmp_path / "X/report.html").read_text()
    note = f"{seen} of them about documents seen in training"
    for text in (done.out, card, markdown, page):
        assert note in " ".join(text.split())
    for text in (done.out, card, markdown):
        assert f"The {unused} pairs of the test split were not asked." in text
        for count, name in ((seen, "seen"), (40 - seen, "not seen")):
            assert f"{count} questions about documents {name} in training: ndcg@10" in text
    assert f"{unused} held out (test) and not asked" in card
    assert "verdict alone" not in card
    assert "<h2>Documents seen in training, and others</h2>" in page


def test_held_out_questions_need_no_second_table(run, kb: Path, tmp_path: Path) -> None:
    done = run("run", "dataset=folder", f"dataset.path={kb}", "tracker=none", *TINY, "hydra.run.dir=X")
    assert done.code == 0, done.err
    asked = json.loads((tmp_path / "X/outcome.json").read_text())["questions"]
    assert (asked["held_out"], asked["seen"]) == (True, None)
    assert "seen in training" not in done.out
    card = (tmp_path / "X/model/README.md").read_text()
    assert "questions of the test split. No training pair asks one of them." in card
    assert "Documents seen in training" not in (tmp_path / "X/report.html").read_text()


def test_a_mistake_in_the_file_ends_before_anything_is_trained(run, kb: Path, tmp_path: Path) -> None:
    (tmp_path / "q.csv").write_text("text,relevant\nwhat boils,kettle1.md\nwhat rolls,bicycle77.md\n")
    done = run("run", *arguments(kb, tmp_path / "q.csv"))
    assert done.code == 2
    last = " ".join(done.err.split())
    assert "q.csv:3: 'bicycle77.md' is neither a document nor a chunk of the corpus: did you mean" in last
    assert not (tmp_path / "outputs/cache/finetune").exists()


def test_without_ids_and_without_a_judge_the_remedy_is_named(run, kb: Path, questions: Path) -> None:
    done = run("benchmark", *arguments(kb, questions))
    assert done.code == 2
    assert "choose a language model to judge what is found, as in llm=groq" in " ".join(done.err.split())


def test_a_judge_that_finds_no_answer_ends_in_one_sentence(
    run, kb: Path, tmp_path: Path, grader: Grader
) -> None:
    (tmp_path / "q.csv").write_text("text\nwho sings\nwho dances\n")
    done = run("benchmark", *arguments(kb, tmp_path / "q.csv"), *LLM)
    assert done.code == 2
    assert "found no passage that answers any of the 2 questions" in " ".join(done.err.split())
