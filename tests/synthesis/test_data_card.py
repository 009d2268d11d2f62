from __future__ import annotations

from embexp.synthesis.data_card import data_card
from tests.synthesis.synthesis_fakes import simple_pair as pair

REPORT = {
    "target": 3,
    "accepted": 2,
    "rejected": {"schema": 5, "chatter": 1},
    "requests": 4,
    "usage": {"prompt_tokens": 1000, "completion_tokens": 50, "usd": 0.125},
    "stopped": "All chunks were asked about.",
    "examples_dropped": {"chatter": ["Here are | <script>\nevil (chatter)"]},
    "diversity": {"vendi_score": 1.5, "query_types": {"keyword": 1, "question": 1}},
}


def test_the_card_tells_the_whole_story() -> None:
    card = data_card(
        [pair("one"), pair("two more", "keyword")], REPORT, file="pairs.jsonl", settings={"target": 3}
    )
    assert "\n# Synthetic retrieval pairs\n" in card
    assert "data_files: pairs.jsonl" in card  # so that `datasets` loads the folder too
    assert "2 training pairs" in card
    assert 'pd.read_json("pairs.jsonl", lines=True)' in card
    assert 'load_dataset("json", data_files="pairs.jsonl", split="train")' in card
    assert "| Words in a query, mean | 1.5 |" in card  # 1 and 2 words
    assert "| Words in a passage, mean | 5.0 |" in card
    assert "| Models | m (2) |" in card
    assert "| Price | $0.12 |" in card
    assert "8 queries were written or asked for; 2 were accepted." in card  # 2 + 5 + 1
    assert "| schema | 5 |  |" in card
    assert r"| chatter | 1 | Here are \| &lt;script> evil (chatter) |" in card
    assert "The target of 3 was not reached. All chunks were asked about." in card
    assert "| query_types | keyword 1, question 1 |" in card
    assert '"target": 3' in card
    assert "No licence is set." in card


def test_a_card_of_nothing() -> None:
    card = data_card([], {}, licence="CC0.")
    assert "It was not measured." in card
    assert "CC0." in card
    assert "| Models | none |" in card
