"""Hydra's sweep syntax becomes a distribution, and a value an override."""

from __future__ import annotations

from typing import Any

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from embexp.errors import ConfigError
from embexp.sweeper.space import Space, described, spelled
from embexp.sweeper.syntax import parse_space


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("interval(0.1,2)", FloatDistribution(0.1, 2.0)),
        ("interval(1,10)", FloatDistribution(1.0, 10.0)),
        ("int(interval(1,10))", IntDistribution(1, 10)),
        ("tag(log,interval(1e-5,1e-3))", FloatDistribution(1e-5, 1e-3, log=True)),
        ("tag(log,int(interval(1,100)))", IntDistribution(1, 100, log=True)),
        ("interval(2,2)", FloatDistribution(2.0, 2.0)),
        ("range(1,10,3)", IntDistribution(1, 7, step=3)),  # 1, 4, 7: the stop is left out
        ("range(1,4)", IntDistribution(1, 3)),
        ("range(3)", IntDistribution(0, 2)),
        ("range(10,1,-3)", IntDistribution(4, 10, step=3)),  # 10, 7, 4
        ("range(0,1,0.25)", FloatDistribution(0.0, 0.75, step=0.25)),
        ("range(0,1,0.1)", FloatDistribution(0.0, 0.9, step=0.1)),
        ("range(5,6)", IntDistribution(5, 5)),
        ("shuffle(range(1,4))", IntDistribution(1, 3)),
        ("choice(1,2.5,true)", CategoricalDistribution([1, 2.5, True])),
        ("choice(mnrl,gist)", CategoricalDistribution(["mnrl", "gist"])),
        ("mnrl,gist,mnrl", CategoricalDistribution(["mnrl", "gist"])),
        ("'a b',c", CategoricalDistribution(["'a b'", "c"])),
        ("choice([1,2],[3])", CategoricalDistribution(["[1,2]", "[3]"])),
        ("sort(choice(3,1,2))", CategoricalDistribution([1, 2, 3])),
    ],
)
def test_a_sweep_becomes_a_distribution(text, expected) -> None:
    assert parse_space({}, [f"key={text}"], None).swept == {"key": expected}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("interval(2,1)", "its start is above its end"),
        ("tag(log,interval(0,1))", "a logarithm needs a start above 0"),
        ("tag(log,range(1,9))", "the tag 'log' does not apply"),
        ("tag(hot,interval(0,1))", "the tag 'hot' does not apply"),
        ("range(4,4)", "it is empty"),
    ],
)
def test_a_sweep_that_cannot_be_searched_is_refused(text: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=r"The sweep lr=") as caught:
        parse_space({}, [f"lr={text}"], None)
    assert reason in str(caught.value)
    assert text in str(caught.value)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (3.14159265358979e-05, "3.14159e-05"),
        (2.0, "2.0"),
        (0.30000000000000004, "0.3"),
        (7, "7"),
        (True, "true"),
        ("'a b'", "'a b'"),
    ],
)
def test_a_value_is_spelled_so_that_a_person_can_type_it(value, expected: str) -> None:
    assert spelled(value) == expected


def test_what_stands_later_wins_and_plain_values_are_fixed() -> None:
    params = {"trainer.epochs": "range(1,4)", "loss": "choice(mnrl,gist)", "seed": 3, "loss.scale": None}
    space = parse_space(params, ["++trainer.epochs=2", "seed=choice(1,2)", "model=tiny"], None)
    assert set(space.swept) == {"loss", "seed"}
    assert set(space.fixed) == {"loss.scale=null", "++trainer.epochs=2", "model=tiny"}


def test_keys_are_written_as_they_were_typed() -> None:
    space = parse_space({"trainer.patience": "choice(1,2)", "+new": "1,2"}, [], None)
    assert space.overrides({"trainer.patience": 2, "new": 1}) == ["trainer.patience=2", "+new=1"]


@pytest.mark.parametrize("text", ["choice(null,1,2)", "null,1,2"])
def test_null_is_a_choice(text: str) -> None:
    space = parse_space({"trainer.patience": text}, [], None)
    assert space.swept == {"trainer.patience": CategoricalDistribution(["null", 1, 2])}
    assert space.overrides({"trainer.patience": "null"}) == ["trainer.patience=null"]


def test_no_option_of_a_group_is_a_choice() -> None:
    space = parse_space({"llm": "choice(null,groq)"}, [], None)
    assert space.swept == {"llm": CategoricalDistribution(["null", "groq"])}
    assert space.overrides({"llm": "null"}) == ["llm='null'"]


PARAMS = {"trainer": "choice(fast,lora,last_layers)", "trainer.learning_rate": "interval(0.1,0.2)"}
CONDITIONAL = {
    "trainer=lora": {"trainer.method.rank": "choice(4,8)", "trainer.learning_rate": "interval(0.5,0.9)"},
    "trainer.method.rank=8": {"trainer.method.alpha": "range(1,3)"},
    "trainer=fast,last_layers": {"trainer.batch_size": "32"},
}


def conditional_space(*arguments: str) -> Space:
    return parse_space(PARAMS, arguments, None, conditional=CONDITIONAL)


