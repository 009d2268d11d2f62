"""Readers of Markdown, of MDX, and of Jupyter notebooks, whose text is Markdown."""

from __future__ import annotations

import json
import logging
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from embexp.data.fences import fenced, mark_code, opens_fence
from embexp.data.readers.html import describes_pictures, hides_text, html_text, parse_html
from embexp.data.readers.markdown_inline import HEADING_LINE, Inline, in_place
from embexp.data.readers.problems import UnreadableError
from embexp.data.readers.reading import Reading
from embexp.data.readers.text import document_of, first_sentence, is_query, occurs_in, one_line, read_text
from embexp.data.records import Document

if TYPE_CHECKING:
    from markdown_it.token import Token

_FRONT_MATTER = {
    "yaml": re.compile(r"\s*^---[ \t]*\n(.*?)^(?:---|\.\.\.)[ \t]*(?:\n|\Z)", re.DOTALL | re.MULTILINE),
    "toml": re.compile(r"\s*^\+\+\+[ \t]*\n(.*?)^\+\+\+[ \t]*(?:\n|\Z)", re.DOTALL | re.MULTILINE),
    "json": re.compile(r"\s*^;;;[ \t]*\n(.*?)^;;;[ \t]*(?:\n|\Z)", re.DOTALL | re.MULTILINE),
}
_SETTING_LINE = re.compile(r"\s*(?:#.*|[\w.-]+\s*[:=].*|- .*|\s+\S.*|)")
_MORE_INFORMATION = re.compile(r"^\s*more information:.*$\n?", re.IGNORECASE | re.MULTILINE)
_REMARK = re.compile(r"\W*(note|warning|caution|important|tip|danger|deprecated)\b", re.IGNORECASE)
_COMMENT = re.compile(r"<!--.*?(?:-->|\Z)", re.DOTALL)
_LINK_ADDRESS = re.compile(r" {0,3}\[[^\]^][^\]]*\]:\s*<?\S*[/.#]\S*")
_MDX_STATEMENT = re.compile(
    r"(?:import\b[^\n]*['\"]|export\s+(?:default|const|let|var|function|async|\{|\*))"
)
_MDX_COMMENT = re.compile(r"\{\s*/\*.*?\*/\s*\}", re.DOTALL)
_JSX_TAG = re.compile(r"</?[A-Z][\w.]*(?:\s(?:[^<>{}]|\{(?:[^{}]|\{[^{}]*\})*\})*)?/?>|</?>")
_JSX_TEXT = re.compile(
    r"\s(?:title|label|alt|caption|description|summary|heading|text)\s*=\s*\{?\s*[\"'`][^\"'`]*\w"
)
"""An attribute whose value the reader of a page sees."""


def read_markdown(path: Path, reading: Reading) -> Iterator[Document]:
    """Read a Markdown file; a quotation right after the title is taken as the page's summary."""
    yield _document(path, read_text(path, reading.problems, encoding=reading.encoding), reading)


def read_mdx(path: Path, reading: Reading) -> Iterator[Document]:
    """Read Markdown with components: without imports, exports, comments and the tags of components."""
    yield _document(path, read_text(path, reading.problems, encoding=reading.encoding), reading, mdx=True)


def read_notebook(path: Path, reading: Reading) -> Iterator[Document]:
    """Read a Jupyter notebook: its Markdown, its code in fences, and the outputs that are plain text.

    Raises:
        UnreadableError: The file is not a notebook.
    """
    import nbformat

    logging.getLogger("traitlets").setLevel(logging.CRITICAL)  # it logs what it repairs as errors
    source = read_text(path, reading.problems, encoding=reading.encoding)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of cells without an id, which do not matter here
            notebook = nbformat.reads(source, as_version=4)
        parts = [part for cell in notebook.cells for part in _cell(cell)]
        title = notebook.metadata.get("title")
    except Exception as error:
        message = f"{path}: not a Jupyter notebook ({one_line(str(error))[:200]}); save it again."
        raise UnreadableError("broken file", message) from error
    settings, text = _front_matter(path, "\n\n".join(part for part in parts if part.strip()), reading)
    inline = Inline()
    text, _ = _markdown(text, inline)
    _count_left_out(path, inline.left_out, reading)
    yield document_of(path, text, title=_title(title or settings.get("title")), links=inline.links)


def _cell(cell: Any) -> Iterator[str]:
    source = "".join(cell.source)
    if cell.cell_type != "code":
        yield source
        return
    if source.strip():
        yield fenced(source)
    for output in cell.outputs:
        text = output.get("text") or output.get("data", {}).get("text/plain") or ""
        if text := "".join(text).strip("\n"):
            yield fenced(text)


