"""``python -m embexp.search "a question" --run latest``: untuned and tuned results side by side."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from embexp.api import load_run
from embexp.errors import EmbexpError


def main(arguments: Sequence[str] | None = None) -> None:
    """Search the corpus of a past run with both of its models and print the results side by side."""
    options = _parser().parse_args(arguments)
    try:
        results = load_run(options.run, outputs=options.outputs).search(options.question, k=options.k)
    except EmbexpError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(2)
    from embexp.reporting.console import print_side_by_side

    untuned, tuned = ([result.chunk for result in results[system]] for system in ("untuned", "tuned"))
    print_side_by_side(options.question, untuned, tuned)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m embexp.search", description=__doc__)
    parser.add_argument("question", help="what to search for")
    parser.add_argument("--run", default="latest", help="a run's folder, or 'latest' (the default)")
    parser.add_argument("--outputs", default="outputs", help="where 'latest' looks for runs")
    parser.add_argument("-k", type=int, default=5, help="how many results to show (5)")
    return parser


if __name__ == "__main__":
    main()
