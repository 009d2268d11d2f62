from __future__ import annotations

import io
import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from embexp.benchmarking.statistics.comparison import Comparison
from embexp.data.leaks import Leaks
from embexp.data.records import Chunk
from embexp.finetuning.training import Training, TrainingStep
from embexp.reporting.console import (
    _move,
    print_outcome,
    print_side_by_side,
    print_synthesis,
    print_training,
)
from embexp.reporting.outcome import Outcome


def test_plain_output_has_table_verdict_paths_and_no_colour_codes(
    outcome: Outcome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "outputs" / "2026-01-01"
    print_outcome(outcome, folder=folder)
    printed = capsys.readouterr().out
    lines = [" ".join(line.split()) for line in printed.splitlines()]
    assert "system ndcg@10 recall@10" in lines
    assert "tuned 0.750 0.900" in lines
    assert "bm25 0.250 –" in lines
    assert any(line.startswith("WIN: retrieval improved, ndcg@10 0.500 → 0.750") for line in lines)
    assert "Report outputs/2026-01-01/report.html" in lines
    assert "Model /runs/1/model" in lines
    assert "MLflow run 4f1c of experiment embexp: mlflow ui" in lines
    assert 'Try it python -m embexp.search "your question" --run latest' in lines
    assert "\x1b" not in printed


def test_the_retriever_has_a_second_verdict_below_the_model_s(
    served: Outcome, capsys: pytest.CaptureFixture[str]
) -> None:
    print_outcome(served, folder=Path("/x"))
    lines = capsys.readouterr().out.splitlines()
    starts = ("WIN:", "Retriever:")
    model, retriever = (
        next(at for at, line in enumerate(lines) if line.startswith(start)) for start in starts
    )
    assert model < retriever
    assert lines[retriever].endswith(": WIN")
    assert "retriever=hybrid retriever.weight=0.4" in lines[retriever + 1]
    assert lines[retriever + 2].startswith("  Reason: within one standard error")
    assert sum("retriever=hybrid" in line for line in lines) == 1


@pytest.mark.parametrize(("verdict", "colour"), [("WIN", "32"), ("NO EVIDENCE", "33"), ("REGRESSION", "31")])
def test_the_retriever_s_verdict_has_its_own_colour(served: Outcome, verdict: str, colour: str) -> None:
    assert served.retriever
    comparison = replace(served.retriever.comparison, verdict=verdict)
    other = served.model_copy(update={"retriever": replace(served.retriever, comparison=comparison)})
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=True, width=120, color_system="standard", highlight=False)
    print_outcome(other, folder=Path("/x"), console=console)
    assert f"): \x1b[1;{colour}m{verdict}\x1b" in stream.getvalue()


def test_a_folder_elsewhere_is_named_in_the_next_command(
    outcome: Outcome, capsys: pytest.CaptureFixture[str]
) -> None:
    print_outcome(outcome.model_copy(update={"mlflow": {}}), folder=Path("/elsewhere/mine"))
    printed = capsys.readouterr().out
    assert "--run /elsewhere/mine" in printed
    assert "MLflow" not in printed


def test_a_run_without_systems_or_model_still_ends_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    bare = Outcome(
        dataset="kb",
        model="minilm",
        loss="mnrl",
        seed=0,
        counts={},
        scores={},
        comparison=None,
        leaks=Leaks(),
        training=None,
        seconds={},
        mlflow={},
        model_dir="",
    )
    print_outcome(bare, folder=Path("/x"))
    printed = capsys.readouterr().out
    assert "No verdict: there is no tuned model to compare." in printed
    assert "Model" not in printed
    assert "Try it" not in printed


def test_the_best_value_is_bold_and_the_verdict_coloured(outcome: Outcome) -> None:
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=True, width=120, color_system="standard", highlight=False)
    print_outcome(outcome, folder=Path("/x"), console=console)
    assert re.search(r"\x1b\[1m *0\.750", stream.getvalue())
    assert not re.search(r"\x1b\[1m *0\.500", stream.getvalue())
    assert "\x1b[1;32mWIN" in stream.getvalue()


def test_a_narrow_terminal_sees_the_first_metrics_only(outcome: Outcome) -> None:
    metrics = dict.fromkeys(("accuracy@1", "accuracy@3", "precision@10", "recall@10", "f1@10"), 0.5)
    stream = io.StringIO()
    wide = outcome.model_copy(
        update={"scores": {"untuned": {**metrics, "ndcg@10": 0.1}, "tuned": {"ndcg@10": 0.2}}}
    )
    print_outcome(wide, folder=Path("/x"), console=Console(file=stream, width=80))
    head = next(line for line in stream.getvalue().splitlines() if "system" in line)
    assert head.split() == ["system", "ndcg@10", "accuracy@1", "precision@10", "recall@10"]


@pytest.mark.parametrize(("width", "metrics_shown"), [(80, 4), (120, 5)])
def test_without_a_tuned_model_the_metric_that_was_asked_for_comes_first(
    served: Outcome, width: int, metrics_shown: int
) -> None:
    assert served.retriever
    metrics = dict.fromkeys(("accuracy@1", "accuracy@5", "recall@10", "ndcg@10", "map@100", "ndcg@5"), 0.5)
    comparison = replace(served.retriever.comparison, metric="ndcg@5")
    retriever = replace(served.retriever, model="untuned", comparison=comparison, scores=metrics)
    asked = served.model_copy(
        update={"comparison": None, "training": None, "scores": {"untuned": metrics}, "retriever": retriever}
    )
    stream = io.StringIO()
    print_outcome(asked, folder=Path("/x"), console=Console(file=stream, width=width))
    head = next(line for line in stream.getvalue().splitlines() if "system" in line)
    columns = ["ndcg@5", "accuracy@1", "recall@10", "ndcg@10", "map@100"]
    assert head.split() == ["system", *columns[:metrics_shown]]


