"""The fine-tuning stage: training pairs become a fine-tuned model, or the model comes from the cache."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter

from embexp.benchmarking.forgetting import general_set
from embexp.benchmarking.held_out import HeldOut
from embexp.benchmarking.metrics import with_defaults
from embexp.benchmarking.systems import score_embedder
from embexp.benchmarking.task import RetrievalTask, smaller_corpus
from embexp.benchmarking.teacher_gate import TeacherGate
from embexp.data.records import Unit
from embexp.data.words import words
from embexp.finetuning.loanwords import phonetic_questions, unread_letters
from embexp.finetuning.query_adapter import QueryAdapterFineTuner
from embexp.finetuning.settings import CommonSettings
from embexp.finetuning.training import GENERAL, DevScores, Training, TrainingStep, UntunedModel
from embexp.models.adapted import save_adapted, tuned_model
from embexp.models.embedding_cache import EmbeddingCache
from embexp.models.encoder import AdaptedEmbedder, Embedder, SourceEmbedder
from embexp.models.sources import ModelSource
from embexp.pipeline.data import Data
from embexp.pipeline.experiment import Experiment
from embexp.pipeline.teachers import loss_to_train, teacher_gate, teachers_of
from embexp.pipeline.training_vectors import TrainingVectors
from embexp.progress import without_bars
from embexp.storage.files import copy_folder
from embexp.storage.stages import Stage
from embexp.tracking.tracker import TrackedRun
from embexp.user_code import identity

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

log = logging.getLogger(__name__)


DEV_DISTRACTORS = 500
"""Unjudged chunks in the dev corpus: enough to tell checkpoints apart, few enough to embed often."""
LEAST_WORDS = 2
"""A passage with fewer words, left after a question was cut out of it, answers nothing."""


@dataclass(frozen=True)
class Tuned:
    """A fine-tuned model on disk and the record of its training; ``base`` is the untuned one."""

    training: Training
    model_dir: Path
    base: ModelSource
    cached: bool
    gate: TeacherGate | None = None

    @property
    def source(self) -> ModelSource:
        """The model as a benchmark loads it."""
        return tuned_model(self.model_dir, self.base)


def finetune(
    experiment: Experiment, data: Data, run: TrackedRun, out_dir: Path | None, *, name: str = "finetune"
) -> Tuned:
    """Train on the training split and leave the best model on dev in ``out_dir/model``.

    An interrupted training continues from its newest checkpoint; a finished one is taken from the cache.

    Args:
        experiment: The components.
        data: The corpus and its splits.
        run: The tracker's run, of which this becomes a child.
        out_dir: The run's folder; None leaves the model in the cache.
        name: The name of the child run.
    """
    gate = teacher_gate(experiment, data, _dev_questions(experiment, data))
    gated = replace(experiment, loss=loss_to_train(experiment.loss, gate))
    with experiment.stages.stage("finetune", *_inputs(experiment, data)) as stage:
        params = {"loss": experiment.names["loss"], "pairs": len(data.splits.train)}
        with run.child(name, params=params, tags={"stage": "finetune"}) as child:
            stored = stage.stored(TypeAdapter(Training).validate_python)
            training = stored or _train(gated, data, stage, child)
            for step in stored.history if stored else ():
                child.log_metrics(step.metrics, step=step.step)
        model_dir = stage.folder / "model"
        if out_dir is not None:
            copy_folder(model_dir, out_dir / "model")
            model_dir = out_dir / "model"
    return Tuned(training, model_dir, experiment.model, cached=stored is not None, gate=gate)


def _dev_questions(experiment: Experiment, data: Data) -> Callable[[], RetrievalTask | None]:
    """Return a function that returns the dev questions, None where there are none."""
    unit, seed = experiment.dataset.unit, experiment.seed
    return lambda: dev_task(data, seed=seed, unit=unit) if data.splits.dev else None


def finetune_folder(experiment: Experiment, data: Data) -> Path:
    """Return the cache folder of this fine-tuning, finished or not."""
    return experiment.stages.folder("finetune", *_inputs(experiment, data))


def _inputs(experiment: Experiment, data: Data) -> tuple[object, ...]:
    return (
        data.key,
        identity(experiment.model),
        {name: experiment.settings[name] for name in ("loss", "trainer", "forgetting")},
        teachers_of(experiment),
        experiment.seed,
        experiment.metric,
    )


def _train(experiment: Experiment, data: Data, stage: Stage, run: TrackedRun) -> Training:
    """Train, write the whole model, and only then mark the stage as finished."""

    def on_step(step: TrainingStep) -> None:
        run.log_metrics(step.metrics, step=step.step)
        if experiment.watch is not None:
            experiment.watch(step)

    fresh = stage.folder / "fresh"
    if isinstance(experiment.trainer, QueryAdapterFineTuner):
        training = _train_adapter(experiment, experiment.trainer, data, fresh, on_step)
    else:
        training = _train_weights(experiment, data, stage, fresh, on_step)
    copy_folder(fresh, stage.folder / "model")
    shutil.rmtree(fresh)
    stage.finish(asdict(training), "model")
    for name in ("work", "vectors"):
        shutil.rmtree(stage.folder / name, ignore_errors=True)
    return training


def _train_adapter(
    experiment: Experiment,
    trainer: QueryAdapterFineTuner,
    data: Data,
    folder: Path,
    on_step: Callable[[TrainingStep], None],
) -> Training:
    """Train an adapter on cached vectors, and save it with the model below where its weights are at hand."""
    embedder = SourceEmbedder(experiment.model, experiment.embeddings)
    score = _dev_scorer(experiment, data)
    held_out = {pair.document_id for pair in (*data.splits.dev, *data.splits.test)}
    training, adapter = trainer.fit_adapter(
        embedder,
        experiment.loss,
        data.splits,
        corpus=[
            (chunk.document_id, chunk.passage) for chunk in data.chunks if chunk.document_id not in held_out
        ],
        score=lambda tried: score(AdaptedEmbedder(embedder, tried)),
        seed=experiment.seed,
        on_step=on_step,
    )
    with without_bars():
        save_adapted(folder, adapter, experiment.model)
    return training


def _train_weights(
    experiment: Experiment,
    data: Data,
    stage: Stage,
    folder: Path,
    on_step: Callable[[TrainingStep], None],
) -> Training:
    """Train the model's weights, and save the whole model."""
    model = experiment.model.load()
    score = _dev_scorer(experiment, data, letters=_unread_letters(experiment, model, data))
    untuned = UntunedModel(
        fingerprint=identity(experiment.model),
        max_tokens=model.max_seq_length,
        cache=experiment.embeddings,
        score=score,
    )

    vectors = TrainingVectors(model, untuned, EmbeddingCache(stage.folder / "vectors"))
    training = experiment.trainer.fit(
        model,
        experiment.loss,
        data.splits,
        dev_scores=vectors.dev_scores,
        work_dir=stage.folder / "work",
        seed=experiment.seed,
        on_step=on_step,
        untuned=replace(untuned, selected=vectors),
    )
    with without_bars():
        model.save_pretrained(str(folder))
    vectors.keep(model, folder)
    return training


