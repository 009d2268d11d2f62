from __future__ import annotations

import pytest

from embexp.tracking.mlflow_names import flat_params, mlflow_key, shortened


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("ndcg@10", "ndcg_at_10"),
        ("tuned/ndcg@10", "tuned/ndcg_at_10"),
        ("model@tuned", "model_at_tuned"),
        ("a:b=c", "a_b_c"),
        ("plain.name-1", "plain.name-1"),
        ("x" * 300, "x" * 250),
    ],
)
def test_keys_fit_into_mlflows_alphabet(name: str, expected: str) -> None:
    assert mlflow_key(name) == expected


def test_params_are_flat_and_written_as_on_the_command_line() -> None:
    params = {
        "loss": {"scale": 20.0, "guide": None, "on": True},
        "dims": (384, 64),
        "name": "a b",
        "empty": {},
    }
    assert flat_params(params) == {
        "loss.scale": "20.0",
        "loss.guide": "null",
        "loss.on": "true",
        "dims": "[384, 64]",
        "name": "a b",
        "empty": "{}",
    }


def test_a_list_of_odd_things_is_still_written() -> None:
    assert flat_params({"odd": [1, {"a": complex(1, 2)}]}) == {"odd": '[1, {"a": "(1+2j)"}]'}


def test_a_long_value_is_cut_to_the_limit_and_says_so() -> None:
    cut = flat_params({"prompt": "x" * 7000})["prompt"]
    assert len(cut) == 6000
    assert cut.endswith("… (7,000 characters)")


def test_a_short_value_is_not_cut() -> None:
    assert shortened("abc", 3) == "abc"
