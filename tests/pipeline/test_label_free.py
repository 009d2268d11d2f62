"""Documents alone: two stages, a model of two encoders, and a search that serves it with BM25."""

from __future__ import annotations

import json
from pathlib import Path

from tests.pipeline.corpora import write_beir

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


def test_loanwords_are_asked_on_dev_and_found(run, tmp_path: Path) -> None:
    parts = ["protocol", "server", "client", "terminal", "monitor", "printer", "scanner", "processor"]
    documents = [
        {"_id": str(at), "title": f"The {part}", "text": f"Restart the {part} {at}. Each {part} has a cable."}
        for at, part in enumerate(parts * 5)
    ]
    questions = ["клиент терминала", "протокол сервера", "сканер и принтер"]
    asked = [{"_id": f"q{at}", "text": text} for at, text in enumerate(questions)]
    judged = [f"q{at}\t{at}\t1" for at in range(len(questions))]
    folder = write_beir(tmp_path / "beir", corpus=documents, queries=asked, test=judged)

    given = ["dataset=beir", f"dataset.path={folder}", "dataset.train=synthetic", "synthesis=extractive"]
    done = run("run", "experiment=label_free", *given, *SMALL, "hydra.run.dir=X")

    assert done.code == 0, done.err
    assert done.err.count("Dev questions are spelled phonetically") == 1
    training = json.loads((tmp_path / "X" / "outcome.json").read_text(encoding="utf-8"))["training"]
    assert training["transliterated"] == "CYRILLIC"
    assert training["new_tokens"] > 0
    assert "added for phonetic spellings of the documents' words" in (tmp_path / "X" / "report.md").read_text(
        encoding="utf-8"
    )

    found = run("search", "протокол", "--run", "X")
    assert found.code == 0, found.err
