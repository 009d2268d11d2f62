from __future__ import annotations

import ast
import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast, get_args

import pytest
from rich.console import Console

import embexp
from embexp.benchmarking.judging import Judging
from embexp.benchmarking.statistics.comparison import MIN_CLUSTERS, Comparison, Verdict
from embexp.benchmarking.systems import SystemCost
from embexp.benchmarking.thresholds import ScoreThreshold, ThresholdPoint
from embexp.data.leaks import Leaks
from embexp.data.truncation import Truncation
from embexp.finetuning.training import TrainingPlan
from embexp.reporting.console import print_outcome
from embexp.reporting.outcome import Outcome
from embexp.reporting.report import Report, write_report
from embexp.reporting.retriever import serving_note
from embexp.reporting.verdict import (
    VERDICTS,
    Wording,
    advice,
    evidence,
    facts,
    headline,
    in_plain_words,
    more_pairs,
)

Change = Callable[..., Outcome]


def test_the_verdict_is_one_sentence_with_all_its_numbers(outcome: Outcome) -> None:
    assert headline(outcome) == (
        "WIN: retrieval improved, ndcg@10 0.500 → 0.750, +0.250 "
        "(95% interval +0.050 … +0.450, 4 questions from 3 documents)."
    )


@pytest.mark.parametrize(
    ("name", "interval", "start"),
    [
        ("NO EVIDENCE", (-0.01, 0.03), "NO EVIDENCE: no clear change in retrieval, ndcg@10"),
        ("REGRESSION", (-0.05, -0.02), "REGRESSION: retrieval got worse, ndcg@10"),
    ],
)
def test_the_other_verdicts_have_their_own_words(
    verdict: Change, name: str, interval: tuple[float, float], start: str
) -> None:
    assert headline(verdict(name, interval)).startswith(start)


@pytest.mark.parametrize(
    ("before", "after", "name", "sentence"),
    [
        (
            0.288,
            0.3457,
            "WIN",
            "Of 100 questions, 29 had the right answer first before tuning, and 35 have it now.",
        ),
        (
            0.3,
            0.301,
            "NO EVIDENCE",
            "Of 100 questions, 30 have the right answer first, as many as before tuning.",
        ),
        (
            0.3,
            0.32,
            "NO EVIDENCE",
            "Of 100 questions, 30 had the right answer first before tuning, and 32 have it now; "
            "the difference may be chance.",
        ),
    ],
)
def test_a_manager_reads_how_many_of_100_questions_have_the_right_answer_first(
    verdict: Change, tmp_path: Path, before: float, after: float, name: str, sentence: str
) -> None:
    own = verdict(name, {"WIN": (0.01, 0.09), "NO EVIDENCE": (-0.01, 0.03)}[name])
    scores = {
        system: {**own.scores[system], "accuracy@1": value}
        for system, value in {"untuned": before, "tuned": after}.items()
    }
    own = own.model_copy(update={"scores": scores})
    assert in_plain_words(own) == sentence
    printed = io.StringIO()
    print_outcome(own, folder=tmp_path, console=Console(file=printed, width=200))
    html, markdown = write_report(tmp_path, Report(outcome=own, scores={}))
    assert all(sentence in text for text in (printed.getvalue(), html.read_text(), markdown.read_text()))


def test_without_accuracy_at_1_there_is_no_plain_sentence(verdict: Change) -> None:
    own = verdict("WIN", (0.01, 0.09))
    scores = {system: {"ndcg@10": 0.5} for system in own.scores}
    assert in_plain_words(own.model_copy(update={"scores": scores})) == ""


def test_without_a_tuned_model_there_is_no_verdict(outcome: Outcome) -> None:
    bare = outcome.model_copy(update={"comparison": None})
    assert headline(bare) == "No verdict: there is no tuned model to compare."
    assert evidence(bare) == ""
    assert "embexp.run" in advice(bare)[0]


def test_a_win_says_to_use_the_tuned_model(outcome: Outcome) -> None:
    assert advice(outcome) == ["Use the tuned model; read the biggest losses in the report first."]


