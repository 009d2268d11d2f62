"""Input as people have it runs to its end: what is odd in a row or file costs that one, and is counted."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path

from tests.pipeline.pipeline_settings import TINY

TOWNS = ("Bergen", "Cork", "Gdansk", "Malaga", "Split")


def rows(count: int = 40) -> list[dict[str, object]]:
    return [
        {
            "query": f"who paints ferry {at} in {TOWNS[at % 5]}?",
            "positive": f"Painter {at * 37 % 101} paints ferry {at} in {TOWNS[at % 5]} with {at + 3} pots.",
            "label": 1,
            "query_id": f"q{at}",
            "document_id": f"d{at}",
        }
        for at in range(count)
    ]


def write(path: Path, lines: list[dict[str, object]]) -> None:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def test_odd_values_cost_their_row_alone(run, tmp_path: Path) -> None:
    table = rows()
    table[0]["query"] = f"\ud83d {table[0]['query']}"  # half an emoji
    table[1]["query_id"] = "q\0one"
    table[2]["document_id"] = "d" * 300
    table[3]["label"] = 1e308
    table[4]["positive"] = math.nan
    write(tmp_path / "2024_01_05.jsonl", table)
    done = run(
        "run", *TINY, "dataset=pairs", "dataset.path=2024_01_05.jsonl", "tracker=none", "hydra.run.dir=X"
    )
    assert done.code == 0, done.err
    said = (tmp_path / "X" / "run.log").read_text()
    assert "38 pairs; skipped: 1 label out of range, 1 pair without text; mended: " in said
    assert "1 NUL character removed, 1 half of a surrogate pair replaced" in said


def test_copies_and_questions_in_the_corpus_are_recorded(run, tmp_path: Path) -> None:
    table = rows()
    (tmp_path / "set" / "qrels").mkdir(parents=True)
    corpus = [{"_id": row["document_id"], "text": row["positive"]} for row in table]
    copies = [{"_id": f"copy of {row['document_id']}", "text": row["positive"]} for row in table]
    itself = [{"_id": row["query_id"], "text": row["query"]} for row in table]
    write(tmp_path / "set" / "corpus.jsonl", [*copies, *corpus, *itself])
    write(tmp_path / "set" / "queries.jsonl", itself)
    for split, part in (("train", table[:20]), ("test", table[20:])):
        lines = [f"{row['query_id']} 0 {row['document_id']} 1\n" for row in part]
        (tmp_path / "set" / "qrels" / f"{split}.tsv").write_text("".join(lines))
    done = run("benchmark", *TINY, "dataset=beir", "dataset.path=set", "tracker=none", "hydra.run.dir=X")
    assert done.code == 0, done.err
    outcome = json.loads((tmp_path / "X" / "outcome.json").read_text())
    repeated = {"duplicates": 40, "judged_duplicates": 20, "merged": True, "self_hits": 20}
    assert outcome["repeated_texts"] == repeated
    assert outcome["scores"]["bm25"]["accuracy@1"] >= 0.9  # the copies come first in the corpus


def test_files_whose_names_are_no_utf_8_are_read(run, tmp_path: Path) -> None:
    (tmp_path / "2024").mkdir()
    for at, row in enumerate(rows(20)):
        name = os.fsdecode(f"note {at} ".encode() + b"caf\xe9.md")
        (tmp_path / "2024" / name).write_text(f"# Ferry {at}\n\n{row['positive']} It sails at noon.\n")
    done = run("synthesize", *TINY, "dataset=folder", "dataset.path=2024", "tracker=none", "hydra.run.dir=X")
    assert done.code == 0, done.err
    assert "2024: 20 documents" in (tmp_path / "X" / "run.log").read_text()
