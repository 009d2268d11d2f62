"""A reranker in words: which model is better before it, whether it helps each, and what to serve."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from embexp.benchmarking.reranking import Reranking
from embexp.benchmarking.statistics.comparison import Comparison
from embexp.benchmarking.systems import TUNED, UNTUNED, reranked
from embexp.reporting.outcome import Outcome
from embexp.reporting.tables import interval_text, signed


@dataclass(frozen=True, slots=True)
class RerankingRow:
    """One comparison: a system, what it is compared with, and both scores."""

    system: str
    base: str
    after: float
    before: float
    comparison: Comparison


def reranking_headline(outcome: Outcome) -> str:
    """Return which model is better before the reranker, with the verdict last; empty without a reranker.

    Without a tuned model it says whether the untuned one is better with the reranker.
    """
    reranking = outcome.reranking
    if reranking is None:
        return ""
    if reranking.comparison is None:
        which = _which(reranking.untuned, "untuned + reranker", "the untuned model alone")
        row = _row(outcome, reranked(UNTUNED), UNTUNED, reranking.untuned)
    else:
        which = _which(reranking.comparison, "tuned + reranker", "untuned + reranker")
        row = _row(outcome, reranked(TUNED), reranked(UNTUNED), reranking.comparison)
    return f"Reranker: {which}: {row.comparison.metric} {_change(row)}: {row.comparison.verdict}"


def reranking_points(outcome: Outcome) -> list[str]:
    """Return what the reranker does for each model, whether it replaces tuning, and what to serve."""
    reranking = outcome.reranking
    if reranking is None:
        return []
    points = [_help(outcome, reranking)]
    if reranking.instead_of_tuning:
        row = _row(outcome, reranked(UNTUNED), TUNED, reranking.instead_of_tuning)
        which = _which(reranking.instead_of_tuning, "untuned + reranker", "the tuned model alone")
        points.append(f"{which[0].upper()}{which[1:]}: {_change(row)}.")
    return [*points, _advice(outcome, reranking)]


def reranking_rows(outcome: Outcome) -> Sequence[RerankingRow]:
    """Return all comparisons, the one that the headline names first; none without a reranker."""
    reranking = outcome.reranking
    if reranking is None:
        return []
    compared = [
        (reranked(TUNED), reranked(UNTUNED), reranking.comparison),
        (reranked(UNTUNED), UNTUNED, reranking.untuned),
        (reranked(TUNED), TUNED, reranking.tuned),
        (reranked(UNTUNED), TUNED, reranking.instead_of_tuning),
        (reranked(TUNED), UNTUNED, reranking.in_all),
    ]
    return [_row(outcome, system, base, each) for system, base, each in compared if each is not None]


def _row(outcome: Outcome, system: str, base: str, comparison: Comparison) -> RerankingRow:
    after, before = (outcome.scores[name][comparison.metric] for name in (system, base))
    return RerankingRow(system, base, after, before, comparison)


def _change(row: RerankingRow) -> str:
    comparison = row.comparison
    return (
        f"{row.before:.3f} → {row.after:.3f}, {signed(comparison.delta)} "
        f"(95% interval {interval_text(comparison.interval)})"
    )


def _which(comparison: Comparison, other: str, base: str) -> str:
    """Return which of two is better, or that neither is clearly so."""
    if comparison.better:
        return f"{other} is better than {base}"
    if comparison.worse:
        return f"{base} is better than {other}"
    return f"{other} is not clearly better or worse than {base}"


def _help(outcome: Outcome, reranking: Reranking) -> str:
    """Return whether the reranker helps or hurts each model."""
    parts = []
    for model, comparison in ((UNTUNED, reranking.untuned), (TUNED, reranking.tuned)):
        if comparison is None:
            continue
        effect = "does not clearly change"
        if comparison.better or comparison.worse:
            effect = "helps" if comparison.better else "hurts"
        row = _row(outcome, reranked(model), model, comparison)
        parts.append(f"{effect} the {model} model ({_change(row)})")
    return f"The reranker {' and '.join(parts)}."


def _advice(outcome: Outcome, reranking: Reranking) -> str:
    """Return in one sentence which model to serve, and whether with the reranker.

    A reranker costs time at every question, and is advised only where it is clearly better than the better
    model alone. Of two models between which nothing is clear, the one that is better alone goes before it.
    """
    alone = TUNED if outcome.comparison and outcome.comparison.better else UNTUNED
    first, compared = alone, reranking.comparison
    if compared and (compared.better or compared.worse):
        first = TUNED if compared.better else UNTUNED
    gains = {
        (UNTUNED, UNTUNED): reranking.untuned,
        (TUNED, TUNED): reranking.tuned,
        (UNTUNED, TUNED): reranking.instead_of_tuning,
        (TUNED, UNTUNED): reranking.in_all,
    }
    gain = gains[first, alone]
    vectors = outcome.retriever is not None and outcome.retriever.weight > 0
    serve = "For search by vectors alone, serve" if vectors else "Serve"
    without = f"{serve} the {alone} model without the reranker"
    time = f"each question takes {_milliseconds(outcome, first):,.0f} ms more"
    if gain is None or gain.worse:
        return f"{without}: with it search is worse."
    if not gain.better:
        return f"{without}: with it search is not clearly better, and {time}."
    why = ""
    if first != alone:
        why = f", although the {alone} model alone is better" if alone == TUNED else ", which tuning helps"
    return f"{serve} the {first} model with the reranker{why}: search is clearly better, and {time}."


def _milliseconds(outcome: Outcome, model: str) -> float:
    """Return the time that the reranker takes for a question, or 0 where nobody measured it."""
    costs = outcome.systems
    if model not in costs or reranked(model) not in costs:
        return 0.0
    return 1e3 * (costs[reranked(model)].query_seconds - costs[model].query_seconds)
