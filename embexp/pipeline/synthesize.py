"""Pairs for a corpus: those that people judged, then those that the synthesis writes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from embexp.data.record_files import read_jsonl, write_jsonl
from embexp.data.records import Chunk, Pair
from embexp.errors import ConfigError, DataError, EmbexpError
from embexp.llm.llm import LLM
from embexp.models.embedding_cache import EmbeddingCache
from embexp.models.encoder import SourceEmbedder
from embexp.pipeline.corpus import Corpus, chunk_documents, write_chunks
from embexp.pipeline.experiment import Experiment
from embexp.retrieval.index import Index
from embexp.storage.stages import Stage
from embexp.synthesis.synthesis import Inventing, Planned


@dataclass(frozen=True)
class Written:
    """All pairs of a corpus, in ``path``; ``report`` is the synthesis's own account of its work."""

    key: str
    path: Path
    corpus: Corpus
    count: int
    report: dict[str, Any]
    cached: bool


def write_pairs(experiment: Experiment) -> Written:
    """Gather judged and written pairs, unless an earlier run did so from the same inputs.

    Raises:
        DataError: The data set and the synthesis yield no pair.
        EmbexpError: The language model gave up; its answers are kept, and the next run goes on.
    """
    invents = isinstance(experiment.synthesis, Inventing)
    corpus = None if invents else chunk_documents(experiment)
    inputs = (
        corpus.key if corpus else experiment.settings["chunker"],
        experiment.settings["synthesis"],
        experiment.synthesis.fingerprint(),
        experiment.llm.fingerprint() if experiment.llm else None,
        experiment.seed,
    )
    with experiment.stages.stage("pairs", *inputs) as stage:
        done = stage.done
        if done is None:
            done = _invent(experiment, stage) if corpus is None else _write(experiment, corpus, stage)
            stage.finish(done)
    return Written(
        key=stage.key,
        path=stage.folder / "pairs.jsonl",
        corpus=corpus or Corpus(stage.key, stage.folder, done["documents"]),
        count=done["pairs"],
        report=done["report"],
        cached=stage.done is not None,
    )


def _write(experiment: Experiment, corpus: Corpus, stage: Stage) -> dict[str, Any]:
    chunks = corpus.chunks()
    with language_model(experiment) as llm:
        index = context_index(experiment, chunks, stage.folder) if llm else None
        pairs = _judged_then_written(experiment, corpus, chunks, llm, index)
        count = _write_all(stage.folder / "pairs.jsonl", pairs)
    if not count:
        raise DataError(
            f"The data set {experiment.dataset.name} yields no pairs: choose synthesis=extractive, "
            "or a data set with labelled pairs."
        )
    return {"pairs": count, "report": dict(experiment.synthesis.report())}


def _write_all(path: Path, pairs: Iterator[Pair]) -> int:
    """Write pairs; where the language model gives up, leave those accepted so far beside ``path``.

    Raises:
        EmbexpError: The language model gave up; the message says where the accepted pairs are.
    """
    stopped: list[EmbexpError] = []

    def until_stopped() -> Iterator[Pair]:
        try:
            yield from pairs
        except (ConfigError, DataError):
            raise
        except EmbexpError as error:
            stopped.append(error)

    so_far = path.with_name("pairs.so_far.jsonl")
    count = write_jsonl(so_far, until_stopped())
    if stopped and not count:
        raise stopped[0]
    if stopped:
        raise EmbexpError(f"{stopped[0]} {count:,} pairs are accepted so far: {so_far}") from stopped[0]
    so_far.replace(path)
    return count


def _judged_then_written(
    experiment: Experiment, corpus: Corpus, chunks: list[Chunk], llm: LLM | None, index: Index | None
) -> Iterator[Pair]:
    """Yield judged pairs first; written ones join training where the set brings a test split."""
    own_test = False
    for pair in experiment.dataset.labelled():
        own_test = own_test or pair.split == "test"
        yield pair
    written = experiment.synthesis.pairs(chunks, corpus.headers(), llm=llm, index=index)
    yield from (replace(pair, split="train") for pair in written) if own_test else written


def _invent(experiment: Experiment, stage: Stage) -> dict[str, Any]:
    """Write the pairs first; the passages that they hold are the corpus."""
    path = stage.folder / "pairs.jsonl"
    with language_model(experiment) as llm:
        count = _write_all(path, experiment.synthesis.pairs((), {}, llm=llm))
    report = dict(experiment.synthesis.report())
    documents = experiment.synthesis.documents(read_jsonl(path, Pair))  # type: ignore[attr-defined]
    held = write_chunks(experiment, documents, experiment.model.tokens(), stage.folder)
    return {"pairs": count, "documents": held, "report": report}


@contextmanager
def language_model(experiment: Experiment) -> Iterator[LLM | None]:
    """Open the configured language model over the journal that all runs share; None where there is none."""
    if experiment.llm is None:
        yield None
        return
    with experiment.llm.open(experiment.cache / "llm" / "journal.jsonl") as llm:
        yield llm


def context_index(experiment: Experiment, chunks: list[Chunk], folder: Path) -> Index:
    """Index the chunks with the untuned model: it finds a prompt's context and checks the round trip."""
    embedder = SourceEmbedder(experiment.model, EmbeddingCache(experiment.cache / "embeddings"))
    return experiment.retriever.index(chunks, embedder, path=folder / "context")


def plan_synthesis(experiment: Experiment) -> list[str]:
    """Return the plan as sentences: requests, tokens, price live and as a batch, and time.

    Raises:
        ConfigError: The synthesis asks no language model, or none is configured.
    """
    synthesis, llm = experiment.synthesis, experiment.llm
    if llm is None or not isinstance(synthesis, Planned):
        raise ConfigError(
            "There is nothing to plan: choose a synthesis that asks a language model, as in "
            "synthesis=rag llm=groq or synthesis=entries llm=groq."
        )
    chunks = [] if isinstance(synthesis, Inventing) else chunk_documents(experiment).chunks()
    plan = synthesis.plan(chunks, chat=llm.chat)
    estimate = llm.estimate(
        requests=plan.requests,
        prompt_tokens=round(plan.prompt_tokens()),
        completion_tokens=round(plan.completion_tokens),
    )
    lines = [f"target: {synthesis.target:,} pairs", *estimate.lines()]
    if plan.capacity is not None and plan.capacity < synthesis.target:
        lines.append(
            f"The documents have room for {plan.capacity:,} questions: add documents, or raise "
            "synthesis.calls_per_chunk."
        )
    return lines
