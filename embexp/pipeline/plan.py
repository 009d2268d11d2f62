"""The plan of a run: the requests to a language model and to embedding services, before any is sent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from embexp.benchmarking.held_out import HeldOut
from embexp.benchmarking.teacher_gate import MOST_QUESTIONS
from embexp.data.records import Chunk
from embexp.errors import ConfigError
from embexp.models.adapted import service_of
from embexp.models.embeddings_client import tokens_of
from embexp.models.openai_compatible import OpenAICompatibleModel
from embexp.pipeline.data import chunk_documents
from embexp.pipeline.experiment import Experiment
from embexp.pipeline.services import services_of
from embexp.pipeline.teachers import list_length
from embexp.retrieval.parts import PartsRetriever, parts_of
from embexp.retrieval.serving import parts_retriever
from embexp.user_code import identity


def plan_requests(experiment: Experiment) -> list[str]:
    """Return the plan as sentences: requests, tokens, price live and as a batch, and time.

    Pairs that a language model writes come first, then the passages that one grades as the loss's teacher,
    then the texts that a service embeds.

    Raises:
        ConfigError: Neither the synthesis nor the teacher asks a language model, or none is configured, and
            no model is behind a service.
    """
    chunks: list[Chunk] = []
    services = services_of(experiment)
    if (experiment.llm is not None or services) and not experiment.synthesis.invents_corpus:
        chunks = chunk_documents(experiment).chunks()
    lines = [*_synthesis(experiment, chunks), *_teacher(experiment, chunks)]
    for source in services:
        further = source not in (service_of(experiment.model), service_of(experiment.tuned))
        parts = None if further else parts_retriever(experiment.retriever)
        asked = _benchmark_texts(experiment, chunks, parts)
        own = [] if further and asked else [_run_texts(experiment, chunks, parts)]
        lines += _embedding(experiment, source, [*own, *([asked] if asked else [])])
    if not lines:
        raise ConfigError(
            "There is nothing to plan: choose a synthesis that asks a language model, as in "
            "synthesis=rag llm=groq or synthesis=entries llm=groq, or a teacher that does, as in "
            "loss=listwise teacher@loss.teacher=llm_ranker llm=groq, or a model behind a service, as in "
            "model=openai_small."
        )
    return lines


def _synthesis(experiment: Experiment, chunks: Sequence[Chunk]) -> list[str]:
    """Return the plan of the synthesis; nothing where it asks no language model."""
    llm = experiment.llm
    plan = experiment.synthesis.plan(chunks, chat=llm.chat) if llm is not None else None
    if llm is None or plan is None:
        return []
    estimate = llm.estimate(
        requests=plan.requests,
        prompt_tokens=round(plan.prompt_tokens()),
        completion_tokens=round(plan.completion_tokens),
    )
    lines = [f"target: {plan.target:,} pairs", *estimate.lines()]
    if plan.capacity is not None and plan.capacity < plan.target:
        lines.append(
            f"The documents have room for {plan.capacity:,} questions: add documents, or raise "
            "synthesis.calls_per_chunk."
        )
    return lines


def _pairs_to_write(experiment: Experiment) -> int:
    """Return how many pairs the synthesis aims at, those of a second one within it included."""
    settings = experiment.settings["synthesis"]
    parts = (settings, settings.get("written") or {})
    return sum(part.get("target") or 0 for part in parts)


def _teacher(experiment: Experiment, chunks: Sequence[Chunk]) -> list[str]:
    """Return the most that the teacher of the loss will cost; nothing for one that costs nothing.

    The number of pairs is known once they are written: until then it is the one that the synthesis aims at,
    and the labelled ones.
    """
    loss, settings = experiment.loss, experiment.settings
    if loss.teacher is None:
        return []
    pairs = _pairs_to_write(experiment)
    pairs += sum(1 for _ in experiment.dataset.labelled())
    most = settings["trainer"].get("max_pairs")
    # Under trainer=auto the number is decided when the pairs are written.
    trained = min(pairs, most) if isinstance(most, int) else pairs
    asked = 0 if loss.gate == "off" else min(MOST_QUESTIONS, round(pairs * settings["split"]["dev"]))
    characters = round(fmean(len(chunk.passage) for chunk in chunks)) if chunks else _CHARACTERS
    estimate = loss.teacher.estimate(
        queries=trained + asked, passages=list_length(loss), characters=characters
    )
    if estimate is None:
        return []
    return [f"teacher: at most {trained + asked:,} queries, one request each", *estimate.lines()]


@dataclass(frozen=True)
class _Texts:
    """What is to be embedded; ``unwritten`` counts questions that the synthesis has yet to write."""

    passages: Sequence[str]
    questions: Sequence[str]
    unwritten: int = 0


def _run_texts(experiment: Experiment, chunks: Sequence[Chunk], parts: PartsRetriever | None) -> _Texts:
    """Return the run's passages and questions: those that are labelled, and the number to be written."""
    return _Texts(
        _passages(chunks, parts),
        [pair.query for pair in experiment.dataset.labelled()],
        _pairs_to_write(experiment),
    )


def _benchmark_texts(
    experiment: Experiment, chunks: Sequence[Chunk], parts: PartsRetriever | None
) -> _Texts | None:
    """Return the texts of a benchmark that asks questions of its own; None where it asks the run's."""
    if isinstance(experiment.benchmark, HeldOut):
        return None
    task = experiment.benchmark.task(chunks, (), unit=experiment.dataset.unit)
    return _Texts(_passages(task.corpus, parts), [query.text for query in task.queries])


def _passages(chunks: Sequence[Chunk], parts: PartsRetriever | None) -> list[str]:
    """Return the texts of a corpus that have vectors: its passages and, where they are searched, parts."""
    cut = [part for chunk in chunks for part in parts_of(chunk, parts.words)] if parts else []
    return [chunk.passage for chunk in (*chunks, *cut)]


def _embedding(experiment: Experiment, source: OpenAICompatibleModel, asked: Sequence[_Texts]) -> list[str]:
    """Return what a service will embed, and its price; what is in the cache costs nothing."""
    passages = list(dict.fromkeys(text for each in asked for text in each.passages))
    questions = list(dict.fromkeys(text for each in asked for text in each.questions))
    cache, digest = experiment.embeddings, identity(source)
    known = cache.known(digest, "passage", passages) + cache.known(digest, "query", questions)
    written = sum(each.unwritten for each in asked)
    texts = len(passages) + len(questions) + written
    tokens = sum(tokens_of(source.sent_text("passage", text)) for text in passages)
    tokens += sum(tokens_of(source.sent_text("query", text)) for text in questions)
    tokens += written * _QUESTION_TOKENS
    left = tokens * (texts - known) / texts if texts else 0.0
    estimate = source.estimate(texts=texts - known, tokens=round(left))
    about = f"{len(passages):,} passages and {len(questions) + written:,} questions"
    return [
        f"embedding with {source.name}: {about}, {known:,} of them known already",
        *estimate,
    ]


_QUESTION_TOKENS = 16
"""About what a written question has."""
_CHARACTERS = 600
"""The length of a passage where there are no documents yet to measure it by."""
