"""Repeated trainings: the same experiment with further seeds, and on shares of its training pairs."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from embexp.benchmarking.benchmark import scoring_settings
from embexp.benchmarking.metrics import Scores, cutoff_of, with_defaults
from embexp.benchmarking.repeats import Repeats, ScoredTraining, summarise_repeats
from embexp.benchmarking.score_files import read_scores, write_scores
from embexp.benchmarking.systems import TUNED, UNTUNED, score_embedder
from embexp.benchmarking.task import RetrievalTask
from embexp.data.records import Pair
from embexp.data.sampling import shuffle_key
from embexp.errors import ConfigError
from embexp.finetuning.auto import AutoFineTuner
from embexp.models.encoder import SourceEmbedder
from embexp.pipeline.benchmark import Results
from embexp.pipeline.data import Data
from embexp.pipeline.experiment import Experiment
from embexp.pipeline.finetune import Tuned, finetune
from embexp.storage.files import sha256_of
from embexp.tracking.tracker import TrackedRun
from embexp.user_code import identity

log = logging.getLogger(__name__)

MIN_PAIRS = 8
"""A share of the pairs that is smaller than this is refused."""


@dataclass(frozen=True)
class PlannedTraining:
    """A training to do: its seed, the share of the pairs that it uses, and the data cut down to it."""

    seed: int
    share: float
    data: Data

    @property
    def name(self) -> str:
        """The name in tables and in the tracker."""
        return f"seed {self.seed}" if self.share == 1 else f"{self.share:.0%} of the pairs"


def refuse_repeats(experiment: Experiment, why: str) -> None:
    """Refuse repeats where nothing is trained.

    Raises:
        ConfigError: The benchmark asks for further trainings.
    """
    seeds, shares = experiment.benchmark.seeds, sorted(experiment.benchmark.learning_curve)
    if seeds > 1 or shares:
        key = f"benchmark.seeds={seeds}" if seeds > 1 else f"benchmark.learning_curve={shares}"
        raise ConfigError(f"{key} trains again, and {why}.")


def plan_trainings(experiment: Experiment, data: Data) -> list[PlannedTraining]:
    """Return the run's own training, then those that the benchmark asks for; none without training pairs.

    It is called before any of them starts, so that a mistake costs no training.

    Raises:
        ConfigError: A share of the pairs is too small to train on.
    """
    if not data.splits.train:
        refuse_repeats(experiment, "there is no training pair: leave it out, or give some")
        return []
    options = experiment.benchmark
    whole = [PlannedTraining(experiment.seed + at, 1.0, data) for at in range(options.seeds)]
    return [*whole, *(_part(experiment, data, share) for share in sorted(options.learning_curve))]


def _part(experiment: Experiment, data: Data, share: float) -> PlannedTraining:
    count = round(share * _pairs_of_the_whole(experiment, data))
    if count < MIN_PAIRS:
        raise ConfigError(
            f"benchmark.learning_curve holds {share:g}, which is {count} of "
            f"{len(data.splits.train)} training pairs: give a part that leaves {MIN_PAIRS} or more."
        )
    train = _first_documents(data.splits.train, count, seed=experiment.seed)
    key = sha256_of(data.key, "part", count)[:24]
    part = replace(data, key=key, splits=replace(data.splits, train=train))
    return PlannedTraining(experiment.seed, share, part)


def _pairs_of_the_whole(experiment: Experiment, data: Data) -> int:
    """Return how many training pairs the run's own training may use."""
    trainer, total = experiment.trainer, len(data.splits.train)
    if isinstance(trainer, AutoFineTuner):
        most = trainer.plan(data.splits).max_pairs
    else:
        most = experiment.settings["trainer"].get("max_pairs")
    return min(most or total, total)


def _first_documents(pairs: Sequence[Pair], count: int, *, seed: int) -> list[Pair]:
    """Return the pairs of the first documents, in a random order, that together have ``count`` pairs.

    A smaller count gives a subset of what a larger one gives.
    """
    sizes: dict[str, int] = {}
    for pair in pairs:
        sizes[pair.document_id] = sizes.get(pair.document_id, 0) + 1
    kept: set[str] = set()
    total = 0
    for name in sorted(sizes, key=lambda name: shuffle_key(seed, name)):
        if total >= count:
            break
        kept.add(name)
        total += sizes[name]
    return [pair for pair in pairs if pair.document_id in kept]


def train(
    experiment: Experiment, plan: Sequence[PlannedTraining], run: TrackedRun, out_dir: Path
) -> list[Tuned]:
    """Train each of ``plan``; the run's own model goes to ``out_dir``, the others stay in the cache."""
    trained = []
    for at, each in enumerate(plan):
        if at == 0:
            trained.append(finetune(experiment, each.data, run, out_dir))
            continue
        log.info("Training again, %d of %d: %s", at, len(plan) - 1, each.name)
        again = replace(experiment, seed=each.seed)
        trained.append(finetune(again, each.data, run, None, name=f"finetune {each.name}"))
    return trained


def score_repeats(
    experiment: Experiment,
    plan: Sequence[PlannedTraining],
    trained: Sequence[Tuned],
    results: Results,
    run: TrackedRun,
) -> Repeats:
    """Score every further model on the test questions, and sum up the seeds and the learning curve.

    Args:
        experiment: The components.
        plan: All trainings, the run's own first.
        trained: Their models, in the same order.
        results: The results of the run's own model.
        run: The tracker's run; each further model becomes a child of it.
    """
    if len(plan) < 2:
        return Repeats()
    scores = [results.scores[TUNED]]
    for each, tuned in zip(plan[1:], trained[1:], strict=True):
        scores.append(_score(experiment, each, tuned, results.task))
        params = {"system": scores[-1].system, "seed": each.seed, "share": each.share}
        with run.child(f"benchmark {each.name}", params=params, tags={"stage": "benchmark"}) as child:
            child.log_metrics(scores[-1].mean)
    trainings = [
        ScoredTraining(
            seed=each.seed,
            share=each.share,
            pairs=tuned.training.pairs,
            dev=tuned.training.selected_score(experiment.metric),
            scores=system,
        )
        for each, tuned, system in zip(plan, trained, scores, strict=True)
    ]
    return summarise_repeats(
        trainings,
        results.scores[UNTUNED],
        metric=experiment.metric,
        clusters=results.task.clusters,
        seed=experiment.seed,
    )


def _score(experiment: Experiment, each: PlannedTraining, tuned: Tuned, task: RetrievalTask) -> Scores:
    """Score one model by exact search, or take its scores from the cache."""
    settings = scoring_settings(experiment.settings["benchmark"])
    inputs = (each.data.key, identity(tuned.source), settings, experiment.metric)
    with experiment.stages.stage("repeat", *inputs) as stage:
        path = stage.folder / "scores.parquet"
        stored = stage.stored(lambda _: read_scores(path))
        if stored is None:
            scores = score_embedder(
                task,
                SourceEmbedder(tuned.source, experiment.embeddings, bf16=True),
                system=TUNED,
                folder=stage.folder,
                metrics=with_defaults(experiment.metric),
                cutoff=cutoff_of(experiment.metric),
            )
            write_scores(path, [scores])
            stage.finish({}, path.name)
            stored = [scores]
        return replace(stored[0], system=f"{TUNED}, {each.name}")
