"""Every run says what its model does not read, and below which score there is probably no answer."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.pipeline.pipeline_settings import TINY


@pytest.fixture
def long_page(kb: Path) -> Path:
    """The knowledge base with a page of 508 tokens more than its title has, twice what the model reads."""
    (kb / "long.md").write_text("# aa\n\n" + "bb " * 507 + "\n", encoding="utf-8")
    return kb


def test_what_is_cut_is_said_in_every_run(run, long_page: Path, tmp_path: Path) -> None:
    arguments = ["dataset=folder", f"dataset.path={long_page}", "chunker=none", "model=tiny", "tracker=none"]
    for folder in ("X", "Y"):  # the second takes everything from the cache
        done = run("synthesize", f"hydra.run.dir={folder}", *arguments)
        assert done.code == 0, done.err
        assert "1 of 61 passages is longer than the 254 tokens that the model reads: 50% of" in done.err
        assert "chunker=headings" in done.err
        assert "1 of 61 passages" in (tmp_path / folder / "run.log").read_text(encoding="utf-8")


def test_a_benchmark_leaves_truncation_and_threshold(run, long_page: Path, tmp_path: Path) -> None:
    arguments = ["chunker=none", "tracker=none", "split.dev=0.3", "hydra.run.dir=X", *TINY[:1]]
    done = run("benchmark", "dataset=folder", f"dataset.path={long_page}", *arguments)
    assert done.code == 0, done.err
    outcome = json.loads((tmp_path / "X" / "outcome.json").read_text(encoding="utf-8"))
    passages, queries = outcome["truncation"]["passages"], outcome["truncation"]["queries"]
    assert (passages["limit"], passages["texts"], passages["cut"], passages["lost"]) == (254, 61, 1, 254)
    assert passages["lost_share"] == pytest.approx(0.5)
    assert queries["cut"] == 0
    assert "Truncation: 1 of 61 passages is longer" in done.out
    found = outcome["score_threshold"]
    assert (found["model"], found["reason"]) == ("untuned", "")
    assert found["queries"] >= 20
    assert found["interval"][0] <= found["threshold"] <= found["interval"][1]
    assert set(found["intervals"]) == {"precision", "answered", "refused"}
    rates = [(each["answered"], each["refused"]) for each in found["curve"]]
    assert [answered for answered, _ in rates] == sorted((each for each, _ in rates), reverse=True)
    assert [refused for _, refused in rates] == sorted(each for _, each in rates)
    sentence = f"Below a cosine of {found['threshold']:.2f} (95% interval"
    assert f"Score threshold: {sentence}" in done.out
    assert sentence in (tmp_path / "X" / "report.html").read_text(encoding="utf-8")
    assert sentence in (tmp_path / "X" / "report.md").read_text(encoding="utf-8")
