"""A paragraph of Markdown as the reader of the rendered page sees it: words, without marks and addresses."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from embexp.data.fences import opens_fence
from embexp.data.readers.text import one_line

if TYPE_CHECKING:
    from markdown_it.token import Token

_TAGS = frozenset({
    "a", "abbr", "acronym", "b", "bdi", "bdo", "big", "br", "button", "center", "cite", "code", "data",
    "del", "dfn", "div", "em", "font", "i", "img", "ins", "kbd", "label", "mark", "nobr", "p", "picture",
    "q", "rp", "rt", "ruby", "s", "samp", "small", "source", "span", "strike", "strong", "sub",
    "summary", "sup", "time", "tt", "u", "var", "wbr",
})  # fmt: skip
"""Elements whose tags are left out; what else looks like a tag may be a placeholder (<name>), and stays."""
_TAG = re.compile(r"</?([A-Za-z][A-Za-z0-9-]*)[^>]*>", re.DOTALL)
_DESCRIPTION = re.compile(r"\balt\s*=\s*[\"']?[^\"'>]*\w", re.IGNORECASE)
_COMMENT = "<!--"
_WIKI_LINK = re.compile(
    r"(?<![\w\])])(!?)\[\[(?!\s)(?=[^\[\]]*[^\W\d_])([^\[\]|#]*)(#[^\[\]|]*)?(?:\|([^\[\]]*))?\]\]"
)
"""A link in a wiki or a folder of notes: ``[[Page]]``, ``[[Page#Heading|words]]``; ``![[Page]]`` embeds."""
HEADING_LINE = re.compile(r" {0,3}#{1,6}(?: |$)")


@dataclass
class Inline:
    """The texts of a file's paragraphs, what they leave out, and the links in them.

    Attributes:
        left_out: The names of what is left out: "comments", "descriptions of pictures".
        links: Words and address of each link.
    """

    left_out: set[str] = field(default_factory=set)
    links: list[tuple[str, str]] = field(default_factory=list)

    def text(self, tokens: Iterable[Token]) -> str:
        """Return the text of a paragraph's tokens, a line for each line of its source.

        Code keeps its backticks. Emphasis, tags of HTML and the addresses of links and pictures are left out;
        escapes and entities are what they stand for.
        """
        parts: list[str] = []
        opened: list[tuple[int, str]] = []
        for token in tokens:
            match token.type:
                case "link_open":
                    opened.append((len(parts), str(token.attrs.get("href", ""))))
                case "link_close" if opened:
                    start, address = opened.pop()
                    self.links.append((one_line("".join(parts[start:])), address))
                case "softbreak" | "hardbreak":
                    parts.append("\n")
                case "code_inline":
                    parts.append(_code(token))
                case "image":
                    parts.append(self.text(token.children or ()))
                case "html_inline":
                    parts.append(self._of_tag(token.content))
                case "text_special" if token.info == "escape" and token.content == "|":
                    parts.append(token.markup)  # a cell's own bar is no border
                case "text":
                    parts.append(_WIKI_LINK.sub(self._of_wiki_link, token.content))
                case "text_special":
                    parts.append(token.content)
        return "".join(parts)

    def _of_wiki_link(self, link: re.Match[str]) -> str:
        """Return the words of a link in a wiki; nothing for a page or a picture that is embedded there."""
        embedded, page, heading, given = link.groups(default="")
        if embedded:
            return ""
        words = given.strip() or page.strip() or heading.strip("# ")
        self.links.append((one_line(words), page.strip() + heading))
        return words

    def _of_tag(self, source: str) -> str:
        """Return what stands for a tag or a comment in the text."""
        if source.startswith(_COMMENT):
            if re.search(r"\w", source):
                self.left_out.add("comments")
            return ""
        tag = _TAG.fullmatch(source)
        name = tag[1].lower() if tag else ""
        if name == "br":
            return " "
        if name not in _TAGS:
            return source
        if _DESCRIPTION.search(source):
            self.left_out.add("descriptions of pictures")
        return ""


def _code(token: Token) -> str:
    """Return code between backticks, set off from backticks of its own."""
    gap = " " if token.content.startswith("`") or token.content.endswith("`") else ""
    return f"{token.markup}{gap}{token.content}{gap}{token.markup}"


def in_place(text: str, source: Sequence[str], content: str) -> list[str]:
    """Return the lines of a paragraph's text with the list signs, quotation marks and indents of its source.

    What only looks like a heading or a fence now, because it was escaped, is escaped again.

    Args:
        text: What ``Inline.text`` returns.
        source: The lines of the paragraph.
        content: The paragraph as Markdown, without those signs.
    """
    rendered, parts = text.split("\n"), content.split("\n")
    if not len(rendered) == len(parts) == len(source):
        rendered, parts, source = [one_line(text)], parts[:1], source[:1]
    lines = []
    for line, part, whole in zip(rendered, parts, source, strict=True):
        own = part.strip()
        sign = whole[: whole.rfind(own)] if own and own in whole else ""
        escape = "\\" if HEADING_LINE.match(line) or opens_fence(line) else ""
        lines.append(f"{sign}{escape}{line.strip()}")
    return lines