def _unread_letters(experiment: Experiment, model: SentenceTransformer, data: Data) -> dict[str, str]:
    """Return the letters that the trained model will transliterate in questions; empty for none."""
    trainer = experiment.trainer
    return unread_letters(trainer.method, model, data.splits) if isinstance(trainer, CommonSettings) else {}


def run_worker(experiment: Experiment) -> None:
    """Take part in the trainings of rank 0 as a worker, until its command ends; write nothing.

    Raises:
        ConfigError: The trainer trains in one process only.
    """
    experiment.trainer.run_worker(experiment.loss, experiment.model.load)


def _dev_scorer(
    experiment: Experiment, data: Data, *, letters: Mapping[str, str] | None = None
) -> Callable[[Embedder], DevScores]:
    """Return a function that scores a model on the dev questions by exact search.

    Where ``benchmark@forgetting`` names a general set, a part of it is scored too; its metrics have the
    prefix ``general_``. Where ``letters`` are to be transliterated, dev questions are spelled phonetically.
    """
    if not data.splits.dev:
        return lambda _: DevScores({})
    unit, seed = experiment.dataset.unit, experiment.seed
    metrics = with_defaults(experiment.metric, *deciding_metrics(experiment.settings))
    task = dev_task(data, seed=seed, unit=unit)
    tasks = {"": _spelled_phonetically(task, letters, seed=seed) if letters else task}
    if experiment.forgetting is not None:
        tasks[GENERAL] = general_set(experiment.forgetting, unit=unit, seed=seed).guard

    def scores(embedder: Embedder) -> DevScores:
        values: dict[str, float] = {}
        scored = {
            prefix: score_embedder(task, embedder, system="dev", folder=data.folder, metrics=metrics)
            for prefix, task in tasks.items()
        }
        for prefix, each in scored.items():
            values |= {f"{prefix}{name}": value for name, value in each.mean.items()}
        return DevScores(values, scored[""].per_query)

    return scores


def _spelled_phonetically(task: RetrievalTask, letters: Mapping[str, str], *, seed: int) -> RetrievalTask:
    """Return the dev questions in phonetic spelling, as the query encoder reads loanwords.

    Asked in their own spelling, they would reject weights that match loanwords better.
    """
    log.info("Dev questions are spelled phonetically, as the query encoder will read the test questions.")
    spelled = phonetic_questions([query.text for query in task.queries], letters, seed=seed)
    queries = [replace(query, text=text) for query, text in zip(task.queries, spelled, strict=True)]
    return replace(task, queries=queries)


def deciding_metrics(settings: Mapping[str, Any]) -> list[str]:
    """Return the metric that ``trainer.metric`` names, often the run's; none for a trainer without it."""
    metric = settings["trainer"].get("metric")
    return [str(metric)] if metric else []


def dev_task(data: Data, *, seed: int, unit: Unit, whole: bool = False) -> RetrievalTask:
    """Return the dev questions over their own documents and a random sample of others, or all of them."""
    asked = {pair.document_id for pair in data.splits.dev}
    distractors = len(data.chunks) if whole else DEV_DISTRACTORS
    chunks = smaller_corpus(data.chunks, asked, distractors=distractors, seed=seed)
    task = HeldOut(name="dev").task(chunks, data.splits.dev, unit=unit, scale=data.splits.label_scale())
    return _answerable(task)


def _answerable(task: RetrievalTask) -> RetrievalTask:
    """Leave out the questions of which nothing is left to find, as of a passage that is its own question."""
    filled = {task.unit_of(chunk) for chunk in task.corpus if len(words(chunk.passage)) >= LEAST_WORDS}
    right = {
        name: {unit for unit, grade in grades.items() if grade > 0} for name, grades in task.qrels.items()
    }
    kept = [query for query in task.queries if right[query.id] & filled]
    left_out = len(task.queries) - len(kept)
    if not left_out:
        return task
    log.warning(
        "%d of %d dev questions cannot be answered: nothing is left of the passages that answer them once "
        "the question is cut out. %s",
        *(left_out, len(task.queries), "They are left out." if kept else "Dev cannot choose weights."),
    )
    if not kept:
        return task
    return replace(task, queries=kept, qrels={query.id: task.qrels[query.id] for query in kept})
