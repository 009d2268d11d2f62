"""The joined patterns find what each pattern finds alone."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from embexp.synthesis.chatter_patterns import CHATTER, REFUSALS, chatter_pattern, refusal_pattern

PATTERNS = [(pattern, refusal_pattern) for pattern in REFUSALS]
PATTERNS += [(pattern, chatter_pattern) for pattern in CHATTER]


@pytest.mark.parametrize(("pattern", "joined"), PATTERNS, ids=[pattern[:40] for pattern, _ in PATTERNS])
@settings(max_examples=10)
@given(data=st.data())
def test_whatever_a_pattern_matches_is_found(
    pattern: str, joined: Callable[[], re.Pattern[str]], data: st.DataObject
) -> None:
    text = data.draw(st.from_regex(pattern)).lower()
    assume(re.search(pattern, text))
    assert joined().search(text)


@given(text=st.text())
def test_what_no_pattern_matches_is_not_found(text: str) -> None:
    for patterns, joined in ((REFUSALS, refusal_pattern), (CHATTER, chatter_pattern)):
        found = any(re.search(pattern, text.lower()) for pattern in patterns)
        assert found == bool(joined().search(text.lower()))
