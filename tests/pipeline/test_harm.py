"""A fine-tune that does harm is called so, with what to do, and is no error."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from tests.pipeline.pipeline_settings import TINY

TRAINED = ["trainer.epochs=4", "trainer.learning_rate=3e-3", "trainer.evaluations=1", "tracker=none", *TINY]


@pytest.fixture
def shuffled(beir: Path, tmp_path: Path) -> Path:
    """The same set, whose training questions are judged on documents of other questions."""
    folder = tmp_path / "shuffled"
    (folder / "qrels").mkdir(parents=True)
    for name in ("corpus.jsonl", "queries.jsonl", "qrels/test.tsv"):
        (folder / name).write_bytes((beir / name).read_bytes())
    header, *rows = (beir / "qrels/train.tsv").read_text().splitlines()
    asked = [row.split("\t")[0] for row in rows]
    documents = [row.split("\t")[1] for row in rows]
    random.Random(1).shuffle(documents)
    wrong = [f"{query}\t{document}\t1" for query, document in zip(asked, documents, strict=True)]
    (folder / "qrels/train.tsv").write_text("\n".join([header, *wrong]) + "\n")
    return folder


def test_shuffled_positives_end_in_a_regression_and_a_plain_sentence(
    run, beir: Path, shuffled: Path, tmp_path: Path
) -> None:
    base = run("finetune", "dataset=beir", f"dataset.path={beir}", "hydra.run.dir=base", *TRAINED)
    assert base.code == 0, base.err
    done = run(
        "run",
        "dataset=beir",
        f"dataset.path={shuffled}",
        "hydra.run.dir=X",
        *TRAINED,
        "model=local",
        "model.path=base/model",
        "trainer.select=tuned",
        "split.max_test=null",
    )
    assert done.code == 0, done.err
    outcome = json.loads((tmp_path / "X/outcome.json").read_text())
    assert outcome["comparison"]["verdict"] == "REGRESSION"
    assert outcome["comparison"]["interval"][1] < 0
    assert outcome["training"]["selected"] == "tuned"
    told = " ".join(done.out.split())
    assert "REGRESSION: retrieval got worse" in told
    assert "keep the untuned model: training made retrieval worse" in told.lower()
    assert "passages that do not answer their query" in told
    report = (tmp_path / "X/report.md").read_text()
    assert report.startswith("# REGRESSION: retrieval got worse")
