"""A data set that training never saw as the benchmark: its own corpus, its own test questions."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from embexp.benchmarking.benchmark import MoreSystems
from embexp.benchmarking.held_out import HeldOut
from embexp.benchmarking.task import RetrievalTask
from embexp.data.datasets.dataset import Dataset
from embexp.data.records import Chunk, Pair, Unit
from embexp.errors import ConfigError, DataError
from embexp.progress import track
from embexp.storage.files import sha256_of

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class BeirTask(MoreSystems):
    """Asks the test questions of another data set of that set's own corpus.

    Args:
        dataset: What reads the set, such as ``embexp.data.datasets.beir.BeirFolder``.
        name: The task's name.
        limit: The most questions to ask; None for all. The corpus stays whole.
    """

    dataset: Dataset
    name: str = "beir"
    limit: int | None = None

    def __post_init__(self) -> None:
        MoreSystems.__post_init__(self)
        if self.limit is not None and self.limit < 1:
            raise ConfigError(
                f"benchmark.limit={self.limit}: give a number from 1 up, or null for all questions."
            )

    def task(
        self,
        chunks: Sequence[Chunk],  # noqa: ARG002
        pairs: Sequence[Pair],  # noqa: ARG002
        *,
        unit: Unit,  # noqa: ARG002
    ) -> RetrievalTask:
        """Return the set's own task, one passage a document; the chunks and pairs of the run are not used.

        A document that is longer than the model's limit is judged by its beginning.

        Raises:
            DataError: The set has no test question, a single document, or a judgment on a missing one.
        """
        test = [pair for pair in self.dataset.labelled() if pair.split in (None, "test")]
        if not test:
            raise DataError(
                f"The benchmark set {self.dataset.name} brings no test question: add qrels/test.tsv."
            )
        corpus = list(track(self._passages(), "Reading the benchmark's corpus"))
        return HeldOut(name=self.name, limit=self.limit).task(corpus, test, unit="document")

    def _passages(self) -> Iterator[Chunk]:
        for document in self.dataset.documents():
            name = sha256_of(document.id, 0, document.title, document.text)[:16]
            yield Chunk(id=name, document_id=document.id, text=document.text, title=document.title)
