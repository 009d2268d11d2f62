"""A whole experiment, and each of its stages alone, told in the order in which it happens."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from embexp.finetuning.training import RegisteredModel, TrainingStep
from embexp.models.sources import LocalModel
from embexp.pipeline.benchmark import benchmark, check_benchmark
from embexp.pipeline.conclude import conclude, hand_over_data, hand_over_pairs
from embexp.pipeline.data import Data, split_pairs
from embexp.pipeline.experiment import Experiment
from embexp.pipeline.finetune import Tuned, finetune, finetune_folder, teachers_of
from embexp.pipeline.forgetting import forgetting
from embexp.pipeline.repeats import plan_trainings, refuse_repeats, score_repeats, train_repeats
from embexp.pipeline.suite import check_suite, suite_scores
from embexp.pipeline.synthesize import write_pairs
from embexp.reporting.outcome import Outcome
from embexp.tracking.provenance import provenance
from embexp.tracking.tracker import Tracker


class SweepTrial(Protocol):
    """A trial of a sweep, as the pipeline sees it."""

    @property
    def name(self) -> str:
        """What the tracker's table shows."""

    @property
    def params(self) -> Mapping[str, object]:
        """The values that were drawn for it."""

    def begin(self, *, run_id: str) -> None:
        """Keep the id of the trial's run in the tracker."""

    def trains_in(self, folder: Path) -> None:
        """Keep where the cache holds the trial's training."""

    def watch(self, step: TrainingStep, *, metric: str, evaluations: int) -> None:
        """Hear a point of the log of a training that scores dev so often; raising ends the training."""


def run_experiment(
    experiment: Experiment,
    tracker: Tracker,
    out_dir: Path,
    params: Mapping[str, object],
    *,
    tags: Mapping[str, str] | None = None,
) -> Outcome:
    """Synthesise, fine-tune, benchmark and report; leave in ``out_dir`` what docs/concepts.md lists.

    A data set without training pairs (``dataset.train=none``) is benchmarked only.

    Args:
        experiment: The components.
        tracker: Where parameters, metrics and artifacts are logged.
        out_dir: The run's folder.
        params: The flattened configuration, for the tracker.
        tags: More tags for the tracker, such as the sweep that the run belongs to.

    Returns:
        The outcome, as written to ``out_dir/outcome.json``.

    Raises:
        EmbexpError: Something in the input or the surroundings stops the run.
    """
    clock = Clock()
    with tracker.run(experiment.title, params=params, tags={**provenance(), **(tags or {})}) as run:
        teachers_of(experiment)  # what is not there ends the run before pairs are written
        with clock.measure("benchmark"):
            check_suite(experiment)
        with clock.measure("synthesize"):
            data = split_pairs(experiment)
            check_benchmark(experiment, data)
            hand_over_data(experiment, data, run, out_dir)
        if not data.splits.train:
            refuse_repeats(experiment, "there is no training pair: leave it out, or give some")
            with clock.measure("benchmark"):
                results = benchmark(experiment, data, None, run, out_dir)
                suite = suite_scores(experiment, None, run)
            return conclude(experiment, data, None, results, run, out_dir, seconds=clock.seconds, suite=suite)
        plan = plan_trainings(experiment, data)
        with clock.measure("finetune"):
            tuned = finetune(experiment, data, run, out_dir)
            trained = [tuned, *train_repeats(experiment, plan[1:], run)]
        with clock.measure("benchmark"):
            source = LocalModel(path=str(tuned.model_dir))
            results = benchmark(experiment, data, source, run, out_dir)
            repeats = score_repeats(experiment, plan, trained, results.task, results.scores, run)
            general = forgetting(experiment, source, run)
            suite = suite_scores(experiment, source, run)
        return conclude(
            experiment,
            data,
            tuned,
            results,
            run,
            out_dir,
            seconds=clock.seconds,
            general=general,
            suite=suite,
            repeats=repeats,
        )


def run_synthesis(
    experiment: Experiment, tracker: Tracker, out_dir: Path, params: Mapping[str, object]
) -> dict[str, object]:
    """Write the pairs alone, all of them unsplit, into ``out_dir/data``; return what synthesis.json says."""
    clock = Clock()
    with tracker.run(experiment.title, params=params, tags=provenance()) as run:
        with clock.measure("synthesize"):
            written = write_pairs(experiment)
        return hand_over_pairs(experiment, written, run, out_dir, seconds=clock.seconds["synthesize"])


def run_finetune(
    experiment: Experiment,
    tracker: Tracker,
    out_dir: Path,
    params: Mapping[str, object],
    *,
    tags: Mapping[str, str] | None = None,
) -> tuple[Tuned, RegisteredModel | None]:
    """Train alone: ``out_dir`` then holds ``data`` and ``model``; the test split stays unopened."""
    with tracker.run(experiment.title, params=params, tags={**provenance(), **(tags or {})}) as run:
        teachers_of(experiment)
        data = split_pairs(experiment)
        hand_over_data(experiment, data, run, out_dir)
        tuned = finetune(experiment, data, run, out_dir)
        return tuned, run.log_model(tuned.model_dir)


def run_trial(
    experiment: Experiment,
    tracker: Tracker,
    out_dir: Path,
    trial: SweepTrial,
    *,
    tags: Mapping[str, str],
    measure: Callable[[Data, Tuned], Mapping[str, float]],
) -> Mapping[str, float]:
    """Train as one trial of a sweep; only ``out_dir/model`` is left, and the test split stays unopened.

    Args:
        experiment: The components.
        tracker: Where the trial is a run whose parameters are the swept ones alone.
        out_dir: The trial's folder.
        trial: Hears what the training comes to, and may end it.
        tags: Which sweep the trial belongs to.
        measure: Returns what the sweep asks of the finished trial.

    Raises:
        PrunedError: ``trial`` ended the training.
    """

    evaluations = int(experiment.settings["trainer"].get("evaluations") or 0)

    def watch(step: TrainingStep) -> None:
        trial.watch(step, metric=experiment.metric, evaluations=evaluations)

    config = out_dir / ".hydra" / "config.yaml"
    told = {**provenance(), **tags, "config": str(config.resolve())}
    with tracker.run(trial.name, params=trial.params, tags=told) as run:
        trial.begin(run_id=run.run_id)
        if config.exists():
            run.log_artifact(config)
        data = split_pairs(experiment)
        trial.trains_in(finetune_folder(experiment, data))
        tuned = finetune(replace(experiment, watch=watch), data, run, out_dir)
        values = measure(data, tuned)
        run.log_metrics(values)
        return values


def run_benchmark(
    experiment: Experiment, tracker: Tracker, out_dir: Path, params: Mapping[str, object]
) -> Outcome:
    """Score ``experiment.model`` and, where there is one, ``experiment.tuned``, without any training.

    Raises:
        ConfigError: The benchmark asks for further trainings.
    """
    refuse_repeats(experiment, "this command trains nothing: leave it out, or use python -m embexp.run")
    clock = Clock()
    with tracker.run(experiment.title, params=params, tags=provenance()) as run:
        with clock.measure("benchmark"):
            check_suite(experiment)
        with clock.measure("synthesize"):
            data = split_pairs(experiment)
            check_benchmark(experiment, data)
            hand_over_data(experiment, data, run, out_dir)
        with clock.measure("benchmark"):
            results = benchmark(experiment, data, experiment.tuned, run, out_dir)
            general = forgetting(experiment, experiment.tuned, run)
            suite = suite_scores(experiment, experiment.tuned, run)
        return conclude(
            experiment, data, None, results, run, out_dir, seconds=clock.seconds, general=general, suite=suite
        )


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
