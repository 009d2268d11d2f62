"""What each filter of a synthesis took out, for the report."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from embexp.benchmarking.embedding_map import EmbeddingMap
from embexp.benchmarking.examples import Example, snippet
from embexp.benchmarking.metrics import Scores
from embexp.benchmarking.slices import Slice
from embexp.benchmarking.statistics.multiple_tests import Contrast
from embexp.benchmarking.task import Query
from embexp.reporting.figures import Group
from embexp.reporting.outcome import Outcome
from embexp.reporting.pictures import draw_all
from embexp.reporting.tables import COLUMNS, MEANING, best_value, cost_rows, shown_metrics, signed, spelled
from embexp.reporting.verdict import (
    FINDING,
    advice,
    cache_line,
    evidence,
    facts,
    forgetting_line,
    headline,
    index_line,
    judging_line,
    leaks_line,
    more_pairs,
    power_line,
    seeds_line,
    suite_line,
    training_line,
)
from embexp.storage.files import atomic_write

if TYPE_CHECKING:
    from jinja2 import Environment


@dataclass(frozen=True, slots=True)
class Step:
    """A reason for which queries were dropped: how many, their share of all, and the first few of them."""

    name: str
    count: int
    share: float
    examples: Sequence[str] = ()


def funnel(report: Mapping[str, Any]) -> list[Step]:
    """Return what was accepted, then what was rejected, the commonest reason first.

    Args:
        report: The synthesis's own account, with ``accepted``, ``rejected`` and ``examples_dropped``.

    Returns:
        The steps; none where the synthesis gave no account.
    """
    if "accepted" not in report:
        return []
    rejected = report.get("rejected", {})
    examples = report.get("examples_dropped", {})
    total = max(report["accepted"] + sum(rejected.values()), 1)
    steps = [Step("accepted", report["accepted"], report["accepted"] / total)]
    ordered = sorted(rejected.items(), key=lambda item: (-item[1], item[0]))
    return steps + [Step(name, count, count / total, examples.get(name, ())) for name, count in ordered]


TRUST = (judging_line, power_line, forgetting_line, suite_line, index_line)
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
        documents: The documents that gained and lost most.
        synthesis: The synthesis's own account: what it accepted, and what it rejected why.
        map: Questions and passages as both models place them.
        config: The run's configuration as YAML, secrets already masked.
        provenance: Commit, versions and machine, as ``embexp.tracking.provenance`` finds them.
    """

    outcome: Outcome
    scores: Mapping[str, Scores]
    queries: Sequence[Query] = ()
    examples: Sequence[Example] = ()
    slices: Sequence[Slice] = ()
    documents: Sequence[Slice] = ()
    contrasts: Sequence[Contrast] = ()
    synthesis: Mapping[str, Any] = field(default_factory=dict)
    map: EmbeddingMap | None = None
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
    environment.filters |= {"md": _markdown, "duration": duration, "snippet": snippet}
    return environment


def _context(report: Report) -> dict[str, Any]:
    outcome, pictures = (
        report.outcome,
        draw_all(report.outcome, report.scores, report.queries, report.slices, report.map),
    )
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
        "documents": _by_feature(report.documents),
        "funnel": funnel(report.synthesis),
        "costs": cost_rows(outcome),
        "cost_columns": list(COLUMNS),
        "cost_meaning": MEANING,
        "seeds_line": seeds_line(outcome),
        "more_pairs": more_pairs(outcome.learning_curve) if outcome.learning_curve else "",
        "spelled": spelled,
        **pictures,
    }


def _by_feature(slices: Sequence[Slice]) -> dict[str, list[Slice]]:
    found: dict[str, list[Slice]] = {}
    for each in slices:
        found.setdefault(each.feature, []).append(each)
    return found


def _tiles(outcome: Outcome, groups: Sequence[Group]) -> list[tuple[str, str]]:
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
