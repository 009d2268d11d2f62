"""The arguments of commands that work on a past run: which one, and where to look for it."""

from __future__ import annotations

import argparse


def add_run_arguments(parser: argparse.ArgumentParser) -> None:
    """Let a command name a past run, as ``embexp.load_run`` finds it.

    Args:
        parser: Gets ``--run``, ``--outputs``, ``--cache`` and ``--trust``.
    """
    parser.add_argument("--run", default="latest", help="a run's folder, or 'latest' (the default)")
    parser.add_argument("--outputs", default="outputs", help="where 'latest' looks for runs")
    parser.add_argument("--cache", help="the cache whose index of runs 'latest' reads (OUTPUTS/cache)")
    parser.add_argument(
        "--trust",
        action="store_true",
        help="let the run's configuration name classes outside embexp",
    )
