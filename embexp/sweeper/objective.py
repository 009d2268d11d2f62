"""What one trial of embexp's own commands does: train, and return what the sweep asks for, from dev alone."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from embexp.config.build import output_dir
from embexp.errors import ConfigError
from embexp.sweeper.study import VALUES
from embexp.sweeper.trial import LiveTrial, sweep_tags

if TYPE_CHECKING:
    from embexp.pipeline.data import Data
    from embexp.pipeline.experiment import Experiment
    from embexp.pipeline.finetune import Tuned
    from embexp.tracking.tracker import Tracker

TIMED_PASSAGES = 256


def trial_values(trial: LiveTrial, experiment: Experiment, tracker: Tracker) -> list[float]:
    """Run a trial and return one value for each objective; the test split stays unopened.

    The quality is the dev score of the weights that the trainer delivers.

    Raises:
        PrunedError: The trial is not worth finishing.
        ConfigError: Nothing is scored on dev.
    """
    from embexp.pipeline.run import run_trial

    folder = output_dir()
    trial.note(folder=str(folder))

    def measure(data: Data, tuned: Tuned) -> Mapping[str, float]:
        return _measured(experiment, data, tuned, trial.objectives)

    values = run_trial(experiment, tracker, folder, trial, tags=sweep_tags(), measure=measure)
    found = [values[name] for name in trial.objectives]
    trial.note(**{VALUES: found})
    return found


def _measured(experiment: Experiment, data: Data, tuned: Tuned, objectives: list[str]) -> Mapping[str, float]:
    best = tuned.training.best(experiment.metric)
    if best is None:
        raise ConfigError(
            "A sweep needs dev scores and this trial has none: leave split.dev above 0 and "
            "trainer.evaluations at 1 or more."
        )
    delivered = tuned.training.candidates.get(tuned.training.delivered or "", best)
    measured = {"quality": delivered, "training_seconds": tuned.training.seconds}
    if "embedding_ms" in objectives:
        measured["embedding_ms"] = embedding_ms(data, tuned)
    return measured


def embedding_ms(data: Data, tuned: Tuned) -> float:
    """Return the milliseconds that the tuned model takes to embed a passage, the best of two rounds."""
    from embexp.models.encoder import ModelEmbedder
    from embexp.models.sources import LocalModel

    passages = [chunk.passage for chunk in data.chunks[:TIMED_PASSAGES]]
    embedder = ModelEmbedder(LocalModel(path=str(tuned.model_dir)).load(), fingerprint="timed")
    rounds = []
    for _ in range(2):
        start = time.perf_counter()
        embedder.encode_passages(passages)
        rounds.append(time.perf_counter() - start)
    return 1000 * min(rounds) / len(passages)
