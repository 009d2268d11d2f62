"""``python -m embexp.export --run latest format=onnx``: a run's model in another format, and checked."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from embexp.errors import ModelError, exit_on_errors
from embexp.progress import log_in_terminal
from embexp.run_arguments import add_run_arguments

if TYPE_CHECKING:
    from embexp.api import Run
    from embexp.exporting.parity import ExportReport, Measured


def main(arguments: Sequence[str] | None = None) -> None:
    """Export the model of a past run, print how it compares, and end with 2 if it loses too much."""
    options = parser().parse_args(arguments)
    with exit_on_errors(), log_in_terminal():
        _export(options)


def parser() -> argparse.ArgumentParser:
    """Return the parser of this command's arguments, which completion in a shell reads, too."""
    made = argparse.ArgumentParser(prog="python -m embexp.export", description=__doc__)
    made.add_argument(
        "settings", nargs="*", help="format=onnx|onnx_int8|openvino|static|adapter, export.tolerance=…"
    )
    add_run_arguments(made)
    made.add_argument("--to", help="the folder to write (export/FORMAT in the run's folder)")
    return made


def _export(options: argparse.Namespace) -> None:
    """Do what the options say.

    Raises:
        EmbexpError: A setting, the run or its model cannot be used, or the export loses too much.
    """
    from embexp.api import load_run
    from embexp.config.command import prepare_libraries
    from embexp.config.export_options import export_format

    prepare_libraries()
    kind = export_format(options.settings)
    kind.check_packages()
    run = load_run(options.run, outputs=options.outputs, cache=options.cache, trust=options.trust)
    source = run.model_folder
    target = Path(options.to) if options.to else run.folder / "export" / kind.name
    _check_target(target)
    report = _exported(run, source, target, kind)
    _print(report)
    if not report.passed:
        raise ModelError(
            f"The export loses {-report.comparison.delta:.4f} {report.comparison.metric}, more than "
            f"export.tolerance={report.tolerance:g} allows: nothing is published. Choose another format, or "
            "raise export.tolerance if you accept the loss."
        )
    from embexp.reporting.console import short_path, standard_output
    from embexp.reporting.retriever import retriever_reminder

    out = standard_output()
    out.print(f"Published in {short_path(target)}/", soft_wrap=True)
    if reminder := retriever_reminder(run.outcome):
        out.print(reminder, soft_wrap=True)


def _exported(run: Run, source: Path, target: Path, kind: Any) -> ExportReport:
    """Export the whole model, or the adapter alone, and check it on the run's test questions.

    Raises:
        ModelError: The model cannot be exported to this format.
    """
    from embexp.exporting.adapter import AdapterExport, export_adapter
    from embexp.exporting.parity import export_model
    from embexp.models.vector_adapter import SETTINGS

    metric = run.outcome.comparison.metric if run.outcome.comparison else "ndcg@10"
    options: dict[str, Any] = {
        "metric": metric,
        "seed": run.outcome.seed,
        "translations": run.translations,
    }
    if isinstance(kind, AdapterExport):
        return export_adapter(source, target, kind, run.task, run.embedders["untuned"], **options)
    if (source / SETTINGS).is_file() and not (source / "modules.json").is_file():
        raise ModelError(
            f"{source} holds an adapter over a service, whose weights cannot be exported: choose "
            "format=adapter."
        )
    return export_model(source, target, kind, run.task, **options)


def _check_target(target: Path) -> None:
    """Refuse to replace a folder that no export has written.

    Raises:
        ModelError: It is one.
    """
    from embexp.exporting.parity import REPORT

    if target.exists() and not (target / REPORT).is_file():
        raise ModelError(
            f"{target} exists and is no export of embexp (no {REPORT}): give another folder with --to."
        )


def _print(report: ExportReport) -> None:
    """Print the model and its export side by side, and what the difference is worth."""
    from rich import box
    from rich.table import Table

    from embexp.reporting.console import standard_output

    out, found = standard_output(), report.comparison
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("")
    for name in (found.metric, "size", "texts/s", "ms/query"):
        table.add_column(name, justify="right")
    for name, each in (("model", report.original), (report.format, report.exported)):
        table.add_row(name, *_cells(each))
    out.print(table)
    low, high = found.interval
    out.print(
        f"{found.metric} {found.delta:+.4f}, 95% interval {low:+.4f} to {high:+.4f}, on {found.queries} test "
        f"questions; tolerance {report.tolerance:g}.",
        soft_wrap=True,
    )
    if report.passed and low < -report.tolerance:
        out.print(
            "The interval does not exclude a greater loss: more test questions would tell.", soft_wrap=True
        )
    if report.cosine_deviation is not None:
        out.print(f"Largest cosine deviation of a vector: {report.cosine_deviation:.2g}.", soft_wrap=True)


def _cells(each: Measured) -> tuple[str, str, str, str]:
    return (
        f"{each.score:.4f}",
        f"{each.bytes / 1e6:.1f} MB",
        f"{each.texts_per_second:,.0f}",
        f"{each.query_milliseconds:.1f}",
    )


if __name__ == "__main__":
    main()
