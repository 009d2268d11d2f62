from __future__ import annotations

from pathlib import Path

import pytest

from embexp.data.links import links_of
from embexp.data.readers.markup import read_asciidoc, read_rst
from embexp.data.readers.reading import Reading


def rst(tmp_path: Path, source: str) -> str:
    path = tmp_path / "page.rst"
    path.write_text(source, encoding="utf-8")
    (document,) = read_rst(path, Reading())
    return document.text


def adoc(tmp_path: Path, source: str) -> str:
    path = tmp_path / "page.adoc"
    path.write_text(source, encoding="utf-8")
    (document,) = read_asciidoc(path, Reading())
    return document.text


GRID = """
+------+-------+
| Part | Shelf |
+======+=======+
| Belt | 12    |
+------+-------+
| Fuse | 90    |
+------+-------+
"""


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (GRID, "Part | Shelf\nBelt | 12\nFuse | 90"),
        (
            "====  =====\nPart  Shelf\n====  =====\nBelt  12\nFuse  90\n====  =====\n",
            "Part | Shelf\nBelt | 12\nFuse | 90",
        ),
        (
            ".. list-table:: Stock\n   :widths: 1 1\n\n   * - Part\n     - Shelf\n   * - Belt\n     - 1\n",
            "Stock\n\nPart | Shelf\nBelt | 1",
        ),
        ('.. csv-table::\n   :header: "Part", "Shelf"\n\n   Belt, 12\n', "Part | Shelf\nBelt | 12"),
        (".. note:: It is hot.\n", "It is hot."),
        (".. note::\n   :class: loud\n\n   It is hot.\n", "It is hot."),
        (".. deprecated:: 2.1\n   Use the crane.\n", "2.1\nUse the crane."),
        (".. tabs::\n\n   .. tab:: Oslo\n      :sync: a\n\n      Text of Oslo.\n", "Oslo\n\nText of Oslo."),
        (
            ".. py:method:: start(speed)\n\n   Start it.\n\n   :param speed: in turns\n",
            "start(speed)\n\nStart it.\n\nparam speed: in turns",
        ),
        (".. glossary::\n\n   jib\n      The arm.\n", "jib\n\nThe arm."),
        (
            ".. code-block:: sh\n   :linenos:\n   :caption: Run\n\n   # no heading\n   run\n",
            "```\n# no heading\nrun\n```",
        ),
        (".. toctree::\n   :maxdepth: 2\n\n   intro\n", ""),
        (".. literalinclude:: secret.py\n", ""),
        (".. figure:: a.png\n   :alt: A crane\n\n   The caption.\n", "A crane\n\nThe caption."),
        (
            "See :ref:`the top <top>`, :kbd:`Ctrl+C` and :py:class:`Crane`.\n",
            "See the top, Ctrl+C and Crane.",
        ),
        ("Jib\n   The arm.\n", "Jib\n\nThe arm."),
        ("| one\n| two\n", "one\n\ntwo"),
        ("* one\n\n  more\n* two\n", "- one\n\nmore\n\n- two"),
        ("Text [1]_.\n\n.. [1] A footnote.\n", "Text 1.\n\n1\n\nA footnote."),
        (".. note::\n\n   ::\n\n      a ``` b\n", "````\na ``` b\n````"),
        ("::\n\n   ```\n   x\n", "````\n```\nx\n````"),
    ],
)
def test_rst_is_read_in_order(tmp_path: Path, source: str, expected: str) -> None:
    (tmp_path / "secret.py").write_text("SECRET")
    assert rst(tmp_path, source) == expected


@pytest.mark.parametrize(
    "source",
    [
        ".. py:function:: f\n   :param a: KEPT text\n",
        "+--+\n| KEPT\n",
        "*KEPT",
        "KEPT\n=\n",
        ".. unknown::\n   KEPT\n",
        "`KEPT <http://x.org>`_ and :unknown:`KEPT`",
        "|KEPT|",
    ],
)
def test_flawed_rst_loses_no_text(tmp_path: Path, source: str) -> None:
    path = tmp_path / "page.rst"
    path.write_text(source, encoding="utf-8")
    (document,) = read_rst(path, Reading())
    assert "KEPT" in f"{document.title}\n{document.text}"


ADOC = """= Crane guide
Ada <ada@x.org>
:toc: left

// nobody sees this
////
nor this
////
Intro to the link:plan.html[plan] of https://x.org[the site].

== Use

include::secret.adoc[]

.Steps
* Oil it.
** Wait.
. Turn it.

[source,sh]
----
# no heading
= nor this
----

NOTE: It is <<hot,very hot>>.

|===
|Part |Shelf

|Belt
|12
|===

image::crane.png[The crane,300]

=== Deep ===
End.
"""


def test_asciidoc(tmp_path: Path) -> None:
    (tmp_path / "secret.adoc").write_text("SECRET")
    text = adoc(tmp_path, ADOC)
    assert "Intro to the plan of the site." in text
    assert "## Use" in text
    assert "### Deep\nEnd." in text
    assert "Steps\n- Oil it.\n- Wait.\n- Turn it." in text
    assert "```\n# no heading\n= nor this\n```" in text
    assert "NOTE: It is very hot." in text
    assert "Part | Shelf" in text
    assert "Belt\n12" in text
    assert "The crane" in text
    assert not [part for part in ("nobody", "nor this\n////", "SECRET", ":toc:", "|===") if part in text]


@pytest.mark.parametrize("source", ["----\nopen", "```\nopen", "|===\n|open", "open"])
def test_asciidoc_blocks_that_never_close_lose_no_text(tmp_path: Path, source: str) -> None:
    assert "open" in adoc(tmp_path, source)


def test_what_a_page_tells_sphinx_is_no_text(tmp_path: Path) -> None:
    assert rst(tmp_path, ":orphan:\n:Author: Ada\n:tocdepth: 2\n\nOil it.\n") == "Author: Ada\n\nOil it."


def test_links_of_rst_are_kept_beside_the_text(tmp_path: Path) -> None:
    path = tmp_path / "page.rst"
    path.write_text(
        "See `how to bleed it <bleed.html#x>`_, :doc:`the valve </guide/valve>`, :doc:`pump`, the plan_, "
        ":ref:`a place <place>` and `the web <https://x.org>`_.\n\n.. _plan: ../plan.rst\n",
        encoding="utf-8",
    )
    (document,) = read_rst(path, Reading())
    assert [*links_of(document)] == [
        ("how to bleed it", "bleed.html#x"),
        ("the valve", "/guide/valve"),
        ("plan", "../plan.rst"),
    ]
    assert "the valve, pump, the plan, a place and the web." in document.text


def test_links_of_asciidoc_are_kept_beside_the_text(tmp_path: Path) -> None:
    path = tmp_path / "page.adoc"
    source = (
        "See xref:bleed.adoc#x[how to bleed it], link:plan.html[the plan], link:https://x.org[the web].\n"
    )
    path.write_text(source, encoding="utf-8")
    (document,) = read_asciidoc(path, Reading())
    assert [*links_of(document)] == [("how to bleed it", "bleed.adoc#x"), ("the plan", "plan.html")]
