"""What a run leaves in its folder and in the tracker: data, outcome, scores and report."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from embexp.benchmarking.examples import Example, biggest_changes
from embexp.benchmarking.forgetting import Forgetting
from embexp.benchmarking.score_files import write_queries, write_scores
from embexp.benchmarking.slices import Slice, changed_documents, slices
from embexp.benchmarking.statistics.multiple_tests import contrasts
from embexp.benchmarking.suite import SuiteScore
from embexp.data.record_files import export_csv, export_parquet, read_jsonl, write_jsonl
from embexp.data.records import HELD_OUT, Pair
from embexp.finetuning.training import RegisteredModel
from embexp.pipeline.benchmark import Results
from embexp.pipeline.data import SPLITS, Data
from embexp.pipeline.experiment import Experiment
from embexp.pipeline.finetune import Tuned
from embexp.pipeline.repeats import Repeats
from embexp.pipeline.synthesize import Written
from embexp.reporting.model_card import write_model_card
from embexp.reporting.outcome import Outcome, write_outcome
from embexp.reporting.report import Report, write_report
from embexp.storage.files import atomic_write, write_json
from embexp.storage.manifest import write_manifest
from embexp.synthesis.data_card import data_card
from embexp.tracking.masking import masked
from embexp.tracking.provenance import provenance
from embexp.tracking.tracker import TrackedRun


def hand_over_data(experiment: Experiment, data: Data, run: TrackedRun, out_dir: Path) -> None:
    """Copy corpus and splits to ``out_dir/data``, each with its manifest, and name them to the tracker."""
    names = ("dataset", "chunker", "synthesis", "llm", "split")
    settings: Any = masked({name: experiment.settings[name] for name in names})
    commit = provenance().get("git_commit")
    folder = out_dir / "data"
    folder.mkdir(parents=True, exist_ok=True)
    usage = _usage(data.written.report)
    counts = {"chunks": len(data.chunks), **{name: len(getattr(data.splits, name)) for name in SPLITS}}
    for name, records in counts.items():
        source = data.written.corpus.folder if name == "chunks" else data.folder
        shutil.copyfile(source / f"{name}.jsonl", folder / f"{name}.jsonl")
        target = folder / f"{name}.jsonl"
        write_manifest(target, records=records, settings=settings, commit=commit, usage=usage)
    write_jsonl(folder / "leaks.jsonl", data.leaks.examples)
    if usage:
        run.log_metrics(_usage_metrics(usage))
    origin = str(getattr(experiment.dataset, "path", experiment.dataset.name))
    run.log_dataset(name=experiment.dataset.name, source=origin, digest=data.key)


def hand_over_pairs(
    experiment: Experiment, written: Written, run: TrackedRun, out_dir: Path, *, seconds: float
) -> dict[str, object]:
    """Leave all pairs in ``out_dir/data`` with a data card, and what writing them took in synthesis.json.

    Held-out queries stand in a file of their own, so that pairs.jsonl holds the accepted ones alone.
    """
    folder = out_dir / "data"
    path = folder / "pairs.jsonl"
    names = ("dataset", "chunker", "synthesis", "llm")
    settings: Any = masked({name: experiment.settings[name] for name in names})
    accepted = write_jsonl(path, _pairs(written, held_out=False))
    summary = _summary(experiment, written, accepted, seconds)
    usage = _usage(written.report)
    commit = provenance().get("git_commit")
    write_manifest(path, records=accepted, settings=settings, commit=commit, usage=usage)
    if held_out := written.count - accepted:
        aside = folder / "held_out.jsonl"
        write_jsonl(aside, _pairs(written, held_out=True))
        write_manifest(aside, records=held_out, settings=settings, commit=commit)
    export_csv(folder / "pairs.csv", read_jsonl(path, Pair))
    export_parquet(folder / "pairs.parquet", read_jsonl(path, Pair))
    card = data_card(read_jsonl(path, Pair), summary, title=_card_title(experiment), settings=settings)
    with atomic_write(folder / "README.md") as stream:
        stream.write(card)
    write_json(out_dir / "synthesis.json", summary)
    run.log_metrics({"pairs": float(accepted), **_usage_metrics(usage), **_diversity_metrics(summary)})
    run.log_artifact(out_dir / "synthesis.json")
    run.log_artifact(folder / "README.md", folder="data")
    return summary


def _pairs(written: Written, *, held_out: bool) -> Iterator[Pair]:
    pairs = read_jsonl(written.path, Pair)
    return (pair for pair in pairs if (pair.generator.kind == HELD_OUT) == held_out)


def _card_title(experiment: Experiment) -> str:
    return f"Retrieval pairs: {experiment.dataset.name}, {experiment.names['synthesis']}"


def _summary(experiment: Experiment, written: Written, accepted: int, seconds: float) -> dict[str, Any]:
    types = Counter(pair.query_type for pair in _pairs(written, held_out=False))
    return {
        "target": experiment.settings["synthesis"].get("target"),
        "rejected": {},
        "requests": 0,
        "usage": {"prompt_tokens": 0, "completion_tokens": 0, "usd": 0.0},
        **written.report,
        "accepted": accepted,
        "seconds": seconds,
        "documents": written.corpus.documents,
        "query_types": dict(types.most_common()),
        "cached": written.cached,
    }


def _usage(report: Mapping[str, Any]) -> dict[str, float]:
    """Return what a language model took for all pairs, recorded answers included; empty without one."""
    return {"requests": report["requests"], **report["usage"]} if "usage" in report else {}


def _usage_metrics(usage: Mapping[str, float]) -> dict[str, float]:
    """Return what the language model took, under the tracker's names."""
    return {f"llm/{name}": float(value) for name, value in usage.items()}