def _document(path: Path, text: str, reading: Reading, *, mdx: bool = False) -> Document:
    settings, text = _front_matter(path, text, reading)
    inline = Inline()
    text, summary = _markdown(text, inline, mdx=mdx)
    _count_left_out(path, inline.left_out, reading)
    if occurs_in(summary, text):  # nothing is lost: the text says it a second time
        summary = ""
    return document_of(path, text, title=_title(settings.get("title")), summary=summary, links=inline.links)


def _count_left_out(path: Path, left_out: set[str], reading: Reading) -> None:
    if left_out:
        what = f"{path.name}: {', '.join(sorted(left_out))}"
        reading.problems.count("Markdown file without its comments, hidden text or texts in tags", what)


def _title(value: Any) -> str:
    if isinstance(value, list):  # lists in it may be aliases of each other, and endless as text
        return one_line(", ".join(str(part) for part in value if not isinstance(part, list | dict)))
    return "" if value is None or isinstance(value, dict) else one_line(str(value))


def _front_matter(path: Path, text: str, reading: Reading) -> tuple[dict[str, Any], str]:
    """Split a text into the settings before it and the text itself.

    Text that only looks like settings, such as a paragraph between two rules, stays.
    """
    if re.match(r"\s*\{\s*\n", text):
        return _json_front_matter(text)
    for kind, pattern in _FRONT_MATTER.items():
        match = pattern.match(text)
        if not match:
            continue
        try:
            settings = _parse(kind, match.group(1))
        except ValueError as error:
            if not all(_SETTING_LINE.fullmatch(line) for line in match.group(1).split("\n")):
                return {}, text
            reading.problems.count(f"front matter that is no {kind.upper()}", f"{path.name}: {error}")
            named = re.search(r"^title\s*[:=]\s*(.+)$", match.group(1), re.MULTILINE)
            settings = {"title": named.group(1).strip("\"' ")} if named else {}
        if settings is None or isinstance(settings, dict):
            return settings or {}, text[match.end() :]
    return {}, text


def _parse(kind: str, source: str) -> Any:
    """Return the value of YAML, TOML or JSON.

    Raises:
        ValueError: The source is not valid.
    """
    import yaml

    if kind == "toml":
        return _toml(source)
    if kind == "json":
        return json.loads(source if source.strip().startswith("{") else f"{{{source}}}")
    try:
        return yaml.safe_load(source)
    except (yaml.YAMLError, RecursionError) as error:
        raise ValueError(one_line(str(error))[:100]) from error


def _toml(source: str) -> dict[str, Any]:
    import sys

    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    return tomllib.loads(source)


def _json_front_matter(text: str) -> tuple[dict[str, Any], str]:
    start = len(text) - len(text.lstrip())
    try:
        settings, end = json.JSONDecoder().raw_decode(text, start)
    except (ValueError, RecursionError):
        return {}, text
    rest = text[end:]
    return (settings, rest) if not rest.strip() or rest.lstrip(" \t").startswith("\n") else ({}, text)


def _markdown(text: str, inline: Inline, *, mdx: bool = False) -> tuple[str, str]:
    """Return the words of Markdown, with each heading as a ``# Heading`` line, and its summary.

    Lists, quotations, tables and code keep their signs.

    Args:
        text: The Markdown.
        inline: Renders the paragraphs; gets the links and the names of what is left out ("comments").
        mdx: Whether there are components in it.
    """
    from markdown_it import MarkdownIt

    if mdx:
        text = _without_comments(text, inline.left_out, _MDX_COMMENT)
    tokens = MarkdownIt("commonmark").disable("text_join").parse(text)
    lines: list[str | None] = [*text.split("\n")]
    _drop_link_addresses(lines, tokens)
    before: Token | None = None
    for token in tokens:
        if token.type == "html_block" and token.map:
            _render_html(lines, token, inline.left_out, mdx=mdx)
        elif token.type == "fence" and token.map and token.level:
            _close_fence(lines, token.map, token.markup)
        elif token.type == "inline" and token.map:
            _render_inline(lines, token, before, inline, mdx=mdx)
        before = token
    summary = _cut_quotation(lines, tokens)
    return "\n".join(line for line in lines if line is not None), summary


def _drop_link_addresses(lines: list[str | None], tokens: list[Token]) -> None:
    """Remove the lines that hold nothing but the addresses of links ("[1]: https://…")."""
    shown = {at for token in tokens if token.map and not token.level for at in range(*token.map)}
    for at, line in enumerate(lines):
        if at not in shown and line and _LINK_ADDRESS.match(line):
            lines[at] = None


