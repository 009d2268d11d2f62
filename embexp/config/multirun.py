"""Several jobs of one command: preparations before the first, and a summary of those that failed."""

from __future__ import annotations

import copy
import json
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from embexp.errors import ConfigError, EmbexpError, PrunedError
from embexp.masking import masked, masked_text
from embexp.storage.files import write_json

_FAILED = "failed.json"
"""The file in the folder of a failed job that holds its ``_Failure``."""
_KILLED = ("TerminatedWorkerError", "BrokenProcessPool", "WorkerCrashedError", "UncompletedJobError")
"""What the launchers' libraries raise where a worker process has vanished."""


class JobUserError(EmbexpError):
    """A job's EmbexpError as it travels between processes: the sentence alone, which pickles."""


class JobInternalError(Exception):
    """A job's other error as it travels between processes."""


class StopMultirunError(BaseException):
    """Stops a multirun before its first job; Hydra turns a callback's other exceptions into warnings."""

    def __init__(self, error: EmbexpError) -> None:
        super().__init__(str(error))
        self.error = error


@dataclass(frozen=True, kw_only=True)
class _Failure:
    """A job that failed: its number, its overrides, the sentence, and whether the user can fix it."""

    job: int
    overrides: list[str]
    error: str
    mistake: bool


class BeforeJobs(Callback):
    """Prepares the tracker's database in the parent, and deletes the failures of an earlier multirun.

    Jobs that start at once in an empty folder would otherwise race to create one database.
    """

    folder: Path | None = None
    """The folder of the multirun that this process has started."""
    started: float = 0.0
    """When it started, in seconds since the epoch."""

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        """Check and prepare the tracker, and keep the multirun's folder."""
        from embexp.config.build import component
        from embexp.config.check import check_component, check_launcher

        # paths.root reads the working directory from HydraConfig. It gets a copy, because it makes its
        # configuration read-only and a sweeper may set its folder.
        HydraConfig.instance().set_config(copy.deepcopy(config))
        BeforeJobs.folder = Path(str(config.hydra.sweep.dir))
        BeforeJobs.started = time.time()
        for old in BeforeJobs.folder.glob(f"*/{_FAILED}"):
            old.unlink()
        try:
            check_launcher(OmegaConf.to_container(config.hydra.launcher, resolve=True))
            if config.get("tracker") is None:
                return
            check_component(OmegaConf.to_container(config.tracker, resolve=True), "tracker")
            component(config, "tracker").prepare()
        except EmbexpError as error:
            raise StopMultirunError(error) from error


class AfterJobs(Callback):
    """Ends a multirun with its table; a sweep has a report of its own."""

    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:
        """Print the runs side by side, where two or more have an outcome."""
        from embexp.config.multirun_table import finished_runs, print_multirun

        if BeforeJobs.folder is None or not str(config.hydra.sweeper._target_).startswith("hydra."):
            return
        runs = finished_runs(BeforeJobs.folder, since=BeforeJobs.started)
        if len(runs) > 1:
            print_multirun(BeforeJobs.folder, runs)


def refuse_unswept_space() -> None:
    """Refuse to run once what a preset describes as several runs, as ``hparams=mnrl`` does.

    Raises:
        ConfigError: There are values to sweep, and no ``-m``.
    """
    hydra = HydraConfig.get()
    params = OmegaConf.select(hydra.sweeper, "params")
    if hydra.mode == RunMode.MULTIRUN or not params:
        return
    chosen = {group: hydra.runtime.choices.get(group) for group in ("hparams", "experiment")}
    preset = " ".join(f"{group}={option}" for group, option in chosen.items() if option)
    raise ConfigError(
        f"{preset or 'hydra.sweeper.params'} sweeps {', '.join(params)}, which takes several runs: add -m."
    )


def limit_threads() -> None:
    """Let a job of submitit use as many threads as it asked for CPUs; joblib and Ray do so themselves.

    Slurm restricts a job to its CPUs. submitit's local executor starts all jobs at once, and each would
    use every core.
    """
    cpus = OmegaConf.select(HydraConfig.get().launcher, "cpus_per_task")
    if cpus:
        os.environ.setdefault("OMP_NUM_THREADS", str(cpus))


def picklable(error: Exception) -> Exception:
    """Return an error with the same sentence that every launcher can pass between processes."""
    if isinstance(error, PrunedError):
        return PrunedError(str(error))
    if isinstance(error, EmbexpError):
        return JobUserError(str(error))
    return JobInternalError(masked_text(f"{type(error).__name__}: {error}"))


def record_failure(error: Exception) -> None:
    """Write failed.json into this job's folder, for the parent's summary."""
    hydra = HydraConfig.get()
    failure = _Failure(
        job=int(hydra.job.num),
        overrides=[str(masked(text.lstrip("+"))) for text in hydra.overrides.task],
        error=str(error),
        mistake=isinstance(error, EmbexpError),
    )
    write_json(Path(hydra.runtime.output_dir) / _FAILED, asdict(failure))


def summarise_failures(error: Exception) -> Exception:
    """Return the error of a whole multirun: which jobs failed and why, each reason once."""
    if type(error).__name__ in _KILLED:
        return EmbexpError(
            "A job's process was killed, most likely because memory ran out: run fewer jobs at once "
            "(hydra.launcher.n_jobs=1) or smaller ones (trainer.batch_size); the same command takes "
            "finished stages from the cache."
        )
    folder = BeforeJobs.folder
    failed = _failures(folder) if folder is not None else []
    if folder is None or not failed or not isinstance(error, (JobUserError, JobInternalError)):
        return error
    every = [_overrides(path) for path in folder.glob("*/.hydra/overrides.yaml")]
    shared = set.intersection(*map(set, every)) if len(every) > 1 else set()
    by_reason: dict[str, list[str]] = {}
    for failure in failed:
        own = " ".join(text for text in failure.overrides if text not in shared)
        by_reason.setdefault(failure.error, []).append(f"{failure.job} ({own})")
    reasons = " ".join(f"{', '.join(jobs)}: {reason}" for reason, jobs in by_reason.items())
    rest = "" if len(failed) == len(every) else f" The others are finished, in {folder}."
    text = f"{len(failed)} of {len(every)} jobs failed. Job {reasons}{rest}"
    return JobUserError(text) if all(failure.mistake for failure in failed) else JobInternalError(text)


def _failures(folder: Path) -> list[_Failure]:
    texts = [path.read_text(encoding="utf-8") for path in folder.glob(f"*/{_FAILED}")]
    return sorted((_Failure(**json.loads(text)) for text in texts), key=lambda failure: failure.job)


def _overrides(path: Path) -> list[str]:
    return [str(text).lstrip("+") for text in OmegaConf.load(path)]
