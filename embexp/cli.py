"""The console script ``embexp``, also ``python -m embexp``: the first word chooses the command."""

from __future__ import annotations

import difflib
import importlib
import os
import sys
from pathlib import Path

from embexp.package import __version__

COMMANDS = {
    "run": "the whole pipeline, from documents to a verdict",
    "synthesize": "training pairs from documents, alone",
    "finetune": "a fine-tuned model from pairs, alone",
    "benchmark": "the scores of models, alone",
    "plan": "requests, tokens, price and time of a synthesis, before any is spent",
    "search": "untuned and tuned results for a question, side by side",
    "export": "a run's model as ONNX, OpenVINO or static vectors, checked on its test questions",
    "publish": "a run's model with card and outcome, on the Hugging Face Hub or in a folder",
    "migrate": "the tuned model for an index that the untuned one has filled: an adapter, or new vectors",
    "compare": "past runs in one table, with a paired test between any two",
    "runs": "the finished runs: verdict, settings, age, size; removes them",
    "cache": "what the cache holds; verifies and prunes it",
    "completion": "the code that lets your shell complete all of these",
}
"""Each command with what it does or prints; ``embexp.NAME`` has its ``main``."""
_EXAMPLES = """\
  embexp run dataset=folder dataset.path=docs/     your own documents
  embexp run -m loss=mnrl,cosent                   two runs to compare
  embexp run --help                                groups, options and keys
  embexp search "a question" --run latest"""
_USER_ERROR = 2


def main() -> None:
    """Run the command that the first argument names, with the rest as its arguments."""
    sys.path.insert(0, str(Path.cwd()))  # as python -m does: a user's own _target_ may stand here
    if "_ARGCOMPLETE" in os.environ:
        importlib.import_module("embexp.completion").complete()
    word = sys.argv[1] if len(sys.argv) > 1 else "help"
    if word == "help" and sys.argv[2:3] and sys.argv[2] in COMMANDS:
        sys.argv[1:] = [sys.argv[2], "--help"]
        word = sys.argv[1]
    if word in ("help", "--help", "-h"):
        print(_help())
    elif word in ("--version", "-V"):
        print(f"embexp {__version__}")
    elif word in COMMANDS:
        del sys.argv[1]
        importlib.import_module(f"embexp.{word}").main()
    elif "=" in word or word.startswith("-"):  # overrides: the command is run
        importlib.import_module("embexp.run").main()
    else:
        print(f"error: {_unknown(word)}", file=sys.stderr)
        sys.exit(_USER_ERROR)


def _help() -> str:
    commands = "\n".join(f"  {name:<11} {purpose}" for name, purpose in COMMANDS.items())
    return (
        "embexp fine-tunes an embedding model on your documents and proves whether it helped.\n\n"
        f"Usage: embexp COMMAND [ARGUMENT …]\n\n{commands}\n\n{_EXAMPLES}\n\n"
        "embexp COMMAND --help explains a command; embexp --version prints the version."
    )


def _unknown(word: str) -> str:
    near = difflib.get_close_matches(word, COMMANDS, n=1, cutoff=0.5)
    remedy = f"did you mean embexp {near[0]}?" if near else f"choose one of {', '.join(COMMANDS)}."
    return f"{word!r} is not a command: {remedy}"