@pytest.mark.parametrize(
    ("values", "keys", "lowest"),
    [
        ({"trainer": "fast"}, {"trainer.batch_size"}, 0.1),
        ({"trainer": "last_layers"}, {"trainer.batch_size"}, 0.1),
        ({"trainer": "lora"}, {"trainer.method.rank"}, 0.5),
        ({"trainer": "lora", "trainer.method.rank": 8}, {"trainer.method.rank", "trainer.method.alpha"}, 0.5),
    ],
)
def test_one_choice_opens_others(values: dict[str, Any], keys: set[str], lowest: float) -> None:
    trial = conditional_space().first_trial(values)
    assert set(trial) == {"trainer", "trainer.learning_rate", *keys}
    assert trial["trainer.learning_rate"] == lowest


@pytest.mark.parametrize("sampler", ["TPESampler", "RandomSampler", "NSGAIISampler", "BruteForceSampler"])
def test_trials_have_the_keys_of_what_they_drew(sampler: str) -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    space = conditional_space("trainer.learning_rate=choice(1,2)")
    study = optuna.create_study(sampler=getattr(optuna.samplers, sampler)(seed=0))
    for _ in range(9):  # of ten that are possible
        trial = study.ask()
        space.draw(trial)
        assert trial.params.keys() == space.first_trial(trial.params).keys()
        study.tell(trial, float(trial.params["trainer.learning_rate"]))
    assert {trial.params["trainer"] for trial in study.trials} == {"fast", "lora", "last_layers"}


def test_a_range_may_depend_on_a_choice() -> None:
    space = conditional_space()
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=0, n_startup_trials=3))
    for _ in range(20):
        trial = study.ask()
        space.draw(trial)
        low, high = (0.5, 0.9) if trial.params["trainer"] == "lora" else (0.1, 0.2)
        assert low <= trial.params["trainer.learning_rate"] <= high
        study.tell(trial, trial.params["trainer.learning_rate"])


def test_a_condition_names_its_distributions() -> None:
    assert list(conditional_space().as_json()) == [
        "trainer",
        "trainer.learning_rate",
        "trainer.learning_rate if trainer=lora",
        "trainer.method.rank if trainer=lora",
        "trainer.method.alpha if trainer.method.rank=8",
        "trainer.batch_size if trainer=fast,last_layers",
    ]


def test_the_command_line_decides_which_branches_there_are() -> None:
    lora = conditional_space("trainer=lora")
    assert set(lora.swept) == {"trainer.learning_rate", "trainer.method.rank"}
    assert lora.swept["trainer.learning_rate"] == FloatDistribution(0.5, 0.9)
    assert [branch.condition for branch in lora.branches] == ["trainer.method.rank=8"]
    fast = conditional_space("trainer=choice(fast,thorough)")
    assert [branch.condition for branch in fast.branches] == ["trainer.method.rank=8", "trainer=fast"]
    assert "trainer.method.alpha" not in fast.first_trial({"trainer": "fast"})
    slow = conditional_space("trainer.learning_rate=0.3")
    assert slow.fixed == ("trainer.learning_rate=0.3",)
    assert "trainer.learning_rate" not in slow.first_trial({"trainer": "lora"})
    ranked = conditional_space("trainer.method.rank=16,8")
    assert ranked.first_trial({"trainer": "lora"})["trainer.method.rank"] == 16
    assert "trainer.method.rank" not in ranked.first_trial({"trainer": "fast"})


@pytest.mark.parametrize(
    ("conditional", "message"),
    [
        ({"trainer=lorra": {"x": "1,2"}}, r"trainer=lorra, which no trial can have: did you mean 'lora'"),
        ({"loss=mnrl": {"x": "1,2"}}, r"has loss=mnrl, and loss is not swept: sweep it too"),
        (
            {"trainer=lora": {"x": "1,2"}, "trainer=fast": {"x": "1,3"}},
            r"x is swept in another way under trainer=fast",
        ),
        ({"trainer": {"x": "1,2"}}, r"has 'trainer': write KEY=VALUE"),
        ({"trainer=lora": "1,2"}, r"has 'trainer=lora': write KEY=VALUE"),
        ({"x=1": {"y": "1,2"}, "y=1": {"x": "1,2"}}, r"conditional is circular \((x, y|y, x)\)"),
    ],
)
def test_a_condition_that_cannot_be_is_refused(conditional: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_space(PARAMS, [], None, conditional=conditional)


@pytest.mark.parametrize("value", ["interval(1", "choice(1,2", "tag(log interval(1,2))"])
def test_a_sweep_that_cannot_be_read_is_named(value: str) -> None:
    with pytest.raises(ConfigError, match=r"The sweep of trainer\.epochs is .* cannot be read: write choice"):
        parse_space({"trainer.epochs": value}, [], None)


def test_nothing_to_sweep_is_said_with_a_remedy() -> None:
    with pytest.raises(ConfigError, match=r"nothing to sweep.*hparams=mnrl"):
        parse_space({}, ["loss=mnrl"], None)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("tag(log,interval(1e-5,1e-3))", "1e-05 … 0.001 (log)"),
        ("range(0,1,0.25)", "0.0 … 0.75 (step 0.25)"),
        ("range(1,4)", "1 … 3"),
        ("choice(mnrl,gist)", "mnrl | gist"),
    ],
)
def test_a_distribution_in_words(text: str, expected: str) -> None:
    space = parse_space({"key": text}, [], None)
    assert described(space.as_json()["key"]) == expected
