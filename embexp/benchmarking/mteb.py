"""MTEB: retrieval tasks as benchmarks, and tasks of any kind scored by the mteb library itself."""

from __future__ import annotations

import importlib
import logging
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from embexp.benchmarking.benchmark import BenchmarkOptions
from embexp.benchmarking.held_out import HeldOut
from embexp.benchmarking.task import RetrievalTask
from embexp.data.labels import LabelScale
from embexp.data.records import Chunk, Pair, Unit
from embexp.errors import ConfigError, DataError
from embexp.progress import without_bars
from embexp.ranges import Count
from embexp.storage.files import sha256_of, sha256_of_file

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

log = logging.getLogger(__name__)

KEY, OPTION = "benchmark.id", "benchmark=mteb"
REMEDY = f"check the network and the layout. Without a network name a local folder, as in {KEY}=FOLDER."
RETRIEVAL = ("Retrieval", "InstructionRetrieval")
SUITE_KEY, SUITE_OPTION = "suite.tasks", "suite=mteb"
SUITE_REMEDY = "check the network, or name a task of your own with local data by its class (my_tasks.MyTask)."


@dataclass(frozen=True, kw_only=True)
class MtebTask(BenchmarkOptions):
    """Asks the questions of an MTEB retrieval task over its own corpus (Muennighoff et al., EACL 2023).

    The mteb library loads the data; systems are searched and scored as on any other benchmark, which gives
    an interval and a verdict. Prompts are the model's own, not the task's. Where MTEB excludes a question
    from its own results, so does embexp. ``BenchmarkOptions`` has the arguments that all benchmarks share.

    Args:
        id: A task's name ("SciFact"), the import path of a task's class, or a folder in MTEB's layout.
        split: Which split to ask; None takes "test" or else the task's only one.
        subset: Which subset (language) to ask; None takes the only one.
        limit: The most questions to ask; None for all. The corpus stays whole.
    """

    id: str
    split: str | None = None
    subset: str | None = None
    limit: Count | None = None

    def __post_init__(self) -> None:
        BenchmarkOptions.__post_init__(self)
        if not self.id.strip():
            raise ConfigError(f"{KEY} is empty: give the name of an MTEB task, such as {KEY}=SciFact.")

    def check_inputs(self, *, judge: bool) -> None:
        """Refuse a task that does not exist, before any document is read.

        Raises:
            ConfigError: mteb is not installed, or a task or a model does not exist.
        """
        BenchmarkOptions.check_inputs(self, judge=judge)
        if not Path(self.id).expanduser().is_dir():
            _retrieval_task(self.id)

    def check(self, chunks: Sequence[Chunk], *, judge: bool) -> None:  # noqa: ARG002
        """Load the data, so that a task that cannot be scored ends the run before anything is trained.

        Raises:
            EmbexpError: As ``task`` does.
        """
        self.task(chunks, (), unit="document")

    def task(
        self,
        chunks: Sequence[Chunk],  # noqa: ARG002
        pairs: Sequence[Pair],
        *,
        unit: Unit,  # noqa: ARG002
        scale: LabelScale | None = None,  # noqa: ARG002
    ) -> RetrievalTask:
        """Return the task with its own corpus, one passage per document; the run's are unused.

        Raises:
            ConfigError: mteb is not installed, there is no such task, split or subset, or the task has no
                corpus to search.
            DataError: The data cannot be loaded, or no question has a relevant document.
        """
        folder = Path(self.id).expanduser()
        if folder.is_dir():
            name, own, data = folder.name, False, _from_folder(folder, self.split or "test", self.subset)
        else:
            source = _retrieval_task(self.id)
            name, own = str(source.metadata.name), bool(getattr(source, "ignore_identical_ids", False))
            data = _load(source, self.split, self.subset)
        if data.get("top_ranked"):
            raise ConfigError(
                f"{KEY}={self.id} gives each question its own few candidates to put in order, and systems "
                f"here search a whole corpus: have mteb itself score it, suite=mteb suite.tasks=[{self.id}]."
            )
        corpus = list(_passages(data["corpus"]))
        pairs = list(_pairs(data["queries"], data["relevant_docs"], {each.document_id for each in corpus}))
        task = HeldOut(name=name, limit=self.limit, merge_duplicates=False).task(
            corpus, pairs, unit="document"
        )
        if folder.is_dir():
            return task
        themselves = {query.id: frozenset([query.id]) for query in task.queries} if own else {}
        return replace(task, own=themselves)  # as MTEB itself scores the task


def _retrieval_task(name: str) -> Any:
    """Return the retrieval task of that name or class, its data not loaded yet."""
    task = _find_task(name, key=KEY, option=OPTION)
    kind, reads = str(task.metadata.type), ", ".join(task.metadata.modalities)
    if kind not in RETRIEVAL or reads != "text":
        raise ConfigError(
            f"{KEY}={name} is a task of the kind {kind} over {reads}, and a benchmark searches texts: choose "
            f"a retrieval task, or have mteb itself score it beside: suite=mteb suite.tasks=[{name}]."
        )
    return task


def _load(task: Any, split: str | None, subset: str | None) -> Mapping[str, Any]:
    """Return one split of one subset: corpus, queries, relevant_docs and, in some tasks, top_ranked."""
    if split is not None:
        _chosen("split", split, task.metadata.eval_splits, str(task.metadata.name))
    with _data_errors(str(task.metadata.name), REMEDY), without_bars():
        task.load_data()
        task.convert_v1_dataset_format_to_v2(num_proc=None)
    splits = task.dataset[_chosen("subset", subset, list(task.dataset), str(task.metadata.name))]
    data: Mapping[str, Any] = splits[_chosen("split", split, list(splits), str(task.metadata.name))]
    return data


