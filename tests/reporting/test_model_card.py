from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from embexp.reporting.model_card import write_model_card
from embexp.reporting.outcome import Outcome


def test_the_card_tells_verdict_scores_and_configuration(outcome: Outcome, tmp_path: Path) -> None:
    card = write_model_card(tmp_path, outcome, config="seed: 0\n").read_text(encoding="utf-8")
    assert card.startswith("---\nlibrary_name: sentence-transformers")
    assert "WIN: the tuned model finds more" in card
    assert "seed: 0" in card
    assert "pairs for training" in card
    for system, values in outcome.scores.items():
        row = next(line for line in card.splitlines() if line.startswith(f"| {system} |"))
        assert row.count("|") == len(values) + 2
    head = next(line for line in card.splitlines() if line.startswith("| system |"))
    assert card.splitlines()[card.splitlines().index(head) + 1].startswith("|---|")


def test_the_card_says_which_weights_it_holds(outcome: Outcome, tmp_path: Path) -> None:
    training = replace(
        outcome.training,
        delivered="merged 0.5",
        candidates={"untuned": 0.25, "tuned": 0.5, "merged 0.5": 0.75},
    )
    card = write_model_card(tmp_path, replace(outcome, training=training)).read_text(encoding="utf-8")
    assert "This folder holds the merged 0.5 weights; dev scores" in card
    assert "untuned 0.250, tuned 0.500, merged 0.5 0.750." in card
