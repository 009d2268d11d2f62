"""Components of the user's own in a run: an edit is noticed, and a mistake in them is told as theirs."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.pipeline.conftest import Run
from tests.pipeline.pipeline_settings import TINY

OWN = """
from dataclasses import dataclass

from embexp.benchmarking import HeldOut
from embexp.data.chunking import Headings
from embexp.data.datasets import Folder
from embexp.finetuning.losses import Mnrl
from own_helper import LENGTH, marked


@dataclass(frozen=True, kw_only=True)
class Chunker(Headings):
    def chunk(self, document, tokens):
        assert LENGTH
        return super().chunk(document, tokens)


@dataclass(frozen=True, kw_only=True)
class Loss(Mnrl):
    def build(self, model, outputs):
        return super().build(model, marked(outputs))


@dataclass(kw_only=True)
class Pages(Folder):
    pass
"""
HELPER = "LENGTH = 3\n\n\ndef marked(value):\n    return value\n"


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with two modules of the user's, own_parts and own_helper."""
    folder = tmp_path / "code"
    folder.mkdir()
    (folder / "own_parts.py").write_text(OWN)
    (folder / "own_helper.py").write_text(HELPER)
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # an edit within a second keeps the size and time
    yield folder
    forget()


def forget() -> None:
    """Import the user's modules anew, as the next command would."""
    for name in [name for name in sys.modules if name.startswith("own_")]:
        del sys.modules[name]


def arguments(kb: Path, *others: str) -> list[str]:
    return ["dataset=folder", f"dataset.path={kb}", "tracker=none", *TINY, *others]


def cached(folder: Path) -> list[str]:
    found: list[str] = json.loads((folder / "outcome.json").read_text())["cached"]
    return found


def test_an_edit_of_a_module_that_a_component_imports_makes_its_stages_run_again(
    run: Run, kb: Path, own: Path, tmp_path: Path
) -> None:
    options = arguments(kb, "loss._target_=own_parts.Loss")
    for folder, stages in (("A", []), ("B", ["synthesize", "finetune", "benchmark"])):
        done = run("run", *options, f"hydra.run.dir={folder}")
        assert done.code == 0, done.err
        assert cached(tmp_path / folder) == stages
    (own / "own_helper.py").write_text(HELPER.replace("return value", "return value or None"))
    forget()
    assert run("run", *options, "hydra.run.dir=C").code == 0
    stages = cached(tmp_path / "C")  # the same weights come out, so the scores may stay
    assert "synthesize" in stages
    assert "finetune" not in stages


@pytest.mark.parametrize("target", ["chunker._target_=own_parts.Chunker", "dataset._target_=own_parts.Pages"])
def test_an_edited_chunker_or_data_set_reads_the_documents_again(
    run: Run, kb: Path, own: Path, target: str, tmp_path: Path
) -> None:
    def synthesized(folder: str) -> bool:
        done = run("synthesize", *arguments(kb, target), f"hydra.run.dir={folder}")
        assert done.code == 0, done.err
        return bool(json.loads((tmp_path / folder / "synthesis.json").read_text())["cached"])

    assert [synthesized("A"), synthesized("B")] == [False, True]
    (own / "own_helper.py").write_text(HELPER.replace("3", "4"))
    forget()
    assert not synthesized("C")


MISTAKES = {
    "raises while it works": (
        "Chunker",
        ("        assert LENGTH\n", "        LENGTH / 0\n"),
        "own_parts.py:14, in chunk: ZeroDivisionError: division by zero",
    ),
    "opens a missing file": (
        "Chunker",
        ("        assert LENGTH\n", "        open('weights.txt')\n"),
        "own_parts.py:14, in chunk: FileNotFoundError: [Errno 2] No such file or directory: 'weights.txt'",
    ),
    "opens a missing file when it is built": (
        "Chunker",
        ("    def chunk(", "    def __post_init__(self):\n        open('weights.txt')\n\n    def chunk("),
        "own_parts.py:14, in __post_init__: FileNotFoundError",
    ),
    "opens a missing file when it is imported": (
        "Chunker",
        ("@dataclass(frozen=True, kw_only=True)\nclass Chunker", "open('weights.txt')\n\nclass Chunker"),
        "own_parts.py:11, in <module>: FileNotFoundError",
    ),
    "is no Python": (
        "Chunker",
        ("    def chunk(self, document, tokens):", "    def chunk(self"),
        "own_parts.py:13",
    ),
    "yields something else": (
        "Chunker",
        ("        assert LENGTH\n", "        return [document.text]\n"),
        "Chunker.chunk returns 'The",
    ),
    "returns nothing": (
        "Chunker",
        ("        return super().chunk(document, tokens)\n", "        super().chunk(document, tokens)\n"),
        "Chunker.chunk returns None: it has to return Chunks (embexp.data.records.Chunk)",
    ),
    "takes other arguments": (
        "Chunker",
        ("    def chunk(self, document, tokens):", "    def chunk(self, document):\n        tokens = None"),
        "Chunker.chunk has to take the arguments (document, tokens)",
    ),
    "lacks a method": (
        "Bare",
        (
            "class Pages(Folder):\n    pass\n",
            "class Pages(Folder):\n    pass\n\n\n"
            "class Bare:\n    def __init__(self, max_tokens=None, overlap=0): ...\n",
        ),
        "Bare has no 'chunk', which chunker needs",
    ),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_a_mistake_in_a_users_module_is_told_with_its_place(run: Run, kb: Path, own: Path, case: str) -> None:
    name, (before, after), sentence = MISTAKES[case]
    assert before in OWN
    (own / "own_parts.py").write_text(OWN.replace(before, after))
    done = run("synthesize", *arguments(kb, f"chunker._target_=own_parts.{name}"))
    said = " ".join(done.err.split())
    assert done.code == 2, said
    assert sentence in said
    assert "internal error" not in said
