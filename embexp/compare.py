"""``python -m embexp.compare RUN RUN…``: past runs in one table, with a paired test between any two."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from embexp.errors import DataError, exit_on_errors


def main(arguments: Sequence[str] | None = None) -> None:
    """Compare past runs, print the tables, and leave a report."""
    options = parser().parse_args(arguments)
    with exit_on_errors():
        _compare_runs(
            options.run,
            systems=options.system or ["untuned", "tuned"],
            metric=options.metric,
            folder=Path(options.out or f"outputs/comparisons/{datetime.now():%Y-%m-%d/%H-%M-%S}"),
            root=options.root,
        )


def parser() -> argparse.ArgumentParser:
    """Return the parser of this command's arguments, which completion in a shell reads, too."""
    made = argparse.ArgumentParser(prog="python -m embexp.compare", description=__doc__)
    made.add_argument("run", nargs="+", help="a run's folder, or the id of its MLflow run")
    made.add_argument(
        "--system",
        action="append",
        help="a system of each run to compare (default: untuned and tuned); repeatable",
    )
    made.add_argument("--metric", help="the metric to compare by (default: the first verdict's)")
    made.add_argument("--out", help="the report's folder (default: outputs/comparisons/DATE/TIME)")
    made.add_argument("--root", default=".", help="the folder of mlflow.db (default: the current one)")
    return made


def _compare_runs(
    names: Sequence[str], *, systems: Sequence[str], metric: str | None, folder: Path, root: str
) -> None:
    """Print the differences between systems of past runs; write compare.html, .md and .json into ``folder``.

    Args:
        names: Folders of runs, or ids of MLflow runs.
        systems: Which systems of each run to compare.
        metric: The metric to compare by; None is that of the first run's verdict.
        folder: The report's folder.
        root: The folder that holds mlflow.db.

    Raises:
        EmbexpError: A run cannot be read, or the runs were not asked the same questions.
    """
    from embexp.pipeline.past_runs import compare_runs, read_run
    from embexp.reporting.run_comparison import print_comparison, write_comparison
    from embexp.tracking.mlflow import MlflowTracker

    if twice := [name for name in names if names.count(name) > 1]:
        raise DataError(f"{twice[0]} is named twice: name each run once.")
    runs = [read_run(name, MlflowTracker(root=root)) for name in names]
    comparison = compare_runs(runs, systems, metric)
    print_comparison(comparison, write_comparison(folder, comparison)[0])


if __name__ == "__main__":
    main()
