"""trainer=auto: the plan, what cuts it down to a time, and that a resumed training keeps it."""

from __future__ import annotations

import logging
from dataclasses import asdict

import pytest
from hydra import compose, initialize_config_dir
from pydantic import TypeAdapter

from embexp.config.check import check
from embexp.config.schema import register
from embexp.data.records import EXTRACTIVE, Generator
from embexp.data.splitting import Splits
from embexp.errors import ConfigError
from embexp.finetuning import auto
from embexp.finetuning.auto import AutoFineTuner, fit_into, kind_of
from embexp.finetuning.losses import Mnrl
from embexp.finetuning.trainer import SentenceTransformerFineTuner
from embexp.finetuning.training import Training, TrainingPlan
from embexp.package import conf_dir
from tests.finetuning.jargon import freeze_imports, make_pair, mean_reciprocal_rank

PEOPLE, CUT, LLM = Generator(kind="human"), Generator(kind=EXTRACTIVE), Generator(kind="rag", model="m")


def pairs(count, generator=PEOPLE, query_type="human"):
    return [make_pair(number, generator=generator, query_type=query_type) for number in range(count)]


def planned(train, dev, **settings) -> TrainingPlan:
    return AutoFineTuner(**settings).plan(Splits(train=train, dev=dev, test=[]))


CUT_TRAIN = pairs(2800, CUT, "sentence")
PEOPLES_DEV, AUTHORS_DEV, CUT_DEV = pairs(150), pairs(150, CUT, "summary"), pairs(150, CUT, "sentence")


@pytest.mark.parametrize(
    ("train", "dev", "epochs", "rate", "merge", "select", "share"),
    [
        (pairs(2000), PEOPLES_DEV, 3, 1e-4, (0.25, 0.5, 0.75), "best", 0.75),
        (pairs(2000), pairs(99), 3, 1e-4, (0.25, 0.5, 0.75), "one_standard_error", 0.75),
        (pairs(320), PEOPLES_DEV, 5, 1e-4, (0.25, 0.5, 0.75), "best", 0.75),  # 5 steps an epoch
        (pairs(40), pairs(5), 8, 1e-4, (0.25, 0.5, 0.75), "one_standard_error", 0.75),
        (CUT_TRAIN, AUTHORS_DEV, 1, 1e-4, (0.5,), "best", 0.5),
        (CUT_TRAIN, PEOPLES_DEV, 1, 1e-4, (0.5,), "best", 0.5),
        (CUT_TRAIN, CUT_DEV, 1, 5e-5, (0.5,), "preferred", 0.5),
        (CUT_TRAIN, pairs(150, CUT, "comment"), 1, 5e-5, (0.5,), "preferred", 0.5),
        (pairs(300, LLM, "question"), CUT_DEV, 1, 5e-5, (0.25, 0.5, 0.75), "one_standard_error", 0.5),
        (CUT_TRAIN, [], 1, 5e-5, (0.5,), "preferred", 0.5),
    ],
)
def test_the_plan_follows_from_who_wrote_pairs_and_dev_questions(
    train, dev, epochs, rate, merge, select, share
):
    plan = planned(train, dev)
    assert (plan.epochs, plan.learning_rate, plan.merge) == (epochs, rate, merge)
    assert (plan.select, plan.preferred_share) == (select, share)


@pytest.mark.parametrize(
    ("train", "dev", "alone"),
    [
        (CUT_TRAIN, CUT_DEV, True),
        (CUT_TRAIN, [], True),
        (CUT_TRAIN, AUTHORS_DEV, False),
        (pairs(300, LLM, "question"), CUT_DEV, False),
        (pairs(320), CUT_DEV, False),
    ],
)
def test_the_plan_knows_when_documents_alone_are_the_teacher(train, dev, alone):
    assert planned(train, dev).documents_alone is alone


def test_pairs_by_people_may_be_more():
    assert planned(pairs(9), []).max_pairs == 5000
    assert planned(pairs(9), [], minutes=5).max_pairs is None  # the time decides
    assert planned(CUT_TRAIN, [], minutes=5).max_pairs == 2300


@pytest.mark.parametrize(
    ("mixed", "kind"),
    [
        (pairs(5) + pairs(5, CUT), auto.PEOPLE),
        (pairs(4) + pairs(5, CUT), auto.CUT),
        (pairs(2) + pairs(3, CUT) + pairs(4, LLM), auto.MODEL),
    ],
)
def test_half_of_the_pairs_make_the_kind_peoples(mixed, kind):
    assert kind_of(mixed) == kind


