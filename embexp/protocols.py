"""What each kind of component promises; the pipeline knows components by these alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from embexp.types import (
    Answer,
    Chunk,
    Document,
    Hit,
    Pair,
    Question,
    Registered,
    Request,
    RetrievalTask,
    Splits,
    Training,
    TrainingStep,
    Unit,
    Usage,
    Verdict,
)

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from sentence_transformers import SentenceTransformer
    from torch import nn

    Vectors = npt.NDArray[np.float32]


class Dataset(Protocol):
    """A source of documents, of labelled pairs, or of both."""

    @property
    def name(self) -> str:
        """The name in tables and file names."""

    @property
    def unit(self) -> Unit:
        """What relevance is judged by: whole documents, or chunks."""

    def fingerprint(self) -> str:
        """Return a digest of everything that shapes what this set yields, cheap beside reading it."""

    def documents(self) -> Iterator[Document]:
        """Yield the corpus, one document at a time, in a fixed order."""

    def labelled(self) -> Iterator[Pair]:
        """Yield the pairs that people judged; nothing for a bare knowledge base."""


class TokenCounter(Protocol):
    """Counts tokens as the model in use does."""

    @property
    def limit(self) -> int:
        """How many tokens of a text the model reads, special tokens left out."""

    def count(self, texts: Sequence[str]) -> list[int]:
        """Return each text's length in tokens, special tokens left out."""


class Chunker(Protocol):
    """Cuts documents into passages that fit the model."""

    def chunk(self, document: Document, tokens: TokenCounter) -> list[Chunk]:
        """Return the document's chunks in reading order; an empty document has none."""


class Embedder(Protocol):
    """A loaded model that turns texts into unit vectors."""

    @property
    def fingerprint(self) -> str:
        """A digest of the weights and the prompts."""

    @property
    def dimension(self) -> int:
        """The length of a vector."""

    def encode_queries(self, texts: Sequence[str]) -> Vectors:
        """Return L2-normalised float32 vectors, shape (len(texts), dimension)."""

    def encode_passages(self, texts: Sequence[str]) -> Vectors:
        """Return L2-normalised float32 vectors, shape (len(texts), dimension)."""


class ModelSource(Protocol):
    """A model that can be loaded on demand; building one costs nothing."""

    @property
    def name(self) -> str:
        """The name in tables."""

    def fingerprint(self) -> str:
        """Return a digest that changes when the weights or the prompts do."""

    def load(self) -> SentenceTransformer:
        """Load the weights, ready to train or to encode."""

    def tokens(self) -> TokenCounter:
        """Return a counter that uses this model's tokenizer, without loading the weights."""


class LLM(Protocol):
    """A language model behind its pace, its retries, its journal and its budget."""

    @property
    def name(self) -> str:
        """The model's name in tables and manifests."""

    @property
    def chat(self) -> bool:
        """False for a base model that only completes text: it needs few-shot examples."""

    def ask(self, requests: Iterable[Request]) -> Iterator[Answer]:
        """Yield one answer for each request, in the order of the requests.

        Requests are drawn lazily and asked concurrently within the limits; each response is on disk
        before it is yielded, and one that is on disk already is not asked again.

        Raises:
            EmbexpError: The key is refused, the budget is spent, or the service does not come back;
                everything received is kept, and the same command goes on from there.
        """

    def usage(self) -> Usage:
        """Return what this run's answers cost, those from the journal left out."""


class LLMSource(Protocol):
    """A configured language model; building one costs nothing and needs no key."""

    def check(self) -> None:
        """Raise a ConfigError if the key or the program that it needs is missing."""

    def fingerprint(self) -> str:
        """Return a digest of what shapes the answers: the model and its parameters, not the pace."""

    def open(self, journal: Path) -> AbstractContextManager[LLM]:
        """Connect, with the answers that ``journal`` holds already."""


@runtime_checkable
class Priced(Protocol):
    """A language model that can say beforehand what asking it takes."""

    @property
    def chat(self) -> bool:
        """Whether the model chats; else it only completes text."""

    def estimate(self, *, requests: int, prompt_tokens: int, completion_tokens: int) -> Estimate:
        """Return price and time of ``requests`` requests of that many tokens each."""


