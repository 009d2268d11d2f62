"""Readers of other markup for documentation: reStructuredText and AsciiDoc."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from embexp.data.fences import fenced
from embexp.data.readers.problems import UnreadableError
from embexp.data.readers.reading import Reading
from embexp.data.readers.text import document_of, one_line, read_text
from embexp.data.records import Document

if TYPE_CHECKING:
    from docutils import nodes

_DIRECTIVE = re.compile(r"^\s*\.\. (?:\|[^|]+\| )?([\w:.+-]+)::", re.MULTILINE)
_ROLE = re.compile(r":([a-zA-Z][\w:.+-]*):`")
_ROLE_TEXT = re.compile(r"(?s)^(?P<words>.*?)\s*<(?P<target>[^<>]*)>$")
_CODE_DIRECTIVES = frozenset(("code", "code-block", "sourcecode", "prompt", "ipython", "doctest", "testcode"))
_NO_TEXT_DIRECTIVES = frozenset(
    (
        *("toctree", "contents", "index", "highlight", "currentmodule", "module", "default-role"),
        *("automodule", "autoclass", "autofunction", "automethod", "autosummary", "literalinclude"),
        *("default-domain", "tabularcolumns"),
    )
)
_PAGE_OPTIONS = frozenset(("orphan", "tocdepth", "nocomments", "nosearch", "no-search"))
"""Fields at the top of a page that tell Sphinx how to show it."""
_DEEPEST = 400
"""The parser copies what is indented once for each level."""
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


def read_rst(path: Path, reading: Reading) -> Iterator[Document]:
    """Read a reStructuredText file; directives include and fetch nothing, and Sphinx's are read as text.

    Raises:
        UnreadableError: The parser gives up.
    """
    from docutils.core import publish_doctree
    from docutils.utils import SystemMessage

    source = read_text(path, reading.problems, encoding=reading.encoding)
    if nested := re.search(rf"^[ \t]{{{_DEEPEST},}}\S", source, re.MULTILINE):
        line = source.count("\n", 0, nested.start()) + 1
        message = f"{path}:{line}: indented by more than {_DEEPEST} characters; no such nesting is read."
        raise UnreadableError("broken file", message)
    _register_unknown(source)
    try:
        tree = publish_doctree(source, source_path=path.name, settings_overrides=_RST_SETTINGS)
        text = "\n\n".join(part for part in _rst_blocks(tree) if part.strip())
    except (SystemMessage, RecursionError, ValueError) as error:
        raise UnreadableError(
            "broken file", f"{path}: not reStructuredText ({error}); fix the file."
        ) from error
    yield document_of(path, text, links=_rst_links(tree))


def _rst_links(tree: nodes.document) -> Iterator[tuple[str, str]]:
    """Yield the words and the address of each link."""
    from docutils import nodes

    for link in tree.findall(nodes.reference):
        if address := link.get("refuri"):
            yield one_line(link.astext()), address


def _register_unknown(source: str) -> None:
    """Teach docutils the directives and roles of a file that it does not know, which are Sphinx's mostly."""
    from docutils.parsers.rst import directives, roles
    from docutils.parsers.rst.languages import en

    for name in {name.lower() for name in _DIRECTIVE.findall(source)}:
        if name in _CODE_DIRECTIVES or name not in en.directives:
            directives.register_directive(name, _directive_class(code=name in _CODE_DIRECTIVES))
    for name in {name.lower() for name in _ROLE.findall(source)}:
        if name not in en.roles:
            roles.register_local_role(name, _role)


def _role(
    name: str,
    rawtext: str,
    text: str,
    lineno: int,  # noqa: ARG001 - docutils' signature
    inliner: Any,  # noqa: ARG001
    options: Any = None,  # noqa: ARG001
    content: Any = None,  # noqa: ARG001
) -> Any:
    from docutils import nodes
    from docutils.utils import unescape

    titled = _ROLE_TEXT.match(shown := unescape(text))
    if not titled or not titled["words"]:
        return [nodes.inline(rawtext, shown)], []
    if name == "doc":
        return [nodes.reference(rawtext, titled["words"], refuri=titled["target"])], []
    return [nodes.inline(rawtext, titled["words"])], []


def _directive_class(*, code: bool) -> Any:
    """Return a directive that takes any argument, option and content, and shows them as text or code."""
    from docutils import nodes
    from docutils.parsers.rst import Directive, directives

    class AnyOptions(dict[str, Any]):
        def __missing__(self, name: str) -> Any:
            return directives.unchanged

    class Shown(Directive):
        optional_arguments = 1
        final_argument_whitespace = True
        has_content = True
        option_spec = AnyOptions(name=directives.unchanged)

        def run(self) -> list[nodes.Node]:
            if self.name.lower() in _NO_TEXT_DIRECTIVES:
                return []
            content = "\n".join(self.content)
            if code:
                return [nodes.literal_block(content, content)] if content.strip() else []
            shown = nodes.container()
            if self.arguments:
                inline, _ = self.state.inline_text(self.arguments[0], self.lineno)
                shown += nodes.paragraph(self.arguments[0], "", *inline)
            self.state.nested_parse(self.content, self.content_offset, shown, match_titles=True)
            return [shown]

    return Shown


