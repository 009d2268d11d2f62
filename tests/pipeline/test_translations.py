"""Questions in words that no passage has: BM25 learns from the training pairs what they stand for."""

from __future__ import annotations

import json
import random
from pathlib import Path

SETTINGS = ["dataset=beir", "model=tiny", "tracker=none", "retriever=exact", "split.max_dev=60"]
WORDS = [a + b + c for a in "bdk" for b in ("ana", "olu", "emi") for c in ("s", "t", "p", "r")]


def foreign(word: str) -> str:
    """Another word for each word."""
    return "q" + word[::-1]


def beir(folder: Path) -> Path:
    """Passages of six words, and questions that ask for three of them by their foreign names."""
    draw = random.Random(0)
    passages = {f"d{n}": draw.sample(WORDS, 6) for n in range(150)}
    queries: dict[str, tuple[str, str]] = {}
    for document, words in passages.items():
        for at in range(4):
            asked = " ".join(foreign(word) for word in draw.sample(words, 3))
            queries[f"{document}-{at}"] = (asked, document)
    (folder / "qrels").mkdir(parents=True)
    rows = [{"_id": id, "title": "", "text": " ".join(words)} for id, words in passages.items()]
    (folder / "corpus.jsonl").write_text("\n".join(map(json.dumps, rows)))
    rows = [{"_id": id, "text": text} for id, (text, _) in queries.items()]
    (folder / "queries.jsonl").write_text("\n".join(map(json.dumps, rows)))
    for split, ends in (("train", "012"), ("test", "3")):
        lines = [f"{id}\t{document}\t1" for id, (_, document) in queries.items() if id[-1] in ends]
        (folder / "qrels" / f"{split}.tsv").write_text("query-id\tcorpus-id\tscore\n" + "\n".join(lines))
    return folder


def test_a_retriever_with_word_translations_is_chosen_served_and_told(run, tmp_path: Path) -> None:
    data = f"dataset.path={beir(tmp_path / 'set')}"
    done = run("run", *SETTINGS, data, "trainer=default", "trainer.max_pairs=32", "hydra.run.dir=X")
    assert done.code == 0, done.err

    outcome = json.loads((tmp_path / "X" / "outcome.json").read_text(encoding="utf-8"))
    served, scores = outcome["retriever"], outcome["scores"]
    assert served["translated"]
    assert served["scores"]["ndcg@10"] > max(scores["tuned"]["ndcg@10"], scores["bm25"]["ndcg@10"]) + 0.3
    options = f"retriever.weight={served['weight']:g} retriever.sparse.translations=translations.json"
    assert options in " ".join((tmp_path / "X" / "report.md").read_text(encoding="utf-8").split())
    assert "and word translations" in done.out

    passage = json.loads((tmp_path / "set" / "corpus.jsonl").read_text().splitlines()[0])["text"]
    found = run("search", " ".join(map(foreign, passage.split())), "--run", "X", "-k", "1")
    assert found.code == 0, found.err
    assert passage.split()[0] in found.out

    # The file goes where the model goes.
    for folder, done in (
        ("E", run("export", "--run", "X", "format=onnx", "--to", "E")),
        ("P", run("publish", "--run", "X", "publish.folder=P", "publish.force=true")),
    ):
        assert done.code == 0, done.err
        file = tmp_path / folder / "translations.json"
        assert file.read_bytes() == (tmp_path / "X" / "translations.json").read_bytes()
    assert options in " ".join((tmp_path / "P" / "README.md").read_text(encoding="utf-8").split())
    assert options in run("export", "--run", "X", "format=onnx", "--to", "E").out

    # The same file for a run of one's own, and again from the cache.
    own = ["retriever=hybrid", "retriever.sparse.translations=X/translations.json", "hydra.run.dir=Y"]
    done = run("benchmark", *SETTINGS[:3], data, *own)
    assert done.code == 0, done.err

    (tmp_path / "X" / "translations.json").unlink()
    found = run("search", "anything", "--run", "X")
    assert (found.code, "no translations.json" in found.err) == (2, True)


def test_questions_made_of_the_passages_words_teach_no_translations(run, kb: Path, tmp_path: Path) -> None:
    given = ["dataset=folder", f"dataset.path={kb}", "synthesis.target=300", "trainer.max_pairs=32"]
    done = run("run", *given, "model=tiny", "tracker=none", "retriever=exact", "hydra.run.dir=X")

    assert done.code == 0, done.err
    served = json.loads((tmp_path / "X" / "outcome.json").read_text(encoding="utf-8"))["retriever"]
    assert not served["translated"]
    assert not (tmp_path / "X" / "translations.json").exists()
