from __future__ import annotations

import pytest

from embexp.data.fences import fenced, mark_code, opens_fence


def code_of(text: str) -> list[str]:
    return [line for line, in_code in mark_code(text.split("\n")) if in_code]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("a\n```\nb\n```\nc", ["```", "b", "```"]),
        ("````\n```\nb\n```\n````\nc", ["````", "```", "b", "```", "````"]),
        ("~~~\n```\n~~~\nc", ["~~~", "```", "~~~"]),
        ("```py\nb\n`````  \nc", ["```py", "b", "`````  "]),
        ("```\nb\n``` py\nc", ["```", "b", "``` py", "c"]),
        ("``` inline ``` code\nb", []),
        ("~~~ a ` b\nc", ["~~~ a ` b", "c"]),
        ("    ```\nb", []),
        ("   ```\nb\n    ```\nc", ["   ```", "b", "    ```", "c"]),
        ("``\nb", []),
        ("```\nb", ["```", "b"]),
    ],
)
def test_fences_open_and_close_as_commonmark_says(text: str, code: list[str]) -> None:
    assert code_of(text) == code


@pytest.mark.parametrize("code", ["x", "```\nx\n```", "`````", ""])
def test_code_is_fenced_so_that_nothing_in_it_closes_the_fence(code: str) -> None:
    text = f"{fenced(code)}\nafter"
    assert [line for line, in_code in mark_code(text.split("\n")) if not in_code] == ["after"]
    assert opens_fence(text.split("\n")[0])
