"""The scripts in benchmarks/ start, and their runs are ones that embexp still takes."""

from __future__ import annotations

import importlib
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

import embexp

FOLDER = Path(__file__).resolve().parents[1] / "benchmarks"
SHARED = {"fork_server", "retrieval_sets", "small_documents"}
"""Modules that the scripts share."""
SCRIPTS = sorted(path.stem for path in FOLDER.glob("*.py") if path.stem not in SHARED)


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_benchmark_says_what_it_measures(name: str) -> None:
    script = FOLDER / f"{name}.py"
    done = subprocess.run(
        [sys.executable, script, "--help"], check=False, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    summary = script.read_text(encoding="utf-8").split('"""')[1].splitlines()[0]
    assert summary[:60] in " ".join(done.stdout.split())


@pytest.fixture
def benchmark(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], ModuleType]:
    """Import a script as Python does where it is started."""
    monkeypatch.syspath_prepend(FOLDER)
    return importlib.import_module


def test_the_options_of_whole_runs_are_options_of_embexp(benchmark: Callable[[str], ModuleType]) -> None:
    beir = ["dataset=beir", "dataset.path=X", "model=minilm", "tracker=none", "benchmark.limit=5"]
    for options in benchmark("label_free").WAYS.values():
        embexp.compose_config(*beir, *options)
    speed = benchmark("sweep_speed")
    for model, options in speed.SETTINGS.items():
        embexp.compose_config(*options, "tracker=none")
        assert (FOLDER.parent / f"conf/hparams/{speed.SPACE[model]}.yaml").is_file()
    for options in benchmark("sweep_quality").MODELS.values():
        embexp.compose_config(*options, "trainer.max_pairs=5", "trainer.evaluations=4")


def test_the_recipes_of_trainings_are_options_of_embexp(benchmark: Callable[[str], ModuleType]) -> None:
    quality = benchmark("quality")
    for way in quality.RECIPES:
        assert "trainer" in quality.recipe(way, [])
    for change in quality.CHANGES.values():
        assert "trainer" in quality.recipe(quality.OURS, change)
