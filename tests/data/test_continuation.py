"""What a passage repeats of the table or the code block that it continues."""

from __future__ import annotations

import pytest

from embexp.data.continuation import Continuation


def after(text: str) -> Continuation:
    follow = Continuation()
    follow.read(text)
    return follow


@pytest.mark.parametrize(
    ("read", "text", "overlap", "line"),
    [
        ("Prose.\n", "More prose.", "", ""),
        ("| a | b |\n| 1 | 2 |\n", "| 3 | 4 |\n", "", "| a | b |\n"),
        ("| a | b |\n| 1 | 2 |\n", "Prose.", "", ""),
        ("| a | b |\nProse.\n", "| 3 | 4 |", "", ""),
        ("```sh\n| a | b |\n", "| 1 | 2 |", "", "```sh\n"),
        ("Run:\n```sh\nstart\n", "stop\n", "start\n", "```sh\n"),
        ("Run:\n```sh\nstart\n", "stop\n", "Run:\n```sh\nstart\n", ""),
        ("```sh\nstart\n```\nWait.\n", "More.", "start\n```\nWait.\n", "```sh\n"),
        ("```sh\nstart\n```\nWait.\n", "More.", "Wait.\n", ""),
    ],
)
def test_what_a_passage_begins_with(read: str, text: str, overlap: str, line: str) -> None:
    assert after(read).before(text, overlap) == line


@pytest.mark.parametrize(
    ("text", "completed"),
    [
        ("Prose.\n", "Prose.\n"),
        ("~~~~\nstart\n", "~~~~\nstart\n~~~~"),
        ("Run:\n```sh\n", "Run:"),
        ("```\nstart\n```\n", "```\nstart\n```\n"),
    ],
)
def test_a_passage_that_ends_within_code_is_completed(text: str, completed: str) -> None:
    assert after(text).completed(text) == completed


def test_a_fence_alone_closes_its_block() -> None:
    assert after("```sh\nstart\n").closes("```\n\n")
    assert not after("```sh\nstart\n").closes("```\nProse.")
    assert not after("````\nstart\n").closes("```")
    assert not after("Prose.\n").closes("```")
