"""Readers of marked-up text: HTML and reStructuredText."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from embexp.data.readers.encoding import decode
from embexp.data.readers.problems import Problems, UnreadableError
from embexp.data.readers.text import document_of, is_query, occurs_in, one_line, read_text
from embexp.data.records import Document

if TYPE_CHECKING:
    from bs4 import BeautifulSoup, Tag
    from docutils import nodes

_NO_TEXT = frozenset(("head", "script", "style", "template", "noscript", "nav", "svg", "iframe", "object"))
_PARAGRAPHS = (
    *("p", "div", "section", "article", "main", "header", "footer", "aside", "blockquote", "figure", "form"),
    *("details", "address", "hr", "ul", "ol", "dl", "table", "body"),
)
_LINES = ("dt", "dd", "tr", "caption", "summary", "figcaption")
_AROUND = {
    **dict.fromkeys(_PARAGRAPHS, ("\n\n", "\n\n")),
    **dict.fromkeys(_LINES, ("\n", "\n")),
    **dict.fromkeys(("td", "th"), ("", " | ")),
    "li": ("\n- ", ""),
    "br": ("\n", ""),
}
"""What stands before and after the text of a tag."""
_ROLE = re.compile(r":[\w:.+-]+:`([^`]+)`")
_RST_SETTINGS = {
    "file_insertion_enabled": False,
    "raw_enabled": False,
    "doctitle_xform": False,
    "docinfo_xform": False,
    "syntax_highlight": "none",
    "report_level": 5,
    "halt_level": 6,
    "line_length_limit": 1 << 30,
    "_disable_config": True,
}


def read_html(path: Path) -> Iterator[Document]:
    """Read a web page: title from its first ``<h1>`` or ``<title>``, summary from its meta description."""
    from bs4 import BeautifulSoup
    from bs4.dammit import EncodingDetector

    raw = path.read_bytes()
    declared = EncodingDetector.find_declared_encoding(raw, is_html=True)
    soup = BeautifulSoup(decode(raw, str(path), Problems(), declared=declared), "lxml")
    heading = soup.find("h1")
    title = one_line(heading.get_text(" ")) if heading else ""
    title = title or (one_line(soup.title.get_text()) if soup.title else "")
    meta = soup.find("meta", attrs={"name": "description"})
    summary = one_line(str(meta.get("content") or "")) if meta else ""
    text = _html_text(soup)
    if not is_query(summary) or occurs_in(summary, text):
        summary = ""
    yield document_of(path, text, title=title, summary=summary)


def _html_text(soup: BeautifulSoup) -> str:
    """Return a page's visible text, with Markdown marks for headings, lists, tables and code."""
    parts: list[str] = []
    line_start = True
    for part in _parts_of(soup):
        kept = part.lstrip(" ") if line_start else part
        if kept:
            parts.append(kept)
            line_start = kept.endswith("\n")
    text = re.sub(r"[ |]+\n", "\n", "".join(parts))
    return re.sub(r"\n{3,}", "\n\n", text).strip()


def _parts_of(parent: Tag) -> Iterator[str]:
    from bs4.element import NavigableString, PreformattedString, Tag

    for child in parent.children:
        if isinstance(child, Tag):
            if child.name not in _NO_TEXT:
                yield from _tag_parts(child)
        elif isinstance(child, NavigableString) and not isinstance(child, PreformattedString):
            yield re.sub(r"\s+", " ", str(child))


def _tag_parts(tag: Tag) -> Iterator[str]:
    if re.fullmatch("h[1-6]", tag.name):
        yield f"\n\n{'#' * int(tag.name[1])} {one_line(tag.get_text())}\n\n"
    elif tag.name == "pre":
        code = tag.get_text().strip("\n")
        yield f"\n\n```\n{code}\n```\n\n"
    else:
        before, after = _AROUND.get(tag.name, ("", ""))
        yield before
        yield from _parts_of(tag)
        yield after


def read_rst(path: Path) -> Iterator[Document]:
    """Read a reStructuredText file; directives include and fetch nothing."""
    from docutils.core import publish_doctree
    from docutils.utils import SystemMessage

    source = read_text(path)
    try:
        tree = publish_doctree(source, source_path=path.name, settings_overrides=_RST_SETTINGS)
    except (SystemMessage, RecursionError, ValueError) as error:
        raise UnreadableError(
            "broken file", f"{path}: not reStructuredText ({error}); fix the file."
        ) from error
    yield document_of(path, "\n\n".join(_rst_parts(tree)))


def _rst_parts(tree: nodes.document) -> Iterator[str]:
    from docutils import nodes

    for node in tree.findall(nodes.TextElement):
        parent = node.parent
        if isinstance(parent, nodes.TextElement) or isinstance(node, nodes.Invisible):
            continue
        text = _ROLE.sub(r"\1", node.astext()).strip()
        if isinstance(node, nodes.title) and isinstance(parent, nodes.section):
            yield f"{'#' * min(_depth(parent), 6)} {one_line(text)}"
        elif isinstance(node, (nodes.literal_block, nodes.doctest_block)):
            yield f"```\n{text}\n```"
        elif text and not isinstance(parent, nodes.system_message):
            yield f"- {text}" if isinstance(parent, nodes.list_item) else text


def _depth(section: nodes.Node | None) -> int:
    from docutils import nodes

    depth = 0
    while section is not None:
        depth += isinstance(section, nodes.section)
        section = section.parent
    return depth
