from __future__ import annotations

import pytest
from torch import nn

from embexp.finetuning.model_modes import dropout_rates, prompts_for, training_length
from embexp.models.forward_pass import text_length


def rates(model) -> dict[str, float]:
    return {name: module.p for name, module in model.named_modules() if isinstance(module, nn.Dropout)}


@pytest.mark.parametrize(("tokens", "expected"), [(128, 128), (256, None), (500, None), (None, None)])
def test_texts_are_only_ever_cut_shorter(model, tokens, expected):
    assert model.max_seq_length == 256
    assert training_length(model, tokens) == expected


def test_a_model_without_a_limit_keeps_it(model):
    model.max_seq_length = None
    assert training_length(model, 128) is None


def test_the_length_returns_even_after_an_error(model):
    def fail():
        with text_length(model, 32):
            raise RuntimeError(model.max_seq_length)

    with pytest.raises(RuntimeError, match="32"):
        fail()
    assert model.max_seq_length == 256
    with text_length(model, None):
        assert model.max_seq_length == 256


def test_dropout_of_states_and_of_attention_are_set_apart(model):
    before = rates(model)
    assert set(before.values()) == {0.1}
    with dropout_rates(model, dropout=0.0, attention_dropout=None):
        inside = rates(model)
    assert {name for name, rate in inside.items() if rate == 0.1} == {
        name for name in before if name.endswith("attention.self.dropout")
    }
    with dropout_rates(model, dropout=None, attention_dropout=0.0):
        inside = rates(model)
    assert {name for name, rate in inside.items() if rate == 0.0} == {
        name for name in before if name.endswith("attention.self.dropout")
    }
    assert rates(model) == before


def test_attention_dropout_that_is_a_number_is_set_too():
    class Attention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention_dropout = 0.2

    attention = Attention()
    with dropout_rates(attention, dropout=None, attention_dropout=0.0):
        assert attention.attention_dropout == 0.0
    assert attention.attention_dropout == 0.2


def test_queries_and_passages_have_their_own_prompts(model):
    model.prompts = {"query": "query: ", "document": "", "passage": "passage: "}
    columns = ["anchor", "positive", "negative_1"]
    assert prompts_for(model, columns, query_columns=("anchor", "text_a")) == {
        "anchor": "query: ",
        "positive": "passage: ",
        "negative_1": "passage: ",
    }
    model.prompts = {}
    assert prompts_for(model, columns, query_columns=("anchor",)) == {}