def _diversity_metrics(summary: Mapping[str, Any]) -> dict[str, float]:
    measured = summary.get("diversity", {})
    return {
        f"diversity/{name}": float(value)
        for name, value in measured.items()
        if isinstance(value, (int, float)) and name != "sample"
    }


def conclude(
    experiment: Experiment,
    data: Data,
    tuned: Tuned | None,
    results: Results,
    run: TrackedRun,
    out_dir: Path,
    *,
    seconds: Mapping[str, float],
    general: Forgetting | None = None,
    suite: Sequence[SuiteScore] = (),
    repeats: Repeats | None = None,
) -> Outcome:
    """Write outcome.json, scores.parquet and the reports, and log them with the final metrics."""
    repeats = repeats or Repeats()
    outcome = _outcome(experiment, data, tuned, results, run, seconds, general, suite, repeats)
    systems = [*results.scores.values(), *repeats.scores]
    write_outcome(out_dir / "outcome.json", outcome)
    write_scores(out_dir / "scores.parquet", systems)
    write_queries(out_dir / "queries.jsonl", results.task.queries)
    reports = write_report(
        out_dir, _report(experiment, outcome, results, out_dir, synthesis=data.written.report)
    )
    run.log_metrics(final_metrics(outcome))
    tables = [out_dir / name for name in ("outcome.json", "scores.parquet", "queries.jsonl")]
    for path in (*tables, *reports):
        run.log_artifact(path)
    if tuned:
        config = out_dir / ".hydra" / "config.yaml"
        run.log_artifact(
            write_model_card(tuned.model_dir, outcome, config=_text(config)), folder="model_card"
        )
        verdict = outcome.comparison.verdict if outcome.comparison else None
        registered = run.log_model(tuned.model_dir, verdict=verdict)
        if registered:
            outcome = replace(outcome, mlflow={**outcome.mlflow, **_registered(registered)})
            write_outcome(out_dir / "outcome.json", outcome)
            run.log_artifact(out_dir / "outcome.json")
    return outcome


def _outcome(
    experiment: Experiment,
    data: Data,
    tuned: Tuned | None,
    results: Results,
    run: TrackedRun,
    seconds: Mapping[str, float],
    general: Forgetting | None,
    suite: Sequence[SuiteScore],
    repeats: Repeats,
) -> Outcome:
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
        seconds=seconds,
        mlflow={"experiment": run.experiment, "run_id": run.run_id},
        model_dir=str(tuned.model_dir.resolve()) if tuned else "",
        index=results.index,
        forgetting=general,
        suite=suite,
        cached=_cached(data, tuned, results),
        systems=results.costs,
        seeds=repeats.seeds,
        learning_curve=repeats.curve,
        judging=results.judging,
    )


def _registered(registered: RegisteredModel) -> dict[str, str]:
    return {
        "registered_model": registered.name,
        "registered_version": str(registered.version),
        "registered_alias": registered.alias,
    }


def _cached(data: Data, tuned: Tuned | None, results: Results) -> list[str]:
    taken = {
        "synthesize": data.cached,
        "finetune": tuned is not None and tuned.cached,
        "benchmark": results.cached,
    }
    return [stage for stage, cached in taken.items() if cached]


def _report(
    experiment: Experiment,
    outcome: Outcome,
    results: Results,
    out_dir: Path,
    *,
    synthesis: Mapping[str, Any],
) -> Report:
    task, scores, metric = results.task, results.scores, experiment.metric
    found: list[Example] = []
    cut: list[Slice] = []
    documents: list[Slice] = []
    if results.comparison:
        found = biggest_changes(task, scores, results.rankings, metric=metric)
        both = scores["untuned"], scores["tuned"]
        cut = slices(task, *both, metric=metric, seed=experiment.seed)
        documents = changed_documents(task, *both, metric=metric, seed=experiment.seed)
    clusters = {query.id: query.cluster for query in task.queries}
    pairs = [("untuned", name) for name in scores if name != "untuned"]
    return Report(
        outcome=outcome,
        scores=results.scores,
        queries=results.task.queries,
        examples=found,
        slices=cut,
        documents=documents,
        synthesis=synthesis,
        contrasts=contrasts(scores, pairs, metric=metric, clusters=clusters, seed=experiment.seed),
        map=results.map,
        config=_text(out_dir / ".hydra" / "config.yaml"),
        provenance=provenance(),
    )


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""


def final_metrics(outcome: Outcome) -> dict[str, float]:
    """Return what the tracker's table shows of a run: each system's means, the delta and its interval."""
    metrics = {
        f"{system}/{metric}": value
        for system, means in outcome.scores.items()
        for metric, value in means.items()
    }
    if outcome.comparison:
        low, high = outcome.comparison.interval
        metrics |= {"delta": outcome.comparison.delta, "delta_low": low, "delta_high": high}
        metrics["p"] = outcome.comparison.p
    if outcome.forgetting:
        metrics |= {"forgetting/delta": outcome.forgetting.comparison.delta}
    for score in outcome.suite:
        values = {"untuned": score.untuned, "tuned": score.tuned}
        metrics |= {
            f"suite/{score.task}/{name}": value for name, value in values.items() if value is not None
        }
    if outcome.seeds:
        metrics |= {"seeds/mean": outcome.seeds.mean, "seeds/std": outcome.seeds.std}
    if outcome.index:
        metrics["index/recall"] = outcome.index.recall
    if outcome.training:
        metrics["training/pairs_per_second"] = outcome.training.pairs_per_second
    return {**metrics, **{f"seconds/{stage}": value for stage, value in outcome.seconds.items()}}
