"""The same experiment again: with other training seeds, and on a part of its training pairs."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from embexp.benchmarking.metrics import DEFAULT_METRICS, Scores, evaluate, run_system
from embexp.benchmarking.repeats import (
    LearningCurve,
    Repeat,
    Seeds,
    over_seeds,
    over_shares,
    scoring_settings,
)
from embexp.benchmarking.score_files import read_scores, write_scores
from embexp.benchmarking.statistics.comparison import compare
from embexp.benchmarking.task import RetrievalTask
from embexp.data.records import Pair
from embexp.data.splitting import draw
from embexp.errors import ConfigError
from embexp.models.embedding_cache import EmbeddingCache
from embexp.models.encoder import SourceEmbedder
from embexp.models.sources import LocalModel
from embexp.pipeline.data import Data
from embexp.pipeline.experiment import Experiment
from embexp.pipeline.finetune import Tuned, finetune
from embexp.retrieval.exact import ExactRetriever
from embexp.storage.files import sha256_of
from embexp.tracking.tracker import TrackedRun

log = logging.getLogger(__name__)


FEWEST_PAIRS = 8
"""A part of the pairs that is smaller than this says nothing."""
DEPTH = 100


@dataclass(frozen=True)
class Planned:
    """A further training: its seed, the part of the pairs that it sees, and the data cut down to it."""

    seed: int
    share: float
    data: Data

    @property
    def name(self) -> str:
        """What tables and the tracker call it."""
        return f"seed {self.seed}" if self.share == 1 else f"{self.share:.0%} of the pairs"


@dataclass(frozen=True)
class Repeats:
    """What the further trainings scored on the test questions; ``scores`` has one system for each."""

    seeds: Seeds | None = None
    curve: LearningCurve | None = None
    scores: Sequence[Scores] = ()


def wanted(experiment: Experiment) -> tuple[int, list[float]]:
    """Return how many seeds there shall be, and the parts of the pairs in rising order."""
    seeds = getattr(experiment.benchmark, "seeds", 1)  # a benchmark of a user's own may lack them
    return seeds, sorted(getattr(experiment.benchmark, "learning_curve", ()))


def refuse_repeats(experiment: Experiment, why: str) -> None:
    """Refuse repeats where nothing is trained.

    Raises:
        ConfigError: The benchmark asks for further trainings.
    """
    seeds, shares = wanted(experiment)
    if seeds > 1 or shares:
        key = f"benchmark.seeds={seeds}" if seeds > 1 else f"benchmark.learning_curve={shares}"
        raise ConfigError(f"{key} trains again, and {why}.")


def plan_trainings(experiment: Experiment, data: Data) -> list[Planned]:
    """Return the run's own training and the further ones that the benchmark asks for.

    Called before any of them begins, so that a mistake costs no training.

    Raises:
        ConfigError: A part of the pairs is too small to train on.
    """
    seeds, shares = wanted(experiment)
    whole = [Planned(experiment.seed + at, 1.0, data) for at in range(seeds)]
    return [*whole, *(_part(experiment, data, share) for share in shares)]


def _part(experiment: Experiment, data: Data, share: float) -> Planned:
    most = experiment.settings["trainer"].get("max_pairs") or len(data.splits.train)
    count = round(share * min(most, len(data.splits.train)))
    if count < FEWEST_PAIRS:
        raise ConfigError(
            f"benchmark.learning_curve holds {share:g}, which is {count} of "
            f"{len(data.splits.train)} training pairs: give a part that leaves {FEWEST_PAIRS} or more."
        )
    train = first_documents(data.splits.train, count, seed=experiment.seed)
    key = sha256_of(data.key, "part", count)[:24]
    return Planned(experiment.seed, share, replace(data, key=key, splits=replace(data.splits, train=train)))


def first_documents(pairs: Sequence[Pair], count: int, *, seed: int) -> list[Pair]:
    """Return the pairs of the first documents, in a drawn order, that together have ``count`` pairs.

    A smaller count gives a part of what a larger one gives.
    """
    sizes: dict[str, int] = {}
    for pair in pairs:
        sizes[pair.document_id] = sizes.get(pair.document_id, 0) + 1
    kept: set[str] = set()
    total = 0
    for name in sorted(sizes, key=lambda name: draw(seed, name)):
        if total >= count:
            break
        kept.add(name)
        total += sizes[name]
    return [pair for pair in pairs if pair.document_id in kept]


def train_repeats(experiment: Experiment, plan: Sequence[Planned], run: TrackedRun) -> list[Tuned]:
    """Train each of ``plan``, unless an earlier run has done so; the models stay in the cache."""
    done = []
    for at, each in enumerate(plan, start=1):
        log.info("Training again, %d of %d: %s", at, len(plan), each.name)
        again = replace(experiment, seed=each.seed)
        done.append(finetune(again, each.data, run, None, name=f"finetune {each.name}"))
    return done


def score_repeats(
    experiment: Experiment,
    plan: Sequence[Planned],
    trained: Sequence[Tuned],
    task: RetrievalTask,
    scores: Mapping[str, Scores],
    run: TrackedRun,
) -> Repeats:
    """Ask the test questions of every further model, and sum up what seeds and parts of the pairs did.

    Args:
        experiment: The components.
        plan: All trainings, the run's own first.
        trained: Their models, in the same order.
        task: The test questions.
        scores: The scores of ``untuned`` and ``tuned``, the run's own.
        run: The tracker's run; each further model becomes a child of it.
    """
    if len(plan) < 2:
        return Repeats()
    found = [scores["tuned"]]
    for each, tuned in zip(plan[1:], trained[1:], strict=True):
        found.append(_scores(experiment, each, tuned.model_dir, task))
        params = {"system": found[-1].system, "seed": each.seed, "share": each.share}
        with run.child(f"benchmark {each.name}", params=params, tags={"stage": "benchmark"}) as child:
            child.log_metrics(found[-1].mean)
    metric, untuned, seed = experiment.metric, scores["untuned"], experiment.seed
    clusters = {query.id: query.cluster for query in task.queries}
    rows = []
    for each, tuned, system in zip(plan, trained, found, strict=True):
        change = compare(untuned, system, metric=metric, clusters=clusters, seed=seed)
        dev, pairs = tuned.training.best(metric), tuned.training.pairs
        row = Repeat(each.seed, each.share, pairs, dev, system.mean[metric], change)
        rows.append((row, system))
    whole = [row for row in rows if row[0].share == 1]
    parts = [row for row in rows if row[0].share < 1]
    seeds = curve = None
    if len(whole) > 1:
        runs, systems = zip(*whole, strict=True)
        seeds = over_seeds(runs, untuned, systems, metric=metric, clusters=clusters, seed=seed)
    if parts:
        points = [row for row, _ in (*parts, rows[0])]
        curve = over_shares(points, parts[-1][1], found[0], metric=metric, clusters=clusters, seed=seed)
    return Repeats(seeds, curve, found[1:])


def _scores(experiment: Experiment, each: Planned, model_dir: Path, task: RetrievalTask) -> Scores:
    """Score one model by exact search, unless an earlier run has done so."""
    source = LocalModel(path=str(model_dir))
    settings = scoring_settings(experiment.settings["benchmark"])
    inputs = (each.data.key, source.fingerprint(), settings, experiment.metric)
    with experiment.stages.stage("repeat", *inputs) as stage:
        path = stage.folder / "scores.parquet"
        if stage.done is None:
            embedder = SourceEmbedder(source, EmbeddingCache(experiment.cache / "embeddings"))
            index = ExactRetriever().index(task.corpus, embedder, path=stage.folder)
            metrics = list(dict.fromkeys((*DEFAULT_METRICS, experiment.metric)))
            found = evaluate(task, run_system(task, index, k=DEPTH), system="tuned", metrics=metrics)
            write_scores(path, [found])
            stage.finish({})
        return replace(read_scores(path)[0], system=f"tuned, {each.name}")