def test_a_regression_says_to_keep_the_untuned_model_and_where_to_look(verdict: Change) -> None:
    first, second = advice(verdict("REGRESSION", (-0.05, -0.02)))
    assert first.startswith("Keep the untuned model")
    assert "data/train.jsonl" in second


def test_with_too_few_questions_the_advice_says_how_many_are_needed(verdict: Change) -> None:
    # Half the interval is 0.03; 80% power for 0.02 needs 0.02 × 0.7 = 0.014.
    # 120 × (0.03 / 0.014)² = 551; by Student's t 543, rounded up to two digits: 550.
    points = " ".join(advice(verdict("NO EVIDENCE", (-0.025, 0.035), queries=120)))
    assert "120 test questions cannot tell differences below about 0.030 from chance" in points
    assert "takes about 550" in points


def test_a_narrow_interval_around_zero_says_that_more_questions_will_not_help(verdict: Change) -> None:
    (points,) = advice(verdict("NO EVIDENCE", (-0.004, 0.009)))
    assert "below 0.009" in points
    assert "more test questions will not" in points


def test_an_interval_that_only_just_includes_zero_asks_for_a_few_more_questions(verdict: Change) -> None:
    (points,) = advice(verdict("NO EVIDENCE", (-0.001, 0.025)))
    assert "only just includes zero" in points


@pytest.mark.parametrize("clusters", [1, 9])
@pytest.mark.parametrize("interval", [(-0.004, 0.009), (-0.001, 0.025), (-0.2, 0.3), (0.01, 0.02)])
def test_a_few_documents_cannot_bound_a_difference(
    verdict: Change, interval: tuple[float, float], clusters: int
) -> None:
    outcome = verdict("NO EVIDENCE", interval)
    assert outcome.comparison
    few = replace(outcome.comparison, clusters=clusters)
    (point,) = advice(outcome.model_copy(update={"comparison": few}))
    assert point == (
        "Keep the untuned model for now: with fewer than 10 documents the test cannot tell, and these "
        f"questions come from {clusters}. Add documents."
    )


@pytest.mark.parametrize(
    ("alone", "loss", "advised"),
    [(True, "mnrl", True), (False, "mnrl", False), (True, "query_distill", False)],
)
@pytest.mark.parametrize("best_step", [0, 4])
def test_documents_alone_get_the_advice_to_train_in_two_stages(
    outcome: Outcome, alone: bool, loss: str, advised: bool, best_step: int
) -> None:
    assert outcome.training
    plan = TrainingPlan(
        epochs=1,
        learning_rate=5e-5,
        max_pairs=2300,
        merge=(0.5,),
        select="best",
        preferred_share=0.5,
        reason="so",
        documents_alone=alone,
    )
    training = replace(outcome.training, plan=plan, best_step=best_step)
    points = advice(outcome.model_copy(update={"training": training, "loss": loss}))
    assert any("experiment=label_free trains on it in two stages" in point for point in points) is advised


def test_a_few_documents_cannot_show_that_the_score_has_levelled_off(repeated: Outcome) -> None:
    assert repeated.learning_curve
    last = replace(
        repeated.learning_curve.last,
        verdict="NO EVIDENCE",
        interval=(-0.001, 0.001),
        clusters=MIN_CLUSTERS - 1,
    )
    text = more_pairs(replace(repeated.learning_curve, last=last))
    assert "cannot tell whether more pairs would help" in text


