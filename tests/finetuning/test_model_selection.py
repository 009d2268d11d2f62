"""Model selection: the best on dev among untuned, tuned and merged weights."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from embexp.finetuning.losses import Mnrl
from embexp.finetuning.model_selection import Candidate, choose
from embexp.finetuning.settings import TrainerSettings
from embexp.finetuning.training import DevScores


def state(model) -> dict[str, np.ndarray]:
    return {name: value.numpy().copy() for name, value in model.state_dict().items()}


def test_merged_weights_are_selected_where_they_are_best(train, model):
    before, scores = state(model), iter([0.5, 0.6, 0.55, 0.8, 0.7])
    kept = []

    def dev_scores(trained):
        kept.append(state(trained))
        return {"ndcg@10": next(scores)}

    training = train(model, Mnrl(), dev_scores=dev_scores, merge=[0.25, 0.5])
    # Untuned, step 4 (the best trained), step 9, then a quarter and a half of step 4.
    assert training.selected == "merged 0.25"
    assert training.candidates == {"untuned": 0.5, "tuned": 0.6, "merged 0.25": 0.8, "merged 0.5": 0.7}
    assert training.best_step == 4
    assert training.selected_score("ndcg@10") == 0.8
    for name, value in state(model).items():
        assert np.allclose(value, 0.75 * before[name] + 0.25 * kept[1][name], atol=1e-6)
    merged = [dict(point.metrics) for point in training.history if "merge_weight" in point.metrics]
    assert merged == [
        {"merge_weight": 0.25, "merged_ndcg@10": 0.8},
        {"merge_weight": 0.5, "merged_ndcg@10": 0.7},
    ]


def test_every_metric_of_merged_weights_is_logged(train, model):
    scores = iter([(0.5, 0.2), (0.6, 0.3), (0.55, 0.3), (0.8, 0.4)])

    def dev_scores(_):
        ndcg, mrr = next(scores)
        return {"ndcg@10": ndcg, "mrr@10": mrr}

    training = train(model, Mnrl(), dev_scores=dev_scores, merge=[0.5])
    assert training.selected == "merged 0.5"
    assert training.selected_score("mrr@10") == 0.4


def test_merging_can_rescue_a_training_that_made_it_worse(train, model):
    scores = iter([0.5, 0.4, 0.3, 0.6])
    training = train(model, Mnrl(), dev_scores=lambda trained: {"ndcg@10": next(scores)}, merge=[0.5])
    assert training.selected == "merged 0.5"
    assert training.best_step == 4


def test_tuned_is_selected_on_request_whatever_dev_says(train, model):
    before, scores = state(model), iter([0.9, 0.4, 0.3])
    training = train(
        model, Mnrl(), dev_scores=lambda trained: {"ndcg@10": next(scores)}, select="tuned", merge=[0.5]
    )
    assert (training.selected, training.best_step) == ("tuned", 4)
    assert training.selected_score("ndcg@10") == 0.4
    assert training.selected_score("mrr@10") is None
    assert any(not np.array_equal(before[name], value) for name, value in state(model).items())


def test_weights_that_forget_too_much_are_not_selected(train, model):
    dev, general = iter([0.5, 0.7, 0.6, 0.65]), iter([0.8, 0.5, 0.5, 0.77])

    def dev_scores(trained):
        return {"ndcg@10": next(dev), "general_ndcg@10": next(general)}

    training = train(model, Mnrl(), dev_scores=dev_scores, merge=[0.5], forgetting_floor=0.95)
    # Tuned keeps 0.5 / 0.8 = 63% of the general score, the merged weights 0.77 / 0.8 = 96%.
    assert training.selected == "merged 0.5"
    assert training.candidates == {"untuned": 0.5, "tuned": 0.7, "merged 0.5": 0.65}
    assert training.general == {"untuned": 0.8, "tuned": 0.5, "merged 0.5": 0.77}


@pytest.mark.parametrize(("floor", "selected"), [(None, "tuned"), (0.6, "tuned"), (1.0, "untuned")])
def test_the_floor_is_the_users(train, model, floor, selected):
    dev, general = iter([0.5, 0.7, 0.6]), iter([0.8, 0.5, 0.5])
    training = train(
        model,
        Mnrl(),
        merge=[],
        forgetting_floor=floor,
        dev_scores=lambda _: {"ndcg@10": next(dev), "general_ndcg@10": next(general)},
    )
    assert training.selected == selected


def candidate(name, share, *questions):
    return Candidate(name=name, share=share, score=float(np.mean(questions)), questions=questions)


def noisy(mean, *, count=100, seed=0):
    return np.random.default_rng(seed).normal(mean, 0.3, count)


UNEQUAL = [
    candidate("untuned", 0, *noisy(0.5)),
    candidate("tuned", 1, *noisy(0.52, seed=1)),
    candidate("merged 0.5", 0.5, *noisy(0.51, seed=2)),
]
CLEAR = [candidate("untuned", 0, *noisy(0.5)), candidate("tuned", 1, *noisy(0.8))]


@pytest.mark.parametrize(
    ("candidates", "select", "share", "chosen", "reason"),
    [
        (CLEAR, "best", 0.5, "tuned", "the best on 100 dev questions"),
        (CLEAR, "one_standard_error", 0.5, "tuned", "within one standard error of the best on 100"),
        (CLEAR[::-1], "one_standard_error", 0.1, "tuned", "within one standard error"),
        (UNEQUAL, "one_standard_error", 0.5, "merged 0.5", "within one standard error"),
        (UNEQUAL, "one_standard_error", 1.0, "tuned", "within one standard error"),
        ([*CLEAR, UNEQUAL[2]], "preferred", 0.5, "merged 0.5", "nearest to the preferred share of those"),
        ([CLEAR[1], candidate("untuned", 0, *noisy(1.5))], "preferred", 0.5, "untuned", "nearest to"),
    ],
)
def test_within_one_standard_error_the_preferred_share_decides(candidates, select, share, chosen, reason):
    choice = choose(candidates, TrainerSettings(select=select, preferred_share=share))
    assert choice.candidate.name == chosen
    assert choice.reason.startswith(reason)
    assert choice.by_dev


@pytest.mark.parametrize(
    ("tuned", "count", "chosen"),
    [(0.45, 19, "tuned"), (0.9, 19, "tuned"), (-0.5, 19, "untuned"), (-0.5, 4, "tuned")],
)
def test_too_few_questions_only_rule_out_harm(tuned, count, chosen):
    few = [
        candidate("untuned", 0, *noisy(0.5, count=count)),
        candidate("tuned", 1, *noisy(tuned, count=count, seed=1)),
    ]
    choice = choose(few, TrainerSettings(select="one_standard_error", preferred_share=0.75))
    assert choice.candidate.name == chosen
    assert (choice.reason, choice.by_dev) == (f"{count} dev questions are too few to choose by", False)


@pytest.mark.parametrize("score", [0.0, 0.4, 1.0])
@pytest.mark.parametrize("select", ["best", "one_standard_error"])
@pytest.mark.parametrize(("shares", "chosen"), [((0.5,), "merged 0.5"), ((), "tuned")])
def test_dev_that_tells_nothing_never_decides_for_the_untuned_model(score, select, shares, chosen, caplog):
    alike = [("untuned", 0.0), ("tuned", 1.0), *((f"merged {share}", share) for share in shares)]
    candidates = [candidate(name, share, *[score] * 30) for name, share in alike]
    choice = choose(candidates, TrainerSettings(select=select))
    assert choice.candidate.name == chosen
    assert (choice.reason, choice.by_dev) == ("dev tells nothing: all weights score the same", False)
    assert f"All weights score {score:.3f} on every dev question, which tells nothing" in caplog.text


def test_equal_means_of_different_answers_are_a_tie():
    tied = [candidate("untuned", 0, *[0.0, 1.0] * 15), candidate("tuned", 1, *[1.0, 0.0] * 15)]
    assert choose(tied, TrainerSettings()).candidate.name == "untuned"


def test_a_dev_set_that_cannot_choose_is_named_before_training(train, model, splits, caplog):
    few = replace(splits, dev=splits.dev[:3])
    same = DevScores({"ndcg@10": 0.0}, {str(number): {"ndcg@10": 0.0} for number in range(3)})
    training = train(
        model, Mnrl(), splits=few, dev_scores=lambda _: same, epochs=1, evaluations=2, merge=[0.5]
    )
    told = [record.getMessage() for record in caplog.records]
    assert told[0].startswith("Dev has 3 questions, too few to select weights by (at least 20 are needed)")
    assert (training.selected, training.best_step) == ("merged 0.5", 3)
    assert training.reason == "dev tells nothing: all weights score the same"
    assert not training.chosen_by_dev
