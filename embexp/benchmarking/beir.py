"""Another data set as the benchmark, with its own corpus and its own test questions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from embexp.benchmarking.benchmark import BenchmarkOptions
from embexp.benchmarking.held_out import HeldOut
from embexp.benchmarking.task import RetrievalTask
from embexp.data.datasets.dataset import Dataset
from embexp.data.labels import LabelScale, label_scale
from embexp.data.records import Chunk, Pair, Unit
from embexp.errors import DataError
from embexp.progress import track
from embexp.ranges import Count
from embexp.storage.files import sha256_of


@dataclass(frozen=True, kw_only=True)
class BeirTask(BenchmarkOptions):
    """Asks the test questions of another data set over that set's own corpus.

    ``BenchmarkOptions`` has the arguments that all benchmarks share.

    Args:
        dataset: Reads the set, such as ``embexp.data.datasets.BeirFolder``.
        name: The task's name.
        limit: The most questions to ask; None for all. The corpus stays whole.
        merge_duplicates: Whether copies of a document that answers a question are right as well.
    """

    dataset: Dataset
    name: str = "beir"
    limit: Count | None = None
    merge_duplicates: bool = True

    def check_inputs(self, *, judge: bool) -> None:
        """Refuse a set that does not exist, before any document is read.

        Raises:
            EmbexpError: Its files, or a model, are missing.
        """
        BenchmarkOptions.check_inputs(self, judge=judge)
        self.dataset.fingerprint()

    def check(self, chunks: Sequence[Chunk], *, judge: bool) -> None:  # noqa: ARG002
        """Refuse a set that cannot be scored, before anything is trained.

        Raises:
            DataError: As ``task`` does.
        """
        self.task(chunks, (), unit="document")

    def task(
        self,
        chunks: Sequence[Chunk],  # noqa: ARG002
        pairs: Sequence[Pair],  # noqa: ARG002
        *,
        unit: Unit,  # noqa: ARG002
        scale: LabelScale | None = None,  # noqa: ARG002
    ) -> RetrievalTask:
        """Return the set's own task, with one passage per document; the run's chunks and pairs are unused.

        Of a document longer than the model's limit only the beginning is embedded.

        Raises:
            DataError: The set has no test question, a single document, or a judgment on a missing one.
        """
        labelled = list(self.dataset.labelled())
        test = [pair for pair in labelled if pair.split in (None, "test")]
        if not test:
            raise DataError(
                f"The benchmark set {self.dataset.name} has no test question: add qrels/test.tsv."
            )
        corpus = list(track(self._passages(), "Reading the benchmark's corpus"))
        asked = HeldOut(name=self.name, limit=self.limit, merge_duplicates=self.merge_duplicates)
        return asked.task(corpus, test, unit="document", scale=label_scale(labelled, self.dataset.labels))

    def _passages(self) -> Iterator[Chunk]:
        for document in self.dataset.documents():
            name = sha256_of(document.id, 0, document.title, document.text)[:16]
            yield Chunk(id=name, document_id=document.id, text=document.text, title=document.title)
