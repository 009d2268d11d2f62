"""What a command prints last: tables, the verdict in words, the paths, and what to type next."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from embexp.data.records import Chunk
from embexp.finetuning.training import RegisteredModel, Training
from embexp.reporting.outcome import Outcome
from embexp.reporting.tables import COLUMNS, best_value, cost_rows, shown_metrics
from embexp.reporting.verdict import FINDING, advice, evidence, facts, headline

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

PLAIN_WIDTH = 110
NARROW = 100
FEW_METRICS = 4
TERMINAL_METRICS = ("accuracy@1", "precision@10", "recall@10", "f1@10", "mrr@10", "ndcg@10", "map@100")
"""What fits on a line; the report and outcome.json have every metric."""
COLOURS = {"WIN": "bold green", "NO EVIDENCE": "bold yellow", "REGRESSION": "bold red"}


def standard_output() -> Console:
    """Return a console on stdout: plain text of 110 columns where that is no terminal."""
    from rich.console import Console

    if hasattr(sys.stdout, "reconfigure"):
        # A terminal that cannot show an arrow gets a question mark, not a crash at the end of a run.
        sys.stdout.reconfigure(errors="replace")
    return Console(width=None if sys.stdout.isatty() else PLAIN_WIDTH, highlight=False, markup=False)


def print_outcome(
    outcome: Outcome, *, folder: Path, mlflow: str = "mlflow ui", console: Console | None = None
) -> None:
    """Print the closing table, the verdict in words, the paths and what to type next.

    Args:
        outcome: What the run found.
        folder: The run's output folder.
        mlflow: How to see the tracked runs: a command, or a server's address.
        console: Where to print; None is stdout.
    """
    out = console or standard_output()
    out.print()
    if outcome.scores:
        out.print(scores_table(outcome, few=out.width < NARROW))
    if outcome.systems:
        out.print(costs_table(outcome))
    out.print(_headline(outcome), soft_wrap=True)
    for point in advice(outcome):
        out.print(f"  {point}", soft_wrap=True)
    out.print()
    for line in facts(outcome):
        out.print(line, soft_wrap=True)
    out.print()
    for label, value in _places(outcome, folder, mlflow).items():
        out.print(f"{label:<9} {value}", soft_wrap=True)


def scores_table(outcome: Outcome, *, few: bool = False) -> Table:
    """Return systems by the usual metrics, each metric's best value in bold.

    Args:
        outcome: What the run found.
        few: Whether to show only the first metrics, for a narrow terminal.
    """
    from rich import box
    from rich.table import Table

    decisive = outcome.comparison.metric if outcome.comparison else ""
    known = [each for each in shown_metrics(outcome) if each == decisive or each in TERMINAL_METRICS]
    metrics = known[: FEW_METRICS if few else None]
    table = Table(box=box.SIMPLE_HEAD, title_justify="left", pad_edge=False)
    table.add_column("system", no_wrap=True)
    for metric in metrics:
        table.add_column(metric, justify="right", no_wrap=True)
    best = {metric: best_value(outcome.scores, metric) for metric in metrics}
    for system, values in outcome.scores.items():
        table.add_row(system, *(_value(values.get(metric), best[metric]) for metric in metrics))
    return table


def costs_table(outcome: Outcome) -> Table:
    """Return systems by what they take."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, title_justify="left", pad_edge=False)
    table.add_column("takes", no_wrap=True)
    for name in (*COLUMNS, ""):
        table.add_column(name, justify="right", no_wrap=True)
    for row in cost_rows(outcome):
        table.add_row(row.system, *row.texts, row.note)
    return table


def _value(value: float | None, best: float) -> Text:
    from rich.text import Text

    if value is None:
        return Text("–", style="dim")
    return Text(f"{value:.3f}", style="bold" if round(value, 3) == best else "")


def _headline(outcome: Outcome) -> Text:
    from rich.text import Text

    if outcome.comparison is None:
        return Text(headline(outcome))
    verdict = outcome.comparison.verdict
    rest = FINDING[verdict].removeprefix(verdict)
    return Text.assemble((verdict, COLOURS[verdict]), f"{rest}: {evidence(outcome)}.")


def _places(outcome: Outcome, folder: Path, mlflow: str) -> dict[str, str]:
    shown = shorter(folder)
    places = {"Report": str(shown / "report.html"), "Numbers": str(shown / "outcome.json")}
    if outcome.model_dir:
        places["Model"] = str(shorter(Path(outcome.model_dir)))
    if run_id := outcome.mlflow.get("run_id"):
        places["MLflow"] = f"run {run_id} of experiment {outcome.mlflow.get('experiment', '')}: {mlflow}"
    if name := outcome.mlflow.get("registered_model"):
        places["Registry"] = in_registry(
            name, outcome.mlflow["registered_version"], outcome.mlflow["registered_alias"]
        )
    if outcome.model_dir:
        alone = "outputs" in folder.parts and not {"multirun", "sweeps"} & set(folder.parts)
        name = "latest" if alone else str(shown)
        places["Try it"] = f'python -m embexp.search "a question of yours" --run {name}'
    return places


def in_registry(name: str, version: int | str, alias: str = "") -> str:
    """Return where a registered model stands, as ``mlflow models serve -m`` takes it."""
    moved = f"; models:/{name}@{alias} is this version now" if alias else ""
    return f"models:/{name}/{version}{moved}"


