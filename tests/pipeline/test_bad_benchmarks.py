"""Benchmarks that cannot be scored end with one sentence; what is only empty is scored as such."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.pipeline.corpora import write_beir
from tests.pipeline.pipeline_settings import TINY


def beir_set(root: Path, *, documents: int, grades: list[int]) -> list[str]:
    """A set whose question n asks for document n with the n-th grade."""
    corpus = [{"_id": f"d{n}", "text": f"the kettle number {n} boils water"} for n in range(documents)]
    queries = [{"_id": f"q{n}", "text": f"which kettle is number {n}"} for n in range(len(grades))]
    judged = [f"q{n}\td{n}\t{grade}" for n, grade in enumerate(grades)]
    write_beir(root / "shop", corpus=corpus, queries=queries, test=judged)
    return ["dataset=beir", "dataset.path=shop", "dataset.train=none", "tracker=none", *TINY]


@pytest.mark.parametrize(
    ("documents", "grades", "sentence"),
    [
        (1, [1], "1 document"),
        (5, [0, 0], "relevant"),
    ],
    ids=["a corpus of one document", "no question has a judgment"],
)
def test_a_set_that_cannot_be_scored_is_one_sentence(
    run, tmp_path: Path, documents: int, grades: list[int], sentence: str
) -> None:
    done = run("benchmark", *beir_set(tmp_path, documents=documents, grades=grades))
    assert done.code == 2, done.err
    last = done.err.strip().splitlines()[-1]
    assert "error: " in last
    assert sentence in last
    assert "Traceback" not in done.err


def test_questions_without_a_relevant_document_are_left_out(run, tmp_path: Path) -> None:
    done = run("benchmark", *beir_set(tmp_path, documents=5, grades=[1, 0, 1]), "hydra.run.dir=X")
    assert done.code == 0, done.err
    assert len((tmp_path / "X" / "queries.jsonl").read_text().splitlines()) == 2


def test_a_model_whose_embeddings_are_not_numbers_is_named(run, tmp_path: Path) -> None:
    from embexp.models.tiny import TinyModel

    model = TinyModel().load()
    for weights in model.parameters():
        weights.data.fill_(float("nan"))
    model.save(str(tmp_path / "broken"))
    done = run(
        "benchmark",
        *beir_set(tmp_path, documents=5, grades=[1, 1]),
        "model@tuned=local",
        "tuned.path=broken",
    )
    assert done.code == 2, done.err
    last = done.err.strip().splitlines()[-1]
    assert "error: " in last
    assert "NaN" in last or "finite" in last
    assert "Traceback" not in done.err


def test_smaller_vectors_are_systems_of_their_own(run, tmp_path: Path) -> None:
    data = beir_set(tmp_path, documents=12, grades=[1] * 12)
    done = run("benchmark", *data, 'benchmark.systems=[int8,binary,"dimensions=16"]', "hydra.run.dir=X")
    assert done.code == 0, done.err
    scores = json.loads((tmp_path / "X" / "outcome.json").read_text())["scores"]
    assert {"untuned int8", "untuned binary", "untuned dimensions=16"} <= scores.keys()
    wrong = run("benchmark", *data, "benchmark.systems=[int4]")
    assert wrong.code == 2
    assert "benchmark.systems names 'int4'" in wrong.err


BROKEN = ["q0\td0\tgood", "q1\td1", "q2\tgone\t1", "lost\td2\t1", "q3\td3\t1"]


def broken_qrels(root: Path) -> list[str]:
    """A set of which only the last judgment can be used: a word for a grade, a lost column, missing ids."""
    data = beir_set(root, documents=5, grades=[1, 1, 1, 1])
    rows = "\n".join(["query-id\tcorpus-id\tscore", *BROKEN, ""])
    (root / "shop" / "qrels" / "test.tsv").write_text(rows)
    return data


def test_broken_qrels_are_counted_and_the_rest_is_scored(run, tmp_path: Path) -> None:
    done = run("benchmark", *broken_qrels(tmp_path), "hydra.run.dir=X")
    assert done.code == 0, done.err
    assert len((tmp_path / "X" / "queries.jsonl").read_text().splitlines()) == 1
    said = " ".join(done.err.split())
    for place in ("test.tsv:2: grade 'good'", "test.tsv:3: 2 columns", "test.tsv:4: document 'gone'"):
        assert place in said
    assert "test.tsv:5: query 'lost'" in said


def test_broken_qrels_end_the_run_where_that_is_asked_for(run, tmp_path: Path) -> None:
    done = run("benchmark", *broken_qrels(tmp_path), "dataset.on_error=fail")
    assert done.code == 2
    last = " ".join(done.err.split())
    assert "test.tsv:2: grade 'good' is not a whole number up to 1,000; write 0, 1, 2 and so on." in last
    assert "Traceback" not in done.err


def test_a_question_that_finds_nothing_scores_zero_and_counts(run, tmp_path: Path) -> None:
    data = beir_set(tmp_path, documents=5, grades=[1, 1])
    queries = [{"_id": "q0", "text": "zzz qqq"}, {"_id": "q1", "text": "which kettle is number 1"}]
    (tmp_path / "shop" / "queries.jsonl").write_text("".join(json.dumps(row) + "\n" for row in queries))
    done = run("benchmark", *data, "hydra.run.dir=X")
    assert done.code == 0, done.err
    scores = json.loads((tmp_path / "X" / "outcome.json").read_text())["scores"]
    # Two questions count. BM25 finds no passage with a word of the first, and the second's at once.
    assert scores["bm25"]["recall@100"] == 0.5
    assert scores["bm25"]["accuracy@1"] == 0.5
    assert scores["hybrid"]["recall@100"] == 1.0  # what the model finds stays in
