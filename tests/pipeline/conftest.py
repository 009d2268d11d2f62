"""A small knowledge base, labelled data made from it, and commands run inside the test's process."""

from __future__ import annotations

import importlib
import random
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.pipeline.corpora import write_beir

TOPICS = {
    "kettle": "boil water tea steam spout lid heat handle pour whistle",
    "bicycle": "pedal chain wheel brake saddle gear tyre pump frame bell",
    "garden": "soil seed water weed sun rake bloom compost root prune",
    "piano": "key string hammer pedal tune chord scale bench sheet lid",
    "harbour": "ship anchor crane tide dock rope pilot cargo buoy wave",
    "bakery": "flour oven yeast crust dough loaf salt butter knead tray",
}


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str


Run = Callable[..., Ended]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    """Run a command of embexp in an empty folder, in this process, and return how it ended."""
    from hydra.core.global_hydra import GlobalHydra

    monkeypatch.chdir(tmp_path)

    def call(name: str, *arguments: str) -> Ended:
        GlobalHydra.instance().clear()
        monkeypatch.setattr(sys, "argv", [name, *arguments])
        monkeypatch.setenv("HYDRA_FULL_ERROR", "0")
        code = 0
        try:
            importlib.import_module(f"embexp.{name}").main()
        except SystemExit as end:
            code = int(end.code or 0)
        captured = capfd.readouterr()
        return Ended(code, captured.out, captured.err)

    return call


def article(topic: str, number: int, draw: random.Random) -> str:
    words = TOPICS[topic].split()
    sentences = [
        f"The {topic} number {number} needs {draw.choice(words)} and {draw.choice(words)} on day "
        f"{draw.randrange(99)} of the {draw.choice(words)} season."
        for _ in range(6)
    ]
    return f"# The {topic} {number}\n\n" + " ".join(sentences) + "\n"


@pytest.fixture
def kb(tmp_path: Path) -> Path:
    """A folder of 60 Markdown pages on six topics."""
    return write_kb(tmp_path / "kb")


@pytest.fixture(scope="module")
def shared_kb(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same folder, once for all tests of a file."""
    return write_kb(tmp_path_factory.mktemp("shared") / "kb")


def write_kb(folder: Path) -> Path:
    folder.mkdir()
    draw = random.Random(7)
    for topic in TOPICS:
        for number in range(10):
            (folder / f"{topic}{number}.md").write_text(article(topic, number, draw), encoding="utf-8")
    return folder


@pytest.fixture
def beir(tmp_path: Path) -> Path:
    """A labelled set in BEIR's layout: 60 documents, 120 training and 30 test questions."""
    folder = tmp_path / "shop"
    draw = random.Random(3)
    corpus, queries, qrels = [], [], {"train": [], "test": []}
    for topic in TOPICS:
        for number in range(10):
            name = f"{topic}-{number}"
            corpus.append({"_id": name, "title": topic, "text": article(topic, number, draw)})
            for ask in range(2 if number < 7 else 3):
                split = "train" if number < 7 else "test"
                words = draw.sample(TOPICS[topic].split(), 3)
                queries.append(
                    {"_id": f"q-{name}-{ask}", "text": f"which {topic} has {' '.join(words)} {number}"}
                )
                qrels[split].append(f"q-{name}-{ask}\t{name}\t1")
    return write_beir(folder, corpus=corpus, queries=queries, **qrels)


def write_lines(path: Path, lines: list[str]) -> None:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