class TestAFourthVerdict:
    """A verdict that only the table knows is shown everywhere, and no other file lists verdicts."""

    @pytest.fixture
    def fourth(self, served: Outcome, monkeypatch: pytest.MonkeyPatch) -> Outcome:
        wording = Wording(
            result="retrieval did not change",
            on_general_set="it did not change there",
            advice=lambda _: ["Keep the untuned model: any difference is too small to matter."],
            doubt="On the test questions it is as good as the untuned model alone.",
            style="bold blue",
            tone="unsure",
        )
        monkeypatch.setitem(cast("dict[str, Wording]", VERDICTS), "EQUIVALENT", wording)
        assert served.comparison
        assert served.retriever
        same: Any = "EQUIVALENT"
        retriever = replace(served.retriever, comparison=replace(served.retriever.comparison, verdict=same))
        comparison = replace(served.comparison, verdict=same)
        return served.model_copy(update={"comparison": comparison, "retriever": retriever})

    def test_is_in_every_sentence(self, fourth: Outcome, tmp_path: Path) -> None:
        assert headline(fourth).startswith("EQUIVALENT: retrieval did not change, ndcg@10")
        assert "too small to matter" in advice(fourth)[0]
        assert fourth.retriever
        assert serving_note(fourth.retriever, in_last_column=False) == (
            "Served: the tuned model with BM25 at weight 0.4. "
            "On the test questions it is as good as the untuned model alone."
        )
        for path in write_report(tmp_path, Report(outcome=fourth, scores={})):
            assert "EQUIVALENT" in path.read_text(encoding="utf-8")
        stream = io.StringIO()
        print_outcome(fourth, folder=tmp_path, console=Console(file=stream, force_terminal=True, width=120))
        assert "\x1b[1;34mEQUIVALENT" in stream.getvalue()

    def test_needs_no_other_file(self) -> None:
        package = Path(embexp.__file__).parent
        decides = {
            "benchmarking/statistics/comparison.py",
            "reporting/verdict.py",
            "tracking/mlflow_registry.py",
        }
        named = {
            path.relative_to(package).as_posix()
            for path in package.rglob("*.py")
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            if isinstance(node, ast.Constant) and node.value in get_args(Verdict)
        }
        assert named == decides

    def test_has_words_for_each_of_the_rules_verdicts(self) -> None:
        assert set(VERDICTS) == set(get_args(Verdict))


@pytest.mark.parametrize(
    ("bm25", "hybrid", "expected"),
    [
        (0.7, 0.74, []),
        (0.8, 0.7, ["BM25, which needs no model"]),
        (0.7, 0.8, ["The tuned model combined with BM25"]),
        (0.8, 0.9, ["BM25, which needs no model", "The tuned model combined with BM25"]),
        (0.8, 0.78, ["BM25, which needs no model"]),
    ],
)
def test_a_better_system_than_the_tuned_model_is_named(
    outcome: Outcome, bm25: float, hybrid: float, expected: list[str]
) -> None:
    scores = {**outcome.scores, "bm25": {"ndcg@10": bm25}, "hybrid": {"ndcg@10": hybrid}}
    points = advice(outcome.model_copy(update={"scores": scores}))[1:]
    assert len(points) == len(expected)
    assert all(point.startswith(start) for point, start in zip(points, expected, strict=True))


def test_leaks_are_one_line(outcome: Outcome) -> None:
    assert facts(outcome.model_copy(update={"leaks": Leaks()}), ["leaks"]) == [
        "Leaks between splits: none found."
    ]
    assert facts(outcome.model_copy(update={"leaks": Leaks(2, 12, 1, 12, 1)}), ["leaks"]) == [
        "Leaks between splits: 2 shared documents, 12 near-duplicate passages, 1 near-duplicate question; "
        "13 pairs removed from train and dev."
    ]


def test_truncation_is_one_line_whether_or_not_something_is_cut(outcome: Outcome) -> None:
    whole = {"passages": Truncation(254, 50, 0, 900, 0, 0.0)}
    cut = {**whole, "queries": Truncation(250, 20, 2, 1000, 100, 1 / 6)}
    assert facts(outcome.model_copy(update={"truncation": whole}), ["truncation"]) == [
        "Truncation: The model reads all texts whole: 50 passages (up to 254 tokens)."
    ]
    (line,) = facts(outcome.model_copy(update={"truncation": cut}), ["truncation"])
    assert line.startswith(
        "Truncation: 2 of 20 queries are longer than the 250 tokens that the model reads: 17% of their "
        "tokens (10.0% of all) are lost. Ask shorter questions"
    )


