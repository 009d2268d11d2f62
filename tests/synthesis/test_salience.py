from __future__ import annotations

import math

import pytest

from embexp.synthesis.salience import Terms, cosine, cut, sentences


def texts(text):
    return [sentence.text for sentence in sentences(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("One is here. Two is there! Is three?", ["One is here.", "Two is there!", "Is three?"]),
        ("A wrapped\nsentence, e.g. this one. Next.", ["A wrapped sentence, e.g. this one.", "Next."]),
        ("- First item:\n- Second item", ["First item", "Second item"]),
        ("1. Do this\n2. Do that", ["Do this", "Do that"]),
        ("第一句。第二句。", ["第一句。", "第二句。"]),
        ("转3.5圈，看第117号表。完！", ["转3.5圈，看第117号表。", "完！"]),
        ("「止めて。」と言う？！次へ。", ["「止めて。」", "と言う？！", "次へ。"]),
        ("पंप बंद करें। फिर रुकें।", ["पंप बंद करें।", "फिर रुकें।"]),
        ("هل هو ساخن؟ انتظر.", ["هل هو ساخن؟", "انتظر."]),
        ("Before.\n\n````\n```\ncode. Here.\n```\n````\nAfter.", ["Before.", "After."]),
        ("# Heading\n\nBody text.", ["Body text."]),
        ("Before.\n\n```python\ncode. Here.\n```\nAfter.", ["Before.", "After."]),
        ("Text.\n\n    indented code\n\n>>> 1 + 1\n| a | b |\n`all code`\n.. note:: x", ["Text."]),
        ("class Pump(Part):\n\nclass Valve:\n\ndef open(self):\n\nText.", ["Text."]),
        ("class action: a suit of many.", ["class action: a suit of many."]),
        ("", []),
    ],
)
def test_finds_the_sentences_of_prose(text, expected):
    assert texts(text) == expected


@pytest.mark.parametrize(
    ("text", "which", "rest"),
    [
        ("One here. Two there. Three.", 1, "One here. Three."),
        ("One here. Two there.", 0, "Two there."),
        ("- First item:\n\n`code`\n\n- Second item:\n\n`more`", 1, "- First item:\n\n`code`\n\n`more`"),
        ("Para one.\n\nPara two. Its end.", 1, "Para one.\n\nIts end."),
        ("Only this.", 0, ""),
    ],
)
def test_cut_leaves_a_tidy_rest(text, which, rest):
    assert cut(text, list(sentences(text))[which]) == rest


def test_weights_follow_the_formula():
    terms = Terms.read(["cat dog", "cat", "bird"])
    # tf 2, df 2 of 3: (1 + ln 2) * (ln(4 / 3) + 1)
    assert terms.weights("Cat cat")["cat"] == pytest.approx((1 + math.log(2)) * (math.log(4 / 3) + 1))


def test_keywords_are_the_rarest_words_in_their_own_order():
    terms = Terms.read(["the common word here", "the common zebra", "the common word", "walrus the common"])
    assert terms.keywords("the walrus, common word, the zebra", 2) == ["walrus", "zebra"]


def test_keywords_leave_out_what_most_chunks_say_and_what_is_no_word():
    terms = Terms.read([f"shared text number{at}" for at in range(12)])
    assert terms.keywords("shared text 12345 ab unique", 5) == ["unique"]


def test_keywords_of_unspaced_scripts_are_pairs_of_letters():
    terms = Terms.read(["北京的水泵", "上海的水泵", "上海的锅炉"])
    assert terms.keywords("上海的锅炉", 1) == ["锅炉"] or terms.keywords("上海的锅炉", 2)[-1] == "锅炉"
    assert all(len(word) == 2 for word in terms.keywords("上海的锅炉 117", 9))


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [({"a": 3.0, "b": 4.0}, {"a": 1.0}, 0.6), ({"a": 1.0}, {"b": 1.0}, 0.0), ({}, {"a": 1.0}, 0.0)],
)
def test_cosine(one, other, expected):
    assert cosine(one, other) == pytest.approx(expected)