def _replace(lines: list[str | None], span: list[int], text: str) -> None:
    """Put a text in place of some lines; removed lines become None, so that line numbers stay right."""
    start, end = span
    lines[start:end] = [text or None] + [None] * (end - start - 1)


def _without_comments(text: str, left_out: set[str], pattern: re.Pattern[str] = _COMMENT) -> str:
    if any(re.search(r"\w", comment) for comment in pattern.findall(text)):
        left_out.add("comments")
    return pattern.sub("", text)


def _without_components(text: str, left_out: set[str]) -> str:
    if any(_JSX_TEXT.search(tag) for tag in _JSX_TAG.findall(text)):
        left_out.add("texts in tags of components")
    return _JSX_TAG.sub("", text)


def _render_html(lines: list[str | None], token: Token, left_out: set[str], *, mdx: bool) -> None:
    """Put the text of a block of HTML in its place; what only looks like a heading there is escaped."""
    content = _without_comments(token.content, left_out)
    if token.level:
        rendered = content.rstrip("\n")
    else:
        page = parse_html(content)
        rendered = html_text(page) if page is not None else ""
        if page is not None and hides_text(page):
            left_out.add("hidden text")
        if page is not None and describes_pictures(page):
            left_out.add("descriptions of pictures")
        if mdx:
            _without_components(content, left_out)
        marked = mark_code(rendered.split("\n"))
        literal = {one_line(line) for line in token.content.split("\n") if HEADING_LINE.match(line)}
        rendered = "\n".join(
            f"\\{line}" if not in_code and line.strip() in literal else line for line, in_code in marked
        )
    assert token.map is not None
    blank = "\n" if token.content.endswith("\n") and rendered else ""
    _replace(lines, token.map, rendered + blank)


def _close_fence(lines: list[str | None], span: list[int], markup: str) -> None:
    """Put the fences of code in a list on lines of their own, so that they are found without the list."""
    first, last = lines[span[0]] or "", lines[span[1] - 1] or ""
    if first.lstrip().startswith(">"):
        return  # the mark of the quotation stands before every line, so that none is taken for a fence
    if not opens_fence(first.lstrip(" ")) and markup in first:
        before, _, info = first.partition(markup)
        lines[span[0]] = f"{before.rstrip()}\n{' ' * len(before)}{markup}{info}"
    if span[1] - span[0] < 2 or not re.fullmatch(rf"\s*{markup}{markup[0]}*\s*", last):
        indent = len(last) - len(last.lstrip(" "))
        lines[span[1] - 1] = f"{last}\n{' ' * min(indent, 3)}{markup}"


def _render_inline(
    lines: list[str | None], token: Token, before: Token | None, inline: Inline, *, mdx: bool
) -> None:
    """Put the words of a paragraph or heading in its place, and from MDX remove its statements."""
    assert token.map is not None
    source = [line or "" for line in lines[slice(*token.map)]]
    if mdx and token.level == 1 and _MDX_STATEMENT.match("\n".join(source)):
        _replace(lines, token.map, "")
        return
    text = inline.text(token.children or ())
    if mdx:
        text = _without_components(text, inline.left_out)
    if before is not None and before.type == "heading_open" and before.level == 0 and before.map:
        _replace(lines, before.map, f"{'#' * int(before.tag[1])} {one_line(text)}")
    else:
        rendered = in_place(text, source, token.content)
        kept = [None if at and _is_table_rule(line) else line for at, line in enumerate(rendered)]
        lines[slice(*token.map)] = [*kept, *[None] * (len(source) - len(rendered))]


def _is_table_rule(line: str) -> bool:
    """Return whether a line is the rule between a table's head and its rows."""
    return "--" in line and "|" in line and not line.strip("|-: >")


def _cut_quotation(lines: list[str | None], tokens: list[Token]) -> str:
    """Cut the first sentence out of a quotation that opens the page; its other lines become plain text."""
    first = 3 if tokens and tokens[0].type == "heading_open" else 0
    span = tokens[first].map if len(tokens) > first else None
    if not span or tokens[first].type != "blockquote_open":
        return ""
    quoted = "\n".join(re.sub(r"^\s*> ?", "", line or "") for line in lines[span[0] : span[1]])
    quoted = _MORE_INFORMATION.sub("", quoted).strip()
    paragraph, _, others = quoted.partition("\n\n")
    summary, rest = first_sentence(paragraph)
    if _REMARK.match(quoted) or not is_query(summary):
        return ""
    _replace(lines, span, "\n\n".join(part for part in (rest, others) if part))
    return summary
