"""The report of a run: one HTML file that needs no network, and Markdown for pull requests."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from embexp.reporting import figures
from embexp.reporting.costs import COLUMNS, MEANING, cost_rows
from embexp.reporting.examples import Example
from embexp.reporting.intervals import clustered_interval
from embexp.reporting.table import best_value, shown_metrics
from embexp.reporting.verdict import (
    FINDING,
    advice,
    cache_line,
    evidence,
    facts,
    forgetting_line,
    headline,
    index_line,
    leaks_line,
    power_line,
    signed,
    spelled,
    training_line,
)
from embexp.storage.files import atomic_write
from embexp.types import Contrast, Outcome, Query, Scores, Slice, TrainingStep

if TYPE_CHECKING:
    from jinja2 import Environment

TRUST = (power_line, forgetting_line, index_line)
TEMPLATES = Path(__file__).parent / "templates"
METRICS = {
    "accuracy": "share of questions with at least one relevant result among the first k",
    "precision": "share of the first k results that are relevant",
    "recall": "share of the relevant passages that are among the first k",
    "f1": "harmonic mean of precision and recall",
    "mrr": "one over the rank of the first relevant result, averaged",
    "ndcg": "relevant results counted more the higher they stand, relative to the best possible order",
    "map": "precision at each relevant result, averaged",
}


@dataclass(frozen=True, kw_only=True)
class Report:
    """What a report is made of.

    Args:
        outcome: What the run found; its training history feeds the curves.
        scores: System to scores, in the order of the table.
        queries: The test questions; their clusters widen the intervals as they should.
        examples: The biggest wins and losses, from ``biggest_changes``.
        slices: The comparison on each kind of question.
        contrasts: Every other system against the untuned one, corrected for their number.
        config: The run's configuration as YAML, secrets already masked.
        provenance: Commit, versions and machine, as ``embexp.tracking.provenance`` finds them.
    """

    outcome: Outcome
    scores: Mapping[str, Scores]
    queries: Sequence[Query] = ()
    examples: Sequence[Example] = ()
    slices: Sequence[Slice] = ()
    contrasts: Sequence[Contrast] = ()
    config: str = ""
    provenance: Mapping[str, str] = field(default_factory=dict)


def write_report(folder: Path, report: Report) -> tuple[Path, Path]:
    """Write ``report.html`` and ``report.md`` into ``folder``, atomically.

    The HTML is self-contained: no request leaves it, it follows the reader's light or dark setting,
    and every text from the data is escaped.

    Returns:
        The two paths.
    """
    context = _context(report)
    paths = folder / "report.html", folder / "report.md"
    for path, escaped in zip(paths, (True, False), strict=True):
        text = environment(escaped=escaped).get_template(f"{path.name}.j2").render(context)
        with atomic_write(path) as stream:
            stream.write(text)
    return paths


def environment(*, escaped: bool) -> Environment:
    """Return the templates' environment; ``escaped`` makes every text from the data harmless in HTML."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=escaped,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"score": _score, "signed": signed, "number": _number}
    environment.filters |= {"md": _markdown, "duration": duration}
    return environment


def _context(report: Report) -> dict[str, Any]:
    outcome, pictures = report.outcome, _pictures(report)
    return {
        "report": report,
        "outcome": outcome,
        "comparison": outcome.comparison,
        "finding": FINDING[outcome.comparison.verdict] if outcome.comparison else headline(outcome),
        "evidence": evidence(outcome),
        "headline": headline(outcome),
        "advice": advice(outcome),
        "facts": facts(outcome),
        "trust": [leaks_line(outcome.leaks), *(said for line in TRUST if (said := line(outcome)))],
        "work": [line for line in (training_line(outcome), cache_line(outcome)) if line],
        "metrics": shown_metrics(outcome),
        "best": {metric: best_value(outcome.scores, metric) for metric in shown_metrics(outcome)},
        "meanings": _meanings(shown_metrics(outcome)),
        "counts": _counts(outcome.counts),
        "tiles": _tiles(outcome, pictures["groups"]),
        "wins": [example for example in report.examples if example.delta > 0],
        "losses": [example for example in report.examples if example.delta < 0],
        "slices": _by_feature(report.slices),
        "costs": cost_rows(outcome),
        "cost_columns": list(COLUMNS),
        "cost_meaning": MEANING,
        "spelled": spelled,
        **pictures,
    }


