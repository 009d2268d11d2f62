"""Reader of web pages: their main part, without what is hidden."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import escape
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING

from embexp.data.fences import fenced, mark_code
from embexp.data.readers.encoding import decode
from embexp.data.readers.problems import Problems
from embexp.data.readers.reading import Reading, stream_of
from embexp.data.readers.text import document_of, is_query, occurs_in, one_line
from embexp.data.records import Document
from embexp.data.words import words

if TYPE_CHECKING:
    from lxml.html import HtmlElement

_NO_TEXT = frozenset(("head", "script", "style", "template", "noscript", "svg", "iframe", "object", "math"))
_BOILERPLATE = frozenset(("nav", "footer", "button"))
_BOILERPLATE_ROLES = frozenset(("navigation", "contentinfo", "search"))
_CONSENT = re.compile(
    r"(?:cookies?|gdpr|consent|privacy)[-_]?(?:banner|bar|box|consent|dialog|law|message|modal|notice|popup|overlay)"
    r"|(?:^|\s)cc-window",
    re.IGNORECASE,
)
_HIDDEN_STYLE = re.compile(r"(?:^|;)\s*(?:display\s*:\s*none|visibility\s*:\s*hidden)", re.IGNORECASE)
_PARAGRAPHS = (
    *("p", "div", "section", "article", "main", "header", "footer", "aside", "blockquote", "figure", "form"),
    *("details", "address", "hr", "ul", "ol", "dl", "table", "body", "nav"),
)
_LINES = ("caption", "summary", "figcaption", "option")
_ROWS = ("tr", "dt", "dd")
"""What stands in rows of its own kind only, so that the line before it is ended."""
_AROUND = {
    **dict.fromkeys(_PARAGRAPHS, ("\n\n", "\n\n")),
    **dict.fromkeys(_LINES, ("\n", "\n")),
    **dict.fromkeys(_ROWS, ("\n", "")),
    **dict.fromkeys(("td", "th"), ("", " | ")),
    "li": ("\n- ", ""),
    "br": ("\n", ""),
}
"""What stands before and after the text of a tag."""
_DEPTH = 2_000
"""The parser drops what lies deeper than 2,048 tags."""
_MIN_MAIN_WORDS = 100
_MIN_MAIN_SHARE = 0.5
_DECLARED = re.compile(
    rb"""^\s*<\?xml[^>]*?encoding\s*=\s*["']([\w.:-]+)|<meta[^>]+?charset\s*=\s*["']?\s*([\w.:-]+)""",
    re.IGNORECASE,
)
_HEAD_BYTES = 4096


def read_html(path: Path, reading: Reading) -> Iterator[Document]:
    """Read a web page: title from its first ``<h1>`` or ``<title>``, summary from its meta description."""
    raw = stream_of(path).getvalue()
    declared = _DECLARED.search(raw[:_HEAD_BYTES])
    name = next(filter(None, declared.groups())).decode("ascii") if declared else None
    source = decode(raw, str(path), reading.problems, encoding=reading.encoding, declared=name)
    page = parse_html(source)
    if page is None:
        yield document_of(path, "")
        return
    title = _title(page, drop=reading.main_content)
    meta = page.find(".//meta[@name='description']")
    summary = one_line(meta.get("content") or "") if meta is not None else ""
    text = _main_text(page, source) if reading.main_content else html_text(page)
    _count_left_out(page, text, path, reading)
    if describes_pictures(page):
        reading.problems.count("web page without the descriptions of its pictures", path.name)
    if not is_query(summary) or occurs_in(summary, text):
        summary = ""
    yield document_of(path, text, title=title, summary=summary, links=_links(page))


def _links(page: HtmlElement) -> Iterator[tuple[str, str]]:
    """Yield the words and the address of each link of a page."""
    for anchor in page.iter("a"):
        yield one_line(anchor.text_content()), anchor.get("href") or "#"


def parse_html(source: str) -> HtmlElement | None:
    """Return the tree of a page, or None where it has no element at all.

    A page that is nested deeper than the parser goes is read without its structure, since nothing of its text
    may be lost.
    """
    from lxml import etree

    # A declaration of an encoding is wrong by now, and lxml refuses it in text.
    source = re.sub(r"^\s*<\?xml[^>]*\?>", "", source)
    if not source.strip():
        return None
    try:
        page = _parsed(source)
    except etree.ParserError:
        return None
    if _depth(page) >= _DEPTH:
        paragraphs = (f"<p>{escape(part)}</p>" for part in _Flat.paragraphs_of(source) if part.strip())
        page = _parsed("".join(paragraphs) or "<p></p>")
    return page


