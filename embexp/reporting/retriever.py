"""The retriever to serve, in words: what it is, what it gains, why it was chosen, and how to serve it."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from embexp.benchmarking.retriever_choice import ServedRetriever
from embexp.benchmarking.systems import TUNED, UNTUNED
from embexp.reporting.outcome import Outcome
from embexp.reporting.tables import interval_text, signed
from embexp.reporting.verdict import VERDICTS
from embexp.retrieval.parts import DEFAULT_SHARE, DEFAULT_WORDS


@dataclass(frozen=True, slots=True)
class DevRow:
    """One model's dev scores at each weight; ``chosen`` is the weight's position, None for another model."""

    model: str
    scores: Sequence[float]
    chosen: int | None


def retriever_name(retriever: ServedRetriever) -> str:
    """Return ``the tuned model with BM25 at weight 0.4``, or ``the tuned model alone``."""
    parts = ["parts of passages"] if retriever.part_words else []
    if not retriever.weight:
        return f"the {retriever.model} model {'with parts of passages' if parts else 'alone'}"
    others = [*parts, *(["word translations"] if retriever.translated else [])]
    beside = f"{', ' if len(others) > 1 else ' and '}{' and '.join(others)}" if others else ""
    return f"the {retriever.model} model with BM25 at weight {retriever.weight:g}{beside}"


def retriever_label(retriever: ServedRetriever) -> str:
    """Return ``tuned + parts + BM25 0.4``, or ``tuned`` for the model alone."""
    model = f"{retriever.model}{' + parts' if retriever.part_words else ''}"
    if not retriever.weight:
        return model
    return f"{model} + {'translated ' if retriever.translated else ''}BM25 {retriever.weight:g}"


def retriever_options(retriever: ServedRetriever) -> str:
    """Return the options that serve it; empty for a model alone, which needs none."""
    if not retriever.weight:
        return f"retriever=parts{_cutting(retriever, 'retriever')}" if retriever.part_words else ""
    option = "hybrid_parts" if retriever.part_words else "hybrid"
    fixed = "" if retriever.adaptive else " retriever.adaptive=false"
    bm25 = dict(retriever.bm25) | ({"translations": "translations.json"} if retriever.translated else {})
    words = "".join(f" retriever.sparse.{name}={_value(value)}" for name, value in bm25.items())
    cut = _cutting(retriever, "retriever.dense")
    return f"retriever={option} retriever.weight={retriever.weight:g}{cut}{fixed}{words}"


def _value(value: str | float | bool | None) -> str:
    """Return a setting as it is typed on a command line."""
    if value is None:
        return "null"
    return shlex.quote(value) if isinstance(value, str) else str(value).lower()


def _cutting(retriever: ServedRetriever, key: str) -> str:
    """Return the options of parts that differ from the defaults of ``retriever=parts``."""
    if retriever.part_words is None:
        return ""
    words = f" {key}.words={retriever.part_words}" if retriever.part_words != DEFAULT_WORDS else ""
    share = f" {key}.share={retriever.part_share:g}" if retriever.part_share != DEFAULT_SHARE else ""
    return words + share


def retriever_headline(outcome: Outcome) -> str:
    """Return the retriever, its gain over the untuned model alone and its verdict; empty without one."""
    return f"Retriever: {_gain(outcome, outcome.retriever)}" if outcome.retriever else ""


def retriever_summary(outcome: Outcome) -> str:
    """Return the same as a sentence, for a section whose heading says what it is about."""
    if outcome.retriever is None:
        return ""
    text = _gain(outcome, outcome.retriever)
    return f"{text[0].upper()}{text[1:]}."


def _gain(outcome: Outcome, retriever: ServedRetriever) -> str:
    comparison = retriever.comparison
    before, after = outcome.scores[UNTUNED][comparison.metric], retriever.scores[comparison.metric]
    if retriever_label(retriever) == UNTUNED:
        return f"{retriever_name(retriever)}, as before: {comparison.metric} {before:.3f}"
    return (
        f"{retriever_name(retriever)}: {comparison.metric} {before:.3f} → {after:.3f}, "
        f"{signed(comparison.delta)} (95% interval {interval_text(comparison.interval)}): "
        f"{comparison.verdict}"
    )


def retriever_reminder(outcome: Outcome) -> str:
    """Return what belongs beside the model where it is served; empty if that is the model alone."""
    chosen = outcome.retriever
    if chosen is None or not retriever_options(chosen) or not chosen.comparison.better:
        return ""
    metric = chosen.comparison.metric
    return (
        f"The run recommends {retriever_name(chosen)}: {metric} {chosen.scores[metric]:.3f}, and "
        f"{outcome.scores[chosen.model][metric]:.3f} for the model alone. "
        f"Serve it with {retriever_options(chosen)}."
    )


def retriever_advice(outcome: Outcome) -> list[str]:
    """Return how to serve the retriever, where its gain comes from, and why it was chosen."""
    retriever = outcome.retriever
    if retriever is None:
        return []
    points = [
        _serving(outcome, retriever),
        _share_of_bm25(outcome, retriever),
        f"Reason: {retriever.reason}.",
    ]
    return [point for point in points if point]


def _serving(outcome: Outcome, retriever: ServedRetriever) -> str:
    """Return how to serve it, or whether to; empty for a model alone, on which its own verdict decides."""
    options, comparison = retriever_options(retriever), retriever.comparison
    if not options:
        return ""
    if comparison.better:
        file = ", a file that stands beside the model" if retriever.translated else ""
        searched = f"{file}, as embexp.search does" if outcome.comparison else file
        alone = outcome.scores[retriever.model][comparison.metric]
        higher = (
            f" On the test questions the {retriever.model} model alone scores higher ({alone:.3f}): the "
            "choice was made on dev."
        )
        lost = alone > retriever.scores[comparison.metric]
        return f"Serve it with {options}{searched}.{higher if lost else ''}"
    if outcome.comparison and outcome.comparison.better:
        return "Serve the tuned model alone: only that is clearly better than the untuned model."
    if comparison.worse:
        return "Serve the untuned model alone: on the test questions it retrieves better."
    return f"It is not clearly better than the untuned model alone; to try it, set {options}."


def _share_of_bm25(outcome: Outcome, retriever: ServedRetriever) -> str:
    """Return that BM25, not training, may be what helps: the whole gains, and the tuned model does not."""
    curve, model = retriever.curve, outcome.comparison
    if (
        model is None
        or model.better
        or not retriever.comparison.better
        or retriever.model != TUNED
        or UNTUNED not in curve
    ):
        return ""
    at = retriever.weights.index(retriever.weight)
    return (
        f"BM25 may account for all of the gain: on dev, the untuned model scores {curve[UNTUNED][at]:.3f} "
        f"at the same weight, the tuned model {curve[TUNED][at]:.3f}."
    )


def serving_note(retriever: ServedRetriever, *, in_last_column: bool) -> str:
    """Return which results a search serves, and a warning if the test questions say that they are no better.

    Args:
        retriever: The retriever to serve.
        in_last_column: Whether its results stand in a column of their own, after both models'.
    """
    column = " (the last column)" if in_last_column else ""
    changed = retriever_label(retriever) != UNTUNED
    doubt = VERDICTS[retriever.comparison.verdict].doubt if changed else ""
    return f"Served: {retriever_name(retriever)}{column}.{' ' if doubt else ''}{doubt}"


def dev_rows(retriever: ServedRetriever) -> list[DevRow]:
    """Return each model's dev scores by weight; none if nothing was measured."""
    chosen = retriever.weights.index(retriever.weight) if retriever.curve else None
    return [
        DevRow(model, scores, chosen if model == retriever.model else None)
        for model, scores in retriever.curve.items()
    ]
