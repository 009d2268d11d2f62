"""Questions, definitions and comments are found where they stand, and nothing else is taken for them."""

from __future__ import annotations

import pytest

from embexp.synthesis.stated_queries import asks, comments, definitions, questions

FAQ = (
    "Ask the helpdesk anything.\n\n"
    "**How do I reset the pump?** Hold the blue button for ten seconds until the light goes out.\n\n"
    "Is it loud?\n\nNo: it runs at forty decibels in a closed room.\n\nAny more questions?"
)
GLOSSARY = (
    "- **Backwash**: cleaning a filter by reversing the flow of water.\n"
    "Turbidity – how cloudy the water looks to an instrument.\n"
    "pH: short.\n"
    "See https://example.org: it tells more about what filters do.\n"
)
CODE = "Set it up:\n\n```sh\n# Start the pump and keep it running\npump start --daemon\n```\n\n# A heading\n"


def found(find, text):
    """Return what was found with the raw text that it stands in."""
    return [(each.text, text[each.start : each.end]) for each in find(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("How do I?", True),
        ("水泵怎么重启？", True),
        ('He asked "why?"', True),
        ("How to reset a pump", False),
    ],
)
def test_a_question_ends_with_a_question_mark_of_any_script(text, expected):
    assert asks(text) is expected


def test_questions_are_those_that_the_text_goes_on_to_answer():
    # The last question has nothing below it; the first sentence asks nothing.
    assert [text for text, _ in found(questions, FAQ)] == ["How do I reset the pump?", "Is it loud?"]


def test_definitions_are_terms_with_a_sentence_behind_them():
    # "pH: short." defines nothing in five words; an address is no term.
    assert found(definitions, GLOSSARY) == [
        ("Backwash", "**Backwash**: "),
        ("Turbidity", "Turbidity – "),
    ]


def test_comments_stand_in_code_and_headings_do_not():
    assert found(comments, CODE) == [
        ("Start the pump and keep it running", "# Start the pump and keep it running")
    ]
