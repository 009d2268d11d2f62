"""The data card in Markdown: what a set of pairs contains, how it was made, and how to load it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from embexp.data.records import Pair
from embexp.data.words import words
from embexp.synthesis.prompts import one_line

_TEMPLATE = Path(__file__).with_name("data_card.md.jinja")
_LICENCE = (
    "No licence is set. Generated texts are the output of the models named above, whose terms apply; "
    "passages of documents belong to their authors. Clarify both before you share the set."
)
_CELL = 160


@dataclass
class _Counted:
    pairs: int = 0
    query_words: int = 0
    passage_words: int = 0
    negatives: int = 0
    documents: set[str] = field(default_factory=set)
    models: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    generators: Counter[str] = field(default_factory=Counter)


def data_card(
    pairs: Iterable[Pair],
    report: Mapping[str, Any],
    *,
    file: str = "pairs.jsonl",
    title: str = "Synthetic retrieval pairs",
    settings: Mapping[str, Any] | None = None,
    licence: str = _LICENCE,
) -> str:
    """Return the card; the same pairs, report and settings give the same text.

    Args:
        pairs: The accepted pairs; read once. Memory grows with the number of documents alone.
        report: The report of the synthesis.
        file: The name of the data file beside the card.
        title: The card's heading.
        settings: The options of the synthesis.
        licence: The licence of the set.
    """
    counted = _count(pairs)
    rejected: Mapping[str, int] = report.get("rejected", {})
    return _render(
        title=one_line(title, _CELL),
        file=file,
        stem=Path(file).stem,
        models=bool(counted.models),
        held_out=f"{report['held_out']:,}" if report.get("held_out") else "",
        kind=counted.generators.most_common(1)[0][0] if counted.generators else "",
        accepted=f"{counted.pairs:,}",
        asked=f"{counted.pairs + sum(rejected.values()):,}",
        target=f"{report.get('target') or 0:,}",
        stopped=report.get("stopped"),
        negatives=counted.negatives,
        kinds=", ".join(f"{kind} ({count:,})" for kind, count in sorted(counted.kinds.items())),
        facts=_facts(counted, report),
        rejected=_rejected(rejected, report.get("examples_dropped", {})),
        diversity=[(name, _cell(_shown(value))) for name, value in report.get("diversity", {}).items()],
        settings=json.dumps(settings or {}, indent=2, ensure_ascii=False, default=str),
        licence=licence,
    )


def _render(**values: object) -> str:
    from jinja2 import StrictUndefined
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    environment = ImmutableSandboxedEnvironment(
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    return environment.from_string(_TEMPLATE.read_text(encoding="utf-8")).render(values)


def _count(pairs: Iterable[Pair]) -> _Counted:
    counted = _Counted()
    for pair in pairs:
        counted.pairs += 1
        counted.query_words += len(words(pair.query))
        counted.passage_words += len(words(pair.positive))
        counted.negatives += len(pair.negatives)
        counted.documents.add(pair.document_id)
        counted.kinds[pair.query_type] += 1
        counted.generators[pair.generator.kind] += 1
        if pair.generator.model:
            counted.models[pair.generator.model] += 1
    return counted


def _facts(counted: _Counted, report: Mapping[str, Any]) -> list[tuple[str, str]]:
    usage = report.get("usage", {})
    mean = max(counted.pairs, 1)
    return [
        ("Pairs", f"{counted.pairs:,}"),
        ("Documents", f"{len(counted.documents):,}"),
        ("Hard negatives", f"{counted.negatives:,}"),
        ("Words in a query, mean", f"{counted.query_words / mean:.1f}"),
        ("Words in a passage, mean", f"{counted.passage_words / mean:.1f}"),
        (
            "Models",
            _cell(", ".join(f"{name} ({n:,})" for name, n in sorted(counted.models.items())) or "none"),
        ),
        ("Requests", f"{report.get('requests', 0):,}"),
        ("Prompt tokens", f"{usage.get('prompt_tokens', 0):,}"),
        ("Completion tokens", f"{usage.get('completion_tokens', 0):,}"),
        ("Price", f"${usage.get('usd', 0):,.2f}"),
    ]


def _rejected(rejected: Mapping[str, int], examples: Mapping[str, list[str]]) -> list[tuple[str, str, str]]:
    """Return reason, count and an example, most frequent first."""
    rows = sorted(rejected.items(), key=lambda row: (-row[1], row[0]))
    return [(reason, f"{count:,}", _cell((examples.get(reason) or [""])[0])) for reason, count in rows]


def _shown(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {count:,}" for name, count in value.items())
    return str(value)


def _cell(text: str) -> str:
    """Return a text that is safe in a table cell: one line, no pipes, no HTML."""
    return one_line(text, _CELL).replace("|", "\\|").replace("<", "&lt;").replace("`", "'")