def _chosen(option: str, wanted: str | None, known: Sequence[str], name: str) -> str:
    """Return ``wanted`` if it is set, else the only one, else ``test`` or ``default``."""
    usual = next((each for each in ("test", "default") if each in known), None)
    only = known[0] if len(known) == 1 else usual
    choice = wanted or only
    if choice is None or choice not in known:
        raise ConfigError(
            f"The MTEB task {name} has the {option}s {', '.join(known)}: choose one with benchmark.{option}=…"
        )
    return choice


def _from_folder(folder: Path, split: str, subset: str | None) -> Mapping[str, Any]:
    _library(OPTION)
    from mteb.abstasks.retrieval_dataset_loaders import RetrievalDatasetLoader

    with _data_errors(str(folder), REMEDY), without_bars():
        loader = RetrievalDatasetLoader(hf_repo=str(folder), revision="main", split=split, config=subset)
        data: Mapping[str, Any] = loader.load()
    return data


def _passages(corpus: Any) -> Iterator[Chunk]:
    for row in corpus:
        name, text, title = str(row["id"]), str(row.get("text") or ""), str(row.get("title") or "")
        yield Chunk(id=sha256_of(name, title, text)[:16], document_id=name, text=text, title=title)


def _pairs(queries: Any, relevant: Mapping[str, Mapping[str, int]], documents: set[str]) -> Iterator[Pair]:
    """Yield a pair for each judgment; judgments on documents that the corpus lacks are logged and skipped."""
    missing = 0
    for row in queries:
        name, text = str(row["id"]), row["text"]
        if not isinstance(text, str):
            raise ConfigError(
                f"{KEY}: a question is a conversation ({name}): choose a task of plain questions."
            )
        if instruction := row.get("instruction"):
            text = f"{text} {instruction}"
        for document, grade in relevant.get(name, {}).items():
            if str(document) not in documents:
                missing += 1
                continue
            yield Pair(
                id=f"{name}/{document}",
                query=text,
                positive="",
                document_id=str(document),
                query_id=name,
                label=float(grade),
            )
    if missing:
        log.warning("%s judgments name documents that the corpus lacks and are left out.", f"{missing:,}")


@dataclass(frozen=True, slots=True)
class SuiteScore:
    """A task's score before and after tuning; ``tuned`` is None without a tuned model."""

    task: str
    kind: str
    metric: str
    untuned: float
    tuned: float | None


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
            raise ConfigError(f"{SUITE_KEY} is empty: name tasks, as in {SUITE_KEY}=[STSBenchmark].")
        if len(set(self.tasks)) < len(self.tasks):
            raise ConfigError(f"{SUITE_KEY} names a task twice: {', '.join(self.tasks)}. Name each once.")

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
        return (
            f"{_library(SUITE_OPTION).__version__} {name} {task.metadata.dataset.get('revision', '')} {code}"
        )

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
    task = _find_task(name, key=SUITE_KEY, option=SUITE_OPTION)
    if "text" not in task.metadata.modalities:
        reads = ", ".join(task.metadata.modalities)
        raise ConfigError(
            f"{SUITE_KEY}: {name} reads {reads}, and models here read texts: choose another task."
        )
    return task


def _evaluate(task: Any, model: SentenceTransformer) -> float:
    name = str(task.metadata.name)
    log.info("MTEB scores the model on %s.", name)
    quiet = {"show_progress_bar": False}
    with _data_errors(name, SUITE_REMEDY), without_bars():
        result = _library(SUITE_OPTION).evaluate(
            model, [task], cache=None, co2_tracker=False, encode_kwargs=quiet, **quiet
        )
    return float(result.task_results[0].get_score())


def _library(option: str) -> Any:
    """Return the mteb module.

    Args:
        option: The option that needs it, for the message.

    Raises:
        ConfigError: It is not installed.
    """
    try:
        return importlib.import_module("mteb")
    except ImportError as error:
        remedy = 'pip install "embexp[mteb]"'
        raise ConfigError(f"{option} needs the mteb library ({error}): {remedy}.") from error


def _find_task(name: str, *, key: str, option: str) -> Any:
    """Return the task of that name, or of the class at that import path; its data are not loaded yet.

    Args:
        name: As MTEB lists it ("SciFact"), or ``package.module.Class``.
        key: The configuration key that names it, for messages.
        option: The option that needs the library, for messages.

    Raises:
        ConfigError: There is no such task, or mteb is not installed.
    """
    mteb = _library(option)
    if "." in name:
        return _own_class(mteb, name, key)
    try:
        return mteb.get_task(name)
    except KeyError as error:
        said = str(error.args[0]).removeprefix("KeyError: ").rstrip(".") if error.args else name
        raise ConfigError(
            f"{key}={name}: {said}. A task of your own is named by its class, as in my_tasks.MyTask."
        ) from error


def _own_class(mteb: Any, path: str, key: str) -> Any:
    module, _, name = path.rpartition(".")
    try:
        task = getattr(importlib.import_module(module), name)()
    except (ImportError, AttributeError, ValueError, TypeError) as error:
        raise ConfigError(
            f"{key}={path} is neither a folder nor a class that can be imported ({error}): name a "
            "subclass of one of mteb's tasks as package.module.Class."
        ) from error
    if not isinstance(task, mteb.AbsTask):
        raise ConfigError(f"{key}={path} is no task of mteb: name a subclass of one of its tasks.")
    return task


@contextmanager
def _data_errors(name: str, remedy: str) -> Iterator[None]:
    """Turn errors of loading a task's data into a message with the remedy.

    Raises:
        DataError: The data cannot be loaded.
    """
    try:
        yield
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:300]
        raise DataError(
            f"The data of the MTEB task {name} cannot be loaded ({type(error).__name__}: {reason}): {remedy}"
        ) from error
