"""The files for people: report.html, report.md and a tuned model's card, rendered from templates."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence, Sized
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from embexp.benchmarking.embedding_map import EmbeddingMap
from embexp.benchmarking.examples import Example, snippet
from embexp.benchmarking.metrics import Scores, meanings
from embexp.benchmarking.slices import Slice
from embexp.benchmarking.statistics.comparison import RULE
from embexp.benchmarking.statistics.multiple_tests import Contrast
from embexp.benchmarking.task import Query, clusters_of
from embexp.models.vector_adapter import SETTINGS as ADAPTER
from embexp.reporting.figures import Group, draw_all
from embexp.reporting.outcome import Outcome
from embexp.reporting.questions import group_rows, questions_fact, unused_test_pairs, whose_questions
from embexp.reporting.reranking import reranking_headline, reranking_points, reranking_rows
from embexp.reporting.retriever import dev_rows, retriever_advice, retriever_headline, retriever_summary
from embexp.reporting.tables import (
    COST_COLUMNS,
    COST_MEANING,
    best_value,
    cost_rows,
    duration,
    interval_text,
    shown_metrics,
    signed,
)
from embexp.reporting.threshold import threshold_rows, threshold_summary
from embexp.reporting.verdict import VERDICTS, advice, evidence, facts, headline, in_plain_words, more_pairs
from embexp.storage.files import atomic_write

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

_TEMPLATES = Path(__file__).parent / "templates"
_TRUST = ("questions", "worth", "leaks", "truncation", "judging", "power", "forgetting", "suite", "index")
_WORK = ("training", "teacher", "cache")


@dataclass(frozen=True, kw_only=True)
class Report:
    """The content of a run's report.

    Args:
        outcome: The result of the run; its training history feeds the curves.
        scores: System to scores, in the order of the table.
        queries: The test questions; their clusters widen the intervals as they should.
        examples: The biggest wins and losses, from ``biggest_changes``.
        slices: The comparison on each kind of question.
        documents: The documents that gained and lost most.
        contrasts: Every other system against the untuned one, corrected for their number.
        synthesis: The synthesis's own report: what it accepted, and what it rejected for which reason.
        map: Questions and passages as both models place them.
        config: The run's configuration as YAML, secrets already masked.
        provenance: Commit, versions and machine, from ``embexp.tracking.provenance``.
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


@dataclass(frozen=True, kw_only=True)
class Origins:
    """What strangers need to know of a published model beside its results.

    Args:
        base_model: The model that was tuned: its name on the Hub, or the run's name for it.
        base_on_hub: Whether that is a name on the Hub.
        base_license: Its licence; None where it is not known.
        data_license: The licence of the documents and questions of the training; None where it is not known.
        license: The licence of the tuned model; None where it is not known.
        pairs: In words, what the training pairs are.
    """

    base_model: str
    base_on_hub: bool
    base_license: str | None
    data_license: str | None
    license: str | None
    pairs: str

    @property
    def remedies(self) -> Mapping[str, str]:
        """Each licence that is not known, with the setting that states it."""
        known = {
            "the licence of the base model": ("publish.base_license", self.base_license),
            "the licence of the training data": ("publish.data_license", self.data_license),
            "the licence of the model": ("publish.license", self.license),
        }
        return {name: key for name, (key, value) in known.items() if value is None}


def write_report(folder: Path, report: Report) -> tuple[Path, Path]:
    """Write ``report.html`` and ``report.md`` into ``folder``, atomically.

    The HTML is self-contained: it makes no request, follows the reader's light or dark setting, and
    escapes every text from the data.

    Returns:
        The two paths.
    """
    context = _context(report)
    return render(folder / "report.html", context), render(folder / "report.md", context)


