"""The last lines of the commands that end before a benchmark: what came out, where, and what to type next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from embexp.reporting.console import standard_output
from embexp.types import Training


def print_synthesis(summary: Mapping[str, object], *, folder: Path) -> None:
    """Print how many pairs there are, of which kinds, and how to train on them."""
    out = standard_output()
    kinds = summary.get("query_types")
    mix = ", ".join(f"{count:,} {kind}" for kind, count in kinds.items()) if isinstance(kinds, dict) else ""
    found = f"{summary['accepted']:,} pairs from {summary['documents']:,} documents"
    out.print(f"{found} ({mix})", soft_wrap=True)
    if stopped := summary.get("stopped"):
        out.print(str(stopped), soft_wrap=True)
    out.print(f"Pairs     {folder}/data/pairs.jsonl (also .csv and .parquet)", soft_wrap=True)
    out.print(f"Funnel    {folder}/synthesis.json", soft_wrap=True)
    command = f"python -m embexp.finetune dataset=pairs dataset.path={folder}/data/pairs.jsonl"
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


def print_training(training: Training, *, metric: str, folder: Path, again: str) -> None:
    """Print what the training did to the dev metric, where the model is, and how to benchmark it.

    Args:
        training: The summary.
        metric: The dev metric that chose the weights.
        folder: The run's folder.
        again: The options of the data set and model, to repeat them in the next command.
    """
    out = standard_output()
    values = training.dev(metric)
    dev = f"dev {metric} {values[0]:.3f} → {max(values):.3f}" if values else "no dev questions to score"
    out.print(
        f"Trained on {training.pairs:,} pairs in {training.seconds:,.0f} s "
        f"({training.pairs_per_second:,.1f} pairs/s), {dev}, best at step {training.best_step}.",
        soft_wrap=True,
    )
    out.print(f"Model     {folder}/model (loads with SentenceTransformer)", soft_wrap=True)
    next_command = f"python -m embexp.benchmark {again} model@tuned=local tuned.path={folder}/model"
    out.print(f"Next      {next_command}", soft_wrap=True)
