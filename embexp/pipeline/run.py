"""A whole experiment, and each of its stages alone, in the order in which things happen."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from embexp.benchmarking.repeats import Repeats
from embexp.finetuning.training import TrainingStep
from embexp.pipeline.benchmark import benchmark
from embexp.pipeline.conclude import conclude
from embexp.pipeline.data import Data, save_data, split_pairs, truncated_texts
from embexp.pipeline.experiment import Experiment
from embexp.pipeline.finetune import Tuned, finetune, finetune_folder
from embexp.pipeline.forgetting import check_suite
from embexp.pipeline.repeats import plan_trainings, refuse_repeats, score_repeats, train
from embexp.pipeline.services import check_services
from embexp.pipeline.synthesize import save_pairs, write_pairs
from embexp.pipeline.teachers import check_teachers
from embexp.reporting.outcome import Outcome
from embexp.reporting.tracked_results import result_tags
from embexp.storage.stages import deletion_reported
from embexp.tracking.provenance import provenance
from embexp.tracking.tracker import RegisteredModel, TrackedRun, Tracker


class SweepTrial(Protocol):
    """A trial of a sweep, as the pipeline sees it; the sweeper, a layer above, implements it."""

    @property
    def name(self) -> str:
        """The run's name in the tracker."""

    @property
    def params(self) -> Mapping[str, object]:
        """The values that were drawn for the trial."""

    def begin(self, *, run_id: str) -> None:
        """Record the id of the trial's run in the tracker."""

    def trains_in(self, folder: Path) -> None:
        """Record the cache folder of the trial's training."""

    def watch(self, step: TrainingStep, *, metric: str, evaluations: int) -> None:
        """Receive a point of the training log; raising ends the training.

        Args:
            step: The point.
            metric: The metric that the sweep decides by.
            evaluations: How often the training is scored on dev.
        """


def run_experiment(
    experiment: Experiment, tracker: Tracker, out_dir: Path, *, tags: Mapping[str, str] | None = None
) -> Outcome:
    """Synthesise, fine-tune, benchmark and report; docs/concepts.md lists what is left in ``out_dir``.

    A data set without training pairs (``dataset.train=none``) is only benchmarked.

    Args:
        experiment: The components.
        tracker: Where parameters, metrics and artifacts are logged.
        out_dir: The run's folder.
        tags: More tags for the tracker, such as the sweep that the run belongs to.

    Returns:
        The outcome, as written to ``out_dir/outcome.json``.

    Raises:
        EmbexpError: Something in the input or the environment stops the run.
    """
    clock = _Clock()
    with _tracked(experiment, tracker, tags) as run:
        check_teachers(experiment)  # a missing model ends the run before pairs are written
        with clock.measure("benchmark"):
            check_services(experiment)
            check_suite(experiment)
        with clock.measure("synthesize"):
            pairs = write_pairs(experiment)
            data = split_pairs(experiment, pairs)
            experiment.benchmark.check(data.chunks, judge=experiment.llm is not None)
            save_data(experiment, data, run, out_dir)
        plan = plan_trainings(experiment, data)
        with clock.measure("finetune"):
            trained = train(experiment, plan, run, out_dir)
        tuned = trained[0] if trained else None
        with clock.measure("benchmark"):
            results = benchmark(experiment, data, tuned.source if tuned else None, run, out_dir)
            repeats = score_repeats(experiment, plan, trained, results, run)
        outcome = conclude(experiment, data, tuned, results, repeats, run, out_dir, seconds=clock.seconds)
        tracker.tag(run.run_id, result_tags(outcome, out_dir))
        return outcome


def run_synthesis(experiment: Experiment, tracker: Tracker, out_dir: Path) -> dict[str, object]:
    """Only write the pairs, unsplit, to ``out_dir/data``; return the contents of synthesis.json."""
    clock = _Clock()
    with _tracked(experiment, tracker) as run:
        with clock.measure("synthesize"):
            written = write_pairs(experiment)
        truncated_texts(experiment, written)
        return save_pairs(experiment, written, run, out_dir, seconds=clock.seconds["synthesize"])


def run_finetune(
    experiment: Experiment, tracker: Tracker, out_dir: Path, *, tags: Mapping[str, str] | None = None
) -> tuple[Tuned, RegisteredModel | None]:
    """Only train: ``out_dir`` then holds ``data`` and ``model``; the test split stays unopened."""
    with _tracked(experiment, tracker, tags) as run:
        check_teachers(experiment)
        data = split_pairs(experiment, write_pairs(experiment))
        save_data(experiment, data, run, out_dir)
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
        tracker: Where the trial is a run whose parameters are the drawn values alone.
        out_dir: The trial's folder.
        trial: Receives the training log, and may end the training.
        tags: Which sweep the trial belongs to.
        measure: Returns the values that the sweep optimises.

    Raises:
        PrunedError: ``trial`` ended the training.
    """
    evaluations = int(experiment.settings["trainer"].get("evaluations") or 0)

    def watch(step: TrainingStep) -> None:
        trial.watch(step, metric=experiment.metric, evaluations=evaluations)

    config = out_dir / ".hydra" / "config.yaml"
    all_tags = {**_origin(experiment), **tags, "config": str(config.resolve())}
    tracked = tracker.run(trial.name, params=trial.params, tags=all_tags)
    with tracked as run, deletion_reported(experiment.cache):
        trial.begin(run_id=run.run_id)
        if config.exists():
            run.log_artifact(config)
        check_teachers(experiment)
        data = split_pairs(experiment, write_pairs(experiment))
        trial.trains_in(finetune_folder(experiment, data))
        tuned = finetune(replace(experiment, watch=watch), data, run, out_dir)
        values = measure(data, tuned)
        run.log_metrics(values)
        return values


def run_benchmark(experiment: Experiment, tracker: Tracker, out_dir: Path) -> Outcome:
    """Score ``experiment.model`` and, where there is one, ``experiment.tuned``, without any training.

    Raises:
        ConfigError: The benchmark asks for further trainings.
    """
    refuse_repeats(experiment, "this command trains nothing: leave it out, or use python -m embexp.run")
    clock = _Clock()
    with _tracked(experiment, tracker) as run:
        with clock.measure("benchmark"):
            check_services(experiment)
            check_suite(experiment)
        with clock.measure("synthesize"):
            pairs = write_pairs(experiment)
            data = split_pairs(experiment, pairs)
            experiment.benchmark.check(data.chunks, judge=experiment.llm is not None)
            save_data(experiment, data, run, out_dir)
        with clock.measure("benchmark"):
            results = benchmark(experiment, data, experiment.tuned, run, out_dir)
        outcome = conclude(experiment, data, None, results, Repeats(), run, out_dir, seconds=clock.seconds)
        tracker.tag(run.run_id, result_tags(outcome, out_dir))
        return outcome


@contextmanager
def _tracked(
    experiment: Experiment, tracker: Tracker, tags: Mapping[str, str] | None = None
) -> Iterator[TrackedRun]:
    """Open the tracker's run; within it, an error that the deletion of the cache causes is named as such."""
    all_tags = {**_origin(experiment), **(tags or {})}
    title, params = experiment.title, experiment.params
    with tracker.run(title, params=params, tags=all_tags) as run, deletion_reported(experiment.cache):
        yield run


def _origin(experiment: Experiment) -> dict[str, str]:
    """Return the tags of a run's start: commit, versions and machine, and what it is about."""
    about = {
        "dataset": experiment.dataset.name,
        "model": experiment.model.name,
        "loss": experiment.names["loss"],
    }
    return {**provenance(), **about}


class _Clock:
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
