"""MTEB tasks of any kind, scored by the mteb library itself: one number for each task and model."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from embexp.benchmarking.mteb import data_errors, find_task, library
from embexp.errors import ConfigError
from embexp.progress import without_bars
from embexp.storage.files import sha256_of_file

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SuiteScore:
    """A task of another kind, as its own library scores it; ``tuned`` is None without a tuned model."""

    task: str
    kind: str
    metric: str
    untuned: float
    tuned: float | None


class Suite(Protocol):
    """Tasks of any kind that score a model by an evaluation of their own."""

    @property
    def tasks(self) -> Sequence[str]:
        """The tasks' names."""

    def check(self) -> None:
        """Raise ConfigError for a task that does not exist."""

    def fingerprint(self, name: str) -> str:
        """Return a text that changes when the scores of a task do."""

    def score(self, name: str, model: SentenceTransformer) -> dict[str, Any]:
        """Return ``task``, ``kind``, ``metric`` and ``value`` of a model on one task."""


KEY, OPTION = "suite.tasks", "suite=mteb"
REMEDY = "check the network, or name a task of your own by its class (my_tasks.MyTask) whose data are here."


@dataclass(frozen=True, kw_only=True)
class MtebSuite:
    """What else a model can do: STS, classification, clustering, reranking … (Muennighoff et al., EACL 2023).

    The numbers are mteb's own, with its prompts and its main score of each task, so they stand beside
    published ones. They have no interval, and bear on no verdict.

    Args:
        tasks: Names ("STSBenchmark") or import paths of classes ("my_tasks.MyTask").

    Raises:
        ConfigError: No task, or one twice.
    """

    tasks: Sequence[str]

    def __post_init__(self) -> None:
        if not self.tasks:
            raise ConfigError(f"{KEY} is empty: name tasks, as in {KEY}=[STSBenchmark].")
        if len(set(self.tasks)) < len(self.tasks):
            raise ConfigError(f"{KEY} names a task twice: {', '.join(self.tasks)}. Name each once.")

    def check(self) -> None:
        """Find all tasks, before anything is trained.

        Raises:
            ConfigError: One does not exist, reads no texts, or mteb is not installed.
        """
        for name in self.tasks:
            _text_task(name)

    def fingerprint(self, name: str) -> str:
        """Return a text that changes with mteb's version, the data's revision and the file of a class."""
        task = _text_task(name)
        source = sys.modules[type(task).__module__].__file__
        code = sha256_of_file(Path(source)) if "." in name and source else ""
        return f"{library(OPTION).__version__} {name} {task.metadata.dataset.get('revision', '')} {code}"

    def score(self, name: str, model: SentenceTransformer) -> dict[str, Any]:
        """Score ``model`` on one of the tasks.

        Returns:
            ``task``, ``kind`` (STS, Classification …), ``metric`` (the task's main score) and ``value``, the
            mean over its test splits and languages.

        Raises:
            DataError: The task's data cannot be had.
        """
        task = _text_task(name)
        found = _evaluated(task, model)
        kind, metric = str(task.metadata.type), str(task.metadata.main_score)
        return {"task": str(task.metadata.name), "kind": kind, "metric": metric, "value": found}


def _text_task(name: str) -> Any:
    task = find_task(name, key=KEY, option=OPTION)
    if "text" not in task.metadata.modalities:
        reads = ", ".join(task.metadata.modalities)
        raise ConfigError(f"{KEY}: {name} reads {reads}, and models here read texts: choose another task.")
    return task


def _evaluated(task: Any, model: SentenceTransformer) -> float:
    name = str(task.metadata.name)
    log.info("MTEB scores the model on %s.", name)
    quiet = {"show_progress_bar": False}
    with data_errors(name, REMEDY), without_bars():
        found = library(OPTION).evaluate(
            model, [task], cache=None, co2_tracker=False, encode_kwargs=quiet, **quiet
        )
    return float(found.task_results[0].get_score())
