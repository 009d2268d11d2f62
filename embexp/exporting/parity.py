"""Whether an export is as good as its model on the run's test questions; only then is it published."""

from __future__ import annotations

import logging
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from statistics import median

from pydantic import BaseModel, ConfigDict

from embexp.benchmarking.metrics import with_defaults
from embexp.benchmarking.statistics.comparison import Comparison, compare
from embexp.benchmarking.systems import score_embedder
from embexp.benchmarking.task import RetrievalTask
from embexp.exporting.formats import ExportFormat
from embexp.models.encoder import Embedder, ModelEmbedder
from embexp.models.folder import Overrides, fingerprint_of, load_bi_encoder
from embexp.storage.files import copy_folder, size_of_folder, write_json

log = logging.getLogger(__name__)

REPORT = "export.json"
MAX_SINGLE = 50
"""Questions that are asked one at a time, for the latency."""


class Measured(BaseModel):
    """What the model or its export reaches.

    Attributes:
        score: The run's metric, as the mean over the test questions.
        bytes: The size of its files.
        texts_per_second: Passages encoded per second, in batches.
        query_milliseconds: The median time to encode one question alone.
    """

    model_config = ConfigDict(frozen=True)

    score: float
    bytes: int
    texts_per_second: float
    query_milliseconds: float


class ExportReport(BaseModel):
    """What ``export.json`` holds.

    Attributes:
        format: The name of the format.
        tolerance: The most that the metric may fall.
        passed: Whether it falls by no more.
        comparison: The export minus the model on the test questions.
        cosine_deviation: The largest 1 - cos between the vectors that both give one text; None for a format
            whose vectors are of another space.
        original: The model.
        exported: The export.
    """

    model_config = ConfigDict(frozen=True)

    format: str
    tolerance: float
    passed: bool
    comparison: Comparison
    cosine_deviation: float | None
    original: Measured
    exported: Measured


def export_model(
    source: Path,
    target: Path,
    kind: ExportFormat,
    task: RetrievalTask,
    *,
    metric: str,
    seed: int = 0,
    translations: Path | None = None,
) -> ExportReport:
    """Export a model, check it on a task, and publish it if it loses no more than the tolerance.

    ``target`` appears, or is replaced, in one step, with ``export.json`` in it; it is left as it is where the
    export loses more.

    Args:
        source: The model's folder.
        target: The folder to publish.
        kind: The format.
        task: The questions to ask, and the corpus to search.
        metric: What is compared, such as ``ndcg@10``.
        seed: Seeds the interval.
        translations: The word translations of the retriever that serves it, copied beside it; None for none.

    Raises:
        ModelError: The model does not load, or cannot be exported to this format.
    """
    kind.check_packages()
    own = Overrides()
    model = load_bi_encoder(source, own, device="cpu")
    original = ModelEmbedder(model, fingerprint=fingerprint_of(source, own))

    def check(folder: Path) -> ExportReport:
        return _check(kind, original, source, folder, task, metric=metric, seed=seed)

    log.info("Writing the model as %s.", kind.name)
    return published_if_passed(target, lambda folder: kind.write(model, folder), check, translations)


def published_if_passed(
    target: Path,
    write: Callable[[Path], object],
    check: Callable[[Path], ExportReport],
    translations: Path | None = None,
) -> ExportReport:
    """Write an export into a temporary folder, check it there, and publish the folder if it passed.

    Args:
        target: The folder to publish; it appears, or is replaced, in one step, with ``export.json`` in it.
        write: Writes the export into an empty folder.
        check: Returns the report on what is in the folder.
        translations: The word translations of the retriever that serves it, published with it; None for none.
    """
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work) / "export"
        folder.mkdir()
        write(folder)
        report = check(folder)
        if report.passed:
            write_json(folder / REPORT, report.model_dump(mode="json"))
            if translations is not None:
                shutil.copy(translations, folder)
            copy_folder(folder, target)
    return report


def _check(
    kind: ExportFormat,
    original: Embedder,
    source: Path,
    folder: Path,
    task: RetrievalTask,
    *,
    metric: str,
    seed: int,
) -> ExportReport:
    exported = kind.load(folder)
    names = {"original": original, kind.name: exported}
    log.info(
        "Scoring the model and its export: %d questions, %d passages.", len(task.queries), len(task.corpus)
    )
    before, after = (
        score_embedder(task, embedder, system=name, folder=folder, metrics=with_defaults(metric))
        for name, embedder in names.items()
    )
    comparison = compare(before, after, metric=metric, clusters=task.clusters, seed=seed)
    log.info("Measuring the speed of both.")
    return ExportReport(
        format=kind.name,
        tolerance=kind.tolerance,
        passed=comparison.delta >= -kind.tolerance,
        comparison=comparison,
        cosine_deviation=_deviation(original, exported, task, kind.timed_texts) if kind.same_space else None,
        original=_measure(original, source, task, before.mean[metric], kind.timed_texts),
        exported=_measure(exported, folder, task, after.mean[metric], kind.timed_texts),
    )


def _deviation(original: Embedder, exported: Embedder, task: RetrievalTask, passages: int) -> float:
    """Return the largest 1 - cos of the vectors of all questions and of the first passages."""
    questions = [query.text for query in task.queries]
    texts = [chunk.passage for chunk in task.corpus[:passages]]
    cosines = [
        *(original.encode_queries(questions) * exported.encode_queries(questions)).sum(axis=1),
        *(original.encode_passages(texts) * exported.encode_passages(texts)).sum(axis=1),
    ]
    return max(0.0, 1.0 - float(min(cosines)))


def _measure(embedder: Embedder, folder: Path, task: RetrievalTask, score: float, passages: int) -> Measured:
    texts = [chunk.passage for chunk in task.corpus[:passages]]
    questions = [query.text for query in task.queries[:MAX_SINGLE]]
    embedder.encode_queries(questions[:1])  # the first call may compile and allocate
    return Measured(
        score=score,
        bytes=size_of_folder(folder),
        texts_per_second=len(texts) / max(seconds_of(lambda: embedder.encode_passages(texts)), 1e-9),
        query_milliseconds=median_milliseconds(
            [partial(embedder.encode_queries, [text]) for text in questions]
        ),
    )


def median_milliseconds(work: Sequence[Callable[[], object]]) -> float:
    """Return the median time of several calls."""
    return 1000 * median(map(seconds_of, work))


def seconds_of(work: Callable[[], object]) -> float:
    """Return the wall time of a call."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start
