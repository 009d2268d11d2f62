"""A whole experiment, told in the order in which it happens."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from embexp.models.sources import LocalModel
from embexp.pipeline.conclusion import conclude, hand_over_data
from embexp.pipeline.data import split_pairs
from embexp.pipeline.experiment import Experiment
from embexp.pipeline.scoring import benchmark
from embexp.pipeline.training import finetune
from embexp.protocols import Tracker
from embexp.tracking.provenance import provenance
from embexp.types import Outcome


def run_experiment(
    experiment: Experiment, tracker: Tracker, out_dir: Path, params: Mapping[str, object]
) -> Outcome:
    """Synthesise, fine-tune, benchmark and report; leave in ``out_dir`` what docs/concepts.md lists.

    Args:
        experiment: The components.
        tracker: Where parameters, metrics and artifacts are logged.
        out_dir: The run's folder.
        params: The flattened configuration, for the tracker.

    Returns:
        The outcome, as written to ``out_dir/outcome.json``.

    Raises:
        EmbexpError: Something in the input or the surroundings stops the run.
    """
    clock = Clock()
    with tracker.run(experiment.title, params=params, tags=provenance()) as run:
        with clock.measure("synthesize"):
            data = split_pairs(experiment)
            hand_over_data(experiment, data, run, out_dir)
        with clock.measure("finetune"):
            tuned = finetune(experiment, data, run, out_dir)
        with clock.measure("benchmark"):
            results = benchmark(experiment, data, LocalModel(path=str(tuned.model_dir)), run, out_dir)
        return conclude(experiment, data, tuned, results, run, out_dir, seconds=clock.seconds)


class Clock:
    """Wall seconds by stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {"synthesize": 0.0, "finetune": 0.0, "benchmark": 0.0}

    @contextmanager
    def measure(self, stage: str) -> Iterator[None]:
        """Add the block's wall time to ``stage``."""
        start = time.monotonic()
        try:
            yield
        finally:
            self.seconds[stage] += round(time.monotonic() - start, 3)
