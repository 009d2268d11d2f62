"""Documents alone: two stages, a model of two encoders, and a search that serves it with BM25."""

from __future__ import annotations

import json
from pathlib import Path

SMALL = ["model=tiny", "synthesis.target=300", "trainer.max_pairs=64", "tracker=none"]


def test_what_documents_alone_have_trained_is_searched(run, kb: Path, tmp_path: Path) -> None:
    given = [
        "experiment=label_free",
        "dataset=folder",
        f"dataset.path={kb}",
        "hydra.run.dir=X",
        *SMALL,
        "retriever.words=6",
    ]
    done = run("run", *given)
    assert done.code == 0, done.err
    assert (tmp_path / "X" / "model" / "router_config.json").is_file()
    served = json.loads((tmp_path / "X" / "outcome.json").read_text(encoding="utf-8"))["retriever"]
    assert served["adaptive"] is (served["weight"] > 0)
    assert (served["part_words"], served["part_share"]) == (6, 0.5)
    assert "; parts of passages change ndcg@10 by " in served["reason"]
    assert (tmp_path / "X" / "index" / "parts" / "chroma.sqlite3").is_file()

    found = run("search", "How are logs rotated?", "--run", "X")

    assert found.code == 0, found.err
    assert "Served: " in found.out
    assert "parts of passages" in found.out

    found = run("export", "--run", "X", "format=onnx")
    assert found.code == 0, found.err
    assert (tmp_path / "X" / "export" / "onnx" / "query" / "model.onnx").is_file()

    # The same model from its folder, as another run's untuned one.
    again = ["dataset=folder", f"dataset.path={kb}", "model=local", f"model.path={tmp_path}/X/model"]
    done = run("benchmark", *again, *SMALL[3:], "retriever=exact", "hydra.run.dir=again")
    assert done.code == 0, done.err
