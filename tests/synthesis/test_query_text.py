import pytest

from embexp.synthesis.query_text import acceptable, clean, key, words


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Cap a deque's size.", ["Cap", "a", "deque", "s", "size"]),
        ("max_len=3", ["max_len", "3"]),
        ("हिन्दी में खोज", ["हिन्दी", "में", "खोज"]),
        ("検索する", ["検", "索", "す", "る"]),
        ("", []),
    ],
)
def test_words_of_any_script(text, expected):
    assert words(text) == expected


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
        "x = {a: 1} and so on",
        "12 34 56 78 90",
        "word " * 5 + "x" * 300,
    ],
)
def test_refuses_what_is_no_query(query):
    assert not acceptable(query, least=3, most=8)


@pytest.mark.parametrize("query", ["how to cap a deque", "检索很好", "как найти файл"])
def test_accepts_queries_in_any_language(query):
    assert acceptable(query, least=3, most=8)


def test_key_ignores_case_punctuation_and_width():
    assert key("Ｈow,  to?") == key("how to") == "how to"
