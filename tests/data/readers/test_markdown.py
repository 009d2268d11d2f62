from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from embexp.data.chunking import Headings
from embexp.data.links import links_of
from embexp.data.readers.markdown import read_markdown, read_mdx, read_notebook
from embexp.data.readers.problems import Problems, UnreadableError
from embexp.data.readers.reading import Reading
from embexp.data.records import Document


class Plenty:
    limit = 10_000

    def count(self, texts: list[str]) -> list[int]:
        return [len(text.split()) for text in texts]


def read(tmp_path: Path, text: str, *, mdx: bool = False, reading: Reading | None = None) -> Document:
    path = tmp_path / ("page.mdx" if mdx else "page.md")
    path.write_text(text, encoding="utf-8")
    (document,) = (read_mdx if mdx else read_markdown)(path, reading or Reading())
    return document


def titles(document: Document) -> list[str]:
    return [chunk.title for chunk in Headings().chunk(document, Plenty())]


@pytest.mark.parametrize(
    ("front", "title"),
    [
        ("---\ntitle: >-\n  How to stop\n  the crane\nkind: guide\n---\n", "How to stop the crane"),
        ("---\ntitle: 'Ada''s crane'  # a remark\n---\n", "Ada's crane"),
        ('---\ntitle: "A: b # c"\n---\n', "A: b # c"),
        ("---\ntitle: Crane\n...\n", "Crane"),
        ("\n\n---\ntitle: Crane\n---\n", "Crane"),
        ("---\r\ntitle: Crane\r\n---\r\n", "Crane"),
        ("---\ntitle: [Crane, draft]\ntags:\n- one\n---\n", "Crane, draft"),
        ("---\ntitle: 2024\n---\n", "2024"),
        ("---\ntitle:\n---\n", "page"),
        ("---\n---\n", "page"),
        ("---\n# only a remark\n---\n", "page"),
        ("---\nlayout: default\n---\n", "page"),
        ('+++\ntitle = "Crane"\n[extra]\na = [1, 2]\n+++\n', "Crane"),
        ('{\n  "title": "Crane",\n  "tags": ["a"]\n}\n', "Crane"),
        (';;;\n"title": "Crane"\n;;;\n', "Crane"),
        ('---\ntitle: Crane: the "big" one\n---\n', 'Crane: the "big" one'),
    ],
)
def test_front_matter_gives_the_title_and_leaves_the_text(tmp_path: Path, front: str, title: str) -> None:
    document = read(tmp_path, f"{front}\nStop it at once.\n")
    assert (document.title, document.text) == (title, "Stop it at once.")


def test_front_matter_that_is_not_valid_is_counted(tmp_path: Path) -> None:
    problems = Problems(quiet=True)
    read(tmp_path, "---\ntitle: a: b\n---\nText.\n", reading=Reading(problems=problems))
    assert problems.summary().startswith("1 front matter that is no YAML (page.md: ")


@pytest.mark.parametrize(
    "text",
    [
        "---\n\nA paragraph between rules.\n\n---\n\nMore.",
        "---\nOnly an opening rule.",
        "{ braces }",
        "{\nnot json\n}",
        "- a list\n- of two",
    ],
)
def test_text_that_only_looks_like_front_matter_stays(tmp_path: Path, text: str) -> None:
    assert read(tmp_path, text).text == text


@pytest.mark.parametrize(
    "code",
    [
        "````markdown\n```\n# no heading\n```\n# nor this\n````",
        "~~~~\n~~~\n# no heading\n~~~~",
        "~~~\n```\n# no heading\n~~~",
        "```py title=`x` no\n```\n# code\n```",
        "    # indented code",
        "1. Do:\n\n    ```\n    # no heading\n    ```",
        "- ```\n  # no heading\n  ```",
        "- ```\n  # no heading",
        "- Do:\n  ```sh\n  # no heading\n- Then.",
        "> ```\n> # no heading\n> ```",
        "<pre>\n# no heading\n</pre>",
        "<div>\n# no heading\n</div>",
        "``` inline ``` code",
        "`````\n# no heading\n``` not closed\n`````",
    ],
)
def test_no_heading_is_taken_out_of_code_and_none_is_lost_after_it(tmp_path: Path, code: str) -> None:
    document = read(tmp_path, f"# Guide\n\nIntro.\n\n{code}\n\n## Next\n\nNEXT.\n\n# Last\n\nLAST.\n")
    assert titles(document) == ["Guide", "Guide > Next", "Guide > Last"]
    assert "NEXT." in document.text


