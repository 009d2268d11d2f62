"""Run the benchmarks and write their last lines as one table into docs/performance.md.

    python benchmarks/performance.py                                     # all, some ten minutes each
    python benchmarks/performance.py evaluation_speed training_speed     # some; the other rows stay
    python benchmarks/performance.py --page-only                         # the page anew, without measuring

Every result is kept in benchmarks/results.jsonl, a line each; the table shows the latest of each benchmark. A
benchmark that fails keeps its former row, and this program then ends with exit code 1.
"""

from __future__ import annotations

import argparse
import ast
import json
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent
RESULTS = FOLDER / "results.jsonl"
PAGE = FOLDER.parent / "docs" / "performance.md"
KEYS = ("benchmark", "ours", "peer", "ratio", "unit", "machine", "date")
HEAD = """# Performance

`make benchmarks` measures and writes this page, `make benchmarks ARGS="evaluation_speed training_speed"` some
rows of it. Ours and the peer take turns on the same machine. A ratio above 1 means that ours is better. What
a benchmark measures, and what else its last line holds, is at the top of its file in `benchmarks/`.

"""
TABLE = """| benchmark | what it measures | ours | peer | ratio | unit | machine | date |
|:--|:--|--:|--:|--:|:--|:--|:--|
"""


def names(folder: Path = FOLDER) -> list[str]:
    """Return the names of the benchmarks: the scripts that print a line with their name."""
    return sorted(path.stem for path in folder.glob("*.py") if f'"benchmark": "{path.stem}"' in _text(path))


def measure(name: str) -> dict[str, Any]:
    """Run a benchmark and return its last line, with the date."""
    done = subprocess.run([sys.executable, FOLDER / f"{name}.py"], stdout=subprocess.PIPE, text=True)
    lines = done.stdout.splitlines()
    if done.returncode or not lines:
        raise RuntimeError(f"{name} ended with exit code {done.returncode} and {len(lines)} lines")
    result = dict(json.loads(lines[-1]))
    if missing := [key for key in KEYS if key not in result and key != "date"]:
        raise RuntimeError(f"{name} printed a last line without {', '.join(missing)}")
    return {**result, "date": datetime.now(UTC).date().isoformat()}


def latest(lines: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Return the last result of each benchmark."""
    results = (json.loads(line) for line in lines if line.strip())
    return {str(result["benchmark"]): result for result in results}


def page(results: Mapping[str, Mapping[str, Any]], purposes: Mapping[str, str]) -> str:
    """Return the page with a row for each result."""
    rows = []
    for name in sorted(results):
        result = results[name]
        numbers = [_number(result[key]) for key in ("ours", "peer", "ratio")]
        cells = [f"`{name}`", purposes.get(name, ""), *numbers, *(result[key] for key in KEYS[4:])]
        rows.append("| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |")
    return HEAD + (TABLE + "\n".join(rows) if rows else "Nothing was measured yet.") + "\n"


def purpose(path: Path) -> str:
    """Return the first sentence of a script's docstring."""
    text = ast.get_docstring(ast.parse(_text(path))) or ""
    return text.partition("\n\n")[0].replace("\n", " ").rstrip(".")


def _number(value: object) -> str:
    """Return a number as the table shows it: a dash where there is no peer."""
    if value is None:
        return "–"
    return f"{value:,}" if isinstance(value, int | float) else str(value)


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def main(arguments: Sequence[str] | None = None) -> int:
    known = names()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("names", nargs="*", choices=[[], *known], metavar="NAME", help=", ".join(known))
    parser.add_argument("--page-only", action="store_true", help="write the page without measuring")
    options = parser.parse_args(arguments)
    failed = 0
    for name in () if options.page_only else options.names or known:
        print(f"{name} ...", flush=True)
        try:
            result = measure(name)
        except (RuntimeError, ValueError) as error:
            print(f"failed: {error}", file=sys.stderr)
            failed = 1
            continue
        print(json.dumps(result), flush=True)
        with RESULTS.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(result) + "\n")
    results = latest(_text(RESULTS).splitlines()) if RESULTS.exists() else {}
    purposes = {name: purpose(FOLDER / f"{name}.py") for name in known}
    PAGE.write_text(page(results, purposes), encoding="utf-8")
    return failed


if __name__ == "__main__":
    sys.exit(main())