class Synthesis(Protocol):
    """Writes training pairs from chunks."""

    def fingerprint(self) -> str:
        """Return a digest of the files that shape the pairs, prompts and examples; empty without any."""

    def pairs(
        self,
        chunks: Sequence[Chunk],
        documents: Mapping[str, Document],
        *,
        llm: LLM | None = None,
        index: Index | None = None,
    ) -> Iterator[Pair]:
        """Yield pairs in a fixed order; the documents are headers, without their texts."""

    def report(self) -> Mapping[str, object]:
        """Return what the last writing did: the funnel, what it cost, how diverse the pairs are."""


class SynthesisPlan(Protocol):
    """What a synthesis will ask; token counts are per request."""

    @property
    def requests(self) -> int:
        """How many requests there will be, those for rejected answers included."""

    @property
    def completion_tokens(self) -> float:
        """The mean length of an answer."""

    @property
    def capacity(self) -> int | None:
        """The most queries that can be asked for; None where there is no bound."""

    def prompt_tokens(self) -> float:
        """Return the mean length of a prompt."""


@runtime_checkable
class Planned(Protocol):
    """A synthesis that can say beforehand what it will ask."""

    target: int

    def plan(self, chunks: Sequence[Chunk], *, chat: bool) -> SynthesisPlan:
        """Return what writing the pairs will ask, without asking anything."""


class Estimate(Protocol):
    """A job's price and time."""

    def lines(self) -> list[str]:
        """Return it as sentences for a person."""


@runtime_checkable
class Inventing(Protocol):
    """A synthesis that needs no knowledge base: its passages are the corpus."""

    def documents(self, pairs: Iterable[Pair]) -> Iterator[Document]:
        """Yield the documents behind the pairs that it wrote."""


class Index(Protocol):
    """A searchable set of chunks."""

    def search(self, queries: Sequence[str], *, k: int) -> list[list[Hit]]:
        """Return at most k hits for each query, best first; ties are broken by chunk id."""


class Retriever(Protocol):
    """Builds indexes; holds no state of its own."""

    def index(self, chunks: Iterable[Chunk], embedder: Embedder, *, path: Path) -> Index:
        """Index the chunks under ``path`` and return something that can be searched."""


class Teacher(Protocol):
    """Says how well passages answer queries, and knows better than the model in training."""

    def fingerprint(self) -> str:
        """Return a digest that changes when its scores do."""

    def scores(self, pairs: Sequence[tuple[str, str]]) -> Vectors:
        """Return a score for each (query, passage), shape (len(pairs),); higher is better."""


@runtime_checkable
class VectorTeacher(Teacher, Protocol):
    """A teacher that embeds."""

    def encode_queries(self, texts: Sequence[str]) -> Vectors:
        """Return unit vectors, shape (len(texts), dimension)."""

    def encode_passages(self, texts: Sequence[str]) -> Vectors:
        """Return unit vectors, shape (len(texts), dimension)."""


class Loss(Protocol):
    """A named loss: the columns it reads, and how to build it for a model.

    Where it has them, ``max_negatives`` is the most negatives that it reads, ``teacher`` whom it learns
    from, and ``fingerprint()`` a digest of what shapes it beside its settings. Of columns whose data decide
    how many numbers to make of a row (classes, vectors), ``build`` gets that as ``outputs``.
    """

    @property
    def columns(self) -> str:
        """The kind of columns that it reads: pairs, triplets, scored, binary, classes, ranked or vectors."""

    def build(self, model: SentenceTransformer, **outputs: int) -> nn.Module:
        """Return the loss module over ``model``."""


class Untuned(Protocol):
    """What is known of the untuned model from earlier runs, so that it embeds no text twice."""

    def embedder(self, model: SentenceTransformer) -> Embedder:
        """Return an embedder over ``model``, which is untuned, at its present text length."""

    def dev_scores(self, model: SentenceTransformer) -> Mapping[str, float]:
        """Score ``model``, which is untuned, on dev."""


