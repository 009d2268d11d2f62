"""What a command prints last: tables, the verdict in words, the paths, and the next command."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from embexp.benchmarking.metrics import SUMMARY_METRICS
from embexp.data.records import Chunk
from embexp.finetuning.training import Training
from embexp.reporting.outcome import Outcome
from embexp.reporting.reranking import reranking_headline, reranking_points
from embexp.reporting.retriever import retriever_advice, retriever_headline
from embexp.reporting.tables import COST_COLUMNS, best_value, cost_rows, shown_metrics, training_time
from embexp.reporting.verdict import VERDICTS, advice, facts, headline, in_plain_words

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

PLAIN_WIDTH = 110
NARROW_WIDTH = 100
NARROW_METRICS = 4
FIXED_WIDTHS = {"#": 3, "move": 5}
"""The columns of two rankings side by side that do not share the rest of the line."""


def standard_output() -> Console:
    """Return a console on stdout: plain text of 110 columns if stdout is not a terminal."""
    from rich.console import Console

    if hasattr(sys.stdout, "reconfigure"):
        # A terminal that cannot show an arrow gets a question mark, not a crash at the end of a run.
        sys.stdout.reconfigure(errors="replace")
    return Console(width=None if sys.stdout.isatty() else PLAIN_WIDTH, highlight=False, markup=False)


def short_path(path: Path) -> Path:
    """Return ``path`` relative to the current folder if it lies below it."""
    try:
        return path.resolve().relative_to(Path.cwd())
    except ValueError:
        return path


def print_outcome(outcome: Outcome, *, folder: Path, console: Console | None = None) -> None:
    """Print the tables, the verdict in words, the paths and the next command.

    Args:
        outcome: The result of the run.
        folder: The run's output folder.
        console: Where to print; None is stdout.
    """
    out = console or standard_output()
    out.print()
    if outcome.scores:
        out.print(_scores_table(outcome, narrow=out.width < NARROW_WIDTH))
    if outcome.systems:
        out.print(_cost_table(outcome))
    out.print(_headline(outcome), soft_wrap=True)
    if plainly := in_plain_words(outcome):
        out.print(f"  {plainly}", soft_wrap=True)
    for point in advice(outcome):
        out.print(f"  {point}", soft_wrap=True)
    if outcome.retriever:
        out.print(_with_verdict(retriever_headline(outcome)), soft_wrap=True)
        for point in retriever_advice(outcome):
            out.print(f"  {point}", soft_wrap=True)
    if outcome.reranking:
        out.print(_with_verdict(reranking_headline(outcome)), soft_wrap=True)
        for point in reranking_points(outcome):
            out.print(f"  {point}", soft_wrap=True)
    out.print()
    for line in facts(outcome):
        out.print(line, soft_wrap=True)
    out.print()
    for label, value in _next_steps(outcome, folder).items():
        out.print(f"{label:<9} {value}", soft_wrap=True)


def _scores_table(outcome: Outcome, *, narrow: bool) -> Table:
    """Return systems by the main metrics, with each metric's best value in bold."""
    from rich.text import Text

    known = [each for each in shown_metrics(outcome) if each == outcome.metric or each in SUMMARY_METRICS]
    metrics = known[: NARROW_METRICS if narrow else None]
    table = _table("system", *metrics)
    best = {metric: best_value(outcome.scores, metric) for metric in metrics}
    for system, values in outcome.scores.items():
        cells = [
            Text(f"{values[metric]:.3f}", style="bold" if round(values[metric], 3) == best[metric] else "")
            if metric in values
            else Text("–", style="dim")
            for metric in metrics
        ]
        table.add_row(system, *cells)
    return table


def _cost_table(outcome: Outcome) -> Table:
    table = _table("cost", *COST_COLUMNS, "")
    for row in cost_rows(outcome):
        table.add_row(row.system, *row.texts, row.note)
    return table


