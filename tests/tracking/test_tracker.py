from __future__ import annotations

from pathlib import Path

import pytest

from embexp.tracking.tracker import NoTracker, TrackedRun, Tracker


def test_no_tracker_accepts_every_call_and_keeps_nothing(tmp_path: Path) -> None:
    tracker: Tracker = NoTracker()
    NoTracker().prepare()
    with tracker.run("a", params={"x": 1}, tags={"note": "n"}) as run:
        assert (run.experiment, run.run_id) == ("", "")
        with run.child("b", params={}, tags={}) as child:
            _use(child, tmp_path)
    with tracker.resume("abc") as again:
        assert again.run_id == ""
    tracker.tag("abc", {"a": "b"})
    assert list(tmp_path.iterdir()) == []


def _use(run: TrackedRun, folder: Path) -> None:
    run.log_metrics({"ndcg@10": 0.5}, step=1)
    run.log_artifact(folder / "missing", folder="x")
    run.log_dataset(name="a", source="b", digest="c")
    assert run.log_model(folder / "missing", verdict="WIN") is None


def test_an_exception_passes_through() -> None:
    with pytest.raises(ValueError, match="boom"), NoTracker().run("a", params={}, tags={}):
        raise ValueError("boom")
