from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embexp.data.words import SENTENCE_END, runs, search_terms, terms, unspaced, words


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Cap a deque's size.", ["Cap", "a", "deque", "s", "size"]),
        ("max_len=3", ["max_len", "3"]),
        ("हिन्दी में खोज", ["हिन्दी", "में", "खोज"]),
        ("مُحَرِّك قديم", ["مُحَرِّك", "قديم"]),
        ("می\u200cخواهم", ["می\u200cخواهم"]),
        ("cafe\u0301 ❤\ufe0f", ["cafe\u0301"]),
        ("検索する", ["検", "索", "す", "る"]),
        ("第100号・A7型", ["第", "100", "号", "A7", "型"]),
        ("น้ำมัน ๑๒", ["น้", "ำ", "มั", "น", "๑๒"]),
        ("ຫມໍ້", ["ຫ", "ມໍ້"]),
        ("ម៉ាស៊ីន", ["ម៉ា", "ស៊ី", "ន"]),
        ("기계는 낡다", ["기계는", "낡다"]),
        ("", []),
    ],
)
def test_words_of_any_script(text: str, expected: list[str]) -> None:
    assert words(text) == expected


def test_terms_of_unspaced_scripts_are_pairs_of_letters() -> None:
    assert terms("锅炉工 and 泵") == ["锅炉", "炉工", "and", "泵"]


def test_a_search_compares_one_width_and_finds_single_letters() -> None:
    assert search_terms("ｶﾞｽ １２") == ["ガ", "ス", "ガス", "12"]
    assert search_terms("cafe\u0301") == search_terms("café") == ["café"]


def test_a_search_compares_the_words_of_a_name() -> None:
    assert search_terms("set max_connections now") == ["set", "max_connections", "max", "connections", "now"]
    assert search_terms("__init__ of ___") == ["__init__", "init", "of", "___"]
    assert search_terms("泵_a") == ["泵", "_a", "a"]


def test_runs_keep_unspaced_letters_together() -> None:
    assert runs("锅炉工: pump 泵") == ["锅炉工", "pump", "泵"]


@pytest.mark.parametrize(
    ("text", "expected"), [("pump", False), ("Gerät", False), ("泵", True), ("ไทย", True)]
)
def test_unspaced_scripts_are_told(text: str, expected: bool) -> None:
    assert unspaced(text) == expected


@given(st.text(st.characters(max_codepoint=0x2FF)))
def test_western_text_gives_runs_of_word_characters(text: str) -> None:
    assert words(text) == terms(text) == runs(text) == re.findall(r"\w+", text)


@given(st.text())
def test_no_letter_and_no_digit_is_lost(text: str) -> None:
    kept = "".join(words(text))
    assert [c for c in text if c.isalnum()] == [c for c in kept if c.isalnum()]
    assert "".join(runs(text)) == kept


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("Turn 3.5 times. Wait.", 2),
        ("转3.5圈。等一下！「好。」再转。", 4),
        ("पंप बंद करें। फिर रुकें।", 2),
        ("هل هو ساخن؟ انتظر.", 2),
        ("まだ？！はい。", 2),
    ],
)
def test_sentences_end_as_each_script_ends_them(text: str, count: int) -> None:
    assert len([part for part in SENTENCE_END.split(text) if part]) == count
