"""The last lines of the commands that end before a benchmark: what came out, where, and what to type next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from embexp.reporting.console import in_registry, shorter, standard_output
from embexp.types import Registered, Training


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
    training: Training, *, metric: str, folder: Path, again: str, registered: Registered | None = None
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