def _by_feature(slices: Sequence[Slice]) -> dict[str, list[Slice]]:
    found: dict[str, list[Slice]] = {}
    for each in slices:
        found.setdefault(each.feature, []).append(each)
    return found


def _pictures(report: Report) -> dict[str, Any]:
    """Return every figure of the report; None where the run has nothing to draw."""
    outcome, comparison = report.outcome, report.outcome.comparison
    metric = comparison.metric if comparison else next(iter(shown_metrics(outcome)), "")
    history = outcome.training.history if outcome.training else ()
    best_step = outcome.training.best_step if outcome.training else None
    dev = _series(history, metric)
    changes = _changes(report, metric)
    return {
        "metric": metric,
        "systems": _systems(report, metric),
        "difference": figures.interval_axis(comparison.delta, comparison.interval) if comparison else None,
        "deltas": figures.deltas(changes) if changes else None,
        "groups": figures.groups(changes) if changes else (),
        "loss_curve": figures.curve(_points(history, _series(history, "loss"))),
        "dev_curve": figures.curve(_points(history, dev), best_step=best_step),
        "dev_name": dev or metric,
    }


def _systems(report: Report, metric: str) -> figures.Dots | None:
    clusters = {query.id: query.cluster for query in report.queries}
    means, intervals = {}, {}
    for system, scores in report.scores.items():
        values = {query: found[metric] for query, found in scores.per_query.items() if metric in found}
        if values:
            means[system] = scores.mean[metric]
            intervals[system] = clustered_interval(values, clusters)
    return figures.dots(means, intervals) if means else None


def _changes(report: Report, metric: str) -> list[float]:
    if not {"untuned", "tuned"} <= report.scores.keys():
        return []
    before, after = (report.scores[system].per_query for system in ("untuned", "tuned"))
    return [after[query][metric] - before[query][metric] for query in after if query in before]


def _series(history: Sequence[TrainingStep], name: str) -> str:
    """Return the training log's own name for a metric (``ndcg@10``, ``dev_ndcg@10``, ``dev/ndcg@10`` …)."""
    logged = dict.fromkeys(key for step in history for key in step.metrics)
    return next((key for key in logged if re.fullmatch(rf"(.*[/_. ])?{re.escape(name)}", key)), "")


def _points(history: Sequence[TrainingStep], name: str) -> list[tuple[int, float]]:
    return [(step.step, step.metrics[name]) for step in history if name in step.metrics]


def _tiles(outcome: Outcome, groups: Sequence[figures.Group]) -> list[tuple[str, str]]:
    """Return the few numbers that a reader wants first, with their labels."""
    tiles = []
    if groups:
        share = {group.name: f"{group.share:.0%}" for group in groups}
        tiles.append((f"{share['better']} / {share['worse']}", "of the questions better / worse"))
    if outcome.training:
        tiles.append((f"{outcome.training.pairs:,}", "training pairs"))
    if isinstance(documents := outcome.counts.get("documents"), int):
        tiles.append((f"{documents:,}", "documents"))
    if outcome.seconds:
        tiles.append((duration(sum(outcome.seconds.values())), "for the whole run"))
    return tiles


def duration(seconds: float) -> str:
    """Return seconds as people say them: ``8.2 s``, ``4 min 05 s``, ``2 h 10 min``."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def _counts(counts: Mapping[str, object]) -> list[tuple[str, object]]:
    """Return nested counts as flat rows: ``pairs, train``."""
    rows: list[tuple[str, object]] = []
    for name, value in counts.items():
        if isinstance(value, Mapping):
            rows += [(f"{name}, {inner}", number) for inner, number in value.items()]
        else:
            rows.append((name, value))
    return rows


def _meanings(metrics: Sequence[str]) -> dict[str, str]:
    names = dict.fromkeys(metric.split("@")[0] for metric in metrics)
    return {name: METRICS[name] for name in names if name in METRICS}


def _score(value: float) -> str:
    return f"{value:.3f}"


def _number(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)


def _markdown(value: object) -> str:
    """Return text on one line in which neither HTML nor Markdown means anything."""
    line = " ".join(str(value).split())
    line = line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_\[\]|#!])", r"\\\1", line)
