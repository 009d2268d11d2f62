"""``python -m embexp.migrate --run latest``: from the untuned model's index to the tuned model."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from embexp.errors import ModelError, exit_on_errors
from embexp.progress import log_in_terminal
from embexp.run_arguments import add_run_arguments

if TYPE_CHECKING:
    from embexp.api import Run
    from embexp.migrating import AdapterReport, ChromaMigration, DriftAdapter, MigrationReport

REPORT = "migrate.json"


def main(arguments: Sequence[str] | None = None) -> None:
    """Fit an adapter to the old index, or embed a Chroma collection anew, and print what came of it."""
    options = parser().parse_args(arguments)
    with exit_on_errors(), log_in_terminal():
        _migrate(options)


def parser() -> argparse.ArgumentParser:
    """Return the parser of this command's arguments, which completion in a shell reads, too."""
    made = argparse.ArgumentParser(prog="python -m embexp.migrate", description=__doc__)
    made.add_argument("settings", nargs="*", help="migrate=adapter|chroma, migrate.collection=NAME …")
    add_run_arguments(made)
    made.add_argument("--to", help="the folder for what is written (migrate/OPTION in the run's folder)")
    return made


def _migrate(options: argparse.Namespace) -> None:
    """Do what the options say.

    Raises:
        EmbexpError: A setting, the run, a model or the collection cannot be used.
    """
    from embexp.api import load_run
    from embexp.config.command import prepare_libraries
    from embexp.config.migrate_options import migration

    prepare_libraries()
    settings = migration(options.settings)
    run = load_run(options.run, outputs=options.outputs, cache=options.cache, trust=options.trust)
    from embexp.migrating import DriftAdapter

    if isinstance(settings, DriftAdapter):
        _adapt(run, settings, Path(options.to) if options.to else run.folder / "migrate" / "adapter")
    else:
        _reembed(run, settings, Path(options.to) if options.to else run.folder / "migrate" / "chroma")


def _adapt(run: Run, settings: DriftAdapter, target: Path) -> None:
    """Fit an adapter on the run's texts, score it on the run's test questions, and save it."""
    from dataclasses import replace

    from embexp.migrating.adapter_score import divide_questions, fit_and_score
    from embexp.models.embedding_cache import EmbeddingCache
    from embexp.models.encoder import SourceEmbedder
    from embexp.reporting.console import short_path, standard_output
    from embexp.storage.files import write_json

    _check_target(target)
    cache = EmbeddingCache(Path(run.config.paths.cache) / "embeddings")
    models = {name: SourceEmbedder(source, cache) for name, source in run.sources.items()}
    comparison, seed = run.outcome.comparison, run.outcome.seed
    asked = {query.text for query in run.task.queries}
    adapter, report = fit_and_score(
        settings,
        models["tuned"],
        models["untuned"],
        run.task,
        divide_questions(run.questions("train"), run.questions("dev"), asked=asked, seed=seed),
        metric=comparison.metric if comparison else "ndcg@10",
        folder=target,
        seed=seed,
    )
    about = {"maps": "queries", "from": models["tuned"].fingerprint, "to": models["untuned"].fingerprint}
    replace(adapter, about=about).save(target)
    write_json(target / REPORT, report.model_dump(mode="json"))
    _print_adapter(report)
    standard_output().print(f"Saved in {short_path(target)}/", soft_wrap=True)


def _check_target(target: Path) -> None:
    """Refuse to replace an adapter that this command has not written.

    Raises:
        ModelError: There is one.
    """
    from embexp.models.vector_adapter import SETTINGS

    if (target / SETTINGS).exists() and not (target / REPORT).is_file():
        raise ModelError(
            f"{target} holds an adapter that embexp.migrate has not written (no {REPORT}): give "
            "another folder with --to."
        )


def _print_adapter(report: AdapterReport) -> None:
    """Print the systems side by side, and how much of the gain is kept."""
    from rich import box
    from rich.table import Table

    from embexp.migrating.adapter_score import ADAPTED, TUNED, UNADAPTED, UNTUNED
    from embexp.reporting.console import standard_output

    out = standard_output()
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("questions", "index", report.metric, "gain", "share"):
        table.add_column(name, justify="left" if name in ("questions", "index") else "right")
    base = report.scores[UNTUNED]
    names = {
        UNTUNED: ("untuned", "old"),
        UNADAPTED: ("tuned", "old"),
        ADAPTED: (f"tuned + {report.kind} adapter", "old"),
        TUNED: ("tuned", "new"),
    }
    for system, cells in names.items():
        if system in report.scores:
            gain = report.scores[system] - base
            share = f"{gain / report.gain.delta:.0%}" if report.share is not None else "–"
            row = (f"{report.scores[system]:.4f}", f"{gain:+.4f}", share)
            table.add_row(*cells, *(row if system != UNTUNED else (row[0], "", "")))
    out.print(table)
    out.print(_sentence(report), soft_wrap=True)


def _sentence(report: AdapterReport) -> str:
    questions = f"{report.gain.queries} test questions"
    if report.share is None or report.share_interval is None:
        low, high = report.gain.interval
        return (
            f"On {questions} the tuned model's gain is {report.gain.delta:+.4f}, 95% interval {low:+.4f} to "
            f"{high:+.4f}: it is not sure that there is one, and no share of it can be told."
        )
    low, high = report.share_interval
    return (
        f"On the old index the adapter keeps {report.share:.0%} of the tuned model's gain, 95% interval "
        f"{low:.0%} to {high:.0%}, on {questions}."
    )


def _reembed(run: Run, settings: ChromaMigration, target: Path) -> None:
    """Embed a collection anew with the run's tuned model."""
    from embexp.migrating.reembedding import reembed
    from embexp.models.addresses import plain_address
    from embexp.models.embedding_cache import EmbeddingCache
    from embexp.models.encoder import ModelEmbedder, SourceEmbedder
    from embexp.storage.files import write_json
    from embexp.user_code import identity

    cache = EmbeddingCache(Path(run.config.paths.cache) / "embeddings")
    source = run.sources["tuned"]
    # The new collection itself keeps the vectors: a second copy in the cache would push out those of runs.
    tuned = ModelEmbedder(source.load(), fingerprint=identity(source), address=plain_address(source))
    report = reembed(settings, tuned, SourceEmbedder(run.sources["untuned"], cache))
    write_json(target / REPORT, report.model_dump(mode="json"))
    _print_migration(report)


def _print_migration(report: MigrationReport) -> None:
    """Print what the collection is now."""
    from embexp.reporting.console import standard_output

    old = f"The old one is {report.old}." if report.old else "The old one is deleted."
    standard_output().print(
        f"{report.collection} now holds {report.records:,} records of the tuned model, {report.embedded:,} "
        f"of them embedded now. {report.sampled} embedded once more deviate by at most "
        f"{report.largest_deviation:.1g} (1 - cos), and searches for their vectors find {report.found:.0%}. "
        f"{old}",
        soft_wrap=True,
    )


if __name__ == "__main__":
    main()