def write_model_card(
    model_dir: Path, outcome: Outcome, *, config: str = "", origins: Origins | None = None
) -> Path:
    """Write the model card, ``README.md``, into a model's folder.

    Args:
        model_dir: The saved model.
        outcome: The result of the run.
        config: The run's configuration as YAML, secrets already masked.
        origins: What the model was made from, on the card of a published one.

    Returns:
        The card's path.
    """
    adapter = (model_dir / ADAPTER).is_file()
    context = {
        "outcome": outcome,
        "headline": headline(outcome),
        "config": config,
        "origins": origins,
        "training": outcome.training,
        "whose_questions": whose_questions(outcome),
        "unused_test_pairs": unused_test_pairs(outcome),
        "questions_fact": questions_fact(outcome),
        "adapter": adapter,
        "whole": not adapter or (model_dir / "modules.json").is_file(),
        **_retriever(outcome),
        **_reranking(outcome),
    }
    return render(model_dir / "README.md", context, template="model_card.md")


def render(path: Path, context: Mapping[str, object], *, template: str = "") -> Path:
    """Render a template into ``path``, atomically; in HTML every text from ``context`` is escaped.

    Args:
        path: The file; ``.html`` and ``.md`` are supported.
        context: The template's variables.
        template: The template's name without ``.j2``; the file's own name if empty.

    Returns:
        ``path``.
    """
    environment = _environment(escape=path.suffix == ".html")
    text = environment.get_template(f"{template or path.name}.j2").render(context)
    with atomic_write(path) as stream:
        stream.write(text)
    return path


def _environment(*, escape: bool) -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=escape,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    written = datetime.now().astimezone()
    environment.globals |= {
        "written": f"{written.day} {written:%B %Y}",
        "written_iso": written.isoformat(timespec="minutes"),
    }
    environment.filters |= {
        "breadth": _breadth,
        "breakable": _breakable,
        "score": lambda value: f"{value:.3f}",
        "signed": signed,
        "interval": interval_text,
        "number": lambda value: f"{value:,}" if isinstance(value, int) else str(value),
        "duration": duration,
        "snippet": snippet,
        "md": _markdown,
    }
    return environment


def _breadth(columns: Sized, texts: int = 1) -> str:
    """Return a table's CSS class by its width: a place that is narrower shows it as a list.

    Args:
        columns: The headings.
        texts: How many of the columns hold texts, which need more room than numbers.
    """
    rem = 4.6 * (len(columns) - texts) + 7 * texts
    classes = {21: "", 33: "middle", 56: "broad"}
    return next((name for most, name in classes.items() if rem <= most), "vast")


def _breakable(name: str) -> Markup:
    """Return a heading that may be broken before ``@`` and after dots and underscores."""
    from markupsafe import Markup, escape

    return Markup(re.sub(r"(?=@)|(?<=[._])(?=\w)", "<wbr>", str(escape(name))))


def _markdown(value: object) -> str:
    """Return text on one line in which neither HTML nor Markdown means anything."""
    line = " ".join(str(value).split())
    line = line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_\[\]|#!])", r"\\\1", line)


def _context(report: Report) -> dict[str, Any]:
    outcome = report.outcome
    clusters = clusters_of(report.queries)
    figures = draw_all(outcome, report.scores, clusters, report.slices, report.map)
    metrics = shown_metrics(outcome)
    return {
        "report": report,
        "outcome": outcome,
        "comparison": outcome.comparison,
        "wording": VERDICTS[outcome.comparison.verdict] if outcome.comparison else None,
        "evidence": evidence(outcome),
        "in_plain_words": in_plain_words(outcome),
        "rule": RULE,
        "headline": headline(outcome),
        "advice": advice(outcome),
        "facts": facts(outcome),
        "trust": facts(outcome, _TRUST),
        "work": facts(outcome, _WORK),
        "metrics": metrics,
        "best": {metric: best_value(outcome.scores, metric) for metric in metrics},
        "meanings": meanings(metrics),
        "counts": _flat_counts(outcome.counts),
        "tiles": _tiles(outcome, figures["groups"]),
        "wins": [example for example in report.examples if example.delta > 0],
        "losses": [example for example in report.examples if example.delta < 0],
        "slices": _by_feature(report.slices),
        "documents": _by_feature(report.documents),
        "funnel": _funnel(report.synthesis),
        "costs": cost_rows(outcome),
        "cost_columns": list(COST_COLUMNS),
        "cost_meaning": COST_MEANING,
        "question_groups": group_rows(outcome),
        "seeds_lines": facts(outcome, ["seeds"]),
        "more_pairs": more_pairs(outcome.learning_curve) if outcome.learning_curve else "",
        "threshold_summary": threshold_summary(outcome),
        "threshold_rows": threshold_rows(outcome.score_threshold),
        **_retriever(outcome),
        **_reranking(outcome),
        **figures,
    }