def test_html_in_markdown_is_read_as_text(tmp_path: Path) -> None:
    document = read(
        tmp_path,
        "<h1 align=center>Crane</h1>\n\n<!-- nobody sees\n\nthis -->\n\nBefore <!-- nor this --> after.\n\n"
        "<details><summary>More</summary>\n\nThe **seals**.\n\n</details>\n",
    )
    assert document.title == "Crane"
    assert document.text.split() == ["Before", "after.", "More", "The", "seals."]


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("Turn the **red** key, *now*.", "Turn the red key, now."),
        (r"It is \(nearly\) 2 \* 3\. AT&amp;T, LAMBDA\_NAME", "It is (nearly) 2 * 3. AT&T, LAMBDA_NAME"),
        ('See [the `guide`](a.md#x "T"), [it][1], <https://e.org>.', "See the `guide`, it, https://e.org."),
        ("![the lever](a.png) and [![a badge](b.svg)](c)", "the lever and a badge"),
        ('Keys<a name="keys"></a>: <kbd>Ctrl</kbd><br/>C, H<sub>2</sub>O, <b>x</b>', "Keys: Ctrl C, H2O, x"),
        ("Give <name> and `<b>`.", "Give <name> and `<b>`."),
        ("`` a`b `` and ``` `` ```", "``a`b`` and ``` `` ```"),
        ("+ one\n  *two*\n\n> three\n> [four\n> five](x)", "+ one\n  two\n\n> three\n> four\n> five"),
        ("| a \\| b | *c* |\n|---|---|\n| [d](e) | f |", "| a \\| b | c |\n| d | f |"),
        ("So:\n\n> a | b\n> :-- | --:\n> c | -", "So:\n\n> a | b\n> c | -"),
        ("\\# no heading, \\`\\`\\`\n\\```\ntext", "\\# no heading, ```\n\\```\ntext"),
        ("line one\\\nline two  \nline three", "line one\nline two\nline three"),
        ("[1]: http://x.org\n[^1]: note\n[INFO]: started", "[^1]: note\n[INFO]: started"),
    ],
)
def test_passages_have_the_words_of_the_rendered_page(tmp_path: Path, source: str, text: str) -> None:
    assert read(tmp_path, f"{source}\n\n[1]: http://example.org/one\n").text == text


def test_titles_and_headings_have_no_marks(tmp_path: Path) -> None:
    source = (
        '# Step 5: *Train* \\(CLI\\)<a name="5"></a>\n\nA.\n\n## [The `job`](job.md)<a name="x"></a>\n\nB.'
    )
    assert titles(read(tmp_path, source)) == ["Step 5: Train (CLI)", "Step 5: Train (CLI) > The `job`"]


def test_links_are_kept_beside_the_text(tmp_path: Path) -> None:
    source = (
        "# A\n\n- [How to *bleed*](b.md#x)\n- [Web](https://x.org), [up](#a), [it][1]\n\n[1]: ../c%20d.md\n"
    )
    assert [*links_of(read(tmp_path, source))] == [("How to bleed", "b.md#x"), ("it", "../c%20d.md")]


def test_links_of_a_folder_of_notes(tmp_path: Path) -> None:
    source = (
        "# A\n\nSee [[Bleeding the pump]], [[Valve 2.0#Seals|the seals]]. ![[plan.png]]\n\n- [[#Use]]: oil\n"
    )
    document = read(tmp_path, source)
    assert document.text == "See Bleeding the pump, the seals. \n\n- Use: oil".replace(" \n", "\n")
    assert [*links_of(document)] == [
        ("Bleeding the pump", "Bleeding the pump"),
        ("the seals", "Valve 2.0#Seals"),
    ]


@pytest.mark.parametrize("kept", ["x[[a]] = 1", "if [[ -f a ]]", "[[1]] and [[1, 2], [3, 4]]", "`[[a]]`"])
def test_brackets_that_are_no_link_stay(tmp_path: Path, kept: str) -> None:
    assert kept in read(tmp_path, f"# A\n\nIt is {kept} there.\n").text


def test_underlined_headings_are_headings(tmp_path: Path) -> None:
    assert titles(read(tmp_path, "Guide\n=====\n\nIntro.\n\nPart\n----\n\nText.\n")) == [
        "Guide",
        "Guide > Part",
    ]


MDX = """---
title: Crane
---
import Tabs from '@theme/Tabs'
import {
  Note,
} from "./note"

export const speed = 3

{/* nobody sees this */}

# Crane

<Tabs groupId="os" items={['a', 'b']}>
  <Note kind="x">Keep out.</Note>
</Tabs>

Turn the <Key>red</Key> key: imports are `import x`.

```js
import kept from 'code'
```

<Chart data={{a: [1, 2]}}/>
"""


def test_mdx_is_read_without_its_program(tmp_path: Path) -> None:
    text = read(tmp_path, MDX, mdx=True).text
    assert "Keep out." in text
    assert "Turn the red key: imports are `import x`." in text
    assert "```js\nimport kept from 'code'\n```" in text
    assert not [part for part in ("Tabs", "note", "speed", "nobody", "Chart", "<") if part in text]


def notebook(tmp_path: Path, content: Any) -> Path:
    path = tmp_path / "page.ipynb"
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def cells(*parts: dict[str, Any], minor: int = 4) -> dict[str, Any]:
    return {"nbformat": 4, "nbformat_minor": minor, "metadata": {}, "cells": list(parts)}