def _table(first: str, *columns: str) -> Table:
    """Return an empty table whose first column is text and whose other columns are numbers."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, title_justify="left", pad_edge=False)
    table.add_column(first, no_wrap=True)
    for name in columns:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def _headline(outcome: Outcome) -> Text:
    from rich.text import Text

    text = Text(headline(outcome))
    if outcome.comparison:
        verdict = outcome.comparison.verdict
        text.stylize(VERDICTS[verdict].style, 0, len(verdict))
    return text


def _with_verdict(line: str) -> Text:
    """Return a line with the colour of the verdict at its end, where there is one."""
    from rich.text import Text

    text, (*_, last) = Text(line), line.rpartition(": ")
    style = next((wording.style for verdict, wording in VERDICTS.items() if verdict == last), "")
    text.stylize(style, len(text) - len(last))
    return text


def _next_steps(outcome: Outcome, folder: Path) -> dict[str, str]:
    shown = short_path(folder)
    steps = {"Report": str(shown / "report.html"), "Numbers": str(shown / "outcome.json")}
    if outcome.model_dir:
        steps["Model"] = str(short_path(Path(outcome.model_dir)))
    if run_id := outcome.mlflow.get("run_id"):
        steps["MLflow"] = f"run {run_id} of experiment {outcome.mlflow.get('experiment', '')}: mlflow ui"
    if name := outcome.mlflow.get("registered_model"):
        steps["Registry"] = f"models:/{name}/{outcome.mlflow['registered_version']}"
        if alias := outcome.mlflow["registered_alias"]:
            steps["Registry"] += f"; models:/{name}@{alias} now points to this version"
    if outcome.model_dir:
        alone = "outputs" in folder.parts and not {"multirun", "sweeps"} & set(folder.parts)
        run = "latest" if alone else shlex.quote(str(shown))
        steps["Try it"] = f'python -m embexp.search "your question" --run {run}'
    return steps


def print_side_by_side(
    query: str,
    untuned: Sequence[Chunk],
    tuned: Sequence[Chunk],
    *,
    retriever: Sequence[Chunk] | None = None,
    note: str = "",
    console: Console | None = None,
) -> None:
    """Print the results for one question, with each chunk's move: ``↑3``, ``↓1``, ``=`` or ``new``.

    Args:
        query: The question.
        untuned: The untuned model's results, best first; moves are counted from them.
        tuned: The tuned model's results, best first.
        retriever: The results of the retriever to serve, where it is neither model alone.
        note: A line below the table, such as which of them is served.
        console: Where to print; None is stdout.
    """
    from rich import box
    from rich.table import Table

    out = console or standard_output()
    before = {chunk.id: rank for rank, chunk in enumerate(untuned, start=1)}
    others = {"tuned": tuned, **({} if retriever is None else {"retriever": retriever})}
    table = Table(box=box.SIMPLE_HEAD, expand=True, pad_edge=False)
    names = ("#", "untuned", *(name for other in others for name in ("move", other)))
    for name in names:
        width = FIXED_WIDTHS.get(name)
        table.add_column(name, width=width, ratio=None if width else 1, no_wrap=True, overflow="ellipsis")
    for rank in range(1, max(len(untuned), *map(len, others.values())) + 1):
        cells: list[str | Text] = [str(rank), _result(_at(untuned, rank))]
        for chunk in (_at(chunks, rank) for chunks in others.values()):
            move = "" if chunk is None else _move(before.get(chunk.id), rank)
            cells += [move, _result(chunk)]
        table.add_row(*cells)
    out.print()
    out.print(f"“{query}”", soft_wrap=True)
    out.print(table)
    if note:
        out.print(note, soft_wrap=True)


def _at(chunks: Sequence[Chunk], rank: int) -> Chunk | None:
    return chunks[rank - 1] if rank <= len(chunks) else None


def _move(before: int | None, now: int) -> str:
    """Return how a result moved: ``↑3``, ``↓1``, ``=``, or ``new`` if it was not there before."""
    if before is None:
        return "new"
    if before == now:
        return "="
    return f"↑{before - now}" if now < before else f"↓{now - before}"


def _result(chunk: Chunk | None) -> Text:
    from rich.text import Text

    if chunk is None:
        return Text("")
    line = " ".join(chunk.text.split())
    return Text.assemble((chunk.title or chunk.document_id, "bold"), "\n", (line[:300], "dim"))


def print_synthesis(summary: Mapping[str, object], *, folder: Path, again: str = "") -> None:
    """Print how many pairs there are, of which kinds, what they cost, and how to train on them.

    Args:
        summary: The content of synthesis.json.
        folder: The run's folder.
        again: The options of this run: a whole run with them takes the pairs from the cache, and tests on
            the held-out queries if there are any.
    """
    out, folder = standard_output(), short_path(folder)
    kinds = summary.get("query_types")
    mix = ", ".join(f"{count:,} {kind}" for kind, count in kinds.items()) if isinstance(kinds, dict) else ""
    pairs = f"{summary['accepted']:,} pairs from {summary['documents']:,} documents"
    out.print(f"{pairs} ({mix})", soft_wrap=True)
    if stopped := summary.get("stopped"):
        out.print(str(stopped), soft_wrap=True)
    usage = summary.get("usage")
    if isinstance(usage, Mapping) and summary.get("requests"):
        tokens = usage["prompt_tokens"] + usage["completion_tokens"]
        cost = f"{summary['requests']:,} requests, {tokens:,} tokens, {usage['usd']:.2f} US$"
        out.print(f"Cost      {cost} (recorded answers included)", soft_wrap=True)
        if lost := usage.get("unanswered"):
            most = f"up to {usage['unanswered_usd']:.2f} US$ more"
            out.print(f"Lost      {lost:,} requests whose answers never arrived: {most}", soft_wrap=True)
    out.print(f"Pairs     {folder}/data/pairs.jsonl (also .csv and .parquet)", soft_wrap=True)
    if held_out := summary.get("held_out"):
        out.print(f"Held out  {folder}/data/held_out.jsonl: {held_out:,} queries to test on", soft_wrap=True)
    out.print(f"Funnel    {folder}/synthesis.json", soft_wrap=True)
    command = f"python -m embexp.finetune dataset=pairs dataset.path={folder}/data/pairs.jsonl"
    if summary.get("held_out") and again:
        command = f"python -m embexp.run {again}"
    out.print(f"Next      {command}", soft_wrap=True)


def print_plan(lines: Sequence[str]) -> None:
    """Print how many requests a run will make and what they cost, and how to start or cap it."""
    out = standard_output()
    for line in lines:
        out.print(line, soft_wrap=True)
    commands = "python -m embexp.run, or embexp.synthesize for pairs alone,"
    out.print(f"No request was made. To start: {commands} with the same options.", soft_wrap=True)
    out.print(
        "To cap the cost: llm.budget_usd=5, or model.budget_usd=5 for embeddings, stops before a request "
        "would exceed it.",
        soft_wrap=True,
    )


def _dev_change(training: Training, metric: str) -> str:
    """Return what the selected weights score on dev, and before; and which weights they are."""
    values, after = training.dev(metric), training.selected_score(metric)
    if not values or after is None:
        return "no dev questions to score"
    change = f"dev {metric} {values[0]:.3f} → {after:.3f}"
    if training.best_step == 0:
        return f"{change}: the untuned weights were kept"
    merged = f", {training.selected} selected" if training.selected not in (None, "tuned") else ""
    return f"{change}, best at step {training.best_step}{merged}"


def print_training(
    training: Training, *, metric: str, folder: Path, again: str, registered: str = ""
) -> None:
    """Print how the selected weights changed the dev metric, where the model is, and how to benchmark it.

    Args:
        training: The summary.
        metric: The dev metric that selected the weights.
        folder: The run's folder.
        again: The options of the data set and model, to repeat them in the next command.
        registered: The model's address in the registry (``models:/NAME/VERSION``), if it was registered.
    """
    out, folder = standard_output(), short_path(folder)
    out.print(
        f"Trained on {training.pairs:,} pairs in {training_time(training)} "
        f"({training.pairs_per_second:,.1f} pairs/s), {_dev_change(training, metric)}.",
        soft_wrap=True,
    )
    from embexp.models.vector_adapter import SETTINGS

    model = folder / "model"
    alone = (model / SETTINGS).is_file() and not (model / "modules.json").is_file()
    loads = "an adapter of the queries' vectors" if alone else "loads with SentenceTransformer"
    out.print(f"Model     {model} ({loads})", soft_wrap=True)
    if registered:
        out.print(f"Registry  {registered}", soft_wrap=True)
    parts = f"python -m embexp.benchmark {again}".split()
    option = "adapted" if alone else "local"
    next_command = f"{' '.join(parts)} model@tuned={option} tuned.path={model}"
    out.print(f"Next      {next_command}", soft_wrap=True)