@pytest.mark.parametrize(("refused", "weak"), [(0.5, False), (0.15, True)])
def test_a_threshold_that_tells_little_says_so(outcome: Outcome, refused: float, weak: bool) -> None:
    found = ScoreThreshold(
        "tuned",
        40,
        20,
        threshold=0.3,
        interval=(0.1, 0.5),
        at=ThresholdPoint(0.3, None, 1.0, refused),
        intervals={"answered": (1.0, 1.0), "refused": (0.0, 0.6)},
    )
    (line,) = facts(outcome.model_copy(update={"score_threshold": found}), ["score_threshold"])
    assert line.startswith("Score threshold: Below a cosine of 0.30 (95% interval 0.10 … 0.50)")
    assert (
        line.endswith("Scores tell little here: questions with an answer and without score much alike.")
        == weak
    )


def test_facts_are_left_out_where_there_are_none(outcome: Outcome) -> None:
    assert facts(outcome) == [
        "Leaks between splits: 12 near-duplicate passages, 1 near-duplicate question; "
        "13 pairs removed from train and dev.",
        "Training: 1,500 pairs, 24 steps in 86 s (17.4 pairs/s), best at step 4.",
        "Index: chroma returns 99.5% of the first 10 results of exact search.",
        "Taken from the cache: synthesize.",
    ]
    bare = outcome.model_copy(update={"training": None, "index": None, "cached": (), "leaks": Leaks()})
    assert facts(bare) == ["Leaks between splits: none found."]


def test_training_without_a_best_step_does_not_name_one(outcome: Outcome) -> None:
    assert outcome.training
    bare = outcome.model_copy(update={"training": replace(outcome.training, best_step=None)})
    assert facts(bare)[1].endswith("(17.4 pairs/s).")


@pytest.mark.parametrize(
    ("system", "score", "expected"),
    [
        (
            "bge_base",
            0.8,
            "bge_base, untuned, scores higher than the tuned model here (0.800): compare their costs.",
        ),
        ("bge_base", 0.75, None),  # no higher
        ("tuned int8", 0.8, None),  # no other model
        ("tuned reranked", 0.8, None),  # it has lines of its own
    ],
)
def test_a_further_system_that_scores_higher_is_named(
    outcome: Outcome, system: str, score: float, expected: str | None
) -> None:
    scores = {**outcome.scores, system: {"ndcg@10": score}}
    costs = {system: SystemCost(1.0, 0.012, 100)}
    points = advice(outcome.model_copy(update={"scores": scores, "systems": costs}))
    assert points[len(advice(outcome)) :] == ([expected] if expected else [])


def test_a_language_model_s_judgments_are_named(outcome: Outcome) -> None:
    judged = outcome.model_copy(
        update={"judging": Judging("gpt-oss", 120, unreadable=1, left_out=3, depth=10)}
    )
    assert (
        "Relevance was judged by gpt-oss, not by people: 120 passages, the first 10 of every system; lower "
        "ranks count as irrelevant. 1 passage got no readable grade. Left out: 3 questions without an answer."
    ) in facts(judged)


def test_a_run_without_repeats_says_nothing_of_them(outcome: Outcome) -> None:
    assert facts(outcome, ["seeds", "learning_curve"]) == []
    assert len(advice(outcome)) == 1


def test_seeds_are_shown_with_their_spread_and_verdicts(repeated: Outcome) -> None:
    assert facts(repeated, ["seeds"]) == [
        "Seeds: ndcg@10 0.725 on average over 2 training seeds (0.700 … 0.750, standard deviation 0.035), "
        "+0.225 against the untuned model (95% interval +0.020 … +0.430); verdicts of the single seeds: "
        "1 WIN, 1 NO EVIDENCE."
    ]
    assert "The verdict depends on the training seed" in advice(repeated)[1]