def _parsed(source: str) -> HtmlElement:
    from lxml import html

    return html.document_fromstring(
        source.encode("utf-8", "replace"), parser=html.HTMLParser(huge_tree=True, encoding="utf-8")
    )


def _depth(page: HtmlElement) -> int:
    from lxml import etree

    deepest = depth = 0
    for event, _ in etree.iterwalk(page, events=("start", "end")):
        depth += 1 if event == "start" else -1
        deepest = max(deepest, depth)
    return deepest


class _Flat(HTMLParser):
    """Collects the texts between tags, however deep."""

    def __init__(self) -> None:
        super().__init__()
        self._parts: list[str] = []
        self._skipped = ""

    @classmethod
    def paragraphs_of(cls, source: str) -> list[str]:
        flat = cls()
        flat.feed(source)
        flat.close()
        return "".join(flat._parts).split("\0")

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:  # noqa: ARG002
        if not self._skipped and tag in _NO_TEXT:
            self._skipped = tag
        self._divide(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag == self._skipped:
            self._skipped = ""
        self._divide(tag)

    def handle_data(self, data: str) -> None:
        if not self._skipped:
            self._parts.append(data.replace("\0", ""))

    def _divide(self, tag: str) -> None:
        if tag in _AROUND and self._parts and self._parts[-1] != "\0":
            self._parts.append("\0")


def _title(page: HtmlElement, *, drop: bool) -> str:
    """Return the first heading, of the main part if there is one, or what the page declares as its title."""
    for part in (*_declared_parts(page), page):
        for heading in part.iter("h1"):
            if title := _line(heading, drop=drop, hidden=False):
                return title
    declared = page.find(".//title")
    return one_line(str(declared.text_content())) if declared is not None else ""


def _main_text(page: HtmlElement, source: str) -> str:
    return _declared_main(page) or _found_main(html_text(page, drop=True), source)


def _count_left_out(page: HtmlElement, text: str, path: Path, reading: Reading) -> None:
    """Count the page if a part of its text is left out, and say how much."""
    letters, kept = _letters(html_text(page, hidden=True)), _letters(text)
    if kept < letters:
        share = f"{path.name}: {(letters - kept) / letters:.0%} of its letters"
        reading.problems.count("web page without its navigation, hidden text and other boilerplate", share)


def hides_text(page: HtmlElement) -> bool:
    """Return whether a page has text that its reader does not see."""
    return _letters(html_text(page)) < _letters(html_text(page, hidden=True))


def describes_pictures(page: HtmlElement) -> bool:
    """Return whether a picture of a page has a description, which is not read."""
    return any(str(text).strip() for text in page.xpath("//@alt"))


def count_left_out(page: HtmlElement, what: str, where: str, problems: Problems) -> None:
    """Count what the reader of a page leaves out: hidden text and the descriptions of pictures.

    Args:
        page: The page.
        what: What the page is, for the count: ``EPUB chapter``.
        where: The file, for the count's examples.
        problems: The counts.
    """
    if hides_text(page):
        problems.count(f"{what} without its hidden text", where)
    if describes_pictures(page):
        problems.count(f"{what} without the descriptions of its pictures", where)


def _letters(text: str) -> int:
    return sum(map(str.isalnum, text))


def _declared_main(page: HtmlElement) -> str:
    """Return the text of what a page declares as its main part; an empty string where it declares none."""
    return "\n\n".join(filter(None, (html_text(part, drop=True) for part in _declared_parts(page))))


def _declared_parts(page: HtmlElement) -> list[HtmlElement]:
    found = page.xpath("//main | //*[@role='main']") or page.xpath("//article")
    return [part for part in found if not any(above in found for above in part.iterancestors())]


def _found_main(text: str, source: str) -> str:
    """Return the lines of a page that trafilatura counts as its main part; all where no part stands out."""
    import logging

    import trafilatura

    logging.getLogger("trafilatura").setLevel(logging.CRITICAL)  # it logs pages without a main part as errors
    extracted = trafilatura.extract(source, favor_recall=True, include_tables=True, include_comments=False)
    main = words((extracted or "").casefold())
    if len(main) < _MIN_MAIN_WORDS or len(main) < _MIN_MAIN_SHARE * len(words(text)):
        return text
    wanted = f" {' '.join(main)} "
    kept: list[str] = []
    headings: list[str] = []
    for line, in_code in mark_code(text.split("\n")):
        probe = " ".join(words(line.casefold()))
        if line.startswith("#") and not in_code:
            headings.append(line)  # kept with what follows
        elif in_code or not probe or f" {probe} " in wanted:
            if probe:
                kept += [part for heading in headings for part in (heading, "")]
                headings = []
            kept.append(line)
        elif headings and not kept:
            headings = headings[:1]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(kept)).strip()


