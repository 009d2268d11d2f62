"""The page of benchmarks shows the latest result of each, and the scripts print what it needs."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest

FOLDER = Path(__file__).resolve().parents[1] / "benchmarks"


@pytest.fixture
def performance() -> ModuleType:
    spec = importlib.util.spec_from_file_location("performance", FOLDER / "performance.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def line(name: str, ratio: float, date: str) -> dict[str, object]:
    numbers = {"ours": 1234.5, "peer": 2, "ratio": ratio}
    return {"benchmark": name, **numbers, "unit": "s|trial", "machine": "x", "date": date}


def test_the_latest_result_of_each_benchmark_is_a_row(performance: ModuleType) -> None:
    results = [line("b", 1.5, "2026-01-01"), line("a", 3, "2026-01-02"), line("b", 2.5, "2026-01-03")]
    latest = performance.latest([*map(json.dumps, results), ""])
    rows = performance.page(latest, {"b": "How fast"}).splitlines()[-2:]

    assert rows == [
        "| `a` |  | 1,234.5 | 2 | 3 | s\\|trial | x | 2026-01-02 |",
        "| `b` | How fast | 1,234.5 | 2 | 2.5 | s\\|trial | x | 2026-01-03 |",
    ]


def test_a_benchmark_without_a_peer_has_dashes(performance: ModuleType) -> None:
    alone = {**line("a", 1, "2026-01-02"), "peer": None, "ratio": None}
    assert "| 1,234.5 | – | – | s" in performance.page({"a": alone}, {})


def test_helpers_are_no_benchmarks_and_each_benchmark_says_what_it_measures(performance: ModuleType) -> None:
    names = performance.names()

    assert {"evaluation_speed", "training_speed", "precision"} <= set(names)
    assert not {"performance", "retrieval_sets"} & set(names)
    assert all(performance.purpose(FOLDER / f"{name}.py") for name in names)


@pytest.mark.parametrize(
    ("script", "problem"),
    [
        ("raise SystemExit(3)", "exit code 3"),
        ('print(\'{"benchmark": "x", "ours": 1}\')', "without peer, ratio, unit, machine"),
    ],
)
def test_a_benchmark_without_a_result_is_named(
    performance: ModuleType, script: str, problem: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "x.py").write_text(script, encoding="utf-8")
    monkeypatch.setattr(performance, "FOLDER", tmp_path)

    with pytest.raises(RuntimeError, match=problem):
        performance.measure("x")
