"""MTEB tasks of any kind, scored by the mteb library itself: one number per task and model."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from embexp.benchmarking.mteb import data_errors, find_task, library
from embexp.errors import ConfigError
from embexp.progress import without_bars
from embexp.storage.files import sha256_of_file

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SuiteScore:
    """A task's score before and after tuning; ``tuned`` is None without a tuned model."""

    task: str
    kind: str
    metric: str
    untuned: float
    tuned: float | None


KEY, OPTION = "suite.tasks", "suite=mteb"
REMEDY = "check the network, or name a task of your own with local data by its class (my_tasks.MyTask)."


@dataclass(frozen=True, kw_only=True)
class MtebSuite:
    """Scores STS, classification, clustering, reranking … with mteb (Muennighoff et al., EACL 2023).

    The numbers are mteb's own, with its prompts and its main score of each task, and so comparable with
    published ones. They have no interval and do not affect the verdict.

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
        """Refuse, before anything is trained, tasks that cannot be scored.

        Raises:
            ConfigError: A task does not exist or is not on texts, or mteb is not installed.
        """
        for name in self.tasks:
            _text_task(name)

    def fingerprint(self, name: str) -> str:
        """Return a text that changes with mteb's version, the data's revision and a class's source file."""
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
            DataError: The task's data cannot be loaded.
        """
        task = _text_task(name)
        value = _evaluate(task, model)
        kind, metric = str(task.metadata.type), str(task.metadata.main_score)
        return {"task": str(task.metadata.name), "kind": kind, "metric": metric, "value": value}


def _text_task(name: str) -> Any:
    task = find_task(name, key=KEY, option=OPTION)
    if "text" not in task.metadata.modalities:
        reads = ", ".join(task.metadata.modalities)
        raise ConfigError(f"{KEY}: {name} reads {reads}, and models here read texts: choose another task.")
    return task


def _evaluate(task: Any, model: SentenceTransformer) -> float:
    name = str(task.metadata.name)
    log.info("MTEB scores the model on %s.", name)
    quiet = {"show_progress_bar": False}
    with data_errors(name, REMEDY), without_bars():
        result = library(OPTION).evaluate(
            model, [task], cache=None, co2_tracker=False, encode_kwargs=quiet, **quiet
        )
    return float(result.task_results[0].get_score())
