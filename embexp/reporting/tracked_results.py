"""What a tracker shows of a finished run: tags to filter by, a description, and the metrics to compare."""

from __future__ import annotations

from pathlib import Path

from embexp.benchmarking.seen_documents import AskedQuestions
from embexp.benchmarking.systems import TUNED, UNTUNED
from embexp.reporting.outcome import Outcome
from embexp.reporting.reranking import reranking_headline
from embexp.reporting.retriever import retriever_headline, retriever_label
from embexp.reporting.tables import interval_text, signed
from embexp.reporting.verdict import FIRST, advice, headline, in_plain_words


def result_tags(outcome: Outcome, folder: Path) -> dict[str, str]:
    """Return the tags that say how a run ended; ``note`` describes it in Markdown.

    Args:
        outcome: The result of the run.
        folder: The run's folder.
    """
    tags = {"note": description(outcome, folder)}
    if outcome.comparison:
        tags |= {
            "verdict": outcome.comparison.verdict,
            "delta": signed(outcome.comparison.delta),
            "interval": interval_text(outcome.comparison.interval),
        }
    if outcome.retriever:
        tags |= {
            "retriever": retriever_label(outcome.retriever),
            "retriever_verdict": outcome.retriever.comparison.verdict,
        }
    return tags


def description(outcome: Outcome, folder: Path) -> str:
    """Return the verdict, the advice and where the report is, in Markdown.

    The link ``artifact:report.html`` leads to the report that the tracker keeps.
    """
    words = headline(outcome)
    verdict, colon, rest = words.partition(":")
    result = f"**{verdict}**{colon}{rest}" if outcome.comparison else words
    files = f"[Report](artifact:report.html) · [summary](artifact:report.md) · folder `{folder.resolve()}`"
    points = "\n".join(f"- {point}" for point in advice(outcome))
    lines = [in_plain_words(outcome), retriever_headline(outcome), reranking_headline(outcome), points]
    return "\n\n".join([result, files, *filter(None, lines)])


def headline_metrics(outcome: Outcome) -> dict[str, float]:
    """Return the few metrics by which runs are compared: the difference, and the metric that decides.

    All other metrics of each system are on the child run of the system.
    """
    metrics: dict[str, float] = {}
    if outcome.comparison:
        low, high = outcome.comparison.interval
        metrics |= {"delta": outcome.comparison.delta, "delta_low": low, "delta_high": high}
    for system, means in outcome.scores.items():
        shown = (outcome.metric, FIRST) if system in (UNTUNED, TUNED) else (outcome.metric,)
        metrics |= {f"{system}/{name}": means[name] for name in shown if name is not None and name in means}
    if outcome.retriever:
        decided = outcome.retriever.comparison.metric
        metrics[f"retriever/{decided}"] = outcome.retriever.scores[decided]
        metrics["retriever/delta"] = outcome.retriever.comparison.delta
    return metrics


def further_metrics(outcome: Outcome) -> dict[str, float]:
    """Return what is worth keeping, but would hide the headline metrics beside them."""
    metrics: dict[str, float] = {}
    if outcome.comparison:
        metrics["p"] = outcome.comparison.p
    if outcome.questions:
        metrics |= _by_kind(outcome.questions)
    if outcome.retriever:
        metrics |= {f"retriever/{name}": value for name, value in outcome.retriever.scores.items()}
    if outcome.reranking and outcome.reranking.comparison:
        metrics["reranking/delta"] = outcome.reranking.comparison.delta
    if outcome.teacher and outcome.teacher.comparison:
        metrics["teacher/delta"] = outcome.teacher.comparison.delta
    if outcome.forgetting:
        metrics["forgetting/delta"] = outcome.forgetting.comparison.delta
    for score in outcome.suite:
        values = {UNTUNED: score.untuned, TUNED: score.tuned}
        metrics |= {
            f"suite/{score.task}/{name}": value for name, value in values.items() if value is not None
        }
    if outcome.seeds:
        metrics |= {"seeds/mean": outcome.seeds.mean, "seeds/std": outcome.seeds.std}
    if outcome.index:
        metrics["index/recall"] = outcome.index.recall
    if outcome.training:
        metrics["training/pairs_per_second"] = outcome.training.pairs_per_second
    return {**metrics, **{f"seconds/{stage}": value for stage, value in outcome.seconds.items()}}


def _by_kind(questions: AskedQuestions) -> dict[str, float]:
    """Return the difference on questions about seen documents and on the others, where there are both."""
    groups = {"seen": questions.seen, "unseen": questions.unseen}
    if questions.seen is None:
        return {}
    return {
        f"{name}/delta": group.comparison.delta
        for name, group in groups.items()
        if group is not None and group.comparison is not None
    }
