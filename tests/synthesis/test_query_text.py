from __future__ import annotations

import pytest

from embexp.synthesis.query_text import (
    acceptable,
    chatter,
    clean,
    is_refusal,
    key,
    tidy_passage,
    tidy_query,
)


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("- List *all* files:", "List all files"),
        ("> See [the guide](https://x.org/a).", "See the guide."),
        ("Use `len(x)` on <b>lists</b> &amp; sets", "Use len(x) on lists & sets"),
        ("Calls :func:`os.path.join` once", "Calls os.path.join once"),
        ("## 3. Installing\n  the tool", "Installing the tool"),
        ("![logo](a.png) Hello", "Hello"),
        ("keeps snake_case and a * b", "keeps snake_case and a * b"),
    ],
)
def test_clean_takes_markup_off(raw, expected):
    assert clean(raw) == expected


@pytest.mark.parametrize(
    "query",
    [
        "too short",
        "one two three four five six seven eight nine",
        "read more at https://example.org now",
        "write to me@example.org about it",
        "123.dkr.ecr.west-2.example.com/neo-mxnet:[cpu/gpu]-py3",
        "x = {a: 1} and so on",
        "12 34 56 78 90",
        "word " * 5 + "x" * 300,
    ],
)
def test_refuses_what_is_no_query(query):
    assert not acceptable(query, least=3, most=8)


@pytest.mark.parametrize(
    "query", ["how to cap a deque", "検索 and/or node.js/express", "检索很好", "как найти файл"]
)
def test_accepts_queries_in_any_language(query):
    assert acceptable(query, least=3, most=8)


def test_key_ignores_case_punctuation_and_width():
    assert key("Ｈow,  to?") == key("how to") == "how to"


@pytest.mark.parametrize(
    ("text", "query"),
    [
        ('1. "How do I cap a deque?"', "How do I cap a deque?"),
        ("**Question 2:** What is `foo`?", "What is foo?"),
        ("Search query: cap  a\ndeque", "cap a deque"),
        ("- > Q: «why?»", "why?"),
        ("# A heading", "A heading"),
        ('What is the "best" way?', 'What is the "best" way?'),
        ("don't panic", "don't panic"),
        ("a\u0000b\u202ec\ufeff", "abc"),
        ("3 ways to leave", "3 ways to leave"),
        ("  ", ""),
    ],
)
def test_wrapping_is_taken_off_a_query(text: str, query: str) -> None:
    assert tidy_query(text) == query


@pytest.mark.parametrize(
    ("text", "passage"),
    [
        ('"A whole  passage."', "A whole passage."),
        ("Passage: **Bold** text.\n\n\n\nNext.", "Bold text.\n\nNext."),
        ("# Heading\nBody\u0007.", "Heading\nBody."),
    ],
)
def test_wrapping_is_taken_off_a_passage(text: str, passage: str) -> None:
    assert tidy_passage(text) == passage


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("Here are five questions about deques", "chatter: 'Here are'"),
        ("Here's what you asked for", 'chatter: "Here\'s"'),
        ("Sure! How do I cap a deque", "chatter: 'Sure!'"),
        ("Great question! Let us see", "chatter: 'Great question!'"),
        ("As an AI language model I have no opinion", "refusal"),
        ("I'm sorry, but I cannot do this", "refusal"),
        ("I cannot assist with that", "refusal"),
        ("I’m unable to help", "refusal"),
        ("What does the passage say about deques?", "chatter: 'the passage'"),
        ("According to the text, what is a deque?", "chatter: 'According to the text'"),
        ("what is in passage 2", "chatter: 'passage 2'"),
        ("<script>alert(1)</script>", "markup or formula: '<script'"),
        ("=HYPERLINK(evil)", "markup or formula: '='"),
        ('{"query": "x"}', "a piece of JSON"),
        ("I cannot log in to my account", None),
        ("sure fit helmets for children", None),
        ("what marks the passage of time", None),
        ("Why does the app write: bike not found?", None),
    ],
)
def test_chatter_and_refusals_are_recognised(text: str, why: str | None) -> None:
    assert chatter(text) == why


def test_a_refusal_is_looked_for_in_the_beginning_only() -> None:
    assert not is_refusal("word " * 1000 + "as an AI language model")