def test_weights_that_dev_did_not_choose_are_named(outcome: Outcome) -> None:
    assert outcome.training
    unseen = replace(
        outcome.training,
        selected="merged 0.5",
        reason="12 dev questions are too few to choose by",
        chosen_by_dev=False,
    )
    told = (
        "The merged 0.5 weights were selected unseen, since 12 dev questions are too few to choose by. "
        "Give more questions that the documents answer, or raise split.dev."
    )
    assert told in advice(outcome.model_copy(update={"training": unseen}))
    assert not any("unseen" in line for line in advice(outcome))


def test_seeds_that_agree_need_no_warning(repeated: Outcome) -> None:
    assert repeated.seeds
    agreed = replace(repeated.seeds, runs=repeated.seeds.runs[:1] * 2)
    assert len(advice(repeated.model_copy(update={"seeds": agreed}))) == 1


@pytest.mark.parametrize(
    ("verdict", "interval", "sentence"),
    [
        ("WIN", (0.01, 0.05), "More pairs are likely to help"),
        ("REGRESSION", (-0.05, -0.01), "More pairs of this kind would not help"),
        ("NO EVIDENCE", (-0.01, 0.015), "More pairs of this kind would hardly help"),
        ("NO EVIDENCE", (-0.01, 0.05), "4 test questions cannot tell whether more pairs would help"),
    ],
)
def test_the_last_step_says_whether_more_pairs_would_help(
    repeated: Outcome, verdict: str, interval: tuple[float, float], sentence: str
) -> None:
    assert repeated.learning_curve
    last = replace(repeated.learning_curve.last, verdict=verdict, interval=interval, clusters=400)
    text = more_pairs(replace(repeated.learning_curve, last=last))
    assert text.startswith(sentence)
    assert "+0.100 (95% interval" in text
    assert "from 50% of the pairs to all" in text


def test_a_resumed_training_says_that_its_seconds_are_those_of_the_last_part(outcome: Outcome) -> None:
    assert outcome.training
    resumed = replace(outcome.training, steps=1600, resumed_from=1200, seconds=6.2)
    assert facts(outcome.model_copy(update={"training": resumed}), ["training"]) == [
        "Training: 1,500 pairs, 1,600 steps in 6 s since it was resumed at step 1,200 (17.4 pairs/s), best "
        "at step 4."
    ]
    ended = replace(outcome.training, resumed_from=24)
    (line,) = facts(outcome.model_copy(update={"training": ended}), ["training"])
    assert "24 steps in 86 s (17.4 pairs/s)" in line


def test_the_training_line_tells_of_tokens_that_were_added(outcome: Outcome) -> None:
    assert outcome.training
    extended = replace(outcome.training, new_tokens=2413)
    (line,) = facts(outcome.model_copy(update={"training": extended}), ["training"])
    assert line.endswith("; 2,413 tokens added for words that the tokenizer spelled letter by letter.")


def test_the_training_line_tells_of_a_script_that_is_transliterate_queries(outcome: Outcome) -> None:
    assert outcome.training
    read = replace(outcome.training, transliterated="CYRILLIC")
    (line,) = facts(outcome.model_copy(update={"training": read}), ["training"])
    assert line.endswith("; Cyrillic letters of questions are transliterated.")


def test_the_power_line_names_the_differences_that_cannot_be_detected(outcome: Outcome) -> None:
    def power(half: float, clusters: int = 400) -> list[str]:
        comparison = Comparison("ndcg@10", 0.0, (-half, half), 1.0, 400, clusters, "NO EVIDENCE")
        return facts(outcome.model_copy(update={"comparison": comparison}), ["power"])

    # 0.01, 0.02 and 0.05 are 1, 2 and 5 errors: Φ(−0.96) + Φ(−2.96) = 0.17, Φ(0.04) = 0.52, Φ(3.04) = 1.
    assert power(0.0196) == [
        "Power: the chance that this test set detects a true difference is 17% for 0.01, 52% for 0.02, "
        "100% for 0.05. Questions needed for 80% power: about 3,200 for 0.01, 790 for 0.02."
    ]
    assert power(0.002) == []
    assert power(0.0196, clusters=9) == []
    assert facts(outcome.model_copy(update={"comparison": None}), ["power"]) == []
