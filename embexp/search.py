"""``python -m embexp.search "a question" --run latest``: untuned, tuned and served results side by side."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from embexp.api import Run, load_run
from embexp.errors import exit_on_errors
from embexp.run_arguments import add_run_arguments


def main(arguments: Sequence[str] | None = None) -> None:
    """Search the corpus of a past run with its models and its retriever and print what each finds."""
    options = parser().parse_args(arguments)
    with exit_on_errors():
        run = load_run(options.run, outputs=options.outputs, cache=options.cache, trust=options.trust)
        results = run.search(options.question, k=options.k)
        doubts = [run.no_answer(options.question), *run.truncation_of(options.question)]
    from embexp.reporting.console import print_side_by_side

    found = {system: [result.chunk for result in each] for system, each in results.items()}
    print_side_by_side(
        options.question,
        found["untuned"],
        found["tuned"],
        retriever=found.get("retriever"),
        note="\n".join(filter(None, [_note(run), *doubts])),
    )


def _note(run: Run) -> str:
    """Return which of the results the run serves; empty for a run that chose no retriever."""
    from embexp.reporting.retriever import serving_note

    chosen = run.outcome.retriever
    return serving_note(chosen, in_last_column=run.served == "retriever") if chosen else ""


def parser() -> argparse.ArgumentParser:
    """Return the parser of this command's arguments, which completion in a shell reads, too."""
    made = argparse.ArgumentParser(prog="python -m embexp.search", description=__doc__)
    made.add_argument("question", help="what to search for")
    add_run_arguments(made)
    made.add_argument("-k", type=int, default=5, help="how many results to show (5)")
    return made


if __name__ == "__main__":
    main()
