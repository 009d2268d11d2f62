"""What cannot work is refused before documents are read and a slow module of the user's is imported."""

from __future__ import annotations

import importlib.util
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest

from tests.pipeline.conftest import Run
from tests.pipeline.pipeline_settings import TINY

SLOW = "raise RuntimeError('own_slow was imported')\n"
"""Stands for ``import torch``, which takes seconds."""
QUESTIONS = "frage,datei\nwhat boils,kettle.md\n"
CASES = {
    "a key": (["trainer.epoch=2"], "trainer.epoch is not an option of trainer: did you mean 'epochs'?"),
    "a value": (["trainer.epochs=many"], "trainer.epochs"),
    "a metric": (["metric=ndgc@10"], "There is no metric 'ndgc@10'"),
    "a metric of the trainer's own": (["trainer.metric=ndgc@5"], "There is no metric 'ndgc@5'"),
    "a cut-off beyond the hits that are scored": (
        ["metric=ndcg@500"],
        "metric=ndcg@500 looks at 500 hits, and 100 per question are scored: choose a cut-off up to 100",
    ),
    "a further model by its folder": (
        ["+benchmark.models=[{_target_: embexp.models.LocalModel, path: nowhere}]"],
        "benchmark.models[0] (local): model.path is nowhere: there is no such folder",
    ),
    "a further model by its name": (
        ["+benchmark.models=[minilmm]"],
        "benchmark.models names 'minilmm', which is no option of model",
    ),
    "a reranker": (["+benchmark.reranker=/nowhere"], "benchmark.reranker"),
    "a file of questions": (
        ["benchmark=queries", "benchmark.questions.path=nowhere.csv"],
        "benchmark.questions.path=nowhere.csv: there is no such file",
    ),
    "a column of the questions": (
        ["benchmark=queries", "benchmark.questions.path=q.csv"],
        "benchmark.questions.text_column",
    ),
    "answers or a judge": (
        ["benchmark=queries", "benchmark.questions.path=q.csv", "benchmark.questions.text_column=frage"],
        "llm is not set",
    ),
    "a benchmark's folder": (
        ["benchmark=beir", "benchmark.dataset.path=nowhere"],
        "nowhere",
    ),
    "a general set": (["benchmark@forgetting=beir", "forgetting.dataset.path=nowhere"], "nowhere"),
}


@pytest.fixture
def slow_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_slow.py").write_text(SLOW)
    (tmp_path / "q.csv").write_text(QUESTIONS)
    monkeypatch.syspath_prepend(tmp_path)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.usefixtures("slow_module")
def test_a_mistake_is_found_before_a_users_module_is_imported(run: Run, case: str, tmp_path: Path) -> None:
    arguments, sentence = CASES[case]
    done = run("run", *arguments, "loss._target_=own_slow.Loss", "tracker=none", "model=tiny")
    assert done.code == 2, done.err
    assert sentence in " ".join(done.err.split())
    assert "own_slow was imported" not in done.err
    assert not (tmp_path / "outputs" / "cache" / "chunks").exists()


@pytest.mark.usefixtures("slow_module")
def test_the_users_module_is_imported_when_all_else_is_right(run: Run) -> None:
    done = run("run", "loss._target_=own_slow.Loss", "tracker=none", "model=tiny")
    assert done.code == 2
    assert "own_slow.py:1, in <module>: RuntimeError: own_slow was imported" in " ".join(done.err.split())


@pytest.mark.parametrize(
    ("package", "options", "remedy"),
    [
        ("peft", ["trainer=lora"], 'pip install "embexp[lora]"'),
        ("xllamacpp", ["synthesis=rag", "llm=llamacpp"], "pip install 'embexp[local-llm]'"),
    ],
)
def test_a_package_that_an_option_needs_is_missed_at_once(
    run: Run, monkeypatch: pytest.MonkeyPatch, package: str, options: list[str], remedy: str, tmp_path: Path
) -> None:
    find = importlib.util.find_spec

    def without(name: str, *rest: str) -> ModuleSpec | None:
        return None if name == package else find(name, *rest)

    monkeypatch.setattr(importlib.util, "find_spec", without)
    monkeypatch.delitem(sys.modules, package, raising=False)
    done = run("run", *options, "tracker=none", "model=tiny")
    assert done.code == 2, done.err
    assert remedy in " ".join(done.err.split())
    assert not (tmp_path / "outputs" / "cache" / "chunks").exists()


@pytest.mark.parametrize("option", ["metric=ndcg@5", "trainer.metric=ndcg@5"])
def test_a_cut_off_that_no_default_has_selects_the_weights(run: Run, kb: Path, option: str) -> None:
    done = run("finetune", "dataset=folder", f"dataset.path={kb}", "tracker=none", *TINY, option)
    assert done.code == 0, done.err
    assert "dev ndcg@5" in " ".join(done.err.split())
