"""A folder and a table of people's questions: one command says whether tuning helps those questions."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from tests.pipeline.conftest import TOPICS, Run, article, write_lines
from tests.pipeline.pipeline_settings import TINY


@pytest.fixture(scope="module")
def articles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder kb/ of 200 articles, and questions.csv with 60 questions about as many of them."""
    root = tmp_path_factory.mktemp("articles")
    draw = random.Random(11)
    names = []
    for at in range(200):
        topic = list(TOPICS)[at % len(TOPICS)]
        path = root / "kb" / topic / f"{topic}-{at}.md"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(article(topic, at, draw))
        names.append(f"{topic}-{at}")
    asked = draw.sample(names, 60)
    rows = [
        f"what does number {name.rpartition('-')[2]} of the {name.partition('-')[0]}s need,{name}"
        for name in asked
    ]
    write_lines(root / "questions.csv", ["question,file", *rows])
    return root


def records(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def options(articles: Path, *others: str) -> list[str]:
    own = [f"dataset.path={articles / 'kb'}", f"dataset.questions={articles / 'questions.csv'}"]
    return [
        "dataset=folder",
        *own,
        "tracker=none",
        *TINY,
        "split.max_test=1000",
        "synthesis.target=150",
        *others,
    ]


def test_one_command_says_whether_tuning_helps_my_questions(run: Run, articles: Path, tmp_path: Path) -> None:
    done = run("run", *options(articles), "hydra.run.dir=X")
    assert done.code == 0, done.err
    data = tmp_path / "X" / "data"
    train, dev, test = (records(data / f"{name}.jsonl") for name in ("train", "dev", "test"))
    assert {pair["query_type"] for pair in test} == {"human"}
    assert len(test) == 30  # half of the 60 documents that questions are about
    assert sum(pair["query_type"] == "human" for pair in dev) == 12
    people = [pair for pair in train if pair["query_type"] == "human"]
    assert people
    assert len(people) < len(train)  # extracted questions train, too
    held_out = {pair["document_id"] for pair in [*dev, *test]}
    assert not held_out & {pair["document_id"] for pair in train}
    for pair in people:
        assert pair["document_id"].rpartition("-")[2].removesuffix(".md") in pair["positive"]
    outcome = json.loads((tmp_path / "X" / "outcome.json").read_text())
    assert outcome["comparison"]["queries"] == 30
    assert outcome["questions"]["seen"] is None
    verdict = outcome["comparison"]["verdict"]
    assert f"{verdict}: " in done.out
    assert "30 questions from 30 documents" in done.out


def test_questions_are_benchmarked_without_any_training_pair(
    run: Run, articles: Path, tmp_path: Path
) -> None:
    own = ["dataset.questions_for=test", "synthesis=none", "split.dev=0"]
    asked = [each for each in options(articles, *own) if not each.startswith("synthesis.")]
    done = run("benchmark", *asked, "retriever=exact", "hydra.run.dir=B")
    assert done.code == 0, done.err
    outcome = json.loads((tmp_path / "B" / "outcome.json").read_text())
    assert outcome["counts"]["pairs"] == {"train": 0, "dev": 0, "test": 60}
    assert outcome["questions"]["total"] == 60