def test_given_values_replace_planned_ones():
    plan = planned(pairs(2000), PEOPLES_DEV, epochs=2, merge=[0.4], max_pairs=None)
    assert (plan.epochs, plan.merge, plan.max_pairs) == (2, (0.4,), None)
    assert plan.learning_rate == 1e-4


def test_the_plan_is_one_readable_line():
    assert str(planned(CUT_TRAIN, AUTHORS_DEV)) == (
        "2,800 training pairs, most of them cut out of the documents, and 150 dev questions in people's own "
        "words: 1 epoch of up to 2,300 pairs at a learning rate of 0.0001, merged shares 0.5, selected by "
        "dev (best)"
    )


FULL = TrainingPlan(
    epochs=3,
    learning_rate=1e-4,
    max_pairs=None,
    merge=(0.25, 0.5, 0.75),
    select="best",
    preferred_share=0.75,
    reason="-",
    pairs_per_second=10.0,
    evaluation_seconds=10.0,
)


@pytest.mark.parametrize(
    ("seconds", "epochs", "most", "merge"),
    [
        # 1,000 pairs three times take 300 s, six evaluations 60 s, and a tenth of the time is kept back.
        (400, 3, None, (0.25, 0.5, 0.75)),
        (390, 3, None, (0.5,)),  # 351 s: merging once takes 340 s
        (300, 2, 1000, (0.5,)),  # 270 - 40 = 230 s are 2,300 rows
        (160, 1, 1000, (0.5,)),  # 144 - 40 = 104 s are 1,040 rows
        (100, 1, 500, (0.5,)),  # 90 - 40 = 50 s are 500 rows
        (1, 1, 64, (0.5,)),
    ],
)
def test_a_plan_is_cut_down_to_the_time(seconds, epochs, most, merge):
    plan = fit_into(FULL, seconds=seconds, pairs=1000, evaluations=3, least=64)
    assert (plan.epochs, plan.max_pairs, plan.merge) == (epochs, most, merge)


def test_a_time_that_is_too_short_is_said(caplog):
    fit_into(FULL, seconds=10, pairs=1000, evaluations=3, least=64)
    assert "trainer.minutes leaves (10 s) is too short: 64 pairs at 10.0 pairs a second" in caplog.text


def test_a_resumed_training_keeps_its_plan_whatever_the_speed_is_now(model, tmp_path, monkeypatch, caplog):
    freeze_imports()
    splits = Splits(train=pairs(64), dev=[make_pair(n) for n in range(100, 130)], test=[])
    tuner = AutoFineTuner(minutes=60, batch_size=8, evaluations=3, dropout=0.0, attention_dropout=0.0)

    def fit(on_step):
        return tuner.fit(
            model,
            Mnrl(),
            splits,
            dev_scores=mean_reciprocal_rank(list(splits.dev)),
            work_dir=tmp_path,
            seed=0,
            on_step=on_step,
        )

    def until_late(point):
        if point.step >= 15:
            raise KeyboardInterrupt

    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(KeyboardInterrupt):
        fit(until_late)
    model.load_state_dict(before)
    monkeypatch.setattr(auto, "fit_into", lambda plan, **_: pytest.fail("the plan was made again"))
    with caplog.at_level(logging.INFO):
        training = fit(lambda _: None)
    assert "Plan: 64 training pairs, most of them written by people" in caplog.text
    assert training.resumed_from == 12  # of 3 epochs of 8 steps: evaluated at 0, 12 and 24
    assert training.plan is not None
    assert training.plan.pairs_per_second > 0
    assert (training.plan.epochs, training.steps) == (3, 24)
    assert TypeAdapter(Training).validate_json(TypeAdapter(Training).dump_json(training)) == training
    assert TypeAdapter(Training).validate_python(asdict(training)) == training


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("trainer.epochs=two", "trainer.epochs is 'two': give a whole number from 1 to 10,000, or auto"),
        ("trainer.minutes=0", "trainer.minutes is 0: give a number above 0"),
        (
            "trainer.learning_rate=1.5",
            "trainer.learning_rate is 1.5: give a number above 0 and at most 1, or",
        ),
    ],
)
def test_a_value_that_is_neither_a_number_nor_auto_is_named(override, message):
    register()
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        config = compose("config", overrides=["paths.root=.", "paths.cache=c", "trainer=auto", override])
    with pytest.raises(ConfigError) as error:
        check(config)
    assert message in str(error.value)


@pytest.mark.parametrize("tuner", [AutoFineTuner, SentenceTransformerFineTuner])
def test_settings_of_no_method_are_refused(tuner):
    with pytest.raises(ConfigError, match=r"trainer\.method is \{'rank': 8\}, which names no method: choose"):
        tuner(method={"rank": 8})