def html_text(root: HtmlElement, *, drop: bool = False, hidden: bool = False) -> str:
    """Return the visible text below a tag, with Markdown marks for headings, lists, tables and code.

    Args:
        root: The page, or a part of it.
        drop: Leave navigation, footers and cookie banners out.
        hidden: Return hidden text too.
    """
    parts: list[str] = []
    blank_before = True
    for part in _parts_of(root, drop=drop, hidden=hidden):
        kept = part.lstrip(" ") if blank_before else part
        if kept:
            parts.append(kept)
            blank_before = kept.endswith((" ", "\n"))
    text = re.sub(r"[ |]+\n", "\n", "".join(parts))
    return re.sub(r"\n{3,}", "\n\n", text).strip()


def _parts_of(root: HtmlElement, *, drop: bool, hidden: bool) -> Iterator[str]:
    from lxml import etree

    walker = etree.iterwalk(root, events=("start", "end", "comment", "pi"))
    whole: list[HtmlElement] = []  # the tag whose text is yielded in one piece
    for event, tag in walker:
        if event == "start":
            text = _whole(tag, drop=drop, hidden=hidden)
            if text is not None:
                walker.skip_subtree()
                whole.append(tag)
                yield text
            else:
                yield _AROUND.get(tag.tag, ("", ""))[0]
                yield _spaced(tag.text)
            continue
        if event == "end":
            if whole and whole[-1] is tag:
                whole.pop()
            else:
                yield _AROUND.get(tag.tag, ("", ""))[1]
        if tag is not root:
            yield _spaced(tag.tail)


def _spaced(text: str | None) -> str:
    return re.sub(r"\s+", " ", text or "")


def _whole(tag: HtmlElement, *, drop: bool, hidden: bool) -> str | None:
    """Return the text of a tag that is not walked through: hidden, a heading or code."""
    name = str(tag.tag)
    if _left_out(tag, drop=drop, hidden=hidden):
        return ""
    if re.fullmatch("h[1-6]", name):
        heading = _line(tag, drop=drop, hidden=hidden)
        return f"\n\n{'#' * int(name[1])} {heading}\n\n" if heading else ""
    if name == "pre":
        code = "".join(_strings(tag, drop=drop, hidden=hidden))
        return f"\n\n{fenced(code.strip(chr(10)))}\n\n"
    return None


def _line(tag: HtmlElement, *, drop: bool, hidden: bool) -> str:
    return one_line("".join(_strings(tag, drop=drop, hidden=hidden)))


def _strings(tag: HtmlElement, *, drop: bool, hidden: bool) -> Iterator[str]:
    """Yield the strings below a tag that ``html_text`` would show."""
    from lxml import etree

    walker = etree.iterwalk(tag, events=("start", "end", "comment", "pi"))
    for event, inner in walker:
        if event == "start":
            if inner is not tag and _left_out(inner, drop=drop, hidden=hidden):
                walker.skip_subtree()
            else:
                yield "\n" if inner.tag == "br" else (inner.text or "")
        elif inner is not tag:
            yield inner.tail or ""


def _left_out(tag: HtmlElement, *, drop: bool, hidden: bool) -> bool:
    return tag.tag in _NO_TEXT or (not hidden and _hidden(tag)) or (drop and _boilerplate(tag))


def _hidden(tag: HtmlElement) -> bool:
    return (
        tag.get("hidden") is not None
        or bool(_HIDDEN_STYLE.search(tag.get("style") or ""))
        or (tag.tag == "dialog" and tag.get("open") is None)
    )


def _boilerplate(tag: HtmlElement) -> bool:
    named = f"{tag.get('id') or ''} {tag.get('class') or ''}"
    return (
        tag.tag in _BOILERPLATE
        or (tag.get("role") or "").lower() in _BOILERPLATE_ROLES
        or (tag.tag not in ("html", "body") and bool(_CONSENT.search(named)))
    )