def _rst_blocks(node: nodes.Node) -> Iterator[str]:
    """Yield the paragraphs, headings, lists, tables and code below a node, in reading order."""
    from docutils import nodes

    for child in node.children:
        if isinstance(child, nodes.system_message):
            yield from (block.astext() for block in child.findall(nodes.literal_block))
        elif isinstance(child, (nodes.Invisible, nodes.title_reference)):
            continue
        elif isinstance(child, nodes.title):
            level = min(_depth(node), 6)
            yield f"{'#' * level} {one_line(child.astext())}" if level else one_line(child.astext())
        elif isinstance(child, (nodes.literal_block, nodes.doctest_block)):
            yield fenced(child.astext().strip("\n"))
        elif isinstance(child, nodes.table):
            yield from _rst_table(child)
        elif isinstance(child, nodes.image):
            yield str(child.get("alt", ""))
        elif isinstance(child, nodes.TextElement):
            yield child.astext().strip()
        elif isinstance(child, nodes.list_item):
            yield _item(child)
        elif isinstance(child, nodes.field):
            if child.children[0].astext() in _PAGE_OPTIONS:
                continue
            yield ": ".join(one_line(part.astext()) for part in child.children if part.astext().strip())
        else:
            yield from _rst_blocks(child)


def _item(item: nodes.Node) -> str:
    blocks = [block for block in _rst_blocks(item) if block.strip()]
    return "- " + "\n\n".join(blocks) if blocks else ""


def _rst_table(table: nodes.Node) -> Iterator[str]:
    from docutils import nodes

    yield from (one_line(title.astext()) for title in table.findall(nodes.title))
    rows = (
        [" ".join(one_line(block) for block in _rst_blocks(cell)) for cell in row.children]
        for row in table.findall(nodes.row)
    )
    yield "\n".join(" | ".join(row) for row in rows)


def _depth(section: nodes.Node | None) -> int:
    """Return how many sections a node is in; 0 for the title of an admonition or a topic."""
    from docutils import nodes

    if not isinstance(section, nodes.section):
        return 0
    depth = 0
    while section is not None:
        depth += isinstance(section, nodes.section)
        section = section.parent
    return depth


_ADOC_HEADING = re.compile(r"(={1,6}|#{1,6})[ \t]+(\S.*?)(?:[ \t]+\1)?")
_ADOC_ATTRIBUTE = re.compile(r":!?[\w-]+!?:(?:[ \t].*)?")
_ADOC_BLOCK = re.compile(r"(-{4,}|\.{4,}|`{3,})[\w,+-]*")
_ADOC_CONTAINER = re.compile(r"={4,}|\*{4,}|_{4,}|--|<<<|'''|\[[^\]]*\]")
_ADOC_DIRECTIVE = re.compile(r"(?:include|image|video|audio|toc|ifdef|ifndef|ifeval|endif)::?\S*\[(.*)\]")
_ADOC_LINK = re.compile(r"(?:(?:https?|ftp|mailto|link|xref|image|kbd|btn|menu|footnote):\S*?)\[([^\]]*)\]")
_ADOC_PAGE_LINK = re.compile(r"(?:link|xref):(?P<address>[^\s\[\]]{1,1000})\[(?P<words>[^\]]{1,300})\]")
_ADOC_REFERENCE = re.compile(r"<<[^,>]*(?:,\s*([^>]*))?>>")
_ADOC_CELL = re.compile(r"(?:^|\s)(?:\d+(?:\.\d+)?[+*])?[<^>.]*[a-z]?\|")


def read_asciidoc(path: Path, reading: Reading) -> Iterator[Document]:
    """Read an AsciiDoc file; attributes, comments and what it includes are left out."""
    source = read_text(path, reading.problems, encoding=reading.encoding)
    links = ((one_line(link["words"]), link["address"]) for link in _ADOC_PAGE_LINK.finditer(source))
    yield document_of(path, "\n".join(_adoc_lines(source.split("\n"))), links=links)


def _adoc_lines(lines: list[str]) -> Iterator[str]:
    block: str | None = None
    code: list[str] = []
    table = False
    for line in lines:
        bare = line.strip()
        if block is not None:
            if bare != block:
                code.append(line)
                continue
            if not block.startswith("////"):
                yield fenced("\n".join(code))
            block, code = None, []
        elif re.fullmatch(r"/{4,}", bare):
            block = bare
        elif opening := _ADOC_BLOCK.fullmatch(bare):
            block = opening.group(1)
        elif re.fullmatch(r"[|,:!]===+", bare):
            table = not table
            yield ""
        elif table and (cells := [cell.strip() for cell in _ADOC_CELL.split(bare)]):
            yield " | ".join(_adoc_inline(cell) for cell in cells if cell)
        elif not bare.startswith("//"):
            yield from _adoc_line(line, bare)
    if code and not (block or "").startswith("////"):
        yield fenced("\n".join(code))


def _adoc_line(line: str, bare: str) -> Iterator[str]:
    if _ADOC_ATTRIBUTE.fullmatch(bare) or _ADOC_CONTAINER.fullmatch(bare) or bare == "+":
        return
    if heading := _ADOC_HEADING.fullmatch(line.rstrip()):
        yield f"{'#' * len(heading.group(1))} {_adoc_inline(heading.group(2))}"
    elif directive := _ADOC_DIRECTIVE.fullmatch(bare):
        if bare.startswith("image"):
            yield directive.group(1).split(",")[0].strip('"')
    elif item := re.match(r"(?:\*{1,5}|-|\.{1,5})[ \t]+(\S.*)", bare):
        yield f"- {_adoc_inline(item.group(1))}"
    elif re.fullmatch(r"\.[^\s.].*", bare):  # the title of a block
        yield _adoc_inline(bare[1:])
    else:
        yield _adoc_inline(line)


def _adoc_inline(text: str) -> str:
    text = _ADOC_LINK.sub(lambda link: link.group(1) or link.group(0)[:-2], text)
    return _ADOC_REFERENCE.sub(lambda reference: reference.group(1) or "", text)
