"""The quickstart's figures in the README and the pages are those of a recorded run."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest
from rich.console import Console

from embexp.reporting import Outcome, print_outcome

ROOT = Path(__file__).resolve().parent.parent
RECORDED = Outcome.read(ROOT / "docs" / "recorded" / "quickstart.json")
TIMES = re.compile(r" *[\d,.]+ (?:s|ms)\b| \([\d,.]+ pairs/s\)| *\bcached$")
"""What depends on the machine and on what was cached."""


def plain(text: str) -> list[str]:
    """Return the lines with a figure or a word, without spaces at their ends, times, or MLflow's id."""
    lines = (TIMES.sub("", line.rstrip()) for line in text.splitlines())
    return [line.strip() for line in lines if re.search(r"\w", line) and not line.startswith("MLflow")]


@pytest.mark.parametrize("page", ["README.md", "docs/quickstart.md"])
def test_the_closing_lines_are_those_of_the_recorded_run(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    (shown,) = re.findall(r"```text\n( system .*?)```", text, re.DOTALL)
    printed = io.StringIO()
    console = Console(file=printed, width=110, highlight=False, markup=False)
    print_outcome(RECORDED, folder=Path("X"), console=console)
    assert plain(shown) == plain(printed.getvalue())


def percent(system: str, metric: str) -> str:
    return f"{RECORDED.scores[system][metric]:.0%}"


def test_the_quickstart_reads_the_figures_right() -> None:
    page = " ".join((ROOT / "docs" / "quickstart.md").read_text(encoding="utf-8").split())
    first = f"first for {percent('untuned', 'accuracy@1')} of the questions before tuning, and for "
    assert f"{first}{percent('tuned', 'accuracy@1')} after" in page
    ten = f"among the first ten for {percent('untuned', 'recall@10')} before, and for "
    assert f"{ten}{percent('tuned', 'recall@10')} after" in page
    assert RECORDED.comparison is not None
    low, high = RECORDED.comparison.interval
    assert f"between {low:+.3f} and {high:+.3f}, with 95% confidence" in page


def test_how_much_data_has_the_power_of_the_recorded_run() -> None:
    from embexp.benchmarking.statistics.power import power

    page = (ROOT / "docs" / "how_much_data.md").read_text(encoding="utf-8")
    comparison = RECORDED.comparison
    assert comparison is not None
    for effect in (0.01, 0.02, 0.05):
        assert f"| {effect} | {power(comparison, effect):.0%} |" in page
    assert f"{comparison.queries} questions" in page
    assert f"{comparison.delta:+.3f}" in page


def test_sizes_are_those_of_the_recorded_run() -> None:
    page = (ROOT / "docs" / "sizes_and_times.md").read_text(encoding="utf-8")
    counts, systems = RECORDED.counts, RECORDED.systems
    assert RECORDED.training is not None
    assert (
        f"{counts['documents']:,} documents, {counts['chunks']:,} chunks, {RECORDED.training.pairs:,} pairs"
    ) in page
    assert f"{systems['untuned'].index_bytes / 1e6:.1f} MB for each model" in page
    assert f"{systems['bm25'].index_bytes / 1e6:.1f} MB" in page
