"""A command for the test of ``benchmarks/survival.py``: endless at first, then it leaves its result."""

from __future__ import annotations

import json
import sys
from pathlib import Path

starts = Path("log").read_text().count("--- ")
if not Path.cwd().name.endswith(".reference") and starts <= int(sys.argv[1]):
    while True:
        pass
Path("result.json").write_text(json.dumps([1.0, "same"]))
