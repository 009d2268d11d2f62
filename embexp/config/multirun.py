"""Several jobs of one command: what is made ready before they start, and which of them failed."""

from __future__ import annotations

import copy
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf

from embexp.errors import EmbexpError, PrunedError
from embexp.storage.files import write_json

FAILED = "failed.json"
"""In the folder of a job that failed: which it is, and why."""
KILLED = ("TerminatedWorkerError", "BrokenProcessPool", "WorkerCrashedError", "UncompletedJobError")
"""What the launchers' libraries raise where a worker process has vanished."""


class JobMistakeError(EmbexpError):
    """A job's EmbexpError as it travels between processes: the sentence alone, which pickles."""


class JobFaultError(Exception):
    """A job's other error as it travels between processes."""


class StopMultirunError(BaseException):
    """Stops a multirun before its first job; Hydra turns a callback's other exceptions into warnings."""

    def __init__(self, error: EmbexpError) -> None:
        super().__init__(str(error))
        self.error = error


@dataclass(frozen=True, kw_only=True)
class Failure:
    """A job that failed: its number, its overrides, the sentence, and whether the user can mend it."""

    job: int
    overrides: list[str]
    error: str
    mistake: bool


class BeforeJobs(Callback):
    """Makes the tracker's database ready in the parent, and forgets failures of an earlier multirun.

    Jobs that start at once from an empty folder would otherwise race to create one database.
    """

    folder: Path | None = None
    """The folder of the multirun that this process has started."""

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        """Check the tracker, create what it lacks, and note the multirun's folder."""
        from embexp.config.build import component
        from embexp.config.check import check_component

        # paths.root reads the working directory from it. A copy: what it is given becomes read-only, and a
        # sweeper may choose its folder itself.
        HydraConfig.instance().set_config(copy.deepcopy(config))
        BeforeJobs.folder = Path(str(config.hydra.sweep.dir))
        for old in BeforeJobs.folder.glob(f"*/{FAILED}"):
            old.unlink()
        if config.get("tracker") is None:
            return
        try:
            check_component(OmegaConf.to_container(config.tracker, resolve=True), "tracker")
            component(config, "tracker").prepare()
        except EmbexpError as error:
            raise StopMultirunError(error) from error


def use_own_cpus() -> None:
    """Let a job of submitit use as many threads as it asked for CPUs; joblib and Ray see to it themselves.

    Slurm bounds a job to its CPUs; submitit's local executor starts all jobs at once, each of which
    would take every core.
    """
    cpus = OmegaConf.select(HydraConfig.get().launcher, "cpus_per_task")
    if cpus:
        os.environ.setdefault("OMP_NUM_THREADS", str(cpus))


def portable(error: Exception) -> Exception:
    """Return an error that every launcher can carry between processes."""
    if isinstance(error, PrunedError):
        return PrunedError(str(error))
    if isinstance(error, EmbexpError):
        return JobMistakeError(str(error))
    return JobFaultError(f"{type(error).__name__}: {error}")


def note_failure(error: Exception) -> None:
    """Leave in this job's folder that it failed, for the parent to tell."""
    hydra = HydraConfig.get()
    write_json(
        Path(hydra.runtime.output_dir) / FAILED,
        asdict(
            Failure(
                job=int(hydra.job.num),
                overrides=[text.lstrip("+") for text in hydra.overrides.task],
                error=str(error),
                mistake=isinstance(error, EmbexpError),
            )
        ),
    )


def failures(folder: Path) -> list[Failure]:
    """Return the jobs of the multirun in ``folder`` that failed, by number."""
    found = [Failure(**json.loads(path.read_text(encoding="utf-8"))) for path in folder.glob(f"*/{FAILED}")]
    return sorted(found, key=lambda failure: failure.job)


def told(error: Exception) -> Exception:
    """Return the error of a whole multirun: which jobs failed and why, each reason once."""
    folder = BeforeJobs.folder
    if type(error).__name__ in KILLED:
        return EmbexpError(
            "A job's process was killed, most likely because memory ran out: run fewer jobs at once "
            "(hydra.launcher.n_jobs=1) or smaller ones (trainer.batch_size); the same command takes "
            "finished stages from the cache."
        )
    if folder is None or not isinstance(error, (JobMistakeError, JobFaultError)):
        return error
    failed = failures(folder)
    if not failed:
        return error
    every = [_overrides(path) for path in folder.glob("*/.hydra/overrides.yaml")]
    shared = set.intersection(*map(set, every)) if len(every) > 1 else set()
    by_reason: dict[str, list[str]] = {}
    for one in failed:
        own = " ".join(text for text in one.overrides if text not in shared)
        by_reason.setdefault(one.error, []).append(f"{one.job} ({own})")
    reasons = " ".join(f"{', '.join(jobs)}: {reason}" for reason, jobs in by_reason.items())
    rest = "" if len(failed) == len(every) else f" The others are finished, in {folder}."
    text = f"{len(failed)} of {len(every)} jobs failed. Job {reasons}{rest}"
    return JobMistakeError(text) if all(one.mistake for one in failed) else JobFaultError(text)


def _overrides(path: Path) -> list[str]:
    return [str(text).lstrip("+") for text in OmegaConf.load(path)]
