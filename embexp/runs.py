"""``python -m embexp.runs``: the finished runs, whatever their folders; removes them, also from MLflow."""

from __future__ import annotations

import argparse
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from embexp.errors import DataError, exit_on_errors
from embexp.storage.files import size_of_folder
from embexp.storage.run_index import OUTCOME, finished_runs, forget_run

if TYPE_CHECKING:
    from embexp.reporting.outcome import Outcome

_NOT_A_SETTING = ("hydra.", "paths.", "tracker.", "tracker=")
"""Overrides that say where files are kept, and not what is computed."""


@dataclass(frozen=True, kw_only=True)
class FinishedRun:
    """A finished run, as it is listed.

    Attributes:
        folder: Its folder.
        outcome: Its numbers.
        settings: Its overrides, as they were typed, without those that place files.
        age: The seconds since it finished.
        size: The bytes of its folder.
    """

    folder: Path
    outcome: Outcome
    settings: tuple[str, ...]
    age: float
    size: int


def list_runs(cache: str | Path = "outputs/cache", outputs: str | Path = "outputs") -> list[FinishedRun]:
    """Return the finished runs, the newest first.

    Args:
        cache: The cache whose index names the runs.
        outputs: A folder that is searched as well.

    Raises:
        DataError: The outcome.json of a run cannot be read.
    """
    return [_read(folder) for folder in finished_runs(Path(cache), Path(outputs))]


def main(arguments: Sequence[str] | None = None) -> None:
    """List the finished runs, or remove some."""
    options = parser().parse_args(arguments)
    with exit_on_errors():
        if options.action == "remove":
            for name in options.run:
                _remove(Path(name), cache=Path(options.cache), mlflow=options.mlflow, dry=options.dry_run)
        else:
            _print(list_runs(options.cache, options.outputs))


def parser() -> argparse.ArgumentParser:
    """Return the parser of this command's arguments, which completion in a shell reads, too."""
    made = argparse.ArgumentParser(prog="python -m embexp.runs", description=__doc__)
    made.add_argument("--cache", default="outputs/cache", help="the cache with the index (outputs/cache)")
    made.add_argument("--outputs", default="outputs", help="a folder to search as well (outputs)")
    actions = made.add_subparsers(dest="action")
    actions.add_parser("list", help="list the runs, the newest first (what happens without a word)")
    text = "delete the folders of runs; what they share in the cache stays (embexp cache prune)"
    remove = actions.add_parser("remove", help=text, description=text)
    remove.add_argument("run", nargs="+", help="a run's folder")
    remove.add_argument("--mlflow", action="store_true", help="delete their runs in MLflow, too")
    remove.add_argument("--dry-run", action="store_true", help="show what would be deleted")
    return made


def _read(folder: Path) -> FinishedRun:
    from omegaconf import OmegaConf

    from embexp.reporting.outcome import Outcome

    overrides = folder / ".hydra" / "overrides.yaml"
    typed = [str(text) for text in OmegaConf.load(overrides)] if overrides.is_file() else []
    return FinishedRun(
        folder=folder,
        outcome=Outcome.read(folder / OUTCOME),
        settings=tuple(text for text in typed if not text.lstrip("+~").startswith(_NOT_A_SETTING)),
        age=time.time() - (folder / OUTCOME).stat().st_mtime,
        size=size_of_folder(folder),
    )


def _print(runs: Sequence[FinishedRun]) -> None:
    """Print a table of runs; of their settings, those that not all of them have."""
    from rich import box
    from rich.table import Table

    from embexp.reporting.console import short_path, standard_output

    out = standard_output()
    if not runs:
        out.print("There is no finished run here: start one with python -m embexp.run.")
        return
    shared = set.intersection(*(set(run.settings) for run in runs)) if len(runs) > 1 else set()
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("folder", "data set", "model", "verdict", "settings", "age", "size"):
        table.add_column(name, justify="right" if name in ("age", "size") else "left", overflow="fold")
    for run in runs:
        own = " ".join(text for text in run.settings if text not in shared)
        outcome = run.outcome
        table.add_row(
            str(short_path(run.folder)),
            outcome.dataset,
            outcome.model,
            _verdict(outcome),
            own or "the defaults",
            _age(run.age),
            _size(run.size),
        )
    out.print(table)
    if shared:
        out.print(f"All have {' '.join(sorted(shared))}.", soft_wrap=True)


def _verdict(outcome: Outcome) -> str:
    found = outcome.comparison
    return f"{found.verdict} {found.delta:+.3f} {found.metric}" if found else "none"


def _age(seconds: float) -> str:
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"


def _size(size: float) -> str:
    for unit in ("B", "KB", "MB", "GB"):
        if size < 1024 or unit == "GB":
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return ""


def _remove(folder: Path, *, cache: Path, mlflow: bool, dry: bool) -> None:
    """Delete a run's folder, its entry in the index and, if asked, its runs in MLflow.

    Raises:
        DataError: It is no finished run's folder.
        TrackingError: MLflow cannot be used; nothing has been deleted then.
    """
    if not (folder / OUTCOME).is_file() or not (folder / ".hydra").is_dir():
        raise DataError(f"{folder} is not a finished run's folder: embexp runs lists them.")
    run = _read(folder.resolve())
    run_id = run.outcome.mlflow.get("run_id", "")
    also = f" and the run {run_id} in MLflow" if mlflow and run_id else ""
    if dry:
        print(f"would delete {folder} ({_size(run.size)}){also}")
        return
    if also:
        _remove_from_mlflow(folder, run_id)
    shutil.rmtree(folder)
    forget_run(cache, folder)
    print(f"deleted {folder} ({_size(run.size)}){also}")


def _remove_from_mlflow(folder: Path, run_id: str) -> None:
    from embexp.api import load_run
    from embexp.config.build import component
    from embexp.tracking.mlflow import MlflowTracker

    tracker = component(load_run(folder).config, "tracker")
    if not isinstance(tracker, MlflowTracker):
        raise DataError(f"{folder} was not kept in MLflow: leave out --mlflow.")
    tracker.delete(run_id)


if __name__ == "__main__":
    main()
