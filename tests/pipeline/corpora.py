"""Small invented knowledge bases in languages of several scripts: a file for each machine and town."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import product
from pathlib import Path

LANGUAGES = json.loads(Path(__file__).with_name("languages.json").read_text(encoding="utf-8"))
"""By ISO 639-1 code: towns, machines with the part that is checked, an article and a question."""


def write_corpus(folder: Path, language: str) -> dict[str, str]:
    """Write a Markdown file for each machine in each town, and return a question for each file."""
    texts = LANGUAGES[language]
    questions: dict[str, str] = {}
    for place, (town, (machine, part)) in enumerate(product(texts["towns"], texts["machines"].items())):
        values = {"town": town, "machine": machine, "part": part}
        text = texts["article"].format(**values, number=100 + 7 * place, extension=4000 + 13 * place)
        (folder / f"{place:03}.md").write_text(f"# {machine} {town}\n\n{text}\n", encoding="utf-8")
        questions[f"{place:03}.md"] = texts["question"].format(**values)
    return questions


def write_beir(
    folder: Path,
    *,
    corpus: Sequence[dict[str, str]],
    queries: Sequence[dict[str, str]],
    **qrels: Sequence[str],
) -> Path:
    """Write a set in BEIR's layout; ``qrels`` are the lines of each split, without the header."""
    (folder / "qrels").mkdir(parents=True)
    for name, rows in (("corpus", corpus), ("queries", queries)):
        (folder / f"{name}.jsonl").write_text(
            "".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8"
        )
    for split, lines in qrels.items():
        table = "\n".join(["query-id\tcorpus-id\tscore", *lines, ""])
        (folder / "qrels" / f"{split}.tsv").write_text(table, encoding="utf-8")
    return folder