def test_text_from_the_data_is_no_markup(outcome: Outcome, capsys: pytest.CaptureFixture[str]) -> None:
    odd = outcome.model_copy(update={"scores": {"[red]": {"ndcg@10": 1.0}}, "comparison": None})
    print_outcome(odd, folder=Path("/x"))
    assert "[red]" in capsys.readouterr().out


def test_a_terminal_without_unicode_does_not_crash_the_end_of_a_run(
    outcome: Outcome, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii"))
    print_outcome(outcome, folder=Path("/x"))
    sys.stdout.flush()
    assert b"0.500 ? 0.750" in raw.getvalue()


@pytest.mark.parametrize(
    ("before", "now", "expected"), [(None, 1, "new"), (2, 2, "="), (4, 1, "↑3"), (1, 3, "↓2")]
)
def test_moves(before: int | None, now: int, expected: str) -> None:
    assert _move(before, now) == expected


def test_two_rankings_stand_side_by_side(capsys: pytest.CaptureFixture[str]) -> None:
    first, second, third = (
        Chunk("a", "d1", "alpha\n\ntext", title="First"),
        Chunk("b", "d2", "beta"),
        Chunk("c", "d3", "x " * 200, title="[bold]Third"),
    )
    print_side_by_side("how [b]?", [first, second], [second, third, first])
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert "“how [b]?”" in lines
    assert "1 First ↑1 d2" in lines
    assert "alpha text beta" in lines
    assert "2 d2 new [bold]Third" in lines
    assert "3 ↓2 First" in lines
    assert any(line.endswith("…") for line in lines)


def test_the_retriever_to_serve_is_a_third_column_with_moves_of_its_own(
    capsys: pytest.CaptureFixture[str],
) -> None:
    first, second, third = (Chunk(name, f"d{name}", f"text {name}") for name in "abc")
    print_side_by_side("q", [first, second], [second], retriever=[third, second, first], note="Served: it.")
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert "# untuned move tuned move retriever" in lines
    assert "1 da ↑1 db new dc" in lines
    assert "2 db = db" in lines
    assert "3 ↓2 da" in lines
    assert "Served: it." in lines


def test_nothing_found_is_an_empty_table(capsys: pytest.CaptureFixture[str]) -> None:
    print_side_by_side("anything", [], [])
    assert "untuned" in capsys.readouterr().out


def test_a_verdict_without_evidence_is_yellow(outcome: Outcome) -> None:
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=True, width=120, color_system="standard", highlight=False)
    none = Comparison("ndcg@10", 0.0, (-0.1, 0.1), 1.0, 4, 4, "NO EVIDENCE")
    print_outcome(outcome.model_copy(update={"comparison": none}), folder=Path("/x"), console=console)
    assert "\x1b[1;33mNO EVIDENCE" in stream.getvalue()


@pytest.mark.parametrize(
    ("changes", "end"),
    [
        ({}, "in 9 s (8.0 pairs/s), dev ndcg@10 0.500 → 0.600, best at step 4."),
        ({"selected": "tuned"}, "dev ndcg@10 0.500 → 0.600, best at step 4."),
        ({"selected": "tuned", "best_step": 8}, "dev ndcg@10 0.500 → 0.450, best at step 8."),
        (
            {"selected": "untuned", "best_step": 0},
            "dev ndcg@10 0.500 → 0.500: the untuned weights were kept.",
        ),
        ({"selected": "merged 0.5"}, "dev ndcg@10 0.500 → 0.550, best at step 4, merged 0.5 selected."),
        ({"history": ()}, "no dev questions to score."),
        (
            {"resumed_from": 4},
            "in 9 s since it was resumed at step 4 (8.0 pairs/s), dev ndcg@10 0.500 → 0.600,",
        ),
    ],
)
def test_the_end_of_a_training_shows_the_score_of_the_selected_weights(
    changes: dict[str, Any], end: str, capsys: pytest.CaptureFixture[str]
) -> None:
    scores = {0: 0.5, 4: 0.6, 8: 0.45}
    history = [TrainingStep(step, {"dev_ndcg@10": score}) for step, score in scores.items()]
    history += [
        TrainingStep(8, {"merge_weight": weight, "merged_ndcg@10": score})
        for weight, score in ((0.25, 0.7), (0.5, 0.55))
    ]
    training = Training(72, 8, 9.0, 8.0, best_step=4, history=tuple(history))
    print_training(replace(training, **changes), metric="ndcg@10", folder=Path("/x"), again="dataset=kb")
    first, model, _ = capsys.readouterr().out.splitlines()
    assert first.startswith("Trained on 72 pairs in 9 s")
    assert end in first
    assert model == "Model     /x/model (loads with SentenceTransformer)"


def test_a_synthesis_names_the_requests_that_were_never_answered(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    usage = {
        "prompt_tokens": 900,
        "completion_tokens": 100,
        "usd": 0.5,
        "unanswered": 3,
        "unanswered_usd": 0.25,
    }
    summary = {"accepted": 60, "documents": 20, "requests": 28, "usage": usage}
    print_synthesis(summary, folder=tmp_path)
    out = capfd.readouterr().out
    assert "Cost      28 requests, 1,000 tokens, 0.50 US$ (recorded answers included)" in out
    assert "Lost      3 requests whose answers never arrived: up to 0.25 US$ more" in out
    print_synthesis({**summary, "usage": {**usage, "unanswered": 0}}, folder=tmp_path)
    assert "Lost" not in capfd.readouterr().out