def shorter(path: Path) -> Path:
    """Return ``path`` relative to where the user stands, if it lies below."""
    try:
        return path.resolve().relative_to(Path.cwd())
    except ValueError:
        return path


def print_side_by_side(
    query: str, untuned: Sequence[Chunk], tuned: Sequence[Chunk], *, console: Console | None = None
) -> None:
    """Print what two models find for one question, with each chunk's move: ``↑3``, ``↓1``, ``=`` or ``new``.

    Args:
        query: The question.
        untuned: What the untuned model finds, best first.
        tuned: What the tuned model finds, best first.
        console: Where to print; None is stdout.
    """
    from rich import box
    from rich.table import Table

    out = console or standard_output()
    before = {chunk.id: rank for rank, chunk in enumerate(untuned, start=1)}
    table = Table(box=box.SIMPLE_HEAD, expand=True, pad_edge=False)
    for name, width in (("#", 3), ("untuned", None), ("move", 5), ("tuned", None)):
        table.add_column(name, width=width, ratio=None if width else 1, no_wrap=True, overflow="ellipsis")
    for rank in range(1, max(len(untuned), len(tuned)) + 1):
        left, right = (chunks[rank - 1] if rank <= len(chunks) else None for chunks in (untuned, tuned))
        move = "" if right is None else moved(before.get(right.id), rank)
        table.add_row(str(rank), _shown(left), move, _shown(right))
    out.print()
    out.print(f"“{query}”", soft_wrap=True)
    out.print(table)


def moved(before: int | None, now: int) -> str:
    """Return how a result moved: ``↑3``, ``↓1``, ``=``, or ``new`` where it was not there before."""
    if before is None:
        return "new"
    if before == now:
        return "="
    return f"↑{before - now}" if now < before else f"↓{now - before}"


def _shown(chunk: Chunk | None) -> Text:
    from rich.text import Text

    if chunk is None:
        return Text("")
    line = " ".join(chunk.text.split())
    return Text.assemble((chunk.title or chunk.document_id, "bold"), "\n", (line[:300], "dim"))


def print_synthesis(summary: Mapping[str, object], *, folder: Path, again: str = "") -> None:
    """Print how many pairs there are, of which kinds, what they cost, and how to train on them.

    Args:
        summary: What synthesis.json says.
        folder: The run's folder.
        again: The options of this run: a whole run with them takes the pairs from the cache, and tests on
            the held-out queries where there are any.
    """
    out, folder = standard_output(), shorter(folder)
    kinds = summary.get("query_types")
    mix = ", ".join(f"{count:,} {kind}" for kind, count in kinds.items()) if isinstance(kinds, dict) else ""
    found = f"{summary['accepted']:,} pairs from {summary['documents']:,} documents"
    out.print(f"{found} ({mix})", soft_wrap=True)
    if stopped := summary.get("stopped"):
        out.print(str(stopped), soft_wrap=True)
    usage = summary.get("usage")
    if isinstance(usage, Mapping) and summary.get("requests"):
        tokens = usage["prompt_tokens"] + usage["completion_tokens"]
        took = f"{summary['requests']:,} requests, {tokens:,} tokens, {usage['usd']:.2f} US$"
        out.print(f"Took      {took} (recorded answers included)", soft_wrap=True)
    out.print(f"Pairs     {folder}/data/pairs.jsonl (also .csv and .parquet)", soft_wrap=True)
    if held_out := summary.get("held_out"):
        out.print(f"Held out  {folder}/data/held_out.jsonl: {held_out:,} queries to test on", soft_wrap=True)
    out.print(f"Funnel    {folder}/synthesis.json", soft_wrap=True)
    command = f"python -m embexp.finetune dataset=pairs dataset.path={folder}/data/pairs.jsonl"
    if summary.get("held_out") and again:
        command = f"python -m embexp.run {again}"
    out.print(f"Next      {command}", soft_wrap=True)


def print_plan(lines: Sequence[str]) -> None:
    """Print what a synthesis will ask and cost, and how to begin or to bound it."""
    out = standard_output()
    for line in lines:
        out.print(line, soft_wrap=True)
    out.print(
        "Nothing was asked. To begin: python -m embexp.synthesize with the same options.", soft_wrap=True
    )
    out.print("To bound the cost: llm.budget_usd=5 stops before a request would pass it.", soft_wrap=True)


def print_training(
    training: Training, *, metric: str, folder: Path, again: str, registered: RegisteredModel | None = None
) -> None:
    """Print what the training did to the dev metric, where the model is, and how to benchmark it.

    Args:
        training: The summary.
        metric: The dev metric that chose the weights.
        folder: The run's folder.
        again: The options of the data set and model, to repeat them in the next command.
        registered: The version in the model registry, where there is one.
    """
    out, folder = standard_output(), shorter(folder)
    values = training.dev(metric)
    dev = f"dev {metric} {values[0]:.3f} → {max(values):.3f}" if values else "no dev questions to score"
    out.print(
        f"Trained on {training.pairs:,} pairs in {training.seconds:,.0f} s "
        f"({training.pairs_per_second:,.1f} pairs/s), {dev}, best at step {training.best_step}.",
        soft_wrap=True,
    )
    out.print(f"Model     {folder}/model (loads with SentenceTransformer)", soft_wrap=True)
    if registered:
        out.print(f"Registry  {in_registry(registered.name, registered.version)}", soft_wrap=True)
    next_command = f"python -m embexp.benchmark {again} model@tuned=local tuned.path={folder}/model"
    out.print(f"Next      {next_command}", soft_wrap=True)
