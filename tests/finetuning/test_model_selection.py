"""Model selection: the best on dev among untuned, tuned and merged weights."""

from __future__ import annotations

import numpy as np
import pytest

from embexp.finetuning.losses import Mnrl


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
