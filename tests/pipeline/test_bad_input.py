"""Every bad input ends with one clear sentence that holds the remedy, exit code 2, and no traceback."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from embexp.storage import files
from tests.pipeline.pipeline_settings import TINY

Make = Callable[[Path], list[str]]


def empty_folder(root: Path) -> list[str]:
    (root / "docs").mkdir()
    return ["dataset=folder", "dataset.path=docs"]


def nothing_readable(root: Path) -> list[str]:
    (root / "docs").mkdir()
    (root / "docs" / "photo.jpg").write_bytes(b"\xff\xd8\xff\xe0")
    return ["dataset=folder", "dataset.path=docs"]


def binary_file(root: Path) -> list[str]:
    (root / "docs").mkdir()
    (root / "docs" / "page.md").write_bytes(b"\x00\x01\x02\xff" * 500)
    return ["dataset=folder", "dataset.path=docs", "dataset.on_error=fail"]


def broken_jsonl(root: Path) -> list[str]:
    (root / "pairs.jsonl").write_text('{"query": "a b", "positive": "c d"}\n{"query": \n')
    return ["dataset=pairs", "dataset.path=pairs.jsonl", "dataset.on_error=fail"]


def pair_without_text(root: Path) -> list[str]:
    (root / "pairs.csv").write_text("query,positive\nhow to cap,maxlen bounds it\nhow to pop,\n")
    return ["dataset=pairs", "dataset.path=pairs.csv", "dataset.on_error=fail"]


def missing_column(root: Path) -> list[str]:
    (root / "pairs.csv").write_text("querry,positive\nhow to cap,maxlen bounds it\n")
    return ["dataset=pairs", "dataset.path=pairs.csv"]


def beir_files(root: Path, *, corpus: list[dict[str, str]], qrels: list[str]) -> list[str]:
    (root / "shop" / "qrels").mkdir(parents=True)
    (root / "shop" / "corpus.jsonl").write_text("".join(json.dumps(row) + "\n" for row in corpus))
    (root / "shop" / "queries.jsonl").write_text('{"_id": "q1", "text": "which kettle boils"}\n')
    for split, rows in {"train": ["q1\td1\t1"], "test": qrels}.items():
        table = "\n".join(["query-id\tcorpus-id\tscore", *rows, ""])
        (root / "shop" / "qrels" / f"{split}.tsv").write_text(table)
    return ["dataset=beir", "dataset.path=shop", "dataset.on_error=fail"]


def duplicate_id(root: Path) -> list[str]:
    return beir_files(
        root, corpus=[{"_id": "d1", "text": "a"}, {"_id": "d1", "text": "b"}], qrels=["q1\td1\t1"]
    )


def qrel_to_a_missing_document(root: Path) -> list[str]:
    return beir_files(root, corpus=[{"_id": "d1", "text": "a"}], qrels=["q1\td9\t1"])


def too_few_documents(root: Path) -> list[str]:
    (root / "pairs.csv").write_text("query,positive\nhow to cap a deque,maxlen bounds it\n")
    return ["dataset=pairs", "dataset.path=pairs.csv"]


def path_that_does_not_exist(root: Path) -> list[str]:
    return ["dataset=folder", "dataset.path=nowhere"]


def model_that_is_not_there(root: Path) -> list[str]:
    return [*good_folder(root), "model=local", "model.path=nowhere/model"]


def model_that_only_the_hub_has(root: Path) -> list[str]:
    return [*good_folder(root), "model=bge_small"]


def good_folder(root: Path) -> list[str]:
    (root / "docs").mkdir()
    for number in range(30):
        text = f"The kettle number {number} boils water for tea and whistles when it is done."
        (root / "docs" / f"page{number}.md").write_text(f"# Page {number}\n\n{text}\n")
    return ["dataset=folder", "dataset.path=docs"]


CASES: dict[str, tuple[Make, list[str]]] = {
    "an empty folder": (empty_folder, ["docs"]),
    "no readable file": (nothing_readable, ["docs", ".md"]),
    "a binary file": (binary_file, ["page.md"]),
    "a broken line": (broken_jsonl, ["pairs.jsonl:2"]),
    "a pair without text": (pair_without_text, ["pairs.csv:3", "positive"]),
    "a missing column": (missing_column, ["Did you mean 'querry'"]),
    "a duplicate id": (duplicate_id, ["corpus.jsonl:2", "d1"]),
    "a qrel to a missing document": (qrel_to_a_missing_document, ["test.tsv:2", "d9"]),
    "too few documents": (too_few_documents, ["document"]),
    "a path that does not exist": (path_that_does_not_exist, ["nowhere"]),
    "a local model that is not there": (model_that_is_not_there, ["nowhere/model"]),
    "a hub model without the hub": (model_that_only_the_hub_has, ["BAAI/bge-small-en-v1.5", "model=minilm"]),
}


@pytest.mark.parametrize("case", CASES)
def test_bad_input_is_a_sentence_with_exit_code_2(case: str, run, tmp_path: Path) -> None:
    make, fragments = CASES[case]
    done = run("run", *TINY, *make(tmp_path), "tracker=none")
    assert done.code == 2, done.err
    sentence = done.err.strip().splitlines()[-1]
    assert "error: " in sentence
    assert [fragment for fragment in fragments if fragment not in sentence] == [], sentence
    assert "Traceback" not in done.err


def test_a_full_disk_is_a_sentence_and_the_next_run_goes_on(run, tmp_path: Path, monkeypatch) -> None:
    arguments = [*TINY, *good_folder(tmp_path), "tracker=none"]
    with monkeypatch.context() as patch:

        def full(_: int) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        patch.setattr(files.os, "fsync", full)
        done = run("synthesize", *arguments)
    assert done.code == 2
    assert "No space left on the disk" in done.err
    assert run("synthesize", *arguments).code == 0


def test_our_own_faults_end_with_exit_code_1(run, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("embexp.pipeline.run.write_pairs", None)
    done = run("synthesize", *TINY, *good_folder(tmp_path), "tracker=none", "hydra.run.dir=X")
    assert done.code == 1
    assert "An internal error in embexp" in done.err
    assert "Traceback" not in done.err
    assert "'NoneType' object is not callable" in (tmp_path / "X" / "run.log").read_text()


def test_an_interrupted_run_says_so_and_the_same_command_goes_on(kb: Path, tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "embexp.run",
        "dataset=folder",
        f"dataset.path={kb}",
        "tracker=none",
        "hydra.run.dir=X",
        *TINY,
        "trainer.epochs=12",
        "trainer.evaluations=12",
    ]
    first = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 1800
    seen: set[str] = set()
    while len(seen) < 2 and time.monotonic() < deadline:  # the second begins when the first is whole
        seen |= {path.name for path in tmp_path.rglob("checkpoint-*")}
        time.sleep(0.1)
    first.send_signal(signal.SIGINT)
    _, err = first.communicate(timeout=600)
    assert first.returncode == 2, err
    assert "Interrupted" in err
    assert "Traceback" not in err
    again = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=1800, check=False)
    assert again.returncode == 0, again.stderr
    assert json.loads((tmp_path / "X" / "outcome.json").read_text())["training"]["resumed_from"] > 0


def test_an_audit_that_leaves_nothing_to_train_on_is_an_error(run, tmp_path: Path) -> None:
    rows = [
        f"how does part number {number} of the kettle boil water,it boils water like all parts"
        for number in range(90)
    ]
    (tmp_path / "pairs.csv").write_text("\n".join(["query,positive", *rows]) + "\n")
    done = run("finetune", *TINY, "dataset=pairs", "dataset.path=pairs.csv", "tracker=none")
    assert done.code == 2
    assert "error: " in done.err
