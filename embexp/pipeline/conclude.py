"""The last stage: outcome, scores, report and model card, in the run's folder and in the tracker."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from embexp.benchmarking.examples import biggest_changes
from embexp.benchmarking.repeats import Repeats
from embexp.benchmarking.score_files import write_queries, write_scores
from embexp.benchmarking.slices import changed_documents, slices
from embexp.benchmarking.statistics.multiple_tests import contrasts
from embexp.benchmarking.systems import TUNED, UNTUNED
from embexp.pipeline.benchmark import Results
from embexp.pipeline.data import Data
from embexp.pipeline.experiment import Experiment
from embexp.pipeline.finetune import Tuned
from embexp.reporting.outcome import Outcome
from embexp.reporting.report import Report, write_model_card, write_report
from embexp.reporting.tracked_results import further_metrics, headline_metrics
from embexp.storage.run_index import record_run
from embexp.tracking.provenance import provenance
from embexp.tracking.tracker import RegisteredModel, TrackedRun


def conclude(
    experiment: Experiment,
    data: Data,
    tuned: Tuned | None,
    results: Results,
    repeats: Repeats,
    run: TrackedRun,
    out_dir: Path,
    *,
    seconds: Mapping[str, float],
) -> Outcome:
    """Write outcome.json, scores.parquet and the reports, and log them with the final metrics.

    Args:
        experiment: The components.
        data: The corpus and its splits.
        tuned: The fine-tuned model, if this run trained one.
        results: The scores of all systems.
        repeats: The summaries of further trainings.
        run: The tracker's run.
        out_dir: The run's folder.
        seconds: Stage -> wall seconds.
    """
    outcome = _outcome(experiment, data, tuned, results, repeats, run, seconds)
    outcome.write(out_dir / "outcome.json")
    record_run(experiment.cache, out_dir)
    write_scores(out_dir / "scores.parquet", [*results.scores.values(), *repeats.scores])
    write_queries(out_dir / "queries.jsonl", results.task.queries)
    config = out_dir / ".hydra" / "config.yaml"
    yaml = config.read_text(encoding="utf-8") if config.exists() else ""
    reports = write_report(out_dir, _report(experiment, data, outcome, results, yaml))
    run.log_metrics(headline_metrics(outcome))
    with run.child("details", params={}, tags={"stage": "benchmark"}) as child:
        child.log_metrics(further_metrics(outcome))
    tables = [out_dir / name for name in ("outcome.json", "scores.parquet", "queries.jsonl")]
    for path in (*tables, *reports):
        run.log_artifact(path)
    if tuned:
        run.log_artifact(write_model_card(tuned.model_dir, outcome, config=yaml), folder="model_card")
        verdict = outcome.comparison.verdict if outcome.comparison else None
        registered = run.log_model(tuned.model_dir, verdict=verdict)
        if registered:
            outcome = outcome.model_copy(update={"mlflow": {**outcome.mlflow, **_registered(registered)}})
            outcome.write(out_dir / "outcome.json")
            run.log_artifact(out_dir / "outcome.json")
    return outcome


def _outcome(
    experiment: Experiment,
    data: Data,
    tuned: Tuned | None,
    results: Results,
    repeats: Repeats,
    run: TrackedRun,
    seconds: Mapping[str, float],
) -> Outcome:
    cached = {
        "synthesize": data.cached,
        "finetune": tuned is not None and tuned.cached,
        "benchmark": results.cached,
    }
    return Outcome(
        dataset=experiment.dataset.name,
        model=experiment.model.name,
        loss=experiment.names["loss"],
        seed=experiment.seed,
        counts=data.counts,
        scores={name: scores.mean for name, scores in results.scores.items()},
        comparison=results.comparison,
        leaks=data.leaks,
        training=tuned.training if tuned else None,
        teacher=tuned.gate if tuned else None,
        seconds=seconds,
        mlflow={"experiment": run.experiment, "run_id": run.run_id},
        model_dir=str(tuned.model_dir.resolve()) if tuned else "",
        index=results.index,
        forgetting=results.forgetting,
        suite=tuple(results.suite),
        cached=tuple(stage for stage, from_cache in cached.items() if from_cache),
        systems=results.costs,
        seeds=repeats.seeds,
        learning_curve=repeats.curve,
        judging=results.judging,
        retriever=results.retriever,
        reranking=results.reranking,
        repeated_texts=results.task.repeated,
        questions=results.asked,
        truncation={**data.truncation, **results.truncation},
        score_threshold=results.threshold,
    )


def _registered(registered: RegisteredModel) -> dict[str, str]:
    return {
        "registered_model": registered.name,
        "registered_version": str(registered.version),
        "registered_alias": registered.alias,
    }


def _report(experiment: Experiment, data: Data, outcome: Outcome, results: Results, config: str) -> Report:
    task, scores = results.task, results.scores
    options: dict[str, Any] = {"metric": experiment.metric, "seed": experiment.seed}
    details: dict[str, Any] = {"examples": [], "slices": [], "documents": []}
    if results.comparison:
        models = scores[UNTUNED], scores[TUNED]
        details = {
            "examples": biggest_changes(task, scores, results.rankings, metric=experiment.metric),
            "slices": slices(task, *models, **options),
            "documents": changed_documents(task, *models, **options),
        }
    pairs = [(UNTUNED, name) for name in scores if name != UNTUNED]
    return Report(
        outcome=outcome,
        scores=scores,
        queries=task.queries,
        synthesis=data.written.report,
        contrasts=contrasts(scores, pairs, clusters=task.clusters, **options),
        map=results.map,
        config=config,
        provenance=provenance(),
        **details,
    )
