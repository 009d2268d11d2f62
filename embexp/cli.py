"""The console script ``embexp``: the first word chooses the command, ``run`` where there is none."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

COMMANDS = ("run", "synthesize", "finetune", "benchmark", "search", "plan", "compare", "cache")


def main() -> None:
    """Run the command that the first argument names, with the rest as its arguments."""
    sys.path.insert(0, str(Path.cwd()))  # as python -m does: a user's own _target_ may stand here
    name = "run"
    if len(sys.argv) > 1 and sys.argv[1] in COMMANDS:
        name = sys.argv.pop(1)
    importlib.import_module(f"embexp.{name}").main()
