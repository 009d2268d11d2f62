import pytest

from embexp.synthesis.salience import cut, sentences


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
        ("# Heading\n\nBody text.", ["Body text."]),
        ("Before.\n\n```python\ncode. Here.\n```\nAfter.", ["Before.", "After."]),
        ("Text.\n\n    indented code\n\n>>> 1 + 1\n| a | b |\n`all code`\n.. note:: x", ["Text."]),
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