def test_a_notebook_is_read_with_its_code_and_text_outputs(tmp_path: Path) -> None:
    outputs = [
        {"output_type": "stream", "name": "stdout", "text": ["42\n"]},
        {"output_type": "execute_result", "execution_count": 1, "metadata": {}, "data": {"text/plain": "7"}},
        {"output_type": "display_data", "metadata": {}, "data": {"image/png": "AAAA"}},
    ]
    path = notebook(
        tmp_path,
        cells(
            {"cell_type": "markdown", "metadata": {}, "source": ["# Crane\n", "Its speed."]},
            {
                "cell_type": "code",
                "metadata": {},
                "execution_count": 1,
                "source": "# speed\n6*7",
                "outputs": outputs,
            },
        ),
    )
    (document,) = read_notebook(path, Reading())
    assert document.title == "Crane"
    assert document.text == "Its speed.\n\n```\n# speed\n6*7\n```\n\n```\n42\n```\n\n```\n7\n```"


def test_an_old_notebook_is_read(tmp_path: Path) -> None:
    sheet = {"cells": [{"cell_type": "markdown", "metadata": {}, "source": "Old words."}], "metadata": {}}
    path = notebook(
        tmp_path, {"nbformat": 3, "nbformat_minor": 0, "metadata": {"name": ""}, "worksheets": [sheet]}
    )
    (document,) = read_notebook(path, Reading())
    assert document.text == "Old words."


@pytest.mark.parametrize("content", ["{}", "[]", "no json", '{"nbformat": 4}', '{"nbformat": 4, "cells": 3}'])
def test_what_is_no_notebook_is_an_error_that_names_it(tmp_path: Path, content: str) -> None:
    with pytest.raises(UnreadableError, match=r"page.ipynb: not a Jupyter notebook"):
        list(read_notebook(notebook(tmp_path, content), Reading()))


def test_a_notebook_may_begin_with_front_matter(tmp_path: Path) -> None:
    raw = {"cell_type": "raw", "metadata": {}, "source": "---\ntitle: Crane\n---"}
    path = notebook(tmp_path, cells(raw, {"cell_type": "markdown", "metadata": {}, "source": "It lifts."}))
    (document,) = read_notebook(path, Reading())
    assert (document.title, document.text) == ("Crane", "It lifts.")


COMMENT = "page.md: comments"
HIDDEN = "page.md: hidden text"
PICTURE = "page.md: descriptions of pictures"
COMPONENT = "page.mdx: texts in tags of components"


@pytest.mark.parametrize(
    ("source", "left_out"),
    [
        ("Lift.\n\n<!-- SECRET -->\n", COMMENT),
        ("Lift <!-- SECRET --> it.", COMMENT),
        ("## Lift <!-- SECRET -->\n\nIt.", COMMENT),
        ("- Lift\n\n  <!-- SECRET -->\n", COMMENT),
        ("<div>Lift<p hidden>SECRET</p></div>", HIDDEN),
        ('<div>Lift<img src="a.png" alt="SECRET"></div>', PICTURE),
        ("Lift.\n\n<!-- SECRET -->\n\n<p hidden>SECRET</p>\n", f"{COMMENT}, hidden text"),
        ("Lift.\n\n{/* SECRET */}\n", "page.mdx: comments"),
        ('<Card title="SECRET">\n\nLift.\n\n</Card>', COMPONENT),
        ('Lift <Key label={"SECRET"} /> it.', COMPONENT),
    ],
)
def test_what_is_left_out_of_markdown_is_counted(tmp_path: Path, source: str, left_out: str) -> None:
    problems = Problems(quiet=True)
    document = read(tmp_path, source, mdx="mdx" in left_out, reading=Reading(problems=problems))
    assert "Lift" in f"{document.title} {document.text}"
    assert "SECRET" not in f"{document.title} {document.text}"
    reason = "Markdown file without its comments, hidden text or texts in tags"
    assert problems.summary() == f"1 {reason} ({left_out})"


@pytest.mark.parametrize(
    "source",
    [
        "Lift ![the red lever](a.png) it.",
        "```html\n<!-- the red lever -->\n```",
        '<div>the red lever<img src="a.png" alt=""></div>\n\n<!-- -->\n',
        '<Card icon="x" size={3}>\n\nthe red lever\n\n</Card>',
    ],
)
def test_nothing_is_counted_where_no_text_is_left_out(tmp_path: Path, source: str) -> None:
    problems = Problems(quiet=True)
    document = read(tmp_path, source, mdx="Card" in source, reading=Reading(problems=problems))
    assert "the red lever" in document.text
    assert problems.summary() == ""


def test_a_notebook_counts_its_comments(tmp_path: Path) -> None:
    problems = Problems(quiet=True)
    path = notebook(
        tmp_path, cells({"cell_type": "markdown", "metadata": {}, "source": "Lift <!-- no --> it."})
    )
    (document,) = read_notebook(path, Reading(problems=problems))
    assert document.text == "Lift  it."
    assert "(page.ipynb: comments)" in problems.summary()
