"""The stages of a run in their order; each takes its result from the cache where it can."""

from __future__ import annotations

from embexp.pipeline.experiment import Experiment
from embexp.pipeline.past_runs import PastRun, read_run
from embexp.pipeline.run import (
    SweepTrial,
    run_benchmark,
    run_experiment,
    run_finetune,
    run_synthesis,
    run_trial,
)

__all__ = [
    "Experiment",
    "PastRun",
    "SweepTrial",
    "read_run",
    "run_benchmark",
    "run_experiment",
    "run_finetune",
    "run_synthesis",
    "run_trial",
]
