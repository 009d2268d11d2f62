"""A finished run of a small model, for the tests of exports."""

from __future__ import annotations

from pathlib import Path

import embexp
from tests.pipeline.pipeline_settings import TINY

TOPICS = ("kettle", "bicycle", "garden", "piano", "harbour")


def finish_run(folder: Path) -> Path:
    """Write a knowledge base of 50 pages, run embexp on it in the current folder, and return the run's."""
    (folder / "kb").mkdir()
    for topic in TOPICS:
        for number in range(10):
            text = (
                f"# The {topic} {number}\n\nEvery {topic} of series {number} needs oil and a {topic} box.\n"
            )
            (folder / "kb" / f"{topic}{number}.md").write_text(text, encoding="utf-8")
    embexp.run_experiment(
        *("dataset=folder", "dataset.path=kb", "tracker=none", "hydra.run.dir=outputs/X", *TINY),
        *("model.dimension=16", "model.layers=1"),
    )
    return folder / "outputs" / "X"
