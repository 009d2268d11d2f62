"""Hydra's sweep syntax becomes a distribution, and a value an override."""

from __future__ import annotations

import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from embexp.errors import ConfigError
from embexp.sweeper.space import described, parse_space, spelled


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
    assert space.fixed == ("++loss.scale=null", "++trainer.epochs=2", "model=tiny")


def test_keys_of_components_are_written_so_that_any_argument_can_be_swept() -> None:
    space = parse_space({"trainer.patience": "choice(1,2)", "loss": "choice(a,b)"}, [], None)
    assert space.overrides({"trainer.patience": 2, "loss": "b"}) == ["++trainer.patience=2", "loss=b"]


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