class FineTuner(Protocol):
    """Trains a model on pairs."""

    def fit(
        self,
        model: SentenceTransformer,
        loss: Loss,
        splits: Splits,
        *,
        dev_scores: Callable[[SentenceTransformer], Mapping[str, float]],
        work_dir: Path,
        seed: int,
        on_step: Callable[[TrainingStep], None],
        untuned: Untuned | None = None,
    ) -> Training:
        """Train ``model`` in place; on return it holds the weights that scored best on dev.

        ``work_dir`` keeps checkpoints: a call that finds some there goes on from the newest.
        """


@runtime_checkable
class SharedFineTuner(FineTuner, Protocol):
    """A trainer that several processes can share."""

    def follow(self, loss: Loss, load: Callable[[], SentenceTransformer]) -> None:
        """Help the trainings of the process that leads, until its command ends; write nothing."""


class Benchmark(Protocol):
    """Turns a corpus and held-out pairs into a retrieval task."""

    def task(self, chunks: Sequence[Chunk], pairs: Sequence[Pair], *, unit: Unit) -> RetrievalTask:
        """Return the task that scores a system on ``pairs``."""


class Questions(Protocol):
    """A source of questions of the user's own."""

    def questions(self) -> list[Question]:
        """Return the questions, with the ids of what answers them or all without."""


@runtime_checkable
class Checked(Protocol):
    """A benchmark that can tell before the training that it cannot be scored after it."""

    def check(self, chunks: Sequence[Chunk], *, judge: bool) -> None:
        """Raise a DataError or ConfigError; ``judge`` says whether there is a language model."""


class TrackedRun(Protocol):
    """An open run of the tracker."""

    @property
    def experiment(self) -> str:
        """The experiment's name."""

    @property
    def run_id(self) -> str:
        """The run's id, empty where nothing is kept."""

    def child(
        self, name: str, *, params: Mapping[str, object], tags: Mapping[str, str]
    ) -> AbstractContextManager[TrackedRun]:
        """Open a nested run; it ends with the ``with`` block, FAILED if an exception leaves it."""

    def log_metrics(self, metrics: Mapping[str, float], *, step: int | None = None) -> None:
        """Log metrics under our own names (``ndcg@10``)."""

    def log_artifact(self, path: Path, *, folder: str | None = None) -> None:
        """Store a file or a folder with the run."""

    def log_dataset(self, *, name: str, source: str, digest: str) -> None:
        """Record which data the run used."""

    def log_model(self, model_dir: Path, *, verdict: Verdict | None = None) -> Registered | None:
        """Store a fine-tuned model so that it can be loaded and served from the tracker.

        Returns:
            What was registered, where the tracker is to register models.
        """


class SweepTrial(Protocol):
    """A trial of a sweep, as the pipeline sees it."""

    @property
    def name(self) -> str:
        """What the tracker's table shows."""

    @property
    def params(self) -> Mapping[str, object]:
        """The values that were drawn for it."""

    def begin(self, *, run_id: str) -> None:
        """Keep the id of the trial's run in the tracker."""

    def trains_in(self, folder: Path) -> None:
        """Keep where the cache holds the trial's training."""

    def watch(self, step: TrainingStep, *, metric: str, evaluations: int) -> None:
        """Hear a point of the log of a training that scores dev so often; raising ends the training."""


class Tracker(Protocol):
    """Keeps what runs did, or nothing at all."""

    def prepare(self) -> None:
        """Create what is missing; called once before several processes open runs."""

    def run(
        self, name: str, *, params: Mapping[str, object], tags: Mapping[str, str]
    ) -> AbstractContextManager[TrackedRun]:
        """Open a run; it ends with the ``with`` block, FAILED if an exception leaves it.

        ``PrunedError`` is no failure: the run is then tagged as pruned.
        """

    def resume(self, run_id: str) -> AbstractContextManager[TrackedRun]:
        """Open a run that exists; it ends as a new one does."""

    def tag(self, run_id: str, tags: Mapping[str, str]) -> None:
        """Set tags of a run, open or ended."""
