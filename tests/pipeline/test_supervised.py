"""Tables of two texts and a judgment, from the file to a tuned model: scores, classes in words, a teacher."""

from __future__ import annotations

import csv
import json
import random
from pathlib import Path

import pytest

from tests.pipeline.pipeline_settings import TINY

FEW = [
    *TINY,
    "trainer.batch_size=32",
    "trainer.epochs=8",
    "trainer.learning_rate=5e-3",
    "trainer.dropout=0",
    "hydra.run.dir=X",
    "tracker=none",
]
STARTS, ENDS = ("ba", "de", "fi", "go", "hu", "ki"), ("to", "li", "po", "ru", "mb")
QUICK = [*FEW, "trainer.epochs=1", "trainer.evaluations=0"]
WORDS = [start + end for start in STARTS for end in ENDS]


def write_table(path: Path, header: str, judgments: tuple[object, object, object]) -> None:
    """Write three rows for each of 80 passages: its own question, one that shares a word, and another one.

    A passage says the two words of its question in jargon, the same letters the other way round.
    """
    draw = random.Random(5)
    with path.open("w", newline="", encoding="utf-8") as stream:
        rows = csv.writer(stream)
        rows.writerow(header.split(","))
        for _ in range(80):
            one, other, third, fourth = draw.sample(WORDS, 4)
            passage = f"{one[::-1]} {other[::-1]}"
            for asked, judgment in zip(
                (f"{one} {other}", f"{one} {third}", f"{fourth} {third}"), judgments, strict=True
            ):
                rows.writerow((asked, passage, judgment))


def trained(folder: Path) -> dict:
    return json.loads((folder / "X" / "outcome.json").read_text(encoding="utf-8"))


def test_a_csv_of_two_texts_and_a_score_ends_in_a_verdict(run, tmp_path: Path) -> None:
    write_table(tmp_path / "scored.csv", "text_a,text_b,score", (1.0, 0.4, 0.0))
    done = run("run", "dataset=pairs", "dataset.path=scored.csv", "loss=cosent", *FEW)
    assert done.code == 0, done.err
    assert "reading text_a as the query, text_b as the passage and score as the label" in done.err
    outcome = trained(tmp_path)
    assert outcome["loss"] == "cosent"
    # Every judgment of the training split is a row.
    assert outcome["training"]["pairs"] == outcome["counts"]["pairs"]["train"] > 60
    assert outcome["training"]["best_step"] > 0
    assert outcome["scores"]["tuned"]["ndcg@10"] > outcome["scores"]["untuned"]["ndcg@10"]


def test_the_columns_can_be_named_and_give_the_same(run, tmp_path: Path) -> None:
    write_table(tmp_path / "scored.csv", "text_a,text_b,score", (1.0, 0.4, 0.0))
    write_table(tmp_path / "named.csv", "left,right,grade", (1.0, 0.4, 0.0))
    ends = []
    for arguments in (
        ["dataset.path=scored.csv"],
        [
            "dataset.path=named.csv",
            "dataset.query_column=left",
            "dataset.positive_column=right",
            "dataset.label_column=grade",
        ],
    ):
        done = run("finetune", "dataset=pairs", *arguments, "loss=cosine", *QUICK)
        assert done.code == 0, done.err
        ends.append((tmp_path / "X" / "model" / "model.safetensors").read_bytes())
    assert ends[0] == ends[1]


def test_a_csv_with_classes_in_words_trains_a_classifier(run, tmp_path: Path) -> None:
    write_table(tmp_path / "nli.csv", "premise,hypothesis,label", ("entailment", "neutral", "contradiction"))
    done = run("run", "dataset=pairs", "dataset.path=nli.csv", "loss=softmax", *QUICK)
    assert done.code == 0, done.err
    assert "labels in words are read as contradiction -1, entailment 1, neutral 0" in done.err
    assert "Classes of the training rows: label -1 (" in done.err
    assert trained(tmp_path)["training"]["pairs"] == trained(tmp_path)["counts"]["pairs"]["train"]


@pytest.mark.parametrize("loss", ["margin_mse", "distill_kl"])
def test_judged_passages_of_a_query_stand_in_for_a_teacher(run, tmp_path: Path, loss: str) -> None:
    lines = ["query,positive,label"]
    for number in range(60):
        one, other = WORDS[number % 30], WORDS[(7 * number + 1) % 30]
        lines += [
            f"{one} of {other} {number},{one[::-1]} {other[::-1]} {number},3",
            f"{one} of {other} {number},{one[::-1]} nothing {number},1",
        ]
    (tmp_path / "graded.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    arguments = ["dataset=pairs", "dataset.path=graded.csv", f"loss={loss}", "teacher@loss.teacher=labels"]
    done = run("finetune", *arguments, *QUICK)
    assert done.code == 0, done.err
    assert "with the columns anchor, positive, negative_1, scores" in done.err


def test_a_second_trial_asks_its_teacher_nothing(run, tmp_path: Path, monkeypatch) -> None:
    from embexp.models.encoder import ModelEmbedder

    write_table(tmp_path / "scored.csv", "text_a,text_b,score", (1.0, 0.4, 0.0))
    encoded: list[int] = []
    original = ModelEmbedder._encode

    def counting(self, texts, encode, label):
        if label.startswith("Encoding"):
            encoded.append(len(texts))
        return original(self, texts, encode, label)

    monkeypatch.setattr(ModelEmbedder, "_encode", counting)
    arguments = [
        "dataset=pairs",
        "dataset.path=scored.csv",
        "loss=embed_distill",
        "model@loss.teacher.model=tiny",
        "loss.teacher.model.dimension=32",
        *QUICK,
    ]
    assert run("finetune", *arguments).code == 0
    first = sum(encoded)
    assert first > 0
    done = run("finetune", *arguments, "trainer.weight_decay=0.02")
    assert done.code == 0, done.err
    assert "Training rows" in done.err  # it did train again
    assert sum(encoded) == first


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["loss=softmax"], "loss=softmax reads classes, and the training pairs have scores such as 0.4"),
        (["loss=embed_distill", "teacher@loss.teacher=labels"], "Labels gives scores only"),
        (["loss=margin_mse", "loss.teacher.model=nowhere"], "teacher.model=nowhere: there is no such folder"),
        (["loss=distill_kl", "loss.teacher=null"], "learns from a teacher, and loss.teacher is not set"),
        (["loss=matryoshka", "loss@loss.loss=softmax"], "Softmax has weights for one length only"),
    ],
)
def test_what_cannot_be_built_is_said_in_one_sentence(run, tmp_path, arguments, sentence) -> None:
    write_table(tmp_path / "scored.csv", "text_a,text_b,score", (1.0, 0.4, 0.0))
    done = run("finetune", "dataset=pairs", "dataset.path=scored.csv", *arguments, *QUICK)
    assert done.code == 2
    assert sentence in done.err.strip().splitlines()[-1]
    assert "Traceback" not in done.err


def test_a_missing_teacher_is_found_before_any_pair_is_read(run, tmp_path: Path) -> None:
    write_table(tmp_path / "scored.csv", "text_a,text_b,score", (1.0, 0.4, 0.0))
    teacher = ["teacher@trainer.cross_encoder=cross_encoder", "trainer.cross_encoder.model=./nowhere"]
    done = run("run", "dataset=pairs", "dataset.path=scored.csv", *teacher, *FEW)
    assert done.code == 2
    assert "teacher.model=./nowhere: there is no such folder" in done.err
    assert "text_a" not in done.err
