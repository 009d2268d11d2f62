"""What a multirun ends with: its runs in one table, by what differs between them, and the tests."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from embexp.errors import EmbexpError

if TYPE_CHECKING:
    from embexp.pipeline.past_runs import PastRun


def print_multirun(folder: Path, runs: Sequence[Path]) -> None:
    """Print the runs of a multirun side by side, leave compare.html, and say how to compare them again.

    Runs that were not asked the same questions, as with several seeds or data sets, are shown with their own
    verdicts instead.

    Args:
        folder: The multirun's folder.
        runs: The folders of its finished runs, in their order.
    """
    from embexp.pipeline.past_runs import compare_runs, read_run
    from embexp.reporting.console import short_path, standard_output
    from embexp.reporting.run_comparison import print_comparison, write_comparison
    from embexp.tracking.mlflow import MlflowTracker

    out = standard_output()
    past = [read_run(str(short_path(run)), MlflowTracker()) for run in runs]
    tuned = any(each.outcome.comparison for each in past)
    try:
        comparison = compare_runs(past, ["untuned", "tuned"] if tuned else ["untuned"])
        out.print(f"\n{len(past)} runs, side by side:")
        print_comparison(comparison, write_comparison(folder, comparison)[0])
    except EmbexpError as error:
        out.print(f"\n{len(past)} runs, each with its own verdict ({error}):", soft_wrap=True)
        _print_verdicts(past)
        return
    command = shlex.join(["python", "-m", "embexp.compare", *(each.name for each in past)])
    out.print(f"Again     {command}", soft_wrap=True)


def _print_verdicts(runs: Sequence[PastRun]) -> None:
    from embexp.pipeline.run_names import names_by_difference
    from embexp.reporting.console import standard_output
    from embexp.reporting.verdict import headline

    names = names_by_difference({each.name: each.settings for each in runs})
    out = standard_output()
    for each in runs:
        out.print(f"  {names[each.name]}: {headline(each.outcome)}", soft_wrap=True)


def finished_runs(folder: Path, *, since: float) -> list[Path]:
    """Return the folders below a multirun's that hold an outcome of this multirun, in the order of its jobs.

    Args:
        folder: The multirun's folder.
        since: When it started; older outcomes are of an earlier one.
    """
    found = [path.parent for path in folder.rglob("outcome.json") if path.stat().st_mtime >= since]
    return sorted(
        found, key=lambda path: (not path.name.isdigit(), int(path.name) if path.name.isdigit() else 0, path)
    )