def _retriever(outcome: Outcome) -> dict[str, Any]:
    """Return what the templates say of the retriever to serve; all empty where none was chosen."""
    retriever = outcome.retriever
    return {
        "retriever": retriever,
        "retriever_headline": retriever_headline(outcome),
        "retriever_summary": retriever_summary(outcome),
        "retriever_advice": retriever_advice(outcome),
        "retriever_tone": VERDICTS[retriever.comparison.verdict].tone if retriever else "",
        "dev_rows": dev_rows(retriever) if retriever else [],
    }


def _reranking(outcome: Outcome) -> dict[str, Any]:
    """Return what the templates say of the reranker; all empty where none was configured."""
    return {
        "reranking": outcome.reranking,
        "reranking_headline": reranking_headline(outcome),
        "reranking_points": reranking_points(outcome),
        "reranking_rows": reranking_rows(outcome),
    }


def _flat_counts(counts: Mapping[str, int | Mapping[str, int]]) -> list[tuple[str, int]]:
    """Return nested counts as flat rows: ``pairs, train``."""
    rows: list[tuple[str, int]] = []
    for name, value in counts.items():
        if isinstance(value, Mapping):
            rows += [(f"{name}, {inner}", number) for inner, number in value.items()]
        else:
            rows.append((name, value))
    return rows


def _tiles(outcome: Outcome, groups: Sequence[Group]) -> list[tuple[str, str]]:
    """Return the few numbers that a reader wants first, with their labels."""
    tiles = []
    if groups:
        share = {group.name: f"{group.share:.0%}" for group in groups}
        tiles.append((f"{share['better']} / {share['worse']}", "questions better / worse"))
    if outcome.training:
        tiles.append((f"{outcome.training.pairs:,}", "training pairs"))
    if isinstance(documents := outcome.counts.get("documents"), int):
        tiles.append((f"{documents:,}", "documents"))
    if outcome.seconds:
        tiles.append((duration(sum(outcome.seconds.values())), "in total"))
    return tiles


def _by_feature(slices: Sequence[Slice]) -> dict[str, list[Slice]]:
    features: dict[str, list[Slice]] = {}
    for each in slices:
        features.setdefault(each.feature, []).append(each)
    return features


@dataclass(frozen=True, slots=True)
class _FunnelStep:
    """Questions that share an outcome: how many, their share of all, and the first few of them."""

    name: str
    count: int
    share: float
    examples: Sequence[str] = ()


def _funnel(synthesis: Mapping[str, Any]) -> list[_FunnelStep]:
    """Return the accepted questions, then the rejected ones by reason, the most frequent reason first.

    Args:
        synthesis: The synthesis's report, with ``accepted``, ``rejected`` and ``examples_dropped``.

    Returns:
        The steps; none if the synthesis reported nothing.
    """
    if "accepted" not in synthesis:
        return []
    accepted, rejected = synthesis["accepted"], synthesis.get("rejected", {})
    examples = synthesis.get("examples_dropped", {})
    total = max(accepted + sum(rejected.values()), 1)
    steps = [_FunnelStep("accepted", accepted, accepted / total)]
    ordered = sorted(rejected.items(), key=lambda item: (-item[1], item[0]))
    return steps + [
        _FunnelStep(name, count, count / total, examples.get(name, ())) for name, count in ordered
    ]
