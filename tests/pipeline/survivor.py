"""A command that hangs at first and then leaves its result, for the test of ``benchmarks/survival.py``."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

starts = Path("log").read_text().count("--- ")
if not Path.cwd().name.endswith(".reference") and starts <= int(sys.argv[1]):
    time.sleep(600)
Path("result.json").write_text(json.dumps([1.0, "same"]))
